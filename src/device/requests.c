/* SPDX-License-Identifier: MIT */
#include "device/requests.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "device/krbd.h"
#include "device/label.h"
#include "device/mountroot.h"
#include "host/fs.h"
#include "host/grow.h"
#include "host/loop.h"
#include "host/mount.h"
#include "host/probe.h"
#include "host/renew.h"

#define CMDLINE_MAX (32 << 10) /* what one packet holds */

struct job {
    struct holding *held;
    json_t *request, *reply;
    moment deadline;
};

#define TAKE(job, err, ...)                                                                                  \
    do {                                                                                                     \
        json_error_t why_;                                                                                   \
        if (json_unpack_ex((job)->request, &why_, 0, __VA_ARGS__) < 0)                                       \
            return error_set(err, -EPROTO, "rbdvol-device was asked wrongly: %s", why_.text);                \
    } while (0)

static int open_file(const char *path, int flags, struct error *err)
{
    int fd = open(path, flags | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return error_set(err, errno == ENOENT ? -ENODEV : -errno, "cannot open the image's file %s: %s", path,
                         error_text(errno));
    return fd;
}

static int fs_named(const char *name, const struct fs **ret, struct error *err)
{
    *ret = fs_find(name);
    return *ret ? 0 : error_set(err, -EINVAL, "unknown file system '%s': known are %s", name, fs_names());
}

static int do_probe(const struct job *j, struct error *err)
{
    const char *path;
    TAKE(j, err, "{s:s}", "file", &path);
    auto_close int fd = open_file(path, O_RDONLY, err);
    if (fd < 0)
        return fd;
    struct device_probe p;
    int rc = probe_fd(fd, &p, err);
    if (rc < 0)
        return rc;
    json_object_set_new(j->reply, "found", json_integer(p.found));
    json_object_set_new(j->reply, "type", json_string(p.type));
    json_object_set_new(j->reply, "uuid", json_string(p.uuid));
    json_object_set_new(j->reply, "block_size", json_integer(p.block_size));
    return 0;
}

static int do_format(const struct job *j, struct error *err)
{
    const char *path, *fstype, *options, *scratch;
    const struct fs *fs;
    TAKE(j, err, "{s:s, s:s, s:s, s:s}", "file", &path, "fstype", &fstype, "options", &options, "scratch",
         &scratch);
    int rc = fs_named(fstype, &fs, err);
    if (rc < 0)
        return rc;
    auto_close int fd = open_file(path, O_RDWR, err);
    return fd < 0 ? fd : fs_format(fs, options, fd, scratch, j->deadline, err);
}

static void give_node(const struct job *j, const struct device_node *node)
{
    json_object_set_new(j->reply, "path", json_string(node->path));
    json_object_set_new(j->reply, "major", json_integer(node->major));
    json_object_set_new(j->reply, "minor", json_integer(node->minor));
}

/* Where the mapper makes a block device itself, that is opened: 1. 0: the path is a file. What is kept open
 * is read-only: kernels may refuse to mount a device that somebody could write to. */
static int open_device(const char *path, struct device_node *node, int *ret, struct error *err)
{
    struct stat st;
    if (stat(path, &st) < 0)
        return error_set(err, errno == ENOENT ? -ENODEV : -errno, "cannot look at %s: %s", path,
                         error_text(errno));
    if (!S_ISBLK(st.st_mode))
        return 0;
    auto_close int fd = open_file(path, O_RDONLY, err);
    if (fd < 0)
        return fd;
    if (fstat(fd, &st) < 0 || !S_ISBLK(st.st_mode))
        return error_set(err, -ENODEV, "%s is no block device any more", path);
    *node = (struct device_node){ .major = major(st.st_rdev), .minor = minor(st.st_rdev) };
    (void)snprintf(node->path, sizeof node->path, "%s", path);
    *ret = steal_fd(&fd);
    return 1;
}

static int do_attach(const struct job *j, struct error *err)
{
    const char *path;
    int size, ro, first, device;
    struct device_node node;
    TAKE(j, err, "{s:s, s:i, s:b, s:b}", "file", &path, "block_size", &size, "ro", &ro, "first", &first);
    int rc = open_device(path, &node, &device, err);
    if (rc == 0) {
        auto_close int fd = open_file(path, ro ? O_RDONLY : O_RDWR, err);
        rc = fd < 0 ? fd
                    : (first ? loop_attach_first : loop_attach)(fd, path, (uint32_t)size, ro, &node, &device,
                                                                err);
    }
    if (rc < 0)
        return rc;
    if (j->held->fd >= 0)
        (void)close(j->held->fd);
    j->held->fd = device;
    j->held->ro = ro;
    j->held->node = node;
    give_node(j, &node);
    return 0;
}

static int do_find(const struct job *j, struct error *err)
{
    const char *path;
    struct device_node node;
    int device;
    TAKE(j, err, "{s:s}", "file", &path);
    int rc = open_device(path, &node, &device, err);
    if (rc == 0) {
        auto_close int fd = open_file(path, O_RDONLY, err);
        rc = fd < 0 ? fd : loop_find(fd, path, &node, &device, err);
    }
    if (rc <= 0)
        return rc;
    (void)close(device);
    give_node(j, &node);
    return 0;
}

static int attached(const struct job *j, struct error *err)
{
    return j->held->fd >= 0 ? 0 : error_set(err, -EINVAL, "no device is attached yet");
}

static int do_check(const struct job *j, struct error *err)
{
    const char *fstype;
    const struct fs *fs;
    int mend;
    TAKE(j, err, "{s:s, s:b}", "fstype", &fstype, "mend", &mend);
    int rc = attached(j, err);
    if (rc == 0)
        rc = fs_named(fstype, &fs, err);
    /* What cannot be written cannot be mended; mounting tells whether its journal is clean. */
    if (rc < 0 || j->held->ro)
        return rc;
    const char *device = j->held->node.path;
    rc = fs_check(fs, device, mend ? FS_MEND : FS_USUAL, j->deadline, err);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    int due = grow_is_due(fs, device, err);
    if (due == GROW_DUE)
        rc = fs_check(fs, device, FS_WHOLE, j->deadline, err);
    if (due < 0 || rc < 0)
        return due < 0 ? due : rc;
    json_object_set_new(j->reply, "due", json_integer(due));
    return 0;
}

static int do_enlarge(const struct job *j, struct error *err)
{
    int rc = attached(j, err);
    return rc < 0 ? rc : grow_unmounted(j->held->node.path, j->deadline, err);
}

static int do_renew(const struct job *j, struct error *err)
{
    const char *fstype;
    const struct fs *fs;
    bool renewed = false;
    TAKE(j, err, "{s:s}", "fstype", &fstype);
    int rc = attached(j, err);
    if (rc == 0)
        rc = fs_named(fstype, &fs, err);
    if (rc == 0 && !j->held->ro)
        rc = renew_uuid(fs, j->held->node.path, j->deadline, &renewed, err);
    if (rc == 0)
        json_object_set_new(j->reply, "renewed", json_boolean(renewed));
    return rc;
}

static int do_mount(const struct job *j, struct error *err)
{
    struct device_mount m;
    TAKE(j, err, "{s:s, s:s, s:s, s:s}", "mountpoint", &m.mountpoint, "fstype", &m.fstype, "options",
         &m.options, "volume", &m.volume);
    int rc = attached(j, err);
    return rc < 0 ? rc : mount_verified(&j->held->node, &m, &j->held->news, err);
}

static int do_fresh(const struct job *j, struct error *err)
{
    const char *path;
    json_int_t uid, gid, mode;
    TAKE(j, err, "{s:s, s:I, s:I, s:I}", "mountpoint", &path, "uid", &uid, "gid", &gid, "mode", &mode);
    return mount_fresh(path, (uint32_t)uid, (uint32_t)gid, (uint32_t)mode, err);
}

static int take_node(const struct job *j, struct device_node *node, struct error *err)
{
    const char *path;
    int major, minor;
    TAKE(j, err, "{s:s, s:i, s:i}", "path", &path, "major", &major, "minor", &minor);
    *node = (struct device_node){ .major = (unsigned)major, .minor = (unsigned)minor };
    (void)snprintf(node->path, sizeof node->path, "%s", path);
    return 0;
}

/* What the mapping shows: a file, behind a loop device, or the device itself. */
static int grow_device(const char *path, const struct device_node *node, struct error *err)
{
    struct stat st;
    if (stat(path, &st) == 0 && S_ISBLK(st.st_mode))
        return 0;
    auto_close int fd = open_file(path, O_RDONLY, err);
    return fd < 0 ? fd : loop_grow(fd, path, node, err);
}

static int do_grow(const struct job *j, struct error *err)
{
    const char *path, *fstype, *mountpoint;
    const struct fs *fs;
    struct device_node node;
    bool grown;
    TAKE(j, err, "{s:s, s:s, s:s}", "file", &path, "fstype", &fstype, "mountpoint", &mountpoint);
    int rc = take_node(j, &node, err);
    if (rc == 0)
        rc = fs_named(fstype, &fs, err);
    if (rc == 0)
        rc = grow_device(path, &node, err);
    if (rc == 0)
        rc = grow_mounted(fs, &node, mountpoint, &grown, err);
    if (rc == 0)
        json_object_set_new(j->reply, "grown", json_boolean(grown));
    return rc;
}

static int do_freeze(const struct job *j, struct error *err)
{
    const char *mountpoint;
    int hold_ms;
    struct device_node node;
    TAKE(j, err, "{s:s, s:i}", "mountpoint", &mountpoint, "hold_ms", &hold_ms);
    int rc = take_node(j, &node, err);
    return rc < 0 ? rc : freeze_begin(&j->held->freeze, mountpoint, &node, hold_ms, err);
}

static int do_trim(const struct job *j, struct error *err)
{
    const char *mountpoint;
    json_int_t from, length;
    uint64_t trimmed;
    struct device_node node;
    TAKE(j, err, "{s:s, s:I, s:I}", "mountpoint", &mountpoint, "from", &from, "length", &length);
    int rc = take_node(j, &node, err);
    if (rc == 0)
        rc = mountroot_trim(mountpoint, &node, (uint64_t)from, (uint64_t)length, &trimmed, err);
    if (rc == 0)
        json_object_set_new(j->reply, "trimmed", json_integer((json_int_t)trimmed));
    return rc;
}

static int do_thaw(const struct job *j, struct error *err)
{
    return freeze_end(&j->held->freeze, err);
}

static int do_unfreeze(const struct job *j, struct error *err)
{
    const char *mountpoint;
    struct device_node node;
    TAKE(j, err, "{s:s}", "mountpoint", &mountpoint);
    int rc = take_node(j, &node, err);
    return rc < 0 ? rc : freeze_undo(mountpoint, &node, err);
}

static int do_umount(const struct job *j, struct error *err)
{
    const char *path;
    int lazily;
    struct device_node node;
    TAKE(j, err, "{s:s, s:b}", "mountpoint", &path, "lazily", &lazily);
    int rc = take_node(j, &node, err);
    return rc < 0 ? rc : mount_remove(path, &node, lazily, &j->held->news, err);
}

static int do_krbd(const struct job *j, struct error *err)
{
    const char *mapping, *file, *text, *key = NULL;
    TAKE(j, err, "{s:s, s:s, s:s, s?s}", "mapping", &mapping, "file", &file, "text", &text, "key", &key);
    json_object_set_new(j->reply, "status",
                        json_integer(krbd_do(mapping, file, text, key, j->held->channel)));
    return 0;
}

static int do_argv(const struct job *j, struct error *err)
{
    char path[64];
    int pid;
    size_t len;
    auto_free char *text = NULL;
    TAKE(j, err, "{s:i}", "pid", &pid);
    (void)snprintf(path, sizeof path, "/proc/%d/cmdline", pid);
    int rc = file_read(path, CMDLINE_MAX, &text, &len, err);
    if (rc < 0)
        return rc;
    json_t *argv = json_array(); /* no text: jansson takes none with a NUL in it */
    for (const char *word = text; word < text + len; word += strlen(word) + 1)
        if (json_array_append_new(argv, json_string(word)) < 0)
            rc = error_set(err, -EILSEQ, "its argv is not UTF-8");
    json_object_set_new(j->reply, "argv", argv);
    return rc;
}

/* Nobody has us any more. */
static int do_rest(const struct job *j, struct error *err)
{
    struct holding *h = j->held;
    if (h->freeze.root >= 0)
        return error_set(err, -EBUSY, "something is frozen");
    if (h->fd >= 0)
        (void)close(steal_fd(&h->fd));
    mount_tell(&h->news);
    *h = (struct holding){ .channel = h->channel, .fd = -1, .freeze = { .root = -1 } };
    label_set(DEVICE_IDLE, NULL);
    return 0;
}

static const struct {
    const char *name;
    int (*run)(const struct job *j, struct error *err);
} verbs[] = {
    { "probe", do_probe },     { "format", do_format }, { "attach", do_attach }, { "find", do_find },
    { "enlarge", do_enlarge }, { "argv", do_argv },     { "check", do_check },   { "mount", do_mount },
    { "fresh", do_fresh },     { "umount", do_umount }, { "grow", do_grow },     { "freeze", do_freeze },
    { "renew", do_renew },     { "trim", do_trim },     { "thaw", do_thaw },     { "unfreeze", do_unfreeze },
    { "krbd", do_krbd },       { "rest", do_rest },
};

int requests_do(struct holding *h, json_t *request, json_t *reply, struct error *err)
{
    const char *verb = json_string_value(json_object_get(request, "do"));
    const struct job job = { .held = h,
                             .request = request,
                             .reply = reply,
                             .deadline = clock_in_ms(json_integer_value(json_object_get(request, "ms"))) };
    label_set(DEVICE_BUSY, NULL);
    for (size_t i = 0; verb && i < sizeof verbs / sizeof *verbs; i++)
        if (strcmp(verbs[i].name, verb) == 0)
            return verbs[i].run(&job, err);
    return error_set(err, -EPROTO, "rbdvol-device does not know '%s': is it of another version?",
                     verb ? verb : "");
}
