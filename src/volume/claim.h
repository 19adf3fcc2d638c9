/* SPDX-License-Identifier: MIT */
/* The look at an image before it is mapped: is it free, and fit to be a volume? */
#pragma once

#include "volume/engine.h"

/* The climb to RUNG_CLAIMED: finds the image, reads its header and spec, takes rbdvol.ctl and makes sure that
 * nobody owns the image: a dead owner is fenced first, a silent one waited for while the volume has holders.
 * On success v->image_id, has_spec, spec, ctl and the facts are filled in. On failure nothing is held.
 * -ENOENT: no such image. -EBUSY: somebody has it, named. */
int claim_take(struct volumes *e, struct volume *v, const struct place *p, struct error *err);

/* Lets go of rbdvol.ctl, and of the owner record if it is ours and the lock that it tells of is gone. */
int claim_drop(struct volumes *e, struct volume *v, const struct place *p, struct error *err);

/* The same when its pool is gone, and they with it: 0. */
int claim_forget(struct volume *v);
