/* SPDX-License-Identifier: MIT */
/* One image on its way: it has a temporary name until it is complete, so that nothing with the final name
 * ever exists unfinished. */
#pragma once

#include "ceph/imagefill.h"
#include "volume/engine.h"
#include "volume/making.h"

struct birth {
    struct volumes *engine;
    struct volume *volume; /* that it is going to be; the caller has its gate */
    const struct place *place;
    struct making mark; /* the two names */
    char id[IMAGE_ID_LEN + 1];
    struct imagefill *fill; /* open and locked, from birth_open to birth_end */
    bool claimed;           /* by a rename that is known to be whole */
    bool keep;              /* by a rename whose outcome could not be learnt: it may be a volume now */
};

/* Chooses the temporary name for an image that v's name is to mean; touches nothing. */
void birth_begin(struct birth *b, struct volumes *e, const struct place *p, struct volume *v);

/* The image has been made under its temporary name: opens it, locks it, and marks it for the collector. */
int birth_open(struct birth *b, struct error *err);

/* rc is what became of it so far. 0: writes the spec (and the limits of its I/O, which librbd reads) and
 * claims the final name. Otherwise, and when that fails, takes it all back. -EEXIST: another host was first.
 */
int birth_end(struct birth *b, const struct spec *spec, int rc, struct error *err);

/* The metadata of a limit on I/O, of an image that nobody has open; 0: none. */
int birth_limit(const struct place *p, const char *id, const struct spec *spec, struct error *err);
