/* SPDX-License-Identifier: MIT */
/* Changes an image as a whole: its size, its snapshots (base/imagechange.h says which). */
#pragma once

#include <rbd/librbd.h>

#include "base/imagechange.h"
#include "ceph/cluster.h"
#include "ceph/image.h"

/* By the client that holds the image's managed lock on this handle. The codes are those of enum
 * image_change_what; others are librbd's, and after a time-out the outcome is unknown. */
int image_change(rbd_image_t image, const struct image_change *change, struct error *err);

/* An image that nobody owns: opens it, takes its managed lock EXCLUSIVE for as long as the change takes. The
 * caller holds rbdvol.ctl and has just seen that the lock is free. A rollback that fails keeps the lock, and
 * has this connection's client fenced: what it had on its way would land over the next owner's data. -EBUSY:
 * somebody has taken it all the same; -EOPNOTSUPP: the image has no such lock. */
int image_change_free(const struct place *p, const char *id, const struct image_change *change,
                      struct error *err);
