/* SPDX-License-Identifier: MIT */
/* Who changes an image as a whole: its mapping when it is mounted here, we when nobody has it, nobody else's
 * host ever. */
#pragma once

#include "base/imagechange.h"
#include "volume/engine.h"

/* With the gate, and the image's id by its name as it is now. -EBUSY: it is in use elsewhere, on its way up
 * or down here, or mapped by a mapper whose client cannot; says by whom and the way out. Others as in
 * base/imagechange.h. A dead owner is fenced first, as at Mount. */
int change_run(struct volumes *e, struct volume *v, const struct place *p, const char *id,
               const struct image_change *change, struct error *err);

/* The first half of it: may the image be changed here, and by whom? For those that have something to do
 * before. 1: it is mounted here, and its mapping changes it; 0: it is detached here (change_run looks whether
 * it is so elsewhere). */
int change_check(struct volume *v, const char *id, struct error *err);
