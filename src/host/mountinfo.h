/* SPDX-License-Identifier: MIT */
/* Reads /proc/PID/mountinfo. */
#pragma once

#include <limits.h>
#include <stdbool.h>

#include "base/error.h"

struct mount_entry {
    unsigned major, minor;
    char root[PATH_MAX];       /* of the mount within its file system */
    char mountpoint[PATH_MAX]; /* octal escapes undone */
    char fstype[64];
    char source[PATH_MAX];
    bool shared, slave;        /* propagation: "shared:N", "master:N" */
};

/* Parses one line (proc(5)). 0, or -EINVAL for what is no such line. */
int mountinfo_parse(const char *line, struct mount_entry *ret);

/* Calls visit() for each mount of a process' namespace ("self" for ours) until it returns true. 1: it did; 0: it never did.
 * Never touches the mounts themselves, so it cannot hang on a dead one. */
int mountinfo_each(const char *pid, bool (*visit)(void *arg, const struct mount_entry *e), void *arg, struct error *err);

/* The topmost mount at exactly this path in our namespace: 1 found, 0 none. */
int mountinfo_at(const char *path, struct mount_entry *ret, struct error *err);
