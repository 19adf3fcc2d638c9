/* SPDX-License-Identifier: MIT */
#include "main/directories.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"

/* Nothing of what is in there is for others: state names what is mounted where, scratch files are file
 * systems to be. */
#define PRIVATE 0700
/* Every path component must let containers' processes through (with user namespaces, and for Mesos, it is not
 * root that walks there), but what other volumes this host has is not theirs to list. */
#define PASSABLE 0711

static int make(const char *option, const char *path, mode_t mode, struct error *err)
{
    struct stat st;
    int rc = file_mkdirs(path, mode, err);
    if (rc < 0)
        return error_prefix(err, "%s", option);
    if (lstat(path, &st) < 0)
        return error_set(err, -errno, "%s: cannot look at %s: %s", option, path, error_text(errno));
    if (!S_ISDIR(st.st_mode))
        return error_set(err, -ENOTDIR, "%s: %s is a symbolic link: name the directory itself", option, path);
    /* Who can rename in there can put anything under our paths. */
    if (st.st_uid != 0 || st.st_mode & (S_IWGRP | S_IWOTH))
        return error_set(err, -EPERM,
                         "%s: %s belongs to uid %u with mode %04o: others than root could change it; run "
                         "'chown root %s' and 'chmod %o %s'",
                         option, path, (unsigned)st.st_uid, (unsigned)st.st_mode & 07777, path,
                         (unsigned)mode, path);
    return 0;
}

/* Our pid goes there: not into a pipe, a device, or what has another name elsewhere. */
static int open_lock(const char *path, struct error *err)
{
    struct stat st;
    auto_close int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    if (fd < 0 || fstat(fd, &st) < 0)
        return error_set(err, -errno, "cannot open %s: %s", path, error_text(errno));
    if (!S_ISREG(st.st_mode) || st.st_nlink > 1)
        return error_set(err, -EINVAL, "%s is no file of rbdvol's: remove it", path);
    return steal_fd(&fd);
}

static int take_lock(const char *dir, int *ret, struct error *err)
{
    char path[PATH_MAX], pid[32] = "";
    (void)snprintf(path, sizeof path, "%s/lock", dir);
    auto_close int fd = open_lock(path, err);
    if (fd < 0)
        return fd;
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno != EWOULDBLOCK)
            return error_set(err, -errno, "cannot lock %s: %s", path, error_text(errno));
        ssize_t n = pread(fd, pid, sizeof pid - 1, 0);
        pid[n > 0 ? n : 0] = '\0';
        pid[strspn(pid, "0123456789")] = '\0';
        return error_set(
            err, -EBUSY,
            "another daemon%s%s runs with this state-dir (it holds %s): stop it, or give this one "
            "another name",
            *pid ? " with pid " : "", pid, path);
    }
    (void)snprintf(pid, sizeof pid, "%d\n", (int)getpid());
    if (ftruncate(fd, 0) < 0 || pwrite(fd, pid, strlen(pid), 0) < 0)
        return error_set(err, -errno, "cannot write %s: %s", path, error_text(errno));
    *ret = steal_fd(&fd);
    return 0;
}

/* mkfs runs as nobody, who must get through the root directory. Docker makes that of a managed plugin for
 * root alone; it is nobody else's, so it is opened. A host's own is left to its administrator. */
static void open_root(void)
{
    struct stat mine, hosts;
    if (stat("/", &mine) < 0 || mine.st_mode & S_IXOTH)
        return;
    bool own =
        stat("/proc/1/root/", &hosts) == 0 && (hosts.st_dev != mine.st_dev || hosts.st_ino != mine.st_ino);
    if (!own || chmod("/", (mine.st_mode & 07777) | S_IXUSR | S_IXGRP | S_IXOTH) < 0)
        log_warning("the root directory has mode %04o: mkfs runs as nobody, and cannot start",
                    (unsigned)mine.st_mode & 07777);
}

int directories_make(const struct settings *settings, int *lock, struct error *err)
{
    static const char *const parts[] = { "volumes", "map" };
    char path[PATH_MAX];
    open_root();
    int rc = make("state-dir", settings->state_dir, PRIVATE, err);
    if (rc < 0 || (rc = take_lock(settings->state_dir, lock, err)) < 0)
        return rc;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", settings->state_dir, parts[i]);
        if ((rc = make("state-dir", path, PRIVATE, err)) < 0)
            return rc;
    }
    /* mount-root first: what both have in common, /var/lib/rbdvol/NAME, must be passable */
    if ((rc = make("mount-root", settings->mount_root, PASSABLE, err)) < 0)
        return rc;
    return make("scratch-dir", settings->scratch_dir, PRIVATE, err);
}
