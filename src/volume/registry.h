/* SPDX-License-Identifier: MIT */
/* The volumes that this host has to do with just now: name to volume, reference counted. */
#pragma once

#include "volume/volume.h"

struct registry {
    pthread_mutex_t lock; /* guards the list and the references; held for microseconds */
    struct volume *first;
};

void registry_init(struct registry *t);

/* Frees all that is in it; nobody else may hold a reference. */
void registry_done(struct registry *t);

/* The volume of this full name, made when it is not there. The caller releases it. */
struct volume *registry_get(struct registry *t, const struct image_name *name);

/* The same, NULL when it is not there. */
struct volume *registry_find(struct registry *t, const struct image_name *name);

/* One more reference. */
struct volume *registry_hold(struct registry *t, struct volume *v);

/* Gives a reference back. A volume that nobody refers to, holds, or has anything of here is forgotten. */
void registry_release(struct registry *t, struct volume *v);

/* All volumes as a fresh array of references, each to be released, the array to be freed. */
struct volume **registry_all(struct registry *t, size_t *n);
