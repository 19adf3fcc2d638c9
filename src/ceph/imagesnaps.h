/* SPDX-License-Identifier: MIT */
/* An image's snapshots: seen without a lock or a watch, and images made of them. */
#pragma once

#include "base/imagechange.h"
#include "ceph/imageadmin.h"

struct image_snap {
    char name[SNAP_NAME_MAX + 1];
    uint64_t size;  /* bytes */
    time_t created; /* 0: unknown */
};

/* Calls visit() with each snapshot that a user made, the oldest first. Longer names than SNAP_NAME_MAX are
 * cut. -ENOENT: the image is gone. */
int image_snaps(const struct place *p, const char *id,
                void (*visit)(void *arg, const struct image_snap *snap), void *arg, struct error *err);

/* Makes the image `clone` in `to` of a snapshot of image `name` in `from` (clone format 2: the snapshot need
 * not be protected, and may be removed while it has clones). The layout's size is not looked at: a clone is
 * born with the snapshot's. Its metadata is a copy, too. -ENODEV: there is no such image or snapshot;
 * -EEXIST. */
int image_clone(const struct place *from, const char *name, const char *snap, const struct place *to,
                const char *clone, const struct image_layout *layout, struct error *err);

/* The snapshot of this name. -ENODEV: there is none. */
int image_snap_find(const struct place *p, const char *id, const char *name, struct image_snap *ret,
                    struct error *err);
