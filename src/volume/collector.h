/* SPDX-License-Identifier: MIT */
/* Clears away what interrupted Creates left in the cluster, and purges our own trash. */
#pragma once

#include "volume/engine.h"

/* One round over all configured pools; takes as long as it takes. Images marked rbdvol.making, or without a
 * mark but with a temporary name, over an hour old, whose managed lock it gets: renamed if their final name
 * is theirs, moved to the trash otherwise, never deleted. Such a name without an image is taken away. Returns
 * whether there is something to purge in a minute's time: a deletion that was cut off with its daemon may
 * have been in this second, and the watch of who was killed in it keeps the image for 30 s. */
bool collector_run(struct volumes *e);
