/* SPDX-License-Identifier: MIT */
/* The file systems that volumes may have: how they are made, which options they take. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/error.h"

struct fs {
    const char *name;  /* "xfs", "ext4", "btrfs" */
    uint64_t min_size; /* bytes; mkfs refuses less */
    const char *mkfs;  /* the program, "mkfs.xfs" */
    /* Fixed part: force what every mapper takes (4096-byte sectors) and what is quick on a sparse file;
     * NULL-ended. */
    const char *const *mkfs_args;
    /* After them for what reads as zeros where nothing was written, if the program is new enough to know
     * `zeroed_word`; NULL: no difference. */
    const char *const *zeroed_args;
    const char *zeroed_word;
    bool checked;              /* before it is mounted (fs_check); of the others mounting replays the log */
    bool blind;                /* its mkfs must not see what is mounted (host/scratch.c) */
    const char *mount_options; /* always added, "" if none; ext4: errors=remount-ro */
};

/* NULL: not one of ours. */
const struct fs *fs_find(const char *name);

/* "ext4, xfs, btrfs", for messages. */
const char *fs_names(void);

/* Is this size enough? -EINVAL names the least size, and ext4 as the way out for a small xfs. */
int fs_check_size(const struct fs *fs, uint64_t size, struct error *err);

/* mkfs- and mount-options are words joined by '+' ("-m+0", "noatime+discard"), each checked against what is
 * allowed for this file system: no paths, no positional words (one stray word made mkfs.btrfs overwrite
 * another device). -EINVAL names the word and the allowed ones. "" is fine. */
int fs_check_mkfs_options(const struct fs *fs, const char *options, struct error *err);
int fs_check_mount_options(const struct fs *fs, const char *options, struct error *err);

/* How thoroughly. */
enum fs_care {
    FS_USUAL, /* where it is not clean (host/ext4.h), its journal is replayed, and what is safe to mend is
                 mended (e2fsck -p) */
    FS_WHOLE, /* the same, and all of it is looked at: what resize2fs wants to have seen (-f -p) */
    FS_MEND,  /* whatever is wrong is mended (-f -y): only where we know that it is of our own making */
};

/* Checks the file system on an unmounted device before it is mounted (e2fsck for ext4, nothing for the
 * others: mounting replays their logs). -EUCLEAN: errors are left; the message has fsck's words and the
 * command to run by hand. 1: it is mounted still, in another mount namespace, and was not looked at. */
int fs_check(const struct fs *fs, const char *device, enum fs_care care, moment deadline, struct error *err);

/* Formats an empty file (or device) that is open for writing: fs_make, then the extents, what says "here is a
 * file system" last. -EEXIST: it is not empty. */
int fs_format(const struct fs *fs, const char *mkfs_options, int fd, const char *scratch_dir, moment deadline,
              struct error *err);

/* Makes the file system in a sparse scratch file of this size that has no name (O_TMPFILE in scratch_dir), as
 * an unprivileged user without capabilities and with only that file open. *ret is its descriptor: the caller
 * closes it. -ENOSPC, -EFBIG: the scratch directory cannot take such a file, with what to do. -EOPNOTSUPP:
 * mkfs is not installed. -EINVAL: mkfs refused. */
int fs_make(const struct fs *fs, const char *mkfs_options, uint64_t size, const char *scratch_dir,
            moment deadline, int *ret, struct error *err);

/* The same, for what does not read as zeros where nothing was written (an encrypted image): what mkfs makes
 * zeros is written, or at least allocated. */
int fs_make_written(const struct fs *fs, const char *mkfs_options, uint64_t size, const char *scratch_dir,
                    moment deadline, int *ret, struct error *err);

/* fs_extents() with the zeros: all that was written or allocated. */
int fs_extents_written(int fd,
                       int (*data)(void *arg, const char *bytes, size_t len, uint64_t offset,
                                   struct error *err),
                       void *arg, struct error *err);

/* Calls data() for each piece of a sparse file that is not all zeros, in ascending order, in pieces of at
 * most 64 KiB that do not cross a multiple of it. data() returns 0 or a negative errno with err filled, which
 * ends the walk. */
int fs_extents(int fd,
               int (*data)(void *arg, const char *bytes, size_t len, uint64_t offset, struct error *err),
               void *arg, struct error *err);
