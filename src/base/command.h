/* SPDX-License-Identifier: MIT */
/* Runs an external program: an argument vector, a deadline, its output captured. Never a shell. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/clock.h"
#include "base/error.h"

struct command {
    const char *const
        *argv;   /* NULL-ended; argv[0] is looked up in /usr/sbin:/usr/bin:/sbin:/bin, never in our PATH */
    int keep_fd; /* this descriptor of ours becomes its descriptor 3; -1: none */
    bool unprivileged; /* runs as nobody, without groups and capabilities, unable to gain any */
    moment deadline;   /* then it gets SIGKILL */
};

/* Its standard output and error, cut to what a message needs: its beginning and its end are kept. */
struct command_output {
    char text[2048];
};

/* Runs it to its end. Returns its exit status (0..255). Negative: it could not be run (-ENOENT: not
 * installed), did not end in time (-ETIMEDOUT), or was killed by a signal (-EINTR). The child gets /dev/null
 * as standard input, an empty signal mask, default signals, and no other descriptors. One that cannot be
 * killed (state D) is left to a reaping thread: this function returns by its deadline, plus a second. */
int command_run(const struct command *cmd, struct command_output *out, struct error *err);

/* The full path of a program, as command_run would find it: 0, or -ENOENT. */
int command_find(const char *program, char *path, size_t size);

/* A child that goes on running: `program` is a full path; fds[i] of ours becomes its descriptor 3 + i (0 to 2
 * are /dev/null). It runs in a session of its own. Returns 0 and its pid. The caller reaps it, or calls
 * command_disown. */
int command_spawn(const char *program, const char *const *argv, const int *fds, unsigned nfds, pid_t *ret,
                  struct error *err);

/* The same, with a file for what it writes to its standard output and error; no other descriptors. */
int command_spawn_logged(const char *program, const char *const *argv, int output, pid_t *ret,
                         struct error *err);

/* Waits until the child has ended, or the deadline. Returns its exit status, -ETIMEDOUT, or -EINTR when a
 * signal killed it. */
int command_wait(pid_t pid, moment deadline);

/* Leaves the reaping of a child to a thread that waits for it. */
void command_disown(pid_t pid);
