/* SPDX-License-Identifier: MIT */
/* The directories that volumes are mounted on: MOUNT-ROOT/PLACE/IMAGE. */
#pragma once

#include <limits.h>
#include <stdbool.h>

#include "base/error.h"

struct mountpoint {
    int parent; /* the directory MOUNT-ROOT/PLACE, opened with O_PATH */
    char name[NAME_MAX + 1];
    char path[PATH_MAX]; /* the whole path with the mount root's symlinks resolved: what mountinfo shows */
};

/* Follows no symlink in the last two components, which are ours; the mount root before them may be one. make:
 * makes the missing directories of it, up to PLACE. -ENOTDIR: something is there that is no directory.
 * -ENODEV: (not make) it is not there. */
int mountpoint_find(const char *path, bool make, struct mountpoint *ret, struct error *err);

/* Takes a mountpoint that is not in use (makes the directory when it is missing): empty, and immutable, so
 * that a container cannot write there while its volume is not mounted. -ENOTEMPTY: files are there. */
int mountpoint_prepare(const struct mountpoint *m, struct error *err);

/* Opens the directory, or the root of what is mounted on it. */
int mountpoint_open(const struct mountpoint *m, struct error *err);

/* Removes the empty directory of a volume that is no more, immutable or not. Best effort: what is mounted or
 * has files in it stays. */
void mountpoint_forget(const char *path);

/* {.parent = -1} is fine. */
void mountpoint_done(struct mountpoint *m);
