/* SPDX-License-Identifier: MIT */
/* Maps a volume's image: chooses the mapper, and tells it what it must know of the cluster. */
#pragma once

#include "volume/engine.h"

/* The mapper for this volume, by the operator's choice and the image's features, and why it is this one.
 * -ENODEV: none, and why. */
int mapping_choose(const struct volumes *e, const struct volume *v, const struct mapper **ret, char *why,
                   size_t size, struct error *err);

/* mapper->map() for the volume, whose image is claimed. */
int mapping_make(struct volumes *e, const struct volume *v, const struct place *p,
                 const struct mapper *mapper, moment deadline, struct mapping *ret, struct error *err);

/* Fills in what the mapper could not tell of v->mapping, by asking the cluster. */
int mapping_complete(const struct place *p, struct volume *v, struct error *err);
