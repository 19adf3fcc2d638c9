/* SPDX-License-Identifier: MIT */
/* The hint that a later daemon finds in STATE_DIR/volumes: holders, and where to look for the mapping. */
#pragma once

#include "volume/engine.h"

/* Writes the volume's file, or removes it when nothing of the volume is here any more. Called with the
 * volume's short lock held, so that the file never lags behind an answer. A failure is logged; who is
 * about to promise that the file holds must look at it (mounting.c), for all others it costs the hint. */
int statefile_save(struct volumes *e, struct volume *v);

/* What a file says. */
struct state {
    struct image_name name;
    char image_id[IMAGE_ID_LEN + 1];
    char mapping_id[MAPPING_ID_LEN + 1]; /* "": was not mapped */
    struct volume_facts facts;
    json_t *holders;
    bool lost;
    struct volume_loss loss;
};

/* Calls visit() for each file of this boot; removes files of other boots and what is none. Negative: one
 * could not be read (-EMFILE), and stays. */
int statefile_each(struct volumes *e, void (*visit)(struct volumes *e, const struct state *s),
                   struct error *err);
