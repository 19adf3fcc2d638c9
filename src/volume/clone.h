/* SPDX-License-Identifier: MIT */
/* A volume that begins as another one was: -o from=IMAGE[@SNAPSHOT], `rbdvol clone`. */
#pragma once

#include "volume/birth.h"
#include "volume/createopts.h"

/* Makes the image of a Create with GIVEN_FROM: a copy-on-write clone of the snapshot, or of one that is made
 * for it and removed after. asked becomes what was made: its size, and the source's spec with what was asked
 * for. -ENODEV: no such source; -EINVAL: smaller than it; -EBUSY: the source is in use elsewhere, and has no
 * snapshot yet. */
int clone_make(struct birth *b, struct createopts *asked, struct error *err);

/* Removes the snapshots that were made for clones in this place, and left by who was killed: those of this
 * daemon, and of those before it, at once; of others an hour later. *again grows by those of ours that cannot
 * be removed just now. */
int clone_collect(struct volumes *e, const struct place *p, const struct image_name *where, unsigned *again,
                  struct error *err);
