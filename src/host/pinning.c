/* SPDX-License-Identifier: MIT */
/* Who keeps a device busy: looked for in other processes' mount tables and descriptors. Nothing here touches
 * a mounted file system: what is mounted may be dead, and whoever touches it would hang with it. */
#include "host/procs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "host/mountinfo.h"

/* A set of numbers; small, and searched from its end (the processes of one namespace come in a row). */
struct set {
    uint64_t *items;
    size_t count, room;
};

static bool set_has(const struct set *s, uint64_t item)
{
    for (size_t i = s->count; i > 0; i--)
        if (s->items[i - 1] == item)
            return true;
    return false;
}

static void set_add(struct set *s, uint64_t item)
{
    if (s->count == s->room) {
        size_t room = s->room ? 2 * s->room : 64;
        uint64_t *items = reallocarray(s->items, room, sizeof *items);
        if (!items) /* forgetting one costs time, or a name in a message */
            return;
        s->items = items;
        s->room = room;
    }
    s->items[s->count++] = item;
}

struct scan {
    unsigned major, minor;
    char node[64]; /* "/dev/loop3": btrfs mounts show it instead of the numbers */
    const char *except;
    unsigned own;                      /* the id of our mount at except; 0: there is none */
    char ground[MOUNTINFO_GROUND_MAX]; /* what that mount covers */
    struct set seen;                   /* mount namespaces that were read */
    struct set mounts;                 /* ids of the mounts of this device, everywhere */
    pid_t pid;                         /* whose mounts are being read */
    uint64_t here, ns;                 /* our mount namespace, and that of pid */
    bool found;
    char *who;
    size_t size;
};

static void scan_found(struct scan *s, const char *how, const char *where)
{
    char name[128];
    if (s->found)
        return;
    s->found = true;
    procs_name(s->pid, name, sizeof name);
    if (where && s->ns == s->here)
        (void)snprintf(s->who, s->size, "another mount of it at '%s'", where);
    else if (where)
        (void)snprintf(s->who, s->size, "%s with %s '%s'", name, how, where);
    else
        (void)snprintf(s->who, s->size, "%s with %s", name, how);
}

/* Has the kernel made it when we mounted, for somebody to whom our mounts are propagated? Every service with
 * PrivateTmp has such copies, and the host has one of a managed plugin's mount. They go when ours goes. What
 * was bound elsewhere, as for a container, stays. */
static bool is_copy(const struct scan *s, const struct mount_entry *e)
{
    char pid[16], ground[MOUNTINFO_GROUND_MAX];
    struct error ignored;
    if (!s->own || !(e->shared || e->slave))
        return false;
    if (s->except && strcmp(e->mountpoint, s->except) == 0)
        return true;
    (void)snprintf(pid, sizeof pid, "%d", (int)s->pid);
    return s->ground[0] && mountinfo_ground(pid, e, ground, &ignored) == 1 && strcmp(ground, s->ground) == 0;
}

static bool visit_mount(void *arg, const struct mount_entry *e)
{
    struct scan *s = arg;
    if (!mountinfo_is_on(e, s->major, s->minor, s->node))
        return false;
    set_add(&s->mounts, e->id);
    if ((s->own && e->id == s->own) || is_copy(s, e))
        return false;
    scan_found(s, "a mount of it at", e->mountpoint);
    return false;
}

/* Which mount namespace is it in? Without CAP_SYS_PTRACE that may not be asked: then the id of the first
 * mount that it sees tells, which belongs to one namespace only. */
static uint64_t namespace_of(pid_t pid)
{
    char path[64], line[32];
    struct stat st;
    (void)snprintf(path, sizeof path, "/proc/%d/ns/mnt", (int)pid);
    if (stat(path, &st) == 0)
        return st.st_ino;
    (void)snprintf(path, sizeof path, "/proc/%d/mountinfo", (int)pid);
    auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, line, sizeof line - 1);
    if (n <= 0)
        return 0;
    line[n] = '\0';
    return 1ULL << 63 | strtoul(line, NULL, 10);
}

