/* SPDX-License-Identifier: MIT */
/* Making a file system without letting mkfs near a device: in a sparse file without a name, whose extents
 * then go to the image. (`mkfs.btrfs scratch other` once turned a stranger's disk into btrfs.) */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/command.h"
#include "base/text.h"
#include "host/fs.h"
#include "host/helper.h"

#define NOBODY     65534
#define PIECE      65536
#define BLOCK      4096
#define ARGS_MAX   64
#define OPTION_MAX 1024
#define EXTENTS    64

/* O_TMPFILE, or where the file system has none (old overlayfs) a file that loses its name at once. */
static int open_unnamed(const char *dir)
{
    char path[4096];
    int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL))
        return fd;
    if (snprintf(path, sizeof path, "%s/scratch.XXXXXX", dir) >= (int)sizeof path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    fd = mkostemp(path, O_CLOEXEC);
    if (fd >= 0)
        (void)unlink(path);
    return fd;
}

static int scratch_open(const char *dir, uint64_t size, struct error *err)
{
    char text[32];
    auto_close int fd = open_unnamed(dir);
    if (fd < 0) /* a missing directory is no missing image: never -ENOENT */
        return error_set(err, errno == ENOENT ? -ENOTDIR : -errno,
                         "cannot make a scratch file in %s: %s; choose another directory with scratch-dir",
                         dir, error_text(errno));
    if (ftruncate(fd, (off_t)size) < 0)
        return error_set(
            err, errno == EINVAL ? -EFBIG : -errno,
            "cannot make a sparse scratch file of %s in %s: %s; choose a scratch-dir on a file system that "
            "takes one (ext4 up to 16 TiB, xfs more)",
            text_size(size, text), dir, error_text(errno));
    if (fchown(fd, NOBODY, NOBODY) < 0)
        return error_set(err, -errno, "cannot give the scratch file in %s to nobody: %s", dir,
                         error_text(errno));
    return steal_fd(&fd);
}

/* mkfs' own words without its help text and the name it knows the file by. mkfs.xfs says what is wrong before
 * a help text so long that only its end may have been kept. */
static const char *words_of(struct command_output *out)
{
    static const char name[] = "/proc/self/fd/3";
    char *usage = strstr(out->text, "Usage:"), *p;
    if (usage)
        *usage = '\0';
    else if (strstr(out->text, "<devicename> is required"))
        return "it does not take these values, or not together, or not for this size";
    while ((p = strstr(out->text, name)))
        memmove(p, p + strlen(name), strlen(p + strlen(name)) + 1);
    return out->text;
}

/* mkfs.btrfs looks at the backing file of every loop device that is mounted, and gives up when it may not:
 * nobody may not. So rbdvol-device starts it, where it sees no mounts (device/nobody.c); that one becomes
 * nobody by itself. */
static size_t begin_argv(const struct fs *fs, bool written, bool zeroed, char helper[static PATH_MAX],
                         const char **argv)
{
    size_t n = 0;
    if (written) { /* or mkfs.ext4 punches holes where it wants zeros */
        argv[n++] = "env";
        argv[n++] = "UNIX_IO_NOZEROOUT=1";
    }
    if (fs->blind) {
        if (helper_path("device", helper, PATH_MAX) < 0) /* and then it cannot be run, which says so */
            helper[0] = '\0';
        argv[n++] = helper;
        argv[n++] = "as-nobody";
    }
    argv[n++] = fs->mkfs;
    for (size_t i = 0; fs->mkfs_args[i]; i++)
        argv[n++] = fs->mkfs_args[i];
    for (size_t i = 0; zeroed && fs->zeroed_args[i]; i++)
        argv[n++] = fs->zeroed_args[i];
    return n;
}

static int mkfs_failed(const struct fs *fs, const char *options, int rc, struct command_output *out,
                       struct error *err)
{
    if (rc == -ENOENT || rc == 127 /* of env, or of rbdvol-device */)
        return error_set(err, -EOPNOTSUPP,
                         "cannot make a file system: %s (or setpriv) is not installed: install %s", fs->mkfs,
                         strcmp(fs->name, "xfs") == 0    ? "xfsprogs"
                         : strcmp(fs->name, "ext4") == 0 ? "e2fsprogs"
                                                         : "btrfs-progs");
    if (rc < 0)
        return rc;
    if (strstr(out->text, "No space left on device"))
        return error_set(
            err, -ENOSPC,
            "%s ran out of space in the scratch directory: free some, or choose another directory with "
            "scratch-dir",
            fs->mkfs);
    return error_set(err, -EINVAL, "%s%s%s failed (%d): %.300s", fs->mkfs, options[0] ? " with " : "",
                     options, rc, words_of(out));
}

