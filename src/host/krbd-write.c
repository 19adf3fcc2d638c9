/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/command.h"
#include "host/helper.h"
#include "host/krbd.h"
#include "host/procs.h"

#define PROGRAM "rbdvol-device"
#define VERB    "krbd"
#define KILL_MS 1000

/* The key on its way to the child: a pipe that holds it. */
static int key_pipe(const struct krbd_write *w, struct error *err)
{
    int pipes[2];
    if (pipe2(pipes, O_CLOEXEC) < 0)
        return error_set(err, -errno, "cannot make a pipe: %s", error_text(errno));
    auto_close int in = pipes[0], out = pipes[1];
    if (w->key_name && write(out, w->key, w->key_len) != (ssize_t)w->key_len)
        return error_set(err, -EIO, "cannot hand the key to a child");
    return steal_fd(&in);
}

static int outcome(int status, struct error *err)
{
    if (status == KRBD_EXIT_KEY)
        return error_set(err, -ENOKEY,
                         "the kernel did not take the cephx key: does it have the modules libceph, aes and "
                         "cbc, and room in its keyrings (/proc/key-users)?");
    if (status == -EINTR)
        return error_set(err, -EIO, PROGRAM " was killed");
    if (status != 0)
        return error_set(err, status < 0 ? status : -status, "%s", error_text(status));
    return 0;
}

int krbd_write(const struct krbd_write *w, moment deadline, struct error *err)
{
    char program[PATH_MAX];
    const char *argv[] = { PROGRAM, VERB, w->mapping, w->file, w->text, w->key_name, NULL };
    pid_t pid;
    if (helper_path("device", program, sizeof program) < 0)
        return error_set(err, -ENAMETOOLONG, "the path of " PROGRAM " is too long");
    auto_close int fd = key_pipe(w, err);
    if (fd < 0)
        return fd;
    int rc = command_spawn(program, argv, &fd, 1, &pid, err);
    if (rc < 0)
        return rc == -ENOENT ? (err->code = -EOPNOTSUPP) : rc;
    rc = command_wait(pid, deadline);
    if (rc != -ETIMEDOUT)
        return outcome(rc, err);
    (void)kill(pid, SIGKILL);
    if (command_wait(pid, clock_in_ms(KILL_MS)) == -ETIMEDOUT)
        command_disown(pid);
    return error_set(err, -ETIMEDOUT, "the kernel did not finish in time");
}

struct writer {
    const char *mapping;
    pid_t pid;
};

static bool is_writer(void *arg, pid_t pid, char *const *argv)
{
    struct writer *w = arg;
    if (!argv[1] || strcmp(argv[1], VERB) != 0 || !argv[2] || strcmp(argv[2], w->mapping) != 0)
        return false;
    w->pid = pid;
    return true;
}

pid_t krbd_writer(const char *mapping)
{
    struct writer w = { .mapping = mapping };
    procs_each(PROGRAM, is_writer, &w);
    return w.pid;
}
