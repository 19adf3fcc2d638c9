/* SPDX-License-Identifier: MIT */
/* Clears away what interrupted Creates left in the cluster, and purges our own trash. */
#pragma once

#include "volume/engine.h"

/* One round over all configured pools; takes as long as it takes. Images marked rbdvol.making, or without a
 * mark but with a temporary name, over an hour old, whose managed lock it gets: renamed if their final name
 * is theirs, moved to the trash otherwise, never deleted. Such a name without an image is taken away. */
void collector_run(struct volumes *e);
