/* SPDX-License-Identifier: MIT */
/* The places that this daemon serves: the namespace that it is configured for in each of its pools, and the
 * other namespaces there as far as its key opens them. */
#pragma once

#include "volume/engine.h"

/* where: its pool and namespace, no image. A negative code ends the walk, but for -EPERM in a namespace that
 * is not the configured one: that is somebody else's, and is left out. */
typedef int walk_fn(void *arg, const struct image_name *where, const struct place *p, struct error *err);

/* One pool. others: also what is not the configured namespace. Errors name the pool. */
int walk_pool(struct volumes *e, const char *pool, bool others, walk_fn *visit, void *arg, struct error *err);

/* All configured pools, in their order. */
int walk_pools(struct volumes *e, bool others, walk_fn *visit, void *arg, struct error *err);