/* The program's exit status. */
static int run_mkfs(const struct fs *fs, const char *options, int fd, bool written, bool zeroed,
                    moment deadline, struct command_output *out, struct error *err)
{
    const char *argv[ARGS_MAX];
    char words[OPTION_MAX], helper[PATH_MAX], *save = NULL;
    if (snprintf(words, sizeof words, "%s", options) >= (int)sizeof words)
        return error_set(err, -EINVAL, "mkfs options are longer than %d bytes", OPTION_MAX - 1);
    size_t n = begin_argv(fs, written, zeroed, helper, argv);
    for (char *w = strtok_r(words, "+", &save); w; w = strtok_r(NULL, "+", &save)) {
        if (n + 2 >= ARGS_MAX)
            return error_set(err, -EINVAL, "too many mkfs options");
        argv[n++] = w;
    }
    argv[n++] = "/proc/self/fd/3";
    argv[n] = NULL;
    const struct command cmd = {
        .argv = argv, .keep_fd = fd, .unprivileged = !fs->blind, .deadline = deadline
    };
    return command_run(&cmd, out, err);
}

static int mkfs(const struct fs *fs, const char *options, int fd, bool written, moment deadline,
                struct error *err)
{
    struct command_output out = { 0 };
    bool zeroed = fs->zeroed_args && !written;
    int rc = run_mkfs(fs, options, fd, written, zeroed, deadline, &out, err);
    if (rc > 0 && zeroed && strstr(out.text, fs->zeroed_word)) /* which it does not know: nothing was made */
        rc = run_mkfs(fs, options, fd, written, false, deadline, &out, err);
    return rc == 0 ? 0 : mkfs_failed(fs, options, rc, &out, err);
}

static int make(const struct fs *fs, const char *mkfs_options, uint64_t size, const char *scratch_dir,
                bool written, moment deadline, int *ret, struct error *err)
{
    int rc = fs_check_size(fs, size, err);
    if (rc == 0)
        rc = fs_check_mkfs_options(fs, mkfs_options, err);
    if (rc < 0)
        return rc;
    auto_close int fd = scratch_open(scratch_dir, size, err);
    if (fd < 0)
        return fd;
    rc = mkfs(fs, mkfs_options, fd, written, deadline, err);
    if (rc < 0)
        return rc;
    struct stat st;
    if (fstat(fd, &st) < 0 || (uint64_t)st.st_size != size)
        return error_set(err, -EIO, "%s changed the size of the scratch file", fs->mkfs);
    *ret = steal_fd(&fd);
    return 0;
}

int fs_make(const struct fs *fs, const char *mkfs_options, uint64_t size, const char *scratch_dir,
            moment deadline, int *ret, struct error *err)
{
    return make(fs, mkfs_options, size, scratch_dir, false, deadline, ret, err);
}

int fs_make_written(const struct fs *fs, const char *mkfs_options, uint64_t size, const char *scratch_dir,
                    moment deadline, int *ret, struct error *err)
{
    return make(fs, mkfs_options, size, scratch_dir, true, deadline, ret, err);
}

static bool zero(const char *p, size_t len)
{
    return len == 0 || (p[0] == '\0' && memcmp(p, p + 1, len - 1) == 0);
}

static int read_piece(int fd, char *buf, size_t len, off_t at, struct error *err)
{
    for (size_t have = 0; have < len;) {
        ssize_t n = pread(fd, buf + have, len - have, at + (off_t)have);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return error_set(err, n < 0 ? -errno : -EIO, "cannot read the scratch file: %s",
                             n < 0 ? error_text(errno) : "it is shorter than it was");
        have += (size_t)n;
    }
    return 0;
}

/* Data that is zeros costs as much to write as other data: whole pieces, and blocks at either end of one, are
 * left out. */
