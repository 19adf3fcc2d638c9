/* SPDX-License-Identifier: MIT */
/* What was reported as failed does not happen later. A Create or Remove that the cluster did not answer in
 * time cannot be called back: its last write may land when the cluster answers again. So it is looked at
 * then, and taken back. */
#pragma once

#include "volume/engine.h"
#include "volume/making.h"

/* Remembers that a Create (the image may have got the name `mark->final`) or Remove (`mark` NULL: into the
 * trash; otherwise renamed to `mark->final`) of this volume was not answered. Its drive (volume/drive.h)
 * takes it back, tries again while the cluster does not answer, and does nothing else before. For who has the
 * gate.
 */
void reversal_owe_create(struct volume *v, const char *id, const struct making *mark);
void reversal_owe_remove(struct volume *v, const char *id, const struct making *mark);

/* Takes back what is owed, if anything is. Whoever has found the volume meanwhile and uses it keeps it. A
 * failure: it is still owed. For who has the gate. */
int reversal_run(struct volumes *e, struct volume *v, struct error *err);

/* Takes the removal back of an image that has its name, or half of it, and is in the trash by our doing:
 * whoever was at it has ended. -EBUSY: a host is still at it, and named. Without such an image: 0. */
int reversal_of_half_removed(struct volumes *e, const struct place *p, const char *name, struct error *err);

/* lookup_image and lookup_header, after that. */
int reversal_lookup(struct volumes *e, const struct place *p, const char *name,
                    char id[static IMAGE_ID_LEN + 1], struct image_header *ret, struct error *err);
