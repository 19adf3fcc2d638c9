/* SPDX-License-Identifier: MIT */
#include "device/mountroot.h"

#include <errno.h>
#include <linux/fs.h>
#include <sys/ioctl.h>

#include "base/cleanup.h"
#include "host/mountinfo.h"
#include "host/mountpoint.h"

int mountroot_open(const char *mountpoint, const struct device_node *node, struct error *err)
{
    CLEANUP(mountpoint_done) struct mountpoint point = { .parent = -1 };
    struct mount_entry e;
    int rc = mountpoint_find(mountpoint, false, &point, err);
    if (rc == 0)
        rc = mountinfo_pile(point.path, node->major, node->minor, node->path, &e, err);
    if (rc < 0)
        return rc;
    if (rc != MOUNTINFO_TOP)
        return error_set(err, -ENODEV, "%s is not mounted at %s", node->path, mountpoint);
    return mountpoint_open(&point, err);
}

int mountroot_trim(const char *mountpoint, const struct device_node *node, uint64_t from, uint64_t length,
                   uint64_t *trimmed, struct error *err)
{
    struct fstrim_range range = { .start = from, .len = length };
    auto_close int root = mountroot_open(mountpoint, node, err);
    if (root < 0)
        return root;
    if (ioctl(root, FITRIM, &range) == 0) {
        *trimmed = range.len;
        return 0;
    }
    if (errno == EINVAL)
        return error_set(err, -ERANGE, "the file system ends before %llu", (unsigned long long)from);
    if (errno == EOPNOTSUPP)
        return error_set(err, -EOPNOTSUPP, "%s takes no word of what is free", node->path);
    return error_set(err, -errno, "cannot trim %s: %s", mountpoint, error_text(errno));
}
