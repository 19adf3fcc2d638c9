/* SPDX-License-Identifier: MIT */
#include "host/device.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fakes/calls.h"
#include "fakes/world.h"
#include "host/loop.h"
#include "host/mountinfo.h"

#define DEVICES 64

struct device {
    bool used, attached;
    unsigned minor;
};

static struct device devices[DEVICES]; /* the world's lock guards it */

void fake_devices_reset(void)
{
    memset(devices, 0, sizeof devices);
}

size_t fake_device_count(void)
{
    size_t n = 0;
    fake_lock();
    for (size_t i = 0; i < DEVICES; i++)
        n += devices[i].used;
    fake_unlock();
    return n;
}

bool fake_minor_attached(unsigned minor)
{
    for (size_t i = 0; i < DEVICES; i++)
        if (devices[i].used && devices[i].attached && devices[i].minor == minor)
            return true;
    return false;
}

bool fake_minor_in_use(unsigned minor)
{
    return fake_minor_attached(minor) || fake_minor_mounted(minor) || fake_minor_elsewhere(minor);
}

int device_start(struct device **ret, struct error *err)
{
    int rc = fake_call("device_start", "", err);
    if (rc < 0)
        return rc;
    fake_lock();
    for (size_t i = 0; i < DEVICES && !*ret; i++)
        if (!devices[i].used) {
            devices[i] = (struct device){ .used = true };
            *ret = &devices[i];
        }
    fake_unlock();
    fake_changed("device_start");
    return *ret ? 0 : error_set(err, -EMFILE, "no more fake devices");
}

void device_end(struct device *d)
{
    if (!d)
        return;
    fake_lock();
    if (!d->used)
        abort(); /* ended twice */
    d->used = false;
    fake_unlock();
    fake_changed("device_end");
}

void device_probe_ahead(struct device *d, const char *file, moment deadline)
{
    (void)d;
    (void)file;
    (void)deadline;
}

int device_probe(struct device *d, const char *file, moment deadline, struct device_probe *ret,
                 struct error *err)
{
    unsigned minor;
    (void)d;
    (void)deadline;
    int rc = fake_call("probe", "", err);
    if (rc < 0)
        return rc;
    fake_lock();
    const struct fake_image *image = fake_mapping_image(file, &minor);
    if (image)
        *ret = image->content;
    fake_unlock();
    return image ? 0 : error_set(err, -EIO, "cannot open %s", file);
}

int device_format(struct device *d, const char *file, const char *fstype, const char *mkfs_options,
                  const char *scratch_dir, moment deadline, struct error *err)
{
    unsigned minor;
    (void)d;
    (void)mkfs_options;
    (void)scratch_dir;
    (void)deadline;
    int rc = fake_call("format", fstype, err);
    if (rc < 0)
        return rc;
    fake_lock();
    struct fake_image *image = fake_mapping_image(file, &minor);
    if (image) {
        image->content = (struct device_probe){ .found = PROBE_FS, .block_size = 4096 };
        (void)snprintf(image->content.type, sizeof image->content.type, "%s", fstype);
        image->written += 4096;
    }
    fake_unlock();
    fake_changed("format %s", fstype);
    return fake_call_end("format", fstype, err);
}

static int attach(struct device *d, const char *file, uint32_t block_size, const char *how,
                  struct device_node *ret, struct error *err)
{
    unsigned minor;
    int rc = fake_call("attach", "", err);
    if (rc < 0)
        return rc;
    fake_lock();
    const struct fake_image *image = fake_mapping_image(file, &minor);
    if (!image || (block_size != 512 && block_size != 4096)) {
        rc = error_set(err, -EIO, "cannot attach %s", file);
    } else {
        d->attached = true;
        d->minor = minor;
        *ret = (struct device_node){ .major = 7, .minor = minor };
        (void)snprintf(ret->path, sizeof ret->path, "/dev/loop%u", minor);
    }
    fake_unlock();
    if (rc == 0)
        fake_changed("attach %s%u", how, block_size);
    return rc;
}

