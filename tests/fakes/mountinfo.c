/* SPDX-License-Identifier: MIT */
/* The mounts of this host. */
#include "host/mountinfo.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fakes/calls.h"
#include "fakes/world.h"
#include "host/mountpoint.h"

#define MOUNTS 64

static struct mounted {
    bool used;
    char path[PATH_MAX];
    char image[NAME_PART_MAX + 1];
    char over[32]; /* what somebody else has mounted over it; "": nothing */
    unsigned minor;
} mounts[MOUNTS]; /* the world's lock guards it */

void fake_mounts_reset(void)
{
    memset(mounts, 0, sizeof mounts);
}

static struct mounted *find(const char *path)
{
    for (size_t i = 0; i < MOUNTS; i++)
        if (mounts[i].used && strcmp(mounts[i].path, path) == 0)
            return &mounts[i];
    return NULL;
}

bool fake_minor_mounted(unsigned minor)
{
    for (size_t i = 0; i < MOUNTS; i++)
        if (mounts[i].used && mounts[i].minor == minor)
            return true;
    return false;
}

size_t fake_mount_count(void)
{
    size_t n = 0;
    fake_lock();
    for (size_t i = 0; i < MOUNTS; i++)
        n += mounts[i].used;
    fake_unlock();
    return n;
}

bool fake_mounted(const char *mountpoint)
{
    fake_lock();
    bool there = find(mountpoint) != NULL;
    fake_unlock();
    return there;
}

static int set(const char *mountpoint, unsigned minor, const char *image)
{
    struct mounted *m = find(mountpoint);
    if (m)
        return m->minor == minor ? 0 : -EBUSY;
    for (size_t i = 0; i < MOUNTS && !m; i++)
        if (!mounts[i].used)
            m = &mounts[i];
    if (!m)
        return -ENOSPC;
    *m = (struct mounted){ .used = true, .minor = minor };
    (void)snprintf(m->path, sizeof m->path, "%s", mountpoint);
    (void)snprintf(m->image, sizeof m->image, "%s", image);
    return 0;
}

int fake_mount_set(const char *mountpoint, unsigned minor, const char *image)
{
    fake_lock();
    int rc = set(mountpoint, minor, image);
    fake_unlock();
    return rc;
}

void fake_mount_add(const char *mountpoint, const char *image)
{
    fake_lock();
    (void)set(mountpoint, fake_minor_of_image(image), image);
    fake_unlock();
}

int fake_mount_take(const char *mountpoint, char name[static NAME_PART_MAX + 1])
{
    fake_lock();
    struct mounted *m = find(mountpoint);
    if (m) {
        memcpy(name, m->image, sizeof m->image);
        m->used = false;
    }
    fake_unlock();
    return m != NULL;
}

void fake_mount_over(const char *mountpoint, const char *what)
{
    fake_lock();
    struct mounted *m = find(mountpoint);
    if (m)
        (void)snprintf(m->over, sizeof m->over, "%s", what ? what : "");
    fake_unlock();
}

bool fake_mount_drop(const char *mountpoint)
{
    char name[NAME_PART_MAX + 1];
    return fake_mount_take(mountpoint, name);
}

static void entry_of(const struct mounted *m, struct mount_entry *ret)
{
    *ret = (struct mount_entry){ .id = 100, .parent = 1, .major = 7, .minor = m->minor, .root = "/" };
    (void)snprintf(ret->mountpoint, sizeof ret->mountpoint, "%s", m->path);
    (void)snprintf(ret->source, sizeof ret->source, "/dev/loop%u", m->minor);
    (void)snprintf(ret->fstype, sizeof ret->fstype, "xfs");
}

/* Only recovery looks at all of them, for such as nobody knows of. */
int mountinfo_each(const char *pid, bool (*visit)(void *arg, const struct mount_entry *e), void *arg,
                   struct error *err)
{
    (void)pid;
    int rc = fake_call("mountinfo_each", "", err);
    for (size_t i = 0; rc == 0 && i < MOUNTS; i++) {
        struct mount_entry e;
        fake_lock();
        bool used = mounts[i].used;
        entry_of(&mounts[i], &e);
        fake_unlock();
        rc = used && visit(arg, &e);
    }
    return rc;
}

int mountinfo_at(const char *path, struct mount_entry *ret, struct error *err)
{
    int rc = fake_call("mountinfo_at", "", err);
    if (rc < 0)
        return rc;
    fake_lock();
    const struct mounted *m = find(path);
    if (m)
        entry_of(m, ret);
    fake_unlock();
    return m != NULL;
}

int mountinfo_pile(const char *path, unsigned major, unsigned minor, const char *node,
                   struct mount_entry *ret, struct error *err)
{
    (void)node;
    int rc = fake_call("mountinfo_pile", "", err);
    if (rc < 0)
        return rc;
    fake_lock();
    const struct mounted *m = find(path);
    bool ours = m && major == 7 && m->minor == minor;
    if (ours && m->over[0]) {
        *ret = (struct mount_entry){ .id = 200, .parent = 100 };
        (void)snprintf(ret->source, sizeof ret->source, "%s", m->over);
        (void)snprintf(ret->fstype, sizeof ret->fstype, "tmpfs");
    }
    rc = !ours ? MOUNTINFO_NOWHERE : m->over[0] ? MOUNTINFO_COVERED : MOUNTINFO_TOP;
    fake_unlock();
    return rc;
}

/* ---- host/mountpoint.h ---- */

void mountpoint_forget(const char *path)
{
    const char *slash = strrchr(path, '/');
    fake_changed("forget %s", slash ? slash + 1 : path);
}
