/* SPDX-License-Identifier: MIT */
/* Brings volumes to where their holders want them: mounted while there is one, detached otherwise. */
#pragma once

#include "volume/engine.h"

/* The holders or the rung have changed: starts a thread that drives the volume, unless one does, or the gate
 * is taken (then whoever leaves it calls this). Called without the volume's lock. */
void drive_kick(struct volumes *e, struct volume *v);

/* Leaves the gate, and looks whether the volume is where it should be. */
void drive_gate_leave(struct volumes *e, struct volume *v);

/* Is it where its holders want it? With the volume's lock held. */
bool drive_settled(const struct volume *v);