int device_attach(struct device *d, const char *file, uint32_t block_size, bool ro, moment deadline,
                  struct device_node *ret, struct error *err)
{
    (void)ro;
    (void)deadline;
    return attach(d, file, block_size, "", ret, err);
}

int device_attach_first(struct device *d, const char *file, uint32_t block_size, bool ro, moment deadline,
                        struct device_node *ret, struct error *err)
{
    (void)ro;
    (void)deadline;
    return attach(d, file, block_size, "first ", ret, err);
}

int device_find(struct device *d, const char *file, moment deadline, struct device_node *ret,
                struct error *err)
{
    unsigned minor = 0;
    (void)d;
    (void)deadline;
    int rc = fake_call("device_find", "", err);
    if (rc < 0)
        return rc;
    fake_lock();
    bool found = fake_mapping_image(file, &minor) && fake_minor_in_use(minor);
    fake_unlock();
    *ret = (struct device_node){ .major = 7, .minor = minor };
    (void)snprintf(ret->path, sizeof ret->path, "/dev/loop%u", minor);
    return found;
}

int device_check(struct device *d, const char *fstype, bool mend, moment deadline, enum grow_due *due,
                 struct error *err)
{
    (void)deadline;
    int rc = fake_call("check", fstype, err);
    if (rc < 0)
        return rc;
    fake_lock();
    struct fake_image *image = fake_minor_image(d->minor);
    *due = image ? image->due : GROW_NOT_DUE;
    if (image && image->torn && !mend)
        rc = error_set(err, -EUCLEAN, "the file system needs a person");
    if (image && mend)
        image->torn = false;
    fake_unlock();
    if (mend)
        fake_changed("mend %s", fstype);
    return rc;
}

int device_enlarge(struct device *d, moment deadline, struct error *err)
{
    (void)deadline;
    int rc = fake_call("enlarge", "", err);
    fake_lock();
    struct fake_image *image = fake_minor_image(d->minor);
    if (image) {
        image->due = rc < 0 ? image->due : GROW_NOT_DUE;
        image->torn = rc < 0 && rc != -EOPNOTSUPP;
    }
    fake_unlock();
    if (rc == 0)
        fake_changed("enlarge");
    return rc;
}

int device_renew(struct device *d, const char *fstype, moment deadline, bool *renewed, struct error *err)
{
    (void)deadline;
    int rc = fake_call("renew", fstype, err);
    fake_lock();
    const struct fake_image *image = fake_minor_image(d->minor);
    *renewed = rc == 0 && image && image->logged == 0;
    fake_unlock();
    if (*renewed)
        fake_changed("renew %s", fstype);
    return rc;
}

int device_mount(struct device *d, const struct device_mount *m, moment deadline, struct error *err)
{
    const char *slash = strrchr(m->volume, '/'), *image = slash ? slash + 1 : m->volume;
    (void)deadline;
    int rc = fake_call("mount", image, err);
    if (rc < 0)
        return rc;
    if (!d->attached)
        return error_set(err, -ENODEV, "nothing is attached");
    rc = fake_mount_set(m->mountpoint, d->minor, image);
    if (rc < 0)
        return error_set(err, rc, "something else is mounted at %s", m->mountpoint);
    fake_lock();
    struct fake_image *of = fake_minor_image(d->minor);
    if (of && of->logged)
        of->logged--;
    fake_unlock();
    fake_changed("mount %s %s %s", image, m->fstype, m->options);
    return fake_call_end("mount", image, err);
}

int device_fresh(struct device *d, const char *mountpoint, uint32_t uid, uint32_t gid, uint32_t mode,
                 moment deadline, struct error *err)
{
    (void)d;
    (void)deadline;
    int rc = fake_call("fresh", "", err);
    if (rc < 0)
        return rc;
    if (!fake_mounted(mountpoint))
        return error_set(err, -ENODEV, "%s is not mounted", mountpoint);
    fake_changed("fresh %u:%u %o", uid, gid, mode);
    return 0;
}

