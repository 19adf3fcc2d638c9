/* SPDX-License-Identifier: MIT */
/* A mapping whose client is in the kernel, or in a program that is not ours, does not tell that it was
 * fenced: to this host it looks like any other. The lock on its image tells. */
#pragma once

#include "volume/engine.h"

/* Asks the cluster, in a thread of its own, whose the locks of such mappings are, when that is due and the
 * last round is over. Called by the keeper at each of its ticks. */
void ownercheck_tick(struct volumes *e);
