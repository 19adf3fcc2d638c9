/* SPDX-License-Identifier: MIT */
/* Reads /proc/PID/mountinfo. */
#pragma once

#include <limits.h>
#include <stdbool.h>

#include "base/error.h"

struct mount_entry {
    unsigned id, parent; /* unique among all mount namespaces; of the mount it stands on */
    unsigned major,
        minor;           /* of the super block: btrfs has its own here, not the device's (mountinfo_is_on) */
    char root[PATH_MAX]; /* of the mount within its file system */
    char mountpoint[PATH_MAX]; /* octal escapes undone */
    char fstype[64];
    char source[PATH_MAX];
    bool shared, slave; /* propagation: "shared:N", "master:N" */
};

/* Parses one line (proc(5)), with or without its line end. 0, or -EINVAL for what is no such line (*ret is
 * undefined). */
int mountinfo_parse(const char *line, struct mount_entry *ret);

/* Calls visit() for each mount of a process' namespace ("self" for ours) until it returns true. 1: it did; 0:
 * it never did. Never touches the mounts themselves, so it cannot hang on a dead one. */
int mountinfo_each(const char *pid, bool (*visit)(void *arg, const struct mount_entry *e), void *arg,
                   struct error *err);

/* The topmost mount at exactly this path in our namespace: 1 found, 0 none. The path is compared as text, so
 * it must be free of symlinks (resolving it here could hang on a dead mount). */
int mountinfo_at(const char *path, struct mount_entry *ret, struct error *err);

#define MOUNTINFO_GROUND_MAX (PATH_MAX + 32)

/* The directory that a mount of this process' namespace covers, as "MAJOR:MINOR:PATH" of its file system: the
 * same for copies of one mount that the kernel made for the peers of what is below it, wherever these show it
 * (a managed plugin's volumes are elsewhere on the host), and for nothing else. 1, or 0: what is below it is
 * not to be seen. */
int mountinfo_ground(const char *pid, const struct mount_entry *e, char ground[static MOUNTINFO_GROUND_MAX],
                     struct error *err);

/* Where is a device in the pile of mounts at one path? */
enum mountinfo_place {
    MOUNTINFO_NOWHERE,
    MOUNTINFO_TOP,     /* what one sees there is the device */
    MOUNTINFO_COVERED, /* something else was mounted over it */
};

/* Looks for this block device among the mounts at exactly this path. Returns an enum mountinfo_place
 * (COVERED: *ret is what covers it), or a negative errno. */
int mountinfo_pile(const char *path, unsigned major, unsigned minor, const char *node,
                   struct mount_entry *ret, struct error *err);

/* Is it a mount of this block device? node is its path ("/dev/loop3"), by which btrfs is known. */
bool mountinfo_is_on(const struct mount_entry *e, unsigned major, unsigned minor, const char *node);
