/* SPDX-License-Identifier: MIT */
/* May an image be had, although somebody's lock is on it? Never from an owner that lives; from a dead one
 * after it was fenced. */
#pragma once

#include "volume/ownership.h"

/* Looks who has the image, and waits while that may change by itself. 0: it is free or its owner may be
 * replaced; *ret is what takeover_take() must find. -EBUSY: somebody has it, named, with what can be done;
 * others: could not ask. wanted(arg) is asked about every second whether to go on waiting for a silent
 * owner's watch to lapse; NULL: no waiting, refuse at once, and never take from one that is only silent. */
int takeover_await(struct volumes *e, const struct place *p, const struct image_name *name, const char *id,
                   bool (*wanted)(void *arg), void *arg, struct ownership *ret, struct error *err);

/* With rbdvol.ctl held (checked before each step): looks once more; fences who is to be replaced, breaks its
 * lock, and takes its record away. `why` it is fenced is for the log; NULL: as seen. -EAGAIN: it is no longer
 * as was judged; begin anew. */
int takeover_take(struct volumes *e, const struct place *p, const struct image_name *name, const char *id,
                  const struct ownership *judged, const char *why, struct ctl *ctl, struct error *err);

/* Both, with rbdvol.ctl taken between them and kept. And what the image had before: a client that an owner
 * record still names, although its lock is gone, had that taken from it, and is fenced as well, unless it was
 * this host's and has ended. -EBUSY, too: such a client has a short entry on the blocklist, which Ceph does
 * not lengthen, and could write when that has lapsed. On failure rbdvol.ctl is not held. */
int takeover_run(struct volumes *e, const struct place *p, const struct image_name *name, const char *id,
                 bool (*wanted)(void *arg), void *arg, struct ctl *ctl, struct error *err);

/* The same for an image that nobody is to use any more: who has neither lock nor watch is left alone. */
int takeover_to_remove(struct volumes *e, const struct place *p, const struct image_name *name,
                       const char *id, struct ctl *ctl, struct error *err);

/* With rbdvol.ctl held: fences one more client that could write the image. `why` is for the log. */
int takeover_fence(const struct place *p, const struct image_name *name, const char *address, const char *why,
                   struct ctl *ctl, struct error *err);