static bool visit_namespace(void *arg, pid_t pid)
{
    struct scan *s = arg;
    struct error ignored;
    char text[16];
    uint64_t ns = namespace_of(pid);
    if (ns == 0 || set_has(&s->seen, ns))
        return false;
    set_add(&s->seen, ns);
    s->pid = pid;
    s->ns = ns;
    (void)snprintf(text, sizeof text, "%d", (int)pid);
    (void)mountinfo_each(text, visit_mount, s, &ignored);
    return false;
}

/* Is what this link of /proc leads to on the device? Asks the kernel's memory, not the file system. */
static bool on_device(const struct scan *s, int dir, const char *name)
{
    struct statx x;
    if (statx(dir, name, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_MNT_ID | STATX_TYPE, &x) < 0)
        return false;
    if (x.stx_dev_major == s->major && x.stx_dev_minor == s->minor)
        return true;
    /* the device itself; a helper of ours has it open for as long as our own mount is in question */
    if (!s->except && S_ISBLK(x.stx_mode) && x.stx_rdev_major == s->major && x.stx_rdev_minor == s->minor)
        return true;
    return (x.stx_mask & STATX_MNT_ID) && set_has(&s->mounts, x.stx_mnt_id);
}

static bool visit_files(void *arg, pid_t pid)
{
    static const struct {
        const char *name, *how;
    } links[] = { { "cwd", "its working directory" },
                  { "root", "its root directory" },
                  { "exe", "its program" } };
    struct scan *s = arg;
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d", (int)pid);
    auto_close int proc = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (proc < 0)
        return false;
    s->pid = pid;
    for (size_t i = 0; i < sizeof links / sizeof *links; i++)
        if (on_device(s, proc, links[i].name)) {
            scan_found(s, links[i].how, NULL);
            return true;
        }
    int fds = openat(proc, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    auto_dir DIR *dir = fds < 0 ? NULL : fdopendir(fds);
    const struct dirent *d;
    while (dir && (d = readdir(dir)))
        if (d->d_name[0] != '.' && on_device(s, dirfd(dir), d->d_name)) {
            scan_found(s, "an open file", NULL);
            return true;
        }
    return false;
}

static void scan_init(struct scan *s, unsigned major, unsigned minor, const char *except, char *who,
                      size_t size)
{
    char path[64], target[256];
    struct mount_entry own;
    struct error ignored;
    *s = (struct scan){ .major = major, .minor = minor, .except = except, .who = who, .size = size };
    if (size)
        who[0] = '\0';
    (void)snprintf(path, sizeof path, "/sys/dev/block/%u:%u", major, minor);
    ssize_t n = readlink(path, target, sizeof target - 1);
    if (n > 0) {
        target[n] = '\0';
        const char *base = strrchr(target, '/');
        (void)snprintf(s->node, sizeof s->node, "/dev/%s", base ? base + 1 : target);
    }
    if (except && mountinfo_at(except, &own, &ignored) == 1 && mountinfo_is_on(&own, major, minor, s->node)) {
        s->own = own.id;
        (void)mountinfo_ground("self", &own, s->ground, &ignored);
    }
    s->here = namespace_of(getpid());
}

static void scan_done(struct scan *s)
{
    free(s->seen.items);
    free(s->mounts.items);
}

/* Who cannot be looked at may have it. */
static void scan_each(struct scan *s, bool (*visit)(void *arg, pid_t pid))
{
    int rc = procs_each_pid(visit, s);
    if (rc >= 0 || s->found)
        return;
    s->found = true;
    (void)snprintf(s->who, s->size, "maybe a process that cannot be looked at (%s)", error_text(rc));
}

/* Ours first: others may have copies of its mounts. */
static void scan_namespaces(struct scan *s)
{
    (void)visit_namespace(s, getpid());
    scan_each(s, visit_namespace);
}

int procs_pinning(unsigned major, unsigned minor, const char *except_mountpoint, char *who, size_t size)
{
    struct scan s;
    scan_init(&s, major, minor, except_mountpoint, who, size);
    scan_namespaces(&s);
    if (!s.found)
        scan_each(&s, visit_files);
    scan_done(&s);
    return s.found;
}

int procs_mounted_elsewhere(unsigned major, unsigned minor, const char *except_mountpoint, char *who,
                            size_t size)
{
    struct scan s;
    scan_init(&s, major, minor, except_mountpoint, who, size);
    scan_namespaces(&s);
    scan_done(&s);
    return s.found;
}
