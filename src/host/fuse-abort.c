/* SPDX-License-Identifier: MIT */
#include "host/fuse-abort.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "host/mountinfo.h"
#include "host/procs.h"

/* The kernel's own lever, where fusectl is mounted: it frees also what waits while the mapper itself hangs in
 * the kernel. Each connection is known by the minor number of its file system. */
static void abort_connection(const struct mapping *m)
{
    struct mount_entry e;
    struct error ignored;
    char path[64];
    if (mountinfo_at(m->file, &e, &ignored) != 1 || strcmp(e.fstype, FUSE_ABORT_FSTYPE) != 0)
        return;
    (void)snprintf(path, sizeof path, "/sys/fs/fuse/connections/%u/abort", e.minor);
    auto_close int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd >= 0 && write(fd, "1", 1) < 0)
        log_warning("cannot write %s: %s", path, error_text(errno));
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