static int give_piece(const char *buf, size_t len, off_t at,
                      int (*data)(void *, const char *, size_t, uint64_t, struct error *), void *arg,
                      struct error *err)
{
    size_t from = 0;
    if (zero(buf, len))
        return 0;
    while (len - from > BLOCK && zero(buf + from, BLOCK))
        from += BLOCK;
    while (len - from > BLOCK && zero(buf + len - BLOCK, BLOCK))
        len -= BLOCK;
    return data(arg, buf + from, len - from, (uint64_t)at + from, err);
}

typedef int data_fn(void *arg, const char *bytes, size_t len, uint64_t offset, struct error *err);

struct pieces {
    int fd;
    bool zeros; /* as they are, too */
    char *buf;
    data_fn *data;
    void *arg;
};

static int give_extent(const struct pieces *p, off_t at, off_t end, struct error *err)
{
    while (at < end) {
        off_t next = at / PIECE * PIECE + PIECE;
        size_t len = (size_t)((next < end ? next : end) - at);
        int rc = read_piece(p->fd, p->buf, len, at, err);
        if (rc == 0 && p->zeros)
            rc = p->data(p->arg, p->buf, len, (uint64_t)at, err);
        else if (rc == 0)
            rc = give_piece(p->buf, len, at, p->data, p->arg, err);
        if (rc < 0)
            return rc;
        at += (off_t)len;
    }
    return 0;
}

static int each_written(const struct pieces *p, struct error *err)
{
    for (off_t end = 0;;) {
        off_t at = lseek(p->fd, end, SEEK_DATA);
        if (at < 0 && errno == ENXIO)
            return 0;
        end = at < 0 ? at : lseek(p->fd, at, SEEK_HOLE);
        if (end < 0)
            return error_set(err, -errno, "cannot find the data in the scratch file: %s", error_text(errno));
        int rc = give_extent(p, at, end, err);
        if (rc < 0)
            return rc;
    }
}

int fs_extents(int fd, data_fn *data, void *arg, struct error *err)
{
    auto_free char *buf = malloc(PIECE);
    if (!buf)
        return error_set(err, -ENOMEM, "out of memory");
    const struct pieces p = { fd, false, buf, data, arg };
    return each_written(&p, err);
}

/* What is allocated and was not written reads as zeros: for SEEK_DATA it is a hole. -EOPNOTSUPP: this file
 * system knows no such thing (tmpfs); what was made zeros there was written. */
static int each_allocated(const struct pieces *p, struct error *err)
{
    _Alignas(struct fiemap) char room[sizeof(struct fiemap) + EXTENTS * sizeof(struct fiemap_extent)];
    struct fiemap *m = (struct fiemap *)room;
    struct stat st;
    if (fstat(p->fd, &st) < 0)
        return error_set(err, -errno, "cannot look at the scratch file: %s", error_text(errno));
    for (uint64_t at = 0; at < (uint64_t)st.st_size;) {
        memset(room, 0, sizeof room);
        m->fm_start = at;
        m->fm_length = (uint64_t)st.st_size - at;
        m->fm_flags = FIEMAP_FLAG_SYNC;
        m->fm_extent_count = EXTENTS;
        if (ioctl(p->fd, FS_IOC_FIEMAP, m) < 0)
            return error_set(err, errno == ENOTTY ? -EOPNOTSUPP : -errno,
                             "cannot find the extents of the scratch file: %s", error_text(errno));
        if (m->fm_mapped_extents == 0)
            return 0;
        for (unsigned i = 0; i < m->fm_mapped_extents; i++) {
            const struct fiemap_extent *e = &m->fm_extents[i];
            uint64_t end = e->fe_logical + e->fe_length;
            at = end;
            int rc = give_extent(p, (off_t)e->fe_logical,
                                 end < (uint64_t)st.st_size ? (off_t)end : st.st_size, err);
            if (rc < 0)
                return rc;
        }
    }
    return 0;
}

int fs_extents_written(int fd, data_fn *data, void *arg, struct error *err)
{
    auto_free char *buf = malloc(PIECE);
    if (!buf)
        return error_set(err, -ENOMEM, "out of memory");
    const struct pieces p = { fd, true, buf, data, arg };
    int rc = each_allocated(&p, err);
    return rc == -EOPNOTSUPP ? each_written(&p, err) : rc;
}
