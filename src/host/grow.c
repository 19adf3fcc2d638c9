/* SPDX-License-Identifier: MIT */
#include "host/grow.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/btrfs.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/command.h"
#include "host/ext4.h"
#include "host/mountinfo.h"
#include "host/mountpoint.h"

/* The kernel's words for XFS, which its headers for programs do not have (fs/xfs/libxfs/xfs_fs.h). */
struct xfs_geometry {
    uint32_t block_size, rt_ext_size, ag_blocks, ag_count, log_blocks, sect_size, inode_size, imax_percent;
    uint64_t data_blocks, rt_blocks, rt_extents, log_start;
    unsigned char uuid[16];
    uint32_t sunit, swidth;
    int32_t version;
    uint32_t flags, log_sect_size, rt_sect_size, dir_block_size;
};
struct xfs_growth {
    uint64_t new_blocks;
    uint32_t imax_percent;
};
#define XFS_GEOMETRY  _IOR('X', 100, struct xfs_geometry)
#define XFS_GROW_DATA _IOW('X', 110, struct xfs_growth)
#define XFS_SLACK     64 /* blocks: no allocation group is smaller */

#define EXT4_GROW _IOW('f', 16, uint64_t)

static int device_bytes(int fd, const char *device, uint64_t *ret, struct error *err)
{
    return ioctl(fd, BLKGETSIZE64, ret) < 0
               ? error_set(err, -errno, "cannot ask %s for its size: %s", device, error_text(errno))
               : 0;
}

static int failed(const char *type, struct error *err)
{
    return error_set(err, -errno, "the kernel cannot grow the %s: %s", type, error_text(errno));
}

static int grow_xfs(int root, int device, const struct device_node *node, bool *grown, struct error *err)
{
    struct xfs_geometry g;
    uint64_t bytes;
    int rc = device_bytes(device, node->path, &bytes, err);
    if (rc < 0)
        return rc;
    if (ioctl(root, XFS_GEOMETRY, &g) < 0)
        return error_set(err, -errno, "cannot ask the xfs for its size: %s", error_text(errno));
    struct xfs_growth growth = { .new_blocks = bytes / g.block_size, .imax_percent = g.imax_percent };
    if (growth.new_blocks < g.data_blocks + XFS_SLACK)
        return 0;
    if (ioctl(root, XFS_GROW_DATA, &growth) < 0)
        return failed("xfs", err);
    *grown = true;
    return 0;
}

static int grow_ext4(int root, int device, const struct device_node *node, bool *grown, struct error *err)
{
    struct ext4_super e;
    uint64_t bytes;
    int rc = device_bytes(device, node->path, &bytes, err);
    if (rc == 0)
        rc = ext4_read(device, node->path, &e, err);
    if (rc < 0)
        return rc;
    uint64_t blocks = bytes / e.block_size;
    if (blocks <= e.blocks + e.slack)
        return 0;
    if (ioctl(root, EXT4_GROW, &blocks) == 0) {
        *grown = true;
        return 0;
    }
    if (errno == EPERM)
        return error_set(err, -EPERM,
                         "the kernel lets ext4 grow while it is mounted only with CAP_SYS_RESOURCE, which "
                         "this host does not grant; it grows at the next mount");
    return failed("ext4", err);
}

static int grow_btrfs(int root, int device, const struct device_node *node, bool *grown, struct error *err)
{
    struct btrfs_ioctl_dev_info_args info = { .devid = 1 };
    struct btrfs_ioctl_vol_args all = { .name = "max" };
    uint64_t bytes;
    int rc = device_bytes(device, node->path, &bytes, err);
    if (rc < 0)
        return rc;
    if (ioctl(root, BTRFS_IOC_DEV_INFO, &info) < 0)
        return error_set(err, -errno, "cannot ask the btrfs for its size: %s", error_text(errno));
    if (bytes / 4096 <= info.total_bytes / 4096)
        return 0;
    if (ioctl(root, BTRFS_IOC_RESIZE, &all) < 0)
        return failed("btrfs", err);
    *grown = true;
    return 0;
}

int grow_mounted(const struct fs *fs, const struct device_node *node, const char *mountpoint, bool *grown,
                 struct error *err)
{
    static const struct {
        const char *name;
        int (*grow)(int root, int device, const struct device_node *node, bool *grown, struct error *err);
    } ways[] = { { "xfs", grow_xfs }, { "ext4", grow_ext4 }, { "btrfs", grow_btrfs } };
    CLEANUP(mountpoint_done) struct mountpoint point = { .parent = -1 };
    struct mount_entry e;
    *grown = false;
    int rc = mountpoint_find(mountpoint, false, &point, err);
    if (rc == 0)
        rc = mountinfo_pile(point.path, node->major, node->minor, node->path, &e, err);
    if (rc < 0)
        return rc;
    if (rc != MOUNTINFO_TOP)
        return error_set(err, -ENODEV, "%s is not mounted at %s", node->path, mountpoint);
    auto_close int root = mountpoint_open(&point, err);
    if (root < 0)
        return root;
    auto_close int device = open(node->path, O_RDONLY | O_CLOEXEC);
    if (device < 0)
        return error_set(err, errno == ENOENT ? -ENODEV : -errno, "cannot open %s: %s", node->path,
                         error_text(errno));
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
        if (strcmp(fs->name, ways[i].name) == 0)
            return ways[i].grow(root, device, node, grown, err);
    return 0;
}

/* Has this process what the kernel wants of who grows a mounted ext4? */
static bool kernel_lets_us(void)
{
    cap_flag_value_t has = CAP_CLEAR;
    cap_t caps = cap_get_proc();
    if (caps)
        (void)cap_get_flag(caps, CAP_SYS_RESOURCE, CAP_EFFECTIVE, &has);
    (void)cap_free(caps);
    return has == CAP_SET;
}

int grow_is_due(const struct fs *fs, const char *device, struct error *err)
{
    struct ext4_super e;
    uint64_t bytes;
    if (strcmp(fs->name, "ext4") != 0)
        return 0;
    auto_close int fd = open(device, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return error_set(err, errno == ENOENT ? -ENODEV : -errno, "cannot open %s: %s", device,
                         error_text(errno));
    int rc = device_bytes(fd, device, &bytes, err);
    if (rc == 0)
        rc = ext4_read(fd, device, &e, err);
    if (rc < 0)
        return rc;
    if (bytes / e.block_size <= e.blocks + e.slack)
        return GROW_NEVER;
    if (e.online && kernel_lets_us())
        return GROW_NOT_DUE;
    return bytes / e.block_size <= e.reach ? GROW_DUE : GROW_TOO_FAR;
}

int grow_unmounted(const char *device, moment deadline, struct error *err)
{
    const char *const argv[] = { "resize2fs", device, NULL };
    const struct command cmd = { .argv = argv, .keep_fd = -1, .deadline = deadline };
    struct command_output out;
    int rc = command_run(&cmd, &out, err);
    if (rc == -ENOENT)
        return error_set(err, -EOPNOTSUPP, "resize2fs is not installed (package e2fsprogs)");
    return rc > 0 ? error_set(err, -EIO, "resize2fs failed (%d): %.300s", rc, out.text) : rc;
}
