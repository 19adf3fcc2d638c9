/* SPDX-License-Identifier: MIT */
/* An image by librbd's handle: opened by its id, laid out, and locked from nobody. */
#pragma once

#include <rbd/librbd.h>

#include "ceph/imageadmin.h"

/* Opens the image; the caller closes. read_only: leaves no watch. -ENOENT: it is gone. */
int imagehandle_open(const struct place *p, const char *id, bool read_only, rbd_image_t *ret,
                     struct error *err);

/* librbd's words for a layout, but for its size; added to opts. */
int imagehandle_layout(const struct image_layout *layout, rbd_image_options_t opts);

/* Takes the managed lock in EXCLUSIVE mode, but looks first: an acquire takes the lock from a live owner in
 * automatic mode, and hangs behind an advisory lock. That leaves a fraction of a millisecond, in which the
 * caller's rbdvol.ctl keeps other hosts of ours away. Unbounded. -EBUSY: somebody has it; -EOPNOTSUPP: the
 * image has no such lock; otherwise librbd's code. */
int imagehandle_lock(rbd_image_t image, struct error *err);
