/* SPDX-License-Identifier: MIT */
/* At start: finds what an earlier daemon left mapped and mounted, by looking, and takes it over. */
#pragma once

#include "volume/engine.h"

/* Reads the state files and mountinfo, nothing that can hang: holders, mountpoints and facts are there for
 * Get at once. The volumes stay behind their gates ("recovering") until recover_mappings. */
int recover_state(struct volumes *e, struct error *err);

/* Connects to the mappers that are alive, sets each volume's rung by what is really there, opens the gates
 * and drives what is half done to its end. One whose mapper is alive, but cannot be looked at, is left for
 * recover_rest. */
void recover_mappings(struct volumes *e);

/* Some mappers were alive, and what they have could not be told: their volumes are still behind their gates.
 * Looks for these again; without them it does nothing. Called now and then. */
void recover_rest(struct volumes *e);

/* Is it still behind its gate for that reason? Called without the volume's lock. */
bool recover_is_at(struct volume *v);
