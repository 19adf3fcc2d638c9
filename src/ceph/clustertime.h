/* SPDX-License-Identifier: MIT */
/* The monitors' clock. What is deleted, or stays fenced, until some time goes by it: this host's wall clock
 * may be wrong by years, and may be set at any moment. */
#pragma once

#include <time.h>

#include "ceph/cluster.h"

/* Now, by the monitors: asked once a day, and counted on by a clock that nobody sets. A key that may not
 * ask gets this host's own time. */
int clustertime(const struct place *p, time_t *ret, struct error *err);

/* "2026-11-21T16:37:45.852278+0000", as monitors write it. 0: it is none. */
time_t clustertime_parse(const char *text);
