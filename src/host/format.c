/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "host/fs.h"
#include "host/probe.h"

/* Everything that libblkid knows a file system by lies in here: xfs at 0, ext4 at 1 KiB, btrfs at 64 KiB. */
#define HEAD (128 << 10)

struct copy {
    int fd;
    bool head; /* the first HEAD bytes only; else the others only */
};

static int copy_piece(void *arg, const char *bytes, size_t len, uint64_t offset, struct error *err)
{
    const struct copy *c = arg;
    if ((offset < HEAD) != c->head)
        return 0;
    while (len) {
        ssize_t n = pwrite(c->fd, bytes, len, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return error_set(err, n < 0 ? -errno : -EIO, "cannot write the file system to the image: %s",
                             error_text(n < 0 ? errno : EIO));
        bytes += n;
        len -= (size_t)n;
        offset += (size_t)n;
    }
    return 0;
}

static int copy_synced(int from, const struct copy *c, struct error *err)
{
    struct copy part = *c;
    int rc = fs_extents(from, copy_piece, &part, err);
    if (rc == 0 && fsync(c->fd) < 0)
        rc = error_set(err, -errno, "cannot flush the file system to the image: %s", error_text(errno));
    return rc;
}

static int size_of(int fd, uint64_t *ret, struct error *err)
{
    struct stat st;
    int rc = fstat(fd, &st);
    if (rc == 0 && S_ISBLK(st.st_mode))
        rc = ioctl(fd, BLKGETSIZE64, ret);
    else if (rc == 0)
        *ret = (uint64_t)st.st_size;
    return rc < 0 ? error_set(err, -errno, "cannot read the size of the image: %s", error_text(errno)) : 0;
}

int fs_format(const struct fs *fs, const char *mkfs_options, int fd, const char *scratch_dir, moment deadline,
              struct error *err)
{
    uint64_t size;
    struct device_probe probe;
    int made;
    int rc = size_of(fd, &size, err);
    if (rc == 0)
        rc = probe_fd(fd, &probe, err);
    if (rc < 0)
        return rc;
    if (probe.found != PROBE_EMPTY)
        return error_set(err, -EEXIST, "will not format: the image holds %s",
                         probe.type[0] ? probe.type : "signatures of more than one thing");
    rc = fs_make(fs, mkfs_options, size, scratch_dir, deadline, &made, err);
    if (rc < 0)
        return rc;
    auto_close int scratch = made;
    rc = copy_synced(scratch, &(struct copy){ .fd = fd, .head = false }, err);
    if (rc == 0)
        rc = copy_synced(scratch, &(struct copy){ .fd = fd, .head = true }, err);
    return rc;
}
