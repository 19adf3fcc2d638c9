/* SPDX-License-Identifier: MIT */
/* What was begun in a pool and cannot be seen from a name: an object of ours (rbdvol.pending) whose keys say
 * what a collector finishes when who began it did not. */
#pragma once

#include "ceph/cluster.h"

#define PENDING_KEY_MAX 255

/* Written before the step that it is about. */
int pending_add(const struct place *p, const char *key, struct error *err);

/* It is done. One that is not there is fine. */
int pending_remove(const struct place *p, const char *key, struct error *err);

/* Calls visit() with each key, and when it was added by the clock of who did. The keys may be changed
 * meanwhile. */
int pending_each(const struct place *p, void (*visit)(void *arg, const char *key, time_t since), void *arg,
                 struct error *err);
