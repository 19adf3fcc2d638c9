/* SPDX-License-Identifier: MIT */
#include "host/loop.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/text.h"

#define TRIES        64 /* others take the number that we were offered: as many as may try at the same time */
#define NODE_WAIT_MS 1000

#define NODE_NAME_MAX 24

/* Is the open loop device on this file? */
static bool loop_is_on(int loop, const struct stat *file)
{
    struct loop_info64 info;
    return ioctl(loop, LOOP_GET_STATUS64, &info) == 0 && info.lo_device == file->st_dev &&
           info.lo_inode == file->st_ino;
}

static int node_of(int loop, const char *path, struct device_node *ret, struct error *err)
{
    struct stat st;
    if (fstat(loop, &st) < 0 || !S_ISBLK(st.st_mode))
        return error_set(err, -ENODEV, "%s is no block device", path);
    *ret = (struct device_node){ .major = major(st.st_rdev), .minor = minor(st.st_rdev) };
    (void)snprintf(ret->path, sizeof ret->path, "%s", path);
    return 0;
}

/* Could the loop device with this backing name be on our file? The name is what the file was called when it
 * was seen from this mount namespace; some lose their directory. Only such devices are opened: one on a
 * detached FUSE file ("/") is nobody's who looks here, and asking it would hang with the process behind it.
 */
static bool may_be(const char *backing, const char *name)
{
    const char *base = strrchr(name, '/'), *their = strrchr(backing, '/');
    if (strcmp(backing, name) == 0)
        return true;
    base = base ? base + 1 : name;
    their = their ? their + 1 : backing;
    size_t len = strlen(base);
    return strncmp(their, base, len) == 0 && (their[len] == '\0' || strcmp(their + len, " (deleted)") == 0);
}

int loop_backing(const char *device, char *file, size_t size)
{
    char path[NAME_MAX + 64];
    struct error ignored;
    const char *name = strrchr(device, '/');
    if (!name || strncmp(name + 1, "loop", 4) != 0 || strlen(name) > NODE_NAME_MAX)
        return 0;
    (void)snprintf(path, sizeof path, "/sys/block/%s/loop/backing_file", name + 1);
    return file_read_line(path, file, size, &ignored) == 0;
}

int loop_named(const char *file, struct device_node *ret)
{
    auto_dir DIR *dir = opendir("/sys/block");
    const struct dirent *d;
    while (dir && (d = readdir(dir))) {
        char path[NAME_MAX + 64], text[PATH_MAX];
        struct error ignored;
        struct device_node node;
        if (strncmp(d->d_name, "loop", 4) != 0 || strlen(d->d_name) > NODE_NAME_MAX)
            continue;
        (void)snprintf(path, sizeof path, "/sys/block/%s/loop/backing_file", d->d_name);
        if (file_read_line(path, text, sizeof text, &ignored) < 0 || !may_be(text, file))
            continue;
        (void)snprintf(path, sizeof path, "/sys/block/%s/dev", d->d_name);
        if (file_read_line(path, text, sizeof text, &ignored) < 0 ||
            sscanf(text, "%u:%u", &node.major, &node.minor) != 2)
            continue;
        (void)snprintf(node.path, sizeof node.path, "/dev/%.*s", NODE_NAME_MAX, d->d_name);
        *ret = node;
        return 1;
    }
    return 0;
}

int loop_find(int file, const char *name, struct device_node *ret, int *ret_fd, struct error *err)
{
    struct stat st;
    if (fstat(file, &st) < 0)
        return error_set(err, -errno, "cannot look at '%s': %s", name, error_text(errno));
    auto_dir DIR *dir = opendir("/sys/block");
    if (!dir)
        return error_set(err, -ENODEV, "cannot list /sys/block: %s", error_text(errno));
    const struct dirent *d;
    while ((d = readdir(dir))) {
        char path[NAME_MAX + 64], backing[PATH_MAX];
        struct error ignored;
        if (strncmp(d->d_name, "loop", 4) != 0)
            continue;
        (void)snprintf(path, sizeof path, "/sys/block/%s/loop/backing_file", d->d_name);
        if (file_read_line(path, backing, sizeof backing, &ignored) < 0 || !may_be(backing, name))
            continue;
        (void)snprintf(path, sizeof path, "/dev/%s", d->d_name);
        auto_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        if (fd < 0 || !loop_is_on(fd, &st))
            continue;
        int rc = node_of(fd, path, ret, err);
        if (rc < 0)
            return rc;
        *ret_fd = steal_fd(&fd);
        return 1;
    }
    return 0;
}

/* The kernel makes the node, and where /dev is no devtmpfs nobody does. */
static int open_node(const char *path, int flags, struct error *err)
{
    moment deadline = clock_in_ms(NODE_WAIT_MS);
    for (;;) {
        int fd = open(path, flags | O_CLOEXEC);
        if (fd >= 0)
            return fd;
        if (errno != ENOENT || clock_left_ms(deadline) == 0)
            break;
        (void)usleep(10000);
    }
    if (errno == ENOENT)
        return error_set(
            err, -ENODEV,
            "the kernel offers %s, but there is no such node: /dev must be the host's devtmpfs (in a "
            "container or managed plugin: mount it, or make more loop nodes)",
            path);
    return error_set(err, -errno, "cannot open %s: %s", path, error_text(errno));
}

