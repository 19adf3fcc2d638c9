/* SPDX-License-Identifier: MIT */
/* What ext4's superblock says, for who is to check or grow it (fs/ext4/ext4.h: struct ext4_super_block). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct ext4_super {
    uint64_t blocks, block_size;
    uint64_t slack; /* blocks: a last group smaller than its own tables is left out */
    uint64_t reach; /* blocks: so far it grows without anything being moved */
    bool online;    /* kernels grow one with these features while it is mounted */
    /* It was unmounted, and nothing is known to be wrong: e2fsck -p would look no further than here and at
     * the group descriptors, which the kernel checks when it mounts. One that is mounted, or whose host died,
     * is not clean: its journal is marked for recovery, or, where it has none, its state. Nor is one that
     * resize2fs or e2fsck left in the middle, nor one that asks for a check now and then. */
    bool clean;
};

/* From a device or file that is open for reading; `device` is for the message. -EUCLEAN: there is no ext4. */
int ext4_read(int fd, const char *device, struct ext4_super *ret, struct error *err);
