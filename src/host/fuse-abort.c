/* SPDX-License-Identifier: MIT */
#include "host/fuse-abort.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "host/mountinfo.h"
#include "host/procs.h"

/* fusectl, whether it is mounted on this host or not (systemd does so; a container has it not): a mount of
 * our own that nobody sees. */
static int open_control(void)
{
    auto_close int fs = (int)syscall(SYS_fsopen, "fusectl", FSOPEN_CLOEXEC);
    if (fs < 0 || syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
        return -errno;
    int fd = (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
    return fd < 0 ? -errno : fd;
}

/* The kernel's own lever: it frees also what waits while the mapper itself hangs in the kernel, where no
 * signal reaches it. Each connection is known by the minor number of its file system. */
static void abort_connection(const struct mapping *m)
{
    struct mount_entry e;
    struct error ignored;
    char path[32];
    if (mountinfo_at(m->file, &e, &ignored) != 1 || strcmp(e.fstype, FUSE_ABORT_FSTYPE) != 0)
        return;
    (void)snprintf(path, sizeof path, "%u/abort", e.minor);
    auto_close int control = open_control();
    auto_close int fd = control < 0 ? control : openat(control, path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, "1", 1) < 0)
        log_warning("cannot abort the connection of the mapper of '%s': %s", m->name.image,
                    error_text(control < 0 ? control : errno));
}

int fuse_abort(const struct mapping *m, struct error *err)
{
    abort_connection(m);
    auto_close int fd = (int)syscall(SYS_pidfd_open, m->pid, 0);
    if (fd < 0 || !procs_alive(m->pid, m->pid_start)) /* the pid is held by fd from here on */
        return 0;
    if (syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0) < 0 && errno != ESRCH)
        return error_set(err, -errno, "cannot end the mapper of '%s' (pid %d): %s", m->name.image,
                         (int)m->pid, error_text(errno));
    return 0;
}
