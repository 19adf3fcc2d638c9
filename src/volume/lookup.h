/* SPDX-License-Identifier: MIT */
/* From a name to an image: in which pool it is meant, and whether it is there. */
#pragma once

#include "volume/engine.h"
#include "volume/name.h"

/* Fills in the pool of a name that was given without one. A volume that is held or mounted here keeps the
 * meaning that it has, unless two of that name are; otherwise the configured pools are searched: 0 found in
 * one; -ENOENT in none (*ret then names the first pool, where Create would make it); -EEXIST in several:
 * names both spellings, *ret is the first. With a single configured pool nothing is asked. Others: could not
 * ask. */
int lookup_name(struct volumes *e, const struct volume_name *name, struct image_name *ret, struct error *err);

/* The same for a name as the user wrote it; -EINVAL: not one. */
int lookup_text(struct volumes *e, const char *text, struct image_name *ret, struct error *err);

/* lookup_name from memory alone: 1 it is held, mounted or worked on here, 0 it is not (*ret is the first
 * pool's). */
int lookup_local(struct volumes *e, const struct volume_name *name, struct image_name *ret);

/* Of a name without a pool: the volume that a caller of this ID holds here, whatever else has that name by
 * now. 1: there is one; 0: there is none (*ret is undefined). */
int lookup_held(struct volumes *e, const struct volume_name *name, const char *id, struct image_name *ret);

/* image_find; an interrupted rename of rbdvol's own Create is finished first. -ENODATA: there are names of
 * it, and no header (*id is filled): its removal was interrupted, and Remove finishes that. */
int lookup_image(const struct place *p, const char *name, char id[static IMAGE_ID_LEN + 1],
                 struct error *err);

/* Has image id, which had this name, still got it? For who has waited since, for rbdvol.ctl or an owner. 0;
 * -ENOENT: nobody has the name, -EAGAIN: another image has, or as lookup_image. */
int lookup_again(const struct place *p, const char *name, const char *id, struct error *err);

/* After lookup: the header, and what is left of an interrupted Create on it cleared away. -ENODATA as above.
 */
int lookup_header(const struct place *p, const char *name, const char *id, struct image_header *ret,
                  struct error *err);
