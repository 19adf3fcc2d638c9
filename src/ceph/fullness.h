/* SPDX-License-Identifier: MIT */
/* Why nothing can be written just now, although the cluster is there: librados holds writes to a full pool
 * back, and gives them up at the time-out as if nobody had answered. */
#pragma once

#include "ceph/cluster.h"

/* Asks the monitors, for a second at most. -ENOSPC: the pool, or the cluster, is full or paused, which err
 * says and what to do; 0: it is not, or that cannot be asked. */
int fullness_check(const struct place *p, struct error *err);