/* One attempt. -EBUSY: another process was faster. */
static int configure(int control, int file, const char *name, uint32_t block_size, bool ro,
                     struct device_node *ret, int *ret_fd, struct error *err)
{
    char path[32];
    int n = ioctl(control, LOOP_CTL_GET_FREE);
    if (n < 0)
        return error_set(
            err, errno == ENOSPC ? -ENOSPC : -errno,
            "no loop device is free for '%s': %s; raise the kernel's max_loop, or unmount something", name,
            error_text(errno));
    (void)snprintf(path, sizeof path, "/dev/loop%d", n);
    auto_close int fd = open_node(path, ro ? O_RDONLY : O_RDWR, err);
    if (fd < 0)
        return fd;
    struct loop_config config = { .fd = (uint32_t)file, .block_size = block_size };
    config.info.lo_flags = LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO | (ro ? LO_FLAGS_READ_ONLY : 0);
    (void)snprintf((char *)config.info.lo_file_name, sizeof config.info.lo_file_name, "%s", name);
    if (ioctl(fd, LOOP_CONFIGURE, &config) < 0) {
        const char *hint = errno == EINVAL || errno == ENOTTY ? " (Linux 5.8 or later is needed)" : "";
        return error_set(err, -errno, "cannot put %s on '%s': %s%s", path, name, error_text(errno), hint);
    }
    int rc = node_of(fd, path, ret, err);
    if (rc < 0)
        return rc;
    /* What is kept open is read-only: kernels may refuse to mount a device that somebody could write to. */
    int keep = open_node(path, O_RDONLY, err);
    if (keep < 0)
        return keep;
    *ret_fd = keep;
    return 0;
}

/* A device that was there already must be what was asked for. */
static int check_found(int fd, const struct device_node *node, uint32_t block_size, bool ro,
                       struct error *err)
{
    int has_ro = 0, has_size = 0;
    if (ioctl(fd, BLKROGET, &has_ro) < 0 || ioctl(fd, BLKSSZGET, &has_size) < 0)
        return error_set(err, -errno, "cannot look at %s: %s", node->path, error_text(errno));
    if (has_size != (int)block_size)
        return error_set(err, -EBUSY,
                         "%s is on this image already, with blocks of %d bytes instead of %u: detach it "
                         "('losetup -d %s')",
                         node->path, has_size, block_size, node->path);
    if ((has_ro != 0) != ro)
        return error_set(err, -EBUSY, "%s is on this image already, %s: detach it ('losetup -d %s')",
                         node->path, has_ro ? "read-only" : "writable", node->path);
    return 0;
}

/* Is it on this file? Then it is the caller's. */
static int give(int file, const char *name, const struct device_node *node, int *fd, struct device_node *ret,
                int *ret_fd, struct error *err)
{
    struct stat st;
    if (fstat(file, &st) < 0 || !loop_is_on(*fd, &st))
        return error_set(err, -EIO, "%s was put on '%s', but the kernel says that it is on another file",
                         node->path, name);
    *ret = *node;
    *ret_fd = steal_fd(fd);
    return 0;
}

int loop_attach_first(int file, const char *name, uint32_t block_size, bool ro, struct device_node *ret,
                      int *ret_fd, struct error *err)
{
    struct device_node node;
    int rc = -EBUSY;
    auto_close int fd = -1, control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
    if (control < 0)
        return error_set(err, errno == ENOENT ? -ENODEV : -errno,
                         "cannot open /dev/loop-control: %s; is the loop driver loaded ('modprobe loop')?",
                         error_text(errno));
    for (unsigned i = 0; i < TRIES && rc == -EBUSY; i++)
        rc = configure(control, file, name, block_size, ro, &node, &fd, err);
    return rc < 0 ? rc : give(file, name, &node, &fd, ret, ret_fd, err);
}

int loop_attach(int file, const char *name, uint32_t block_size, bool ro, struct device_node *ret,
                int *ret_fd, struct error *err)
{
    struct device_node node;
    int found;
    int rc = loop_find(file, name, &node, &found, err);
    if (rc == 0)
        return loop_attach_first(file, name, block_size, ro, ret, ret_fd, err);
    if (rc < 0)
        return rc;
    auto_close int fd = found;
    rc = check_found(fd, &node, block_size, ro, err);
    return rc < 0 ? rc : give(file, name, &node, &fd, ret, ret_fd, err);
}

int loop_grow(int file, const char *name, const struct device_node *node, struct error *err)
{
    struct stat st; /* asking for it is what makes the kernel learn the file's new size */
    if (fstat(file, &st) < 0)
        return error_set(err, errno == ENOENT ? -ENODEV : -errno, "cannot look at '%s': %s", name,
                         error_text(errno));
    auto_close int fd = open_node(node->path, O_RDONLY, err);
    if (fd < 0)
        return fd;
    if (!loop_is_on(fd, &st))
        return error_set(err, -ENODEV, "%s is not on '%s' any more", node->path, name);
    return ioctl(fd, LOOP_SET_CAPACITY) < 0
               ? error_set(err, -errno, "cannot grow %s: %s", node->path, error_text(errno))
               : 0;
}
