/* SPDX-License-Identifier: MIT */
#include "host/mount.h"

#include <errno.h>
#include <fcntl.h>
#include <libmount.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "host/kmsg.h"
#include "host/mountinfo.h"
#include "host/mountpoint.h"

#define OPTIONS_MAX 2048

static void context_free(struct libmnt_context **c)
{
    if (*c)
        mnt_free_context(*c);
}

static bool on_node(const struct mount_entry *e, const struct device_node *node)
{
    return mountinfo_is_on(e, node->major, node->minor, node->path);
}

/* Takes the mount's line out. */
static void forget(const char *path)
{
    struct libmnt_update *u = mnt_new_update();
    if (u && mnt_update_set_fs(u, 0, path, NULL) == 0)
        (void)mnt_update_table(u, NULL);
    mnt_free_update(u);
}

void mount_tell(struct mount_news *news)
{
    if (news->mounted)
        (void)mnt_context_finalize_mount(news->mounted);
    if (news->unmounted)
        forget(news->unmounted);
    context_free(&news->mounted);
    free(news->unmounted);
    *news = (struct mount_news){ 0 };
}

static bool has_word(const char *options, const char *word)
{
    size_t len = strlen(word);
    for (const char *p = options; *p; p += strspn(p, ",")) {
        size_t n = strcspn(p, ",");
        if (n == len && strncmp(p, word, len) == 0)
            return true;
        p += n;
    }
    return false;
}

/* libmount's words and the kernel's: mount(2) alone says EINVAL to most things. */
static int mount_failed(struct libmnt_context *c, int rc, int kmsg, const struct device_node *node,
                        const struct device_mount *m, struct error *err)
{
    char words[256] = "", kernel[300];
    int code = mnt_context_get_syscall_errno(c);
    (void)mnt_context_get_excode(c, rc, words, sizeof words);
    kmsg_read(kmsg, node->path + strlen("/dev/"), kernel, sizeof kernel);
    if (code <= 0)
        code = rc < 0 ? -rc : EIO;
    if (code == ENOENT)
        code = ENODEV;
    const char *hint = "";
    if (strstr(kernel, "duplicate UUID"))
        hint = "; a clone of this volume is mounted here: unmount it, or use the mount option nouuid";
    else if (code == EUCLEAN)
        hint = "; the file system is damaged and needs a person";
    return error_set(err, -code, "cannot mount %s (%s) at %s: %s%s%s%s%s", node->path, m->fstype,
                     m->mountpoint, words[0] ? words : error_text(code),
                     kernel[0] ? " (the kernel said: " : "", kernel, kernel[0] ? ")" : "", hint);
}

static int mount_device(const struct device_node *node, const struct device_mount *m, const char *target,
                        struct mount_news *news, struct error *err)
{
    char options[OPTIONS_MAX];
    if (snprintf(options, sizeof options, "%s%s_netdev,x-rbdvol.volume=%s", m->options,
                 m->options[0] ? "," : "", m->volume) >= (int)sizeof options)
        return error_set(err, -EINVAL, "the mount options of '%s' are too long", m->volume);
    CLEANUP(context_free) struct libmnt_context *c = mnt_new_context();
    if (!c || mnt_context_set_source(c, node->path) || mnt_context_set_target(c, target) ||
        mnt_context_set_fstype(c, m->fstype) || mnt_context_set_options(c, options) ||
        mnt_context_disable_helpers(c, 1))
        return error_set(err, -ENOMEM, "cannot mount '%s': out of memory", m->volume);
    /* Without this a device that cannot be written is silently mounted read-only. */
    if (!has_word(m->options, "ro") && mnt_context_enable_rwonly_mount(c, 1))
        return error_set(err, -ENOMEM, "cannot mount '%s': out of memory", m->volume);
    auto_close int kmsg = kmsg_open();
    int rc = mnt_context_prepare_mount(c);
    if (rc == 0)
        rc = mnt_context_do_mount(c);
    if (rc != 0)
        return mount_failed(c, rc, kmsg, node, m, err);
    mount_tell(news);
    news->mounted = steal_ptr(&c);
    return 0;
}

/* 1: this device is there already; 0: nothing is; -EBUSY: something else is. */
static int look(const char *path, const struct device_node *node, struct error *err)
{
    struct mount_entry e;
    int rc = mountinfo_at(path, &e, err);
    if (rc <= 0)
        return rc;
    if (on_node(&e, node))
        return 1;
    return error_set(err, -EBUSY, "%s is in use: %s (%s) is mounted there; unmount it", path, e.source,
                     e.fstype);
}

int mount_verified(const struct device_node *node, const struct device_mount *m, struct mount_news *news,
                   struct error *err)
{
    CLEANUP(mountpoint_done) struct mountpoint point = { .parent = -1 };
    int rc = mountpoint_find(m->mountpoint, true, &point, err);
    if (rc < 0)
        return rc;
    rc = look(point.path, node, err);
    if (rc ==
        -EBUSY) /* another code than that of a mount that failed: what is there is not ours to unmount */
        err->code = rc = -EEXIST;
    if (rc != 0)
        return rc < 0 ? rc : 0;
    rc = mountpoint_prepare(&point, err);
    if (rc == 0)
        rc = mount_device(node, m, point.path, news, err);
    if (rc < 0)
        return rc;
    rc = look(point.path, node, err);
    if (rc == 0)
        return error_set(err, -EIO, "mounted %s at %s, but /proc/self/mountinfo does not show it there",
                         node->path, point.path);
    return rc < 0 ? rc : 0;
}

