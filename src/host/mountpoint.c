/* SPDX-License-Identifier: MIT */
#include "host/mountpoint.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"

#define ROOT_MODE  0711 /* others may pass to their volume, not list those of others */
#define POINT_MODE 0755

struct split {
    char root[PATH_MAX];
    char place[NAME_MAX + 1], name[NAME_MAX + 1];
};

static bool component(const char *text, size_t len, char buf[static NAME_MAX + 1])
{
    if (len == 0 || len > NAME_MAX || strncmp(text, ".", len) == 0 || strncmp(text, "..", len) == 0)
        return false;
    memcpy(buf, text, len);
    buf[len] = '\0';
    return true;
}

static int split(const char *path, struct split *ret, struct error *err)
{
    const char *last = strrchr(path, '/'), *middle = last;
    while (middle > path && *--middle != '/')
        ;
    if (path[0] != '/' || strlen(path) >= PATH_MAX || !last || middle == path || middle == last ||
        !component(last + 1, strlen(last + 1), ret->name) ||
        !component(middle + 1, (size_t)(last - middle - 1), ret->place))
        return error_set(err, -EINVAL, "'%s' is no mountpoint: it must be MOUNT-ROOT/POOL/IMAGE", path);
    memcpy(ret->root, path, (size_t)(middle - path));
    ret->root[middle - path] = '\0';
    return 0;
}

static int refuse(int code, const char *path, struct error *err)
{
    if (code == ENOTDIR || code == ELOOP)
        return error_set(err, -ENOTDIR, "will not use %s: it is a symbolic link, or no directory; remove it",
                         path);
    return error_set(err, code == ENOENT ? -ENODEV : -code, "cannot open %s: %s", path, error_text(code));
}

/* mkdir with exactly this mode (the umask does not count); there already is fine. */
static int make_dir(int parent, const char *name, mode_t mode, const char *path, struct error *err)
{
    if (mkdirat(parent, name, 0700) < 0)
        return errno == EEXIST ? 0
                               : error_set(err, errno == ENOENT ? -ENODEV : -errno,
                                           "cannot make directory %s: %s", path, error_text(errno));
    if (fchmodat(parent, name, mode, 0) < 0)
        return error_set(err, -errno, "cannot set the mode of %s: %s", path, error_text(errno));
    return 0;
}

int mountpoint_find(const char *path, bool make, struct mountpoint *ret, struct error *err)
{
    struct split s;
    char root[PATH_MAX], place[PATH_MAX];
    int rc = split(path, &s, err);
    if (rc == 0 && make)
        rc = file_mkdirs(s.root, ROOT_MODE, err);
    if (rc < 0)
        return rc;
    if (!realpath(s.root, root))
        return refuse(errno, s.root, err);
    auto_close int top = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (top < 0)
        return refuse(errno, root, err);
    if (snprintf(place, sizeof place, "%s/%s", strcmp(root, "/") == 0 ? "" : root, s.place) >=
            (int)sizeof place ||
        snprintf(ret->path, sizeof ret->path, "%s/%s", place, s.name) >= (int)sizeof ret->path)
        return error_set(err, -ENAMETOOLONG, "the path of mountpoint %s is too long", path);
    rc = make ? make_dir(top, s.place, ROOT_MODE, place, err) : 0;
    if (rc < 0)
        return rc;
    int parent = openat(top, s.place, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (parent < 0)
        return refuse(errno, place, err);
    memcpy(ret->name, s.name, sizeof ret->name);
    ret->parent = parent;
    return 0;
}

int mountpoint_open(const struct mountpoint *m, struct error *err)
{
    int fd = openat(m->parent, m->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? refuse(errno, m->path, err) : fd;
}

/* 1: empty; 0: not; negative: errno. */
static int empty(int fd)
{
    int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    auto_dir DIR *dir = copy < 0 ? NULL : fdopendir(copy);
    const struct dirent *d;
    if (!dir)
        return -errno;
    errno = 0;
    while ((d = readdir(dir)))
        if (strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0)
            return 0;
    return errno ? -errno : 1;
}

/* Best effort: tmpfs and others have no such flag. */
static void make_immutable(int fd)
{
    int flags;
    if (ioctl(fd, FS_IOC_GETFLAGS, &flags) < 0 || (flags & FS_IMMUTABLE_FL))
        return;
    flags |= FS_IMMUTABLE_FL;
    (void)ioctl(fd, FS_IOC_SETFLAGS, &flags);
}

int mountpoint_prepare(const struct mountpoint *m, struct error *err)
{
    int rc = make_dir(m->parent, m->name, POINT_MODE, m->path, err);
    if (rc < 0)
        return rc;
    auto_close int fd = mountpoint_open(m, err);
    if (fd < 0)
        return fd;
    rc = empty(fd);
    if (rc < 0)
        return error_set(err, rc, "cannot look into %s: %s", m->path, error_text(rc));
    if (rc == 0)
        return error_set(
            err, -ENOTEMPTY,
            "will not mount over %s: files are there, written while the volume was not mounted; move "
            "them away",
            m->path);
    make_immutable(fd);
    return 0;
}

/* Clears the flag on the directory itself, never on the root of something that is mounted there. */
static void make_mutable(const struct mountpoint *m)
{
    struct error ignored;
    struct stat here, parent;
    int flags;
    auto_close int fd = mountpoint_open(m, &ignored);
    if (fd < 0 || fstat(fd, &here) < 0 || fstat(m->parent, &parent) < 0 || here.st_dev != parent.st_dev ||
        ioctl(fd, FS_IOC_GETFLAGS, &flags) < 0)
        return;
    flags &= ~FS_IMMUTABLE_FL;
    (void)ioctl(fd, FS_IOC_SETFLAGS, &flags);
}

void mountpoint_forget(const char *path)
{
    struct error ignored;
    struct mountpoint m;
    if (mountpoint_find(path, false, &m, &ignored) < 0)
        return;
    make_mutable(&m);
    (void)unlinkat(m.parent, m.name, AT_REMOVEDIR);
    mountpoint_done(&m);
}

void mountpoint_done(struct mountpoint *m)
{
    if (m->parent >= 0)
        (void)close(m->parent);
    m->parent = -1;
}
