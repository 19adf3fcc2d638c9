/* SPDX-License-Identifier: MIT */
/* Maps a volume's image: chooses the mapper, and tells it what it must know of the cluster. */
#pragma once

#include "host/mapper.h"
#include "volume/settings.h"
#include "volume/volume.h"

struct volumes;

/* The mapper for this volume, by the operator's choice and the image's features, and why it is this one.
 * -ENODEV: none, and why. */
int mapping_choose(const struct volumes *e, const struct volume *v, const struct mapper **ret, char *why,
                   size_t size, struct error *err);

/* The same for an image without special features, of a volume that asks for none. */
int mapping_choose_any(const struct settings *s, const struct mapper **ret, char *why, size_t size,
                       struct error *err);

/* Starts what mapping_make is going to need if it maps the volume by `mapper`, whatever its image turns out
 * to be: its process starts while the image is claimed. drop: what mapping_make has not used ends. */
void mapping_start_early(struct volumes *e, struct volume *v, const struct mapper *mapper);
void mapping_drop_early(struct volume *v);

/* mapper->map() for the volume, whose image is claimed. */
int mapping_make(struct volumes *e, struct volume *v, const struct place *p, const struct mapper *mapper,
                 moment deadline, struct mapping *ret, struct error *err);

/* The path of the image's blocks: the mapper's file, or its device where it has no file. */
const char *mapping_blocks(const struct mapping *m);

/* Where the file of the volume's mapping is, or was. false: it has no mapping, or the path is too long. */
bool mapping_file(const struct volumes *e, const struct volume *v, char file[static PATH_MAX]);

/* Is there a loop device on that file? It frees itself with its last user. Sets v->node. */
bool mapping_has_loop(const struct volumes *e, struct volume *v);

/* mapper->reattach() for the volume. */
int mapping_reattach(struct volumes *e, const struct volume *v, struct mapping *m, moment deadline,
                     struct error *err);

/* Fills in what the mapper could not tell of v->mapping, by asking the cluster. */
int mapping_complete(const struct place *p, struct volume *v, struct error *err);
