/* SPDX-License-Identifier: MIT */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

static int read_whole(int fd, const char *path, size_t max, char **ret, size_t *len, struct error *err)
{
    size_t have = 0, room = 4096;
    auto_free char *buf = NULL;
    for (;;) {
        if (!buf || have + 1 >= room) {
            room *= 2;
            char *more = realloc(buf, room);
            if (!more)
                return error_set(err, -ENOMEM, "cannot read %s: out of memory", path);
            buf = more;
        }
        ssize_t n = read(fd, buf + have, room - have - 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_set(err, -errno, "cannot read %s: %s", path, error_text(errno));
        if (n == 0)
            break;
        have += (size_t)n;
        if (have > max)
            return error_set(err, -EFBIG, "cannot read %s: larger than %zu bytes", path, max);
    }
    buf[have] = '\0';
    *ret = steal_ptr(&buf);
    if (len)
        *len = have;
    return 0;
}

int file_read(const char *path, size_t max, char **ret, size_t *len, struct error *err)
{
    auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return error_set(err, -errno, "cannot read %s: %s", path, error_text(errno));
    return read_whole(fd, path, max, ret, len, err);
}

int file_read_own(const char *path, size_t max, char **ret, size_t *len, struct error *err)
{
    struct stat st;
    auto_close int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return error_set(err, -errno, "cannot read %s: %s", path, error_text(errno));
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return error_set(err, -EINVAL, "cannot read %s: it is no regular file", path);
    return read_whole(fd, path, max, ret, len, err);
}

bool file_was_not_read(int rc)
{
    return rc == -EMFILE || rc == -ENFILE || rc == -ENOMEM || rc == -EIO || rc == -EACCES || rc == -EPERM;
}

int file_read_line(const char *path, char *buf, size_t size, struct error *err)
{
    auto_free char *text = NULL;
    int rc = file_read(path, 65536, &text, NULL, err);
    if (rc < 0)
        return rc;
    text[strcspn(text, "\n")] = '\0';
    if (strlen(text) >= size)
        return error_set(err, -EFBIG, "cannot read %s: its first line is too long", path);
    memcpy(buf, text, strlen(text) + 1);
    return 0;
}

static int write_all(int fd, const char *text, size_t len)
{
    while (len) {
        ssize_t n = write(fd, text, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        text += n;
        len -= (size_t)n;
    }
    return fsync(fd) < 0 ? -errno : 0;
}

int file_replace(const char *path, const char *text, size_t len, struct error *err)
{
    char tmp[PATH_MAX];
    if (snprintf(tmp, sizeof tmp, "%s.tmp", path) >= (int)sizeof tmp)
        return error_set(err, -ENAMETOOLONG, "cannot write %s: the path is too long", path);
    /* never into what a crash, or somebody else, has left there: a link, a pipe that nobody reads */
    (void)unlink(tmp);
    int fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return error_set(err, -errno, "cannot write %s: %s", tmp, error_text(errno));
    int rc = write_all(fd, text, len);
    if (close(fd) < 0 && rc == 0)
        rc = -errno;
    if (rc == 0 && rename(tmp, path) < 0)
        rc = -errno;
    if (rc < 0) {
        (void)unlink(tmp);
        return error_set(err, rc, "cannot write %s: %s", path, error_text(rc));
    }
    return 0;
}

int file_mkdirs(const char *path, unsigned mode, struct error *err)
{
    char part[PATH_MAX];
    size_t len = strlen(path);
    if (len == 0 || len >= sizeof part)
        return error_set(err, -ENAMETOOLONG, "cannot make directory '%s': the path is empty or too long",
                         path);
    for (size_t i = 1; i <= len; i++) {
        if (path[i] != '/' && path[i] != '\0')
            continue;
        memcpy(part, path, i);
        part[i] = '\0';
        if (mkdir(part, 0700) == 0) {
            if (chmod(part, mode) < 0)
                return error_set(err, -errno, "cannot set the mode of %s: %s", part, error_text(errno));
            continue;
        }
        if (errno != EEXIST)
            return error_set(err, -errno, "cannot make directory %s: %s", part, error_text(errno));
    }
    struct stat st;
    if (stat(path, &st) < 0 || !S_ISDIR(st.st_mode))
        return error_set(err, -ENOTDIR, "cannot make directory %s: something else is there", path);
    return 0;
}
