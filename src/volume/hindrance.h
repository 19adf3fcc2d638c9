/* SPDX-License-Identifier: MIT */
/* What keeps this host from letting go of a volume that nobody here wants any more, told to other hosts: on
 * the image, as metadata rbdvol.hindrance. */
#pragma once

#include "volume/engine.h"

/* Tells it, once per trouble, if the cluster is up; best effort. For who has the gate, without the volume's
 * lock. */
void hindrance_tell(struct volumes *e, struct volume *v, const struct error *why);

/* It is over. */
void hindrance_clear(struct volume *v, const struct place *p);

/* "; it has been trying to unmount it for 3 min: pid 4711 (bash) still uses …", or "" when the owner at this
 * address has told nothing. Returns buf. */
const char *hindrance_text(const struct place *p, const char *id, const char *address, char *buf,
                           size_t size);