int device_grow(struct device *d, const char *file, const struct device_node *node, const char *fstype,
                const char *mountpoint, moment deadline, bool *grown, struct error *err)
{
    unsigned minor;
    (void)d;
    (void)node;
    (void)deadline;
    int rc = fake_call("grow", fstype, err);
    if (rc < 0)
        return rc;
    if (!fake_mounted(mountpoint))
        return error_set(err, -ENODEV, "%s is not mounted", mountpoint);
    fake_lock();
    struct fake_image *image = fake_mapping_image(file, &minor);
    *grown = image && image->snug;
    if (image)
        image->snug = false;
    fake_unlock();
    if (*grown)
        fake_changed("grow %s", fstype);
    return 0;
}

int device_trim(struct device *d, const char *mountpoint, const struct device_node *node, uint64_t from,
                uint64_t length, moment deadline, uint64_t *trimmed, struct error *err)
{
    (void)d;
    (void)mountpoint;
    (void)node;
    (void)deadline;
    int rc = fake_call("trim", "", err);
    *trimmed = rc == 0 ? length : 0;
    if (rc == 0)
        fake_changed("trim %llu", (unsigned long long)from);
    return rc;
}

int device_freeze(struct device *d, const char *mountpoint, const struct device_node *node, int hold_ms,
                  moment deadline, struct error *err)
{
    (void)d;
    (void)node;
    (void)hold_ms;
    (void)deadline;
    int rc = fake_call("freeze", "", err);
    if (rc < 0)
        return rc;
    if (!fake_mounted(mountpoint))
        return error_set(err, -ENODEV, "%s is not mounted", mountpoint);
    fake_changed("freeze");
    return 0;
}

int device_thaw(struct device *d, moment deadline, struct error *err)
{
    (void)d;
    (void)deadline;
    int rc = fake_call("thaw", "", err);
    if (rc == 0)
        fake_changed("thaw");
    return rc;
}

int device_unfreeze(struct device *d, const char *mountpoint, const struct device_node *node, moment deadline,
                    struct error *err)
{
    (void)d;
    (void)mountpoint;
    (void)node;
    (void)deadline;
    int rc = fake_call("unfreeze", "", err);
    if (rc == 0)
        fake_changed("unfreeze");
    return rc;
}

int device_umount(struct device *d, const char *mountpoint, const struct device_node *node, bool lazily,
                  moment deadline, struct error *err)
{
    char image[NAME_PART_MAX + 1];
    struct mount_entry e;
    (void)d;
    (void)deadline;
    int rc = fake_call("umount", "", err);
    if (rc < 0)
        return rc;
    rc = mountinfo_pile(mountpoint, node->major, node->minor, node->path, &e, err);
    if (rc == MOUNTINFO_COVERED)
        return error_set(err, -EEXIST, "%s was mounted over %s", e.source, mountpoint);
    if (rc == MOUNTINFO_TOP && fake_pinned_by()[0] && !lazily)
        return error_set(err, -EBUSY, "cannot unmount %s: it is in use", mountpoint);
    if (rc == MOUNTINFO_TOP && fake_mount_take(mountpoint, image))
        fake_changed("umount %s%s", image, fake_pinned_by()[0] ? " lazily" : "");
    return rc < 0 ? rc : fake_call_end("umount", "", err);
}

/* ---- host/loop.h ---- */

int loop_backing(const char *device, char *file, size_t size)
{
    unsigned minor;
    if (sscanf(device, "/dev/loop%u", &minor) != 1)
        return 0;
    fake_lock();
    bool found = fake_minor_file(minor, file, size);
    fake_unlock();
    return found;
}

int loop_named(const char *file, struct device_node *ret)
{
    unsigned minor;
    fake_lock();
    bool found = fake_mapping_minor(file, &minor) && fake_minor_in_use(minor);
    fake_unlock();
    if (!found)
        return 0;
    *ret = (struct device_node){ .major = 7, .minor = minor };
    (void)snprintf(ret->path, sizeof ret->path, "/dev/loop%u", minor);
    return 1;
}
