/* SPDX-License-Identifier: MIT */
#include "base/passphrase.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

void passphrase_done(struct passphrase *p)
{
    explicit_bzero(p, sizeof *p);
}

/* Whoever may write there may put another file in its place. */
static int check_directory(const char *path, struct error *err)
{
    char copy[PATH_MAX];
    struct stat st;
    (void)snprintf(copy, sizeof copy, "%s", path);
    const char *dir = dirname(copy);
    if (stat(dir, &st) < 0)
        return error_set(err, errno == ENOENT ? -ENOKEY : -errno, "cannot look at %s: %s", dir,
                         error_text(errno));
    if (st.st_uid != geteuid() || (st.st_mode & 022))
        return error_set(err, -EPERM, "%s may be written by others than root: chown root, chmod 0700", dir);
    return 0;
}

static int check_file(int fd, const char *path, struct error *err)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return error_set(err, -errno, "cannot look at %s: %s", path, error_text(errno));
    if (!S_ISREG(st.st_mode))
        return error_set(err, -EINVAL, "%s is no regular file", path);
    if (st.st_uid != geteuid() || (st.st_mode & 077))
        return error_set(err, -EPERM, "%s may be read by others than root: chown root, chmod 0600", path);
    return 0;
}

/* Into *ret, and a byte more than there may be. */
static ssize_t read_all(int fd, struct passphrase *ret, char *more)
{
    ssize_t n;
    while (ret->len < sizeof ret->bytes) {
        n = read(fd, ret->bytes + ret->len, sizeof ret->bytes - ret->len);
        if (n <= 0)
            return n;
        ret->len += (size_t)n;
    }
    return read(fd, more, 1);
}

int passphrase_read(const char *path, struct passphrase *ret, struct error *err)
{
    char more = '\0';
    *ret = (struct passphrase){ .len = 0 };
    int rc = check_directory(path, err);
    if (rc < 0)
        return rc;
    auto_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return error_set(err, errno == ENOENT ? -ENOKEY : -errno, "cannot read the passphrase in %s: %s",
                         path, error_text(errno));
    rc = check_file(fd, path, err);
    if (rc < 0)
        return rc;
    ssize_t n = read_all(fd, ret, &more);
    if (n == 0 && ret->len > 0 && ret->bytes[ret->len - 1] == '\n')
        ret->len--;
    if (n < 0)
        rc = error_set(err, -errno, "cannot read %s: %s", path, error_text(errno));
    else if (n > 0 || ret->len == 0)
        rc = error_set(err, -EINVAL, "the passphrase in %s is %s", path,
                       n > 0 ? "longer than 512 bytes" : "empty");
    if (rc < 0)
        passphrase_done(ret);
    return rc;
}
