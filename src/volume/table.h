/* SPDX-License-Identifier: MIT */
/* The volumes that this host has to do with just now: name to volume, reference counted. */
#pragma once

#include "volume/volume.h"

struct table {
    pthread_mutex_t lock; /* guards the list and the references; held for microseconds */
    struct volume *first;
};

void table_init(struct table *t);

/* Frees all that is in it; nobody else may hold a reference. */
void table_done(struct table *t);

/* The volume of this full name, made when it is not there. The caller releases it. */
struct volume *table_get(struct table *t, const struct image_name *name);

/* The same, NULL when it is not there. */
struct volume *table_find(struct table *t, const struct image_name *name);

/* One more reference. */
struct volume *table_hold(struct table *t, struct volume *v);

/* Gives a reference back. A volume that nobody refers to, holds, or has anything of here is forgotten. */
void table_release(struct table *t, struct volume *v);

/* All volumes as a fresh array of references, each to be released, the array to be freed. */
struct volume **table_all(struct table *t, size_t *n);