int mount_fresh(const char *mountpoint, uint32_t uid, uint32_t gid, uint32_t mode, struct error *err)
{
    CLEANUP(mountpoint_done) struct mountpoint point = { .parent = -1 };
    struct mount_entry e;
    struct stat st;
    int rc = mountpoint_find(mountpoint, false, &point, err);
    if (rc == 0)
        rc = mountinfo_at(point.path, &e, err);
    if (rc < 0)
        return rc;
    if (rc == 0)
        return error_set(err, -EINVAL, "cannot prepare the volume at %s: it is not mounted", point.path);
    auto_close int fd = mountpoint_open(&point, err);
    if (fd < 0)
        return fd;
    if (unlinkat(fd, "lost+found", AT_REMOVEDIR) < 0 && errno != ENOENT && errno != ENOTEMPTY &&
        errno != ENOTDIR)
        return error_set(err, -errno, "cannot remove %s/lost+found: %s", point.path, error_text(errno));
    if (fchown(fd, uid, gid) < 0)
        return error_set(err, -errno, "cannot give %s to uid %u, gid %u: %s", point.path, uid, gid,
                         error_text(errno));
    if (fchmod(fd, mode) < 0 || fstat(fd, &st) < 0)
        return error_set(err, -errno, "cannot set the mode of %s: %s", point.path, error_text(errno));
    /* Without CAP_FSETID the setgid bit is lost, and chmod(2) says nothing. */
    if (st.st_uid != uid || st.st_gid != gid || (st.st_mode & 07777) != mode)
        return error_set(
            err, -EPERM,
            "the root of %s has uid %u, gid %u, mode %04o instead of uid %u, gid %u, mode %04o: is a "
            "capability (CHOWN, FOWNER, FSETID) missing?",
            point.path, st.st_uid, st.st_gid, st.st_mode & 07777, uid, gid, mode);
    /* The caller records that this is done: it must not be undone by a crash. */
    if (fsync(fd) < 0)
        return error_set(err, -errno, "cannot sync %s: %s", point.path, error_text(errno));
    return 0;
}

/* Not by libmount: it would look at the mounted file system, which may be dead, and may follow a link. */
static int take_down(const char *path, bool lazily, struct error *err)
{
    if (umount2(path, UMOUNT_NOFOLLOW) == 0 || errno == EINVAL) /* EINVAL: somebody else has just done it */
        return 0;
    if (errno == EBUSY && lazily && umount2(path, UMOUNT_NOFOLLOW | MNT_DETACH) == 0)
        return 0;
    if (errno == EBUSY)
        return error_set(err, -EBUSY, "cannot unmount %s: it is in use", path);
    return error_set(err, errno == ENOENT ? -ENODEV : -errno, "cannot unmount %s: %s", path,
                     error_text(errno));
}

static bool is_of(void *arg, const struct mount_entry *e)
{
    return on_node(e, arg);
}

/* The way to its mountpoint is barred, by a link or a file in place of a directory. What is mounted was moved
 * away then, and stays; a Mount that was refused for that very reason has nothing to take down. */
static int barred(const struct device_node *node, struct error *err)
{
    struct error ignored;
    struct device_node looked_for = *node;
    return mountinfo_each("self", is_of, &looked_for, &ignored) == 0 ? 0 : err->code;
}

int mount_remove(const char *mountpoint, const struct device_node *node, bool lazily, struct mount_news *news,
                 struct error *err)
{
    CLEANUP(mountpoint_done) struct mountpoint point = { .parent = -1 };
    struct mount_entry e;
    int rc = mountpoint_find(mountpoint, false, &point, err);
    if (rc == -ENODEV)
        return 0; /* no directory, no mount */
    if (rc == -ENOTDIR)
        return barred(node, err);
    if (rc == 0)
        rc = mountinfo_pile(point.path, node->major, node->minor, node->path, &e, err);
    if (rc < 0 || rc == MOUNTINFO_NOWHERE)
        return rc < 0 ? rc : 0;
    if (rc == MOUNTINFO_COVERED)
        return error_set(err, -EEXIST,
                         "%s (%s) was mounted over it at %s, and not by rbdvol: unmount that first", e.source,
                         e.fstype, point.path);
    rc = take_down(point.path, lazily, err);
    if (rc < 0)
        return rc;
    mount_tell(news);
    news->unmounted = strdup(point.path);
    rc = mountinfo_pile(point.path, node->major, node->minor, node->path, &e, err);
    if (rc > MOUNTINFO_NOWHERE)
        return error_set(err, -EBUSY, "unmounted %s, but %s is mounted there a second time: unmount it",
                         point.path, node->path);
    return rc;
}
