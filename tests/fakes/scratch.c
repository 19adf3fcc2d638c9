/* SPDX-License-Identifier: MIT */
/* A mkfs that writes two small pieces; the file systems' tables are the real ones. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "fakes/calls.h"
#include "host/fs.h"

#define PIECE 4096

int fs_make(const struct fs *fs, const char *mkfs_options, uint64_t size, const char *scratch_dir,
            moment deadline, int *ret, struct error *err)
{
    char piece[PIECE];
    (void)mkfs_options;
    (void)scratch_dir;
    (void)deadline;
    int rc = fake_call("fs_make", fs->name, err);
    if (rc < 0)
        return rc;
    auto_close int fd = memfd_create("scratch", MFD_CLOEXEC);
    memset(piece, 'x', sizeof piece);
    if (fd < 0 || ftruncate(fd, (off_t)size) < 0 || pwrite(fd, piece, PIECE, 0) != PIECE ||
        pwrite(fd, piece, PIECE, 1 << 17) != PIECE)
        return error_set(err, -EFBIG, "no scratch file");
    *ret = steal_fd(&fd);
    return 0;
}

int fs_make_written(const struct fs *fs, const char *mkfs_options, uint64_t size, const char *scratch_dir,
                    moment deadline, int *ret, struct error *err)
{
    return fs_make(fs, mkfs_options, size, scratch_dir, deadline, ret, err);
}

int fs_extents_written(int fd,
                       int (*data)(void *arg, const char *bytes, size_t len, uint64_t offset,
                                   struct error *err),
                       void *arg, struct error *err)
{
    return fs_extents(fd, data, arg, err);
}

int fs_extents(int fd,
               int (*data)(void *arg, const char *bytes, size_t len, uint64_t offset, struct error *err),
               void *arg, struct error *err)
{
    char piece[PIECE];
    for (off_t at = 0; (at = lseek(fd, at, SEEK_DATA)) >= 0; at += PIECE) {
        ssize_t n = pread(fd, piece, PIECE, at);
        int rc = n <= 0 ? error_set(err, -EIO, "cannot read the scratch file")
                        : data(arg, piece, (size_t)n, (uint64_t)at, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}
