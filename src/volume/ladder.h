/* SPDX-License-Identifier: MIT */
/* One step up or down the ladder. The rung is the state: what a failed step leaves is what the rung says. */
#pragma once

#include "volume/engine.h"

/* Takes one step; the caller has the gate. On failure the volume stays on its rung, or has got to the next
 * one with something missing there: descending undoes it either way. */
int ladder_up(struct volumes *e, struct volume *v, struct error *err);

/* -EBUSY: somebody still uses it (named); the lock is kept, and the step can be tried again. */
int ladder_down(struct volumes *e, struct volume *v, struct error *err);

/* Is it mounted at our mountpoint, perhaps below something else? (What else is there is not ours.) Then
 * v->rung and v->node say so, whatever we believed before: the helper of a daemon that was killed finishes
 * what it is at. The caller has v->lock. */
bool ladder_find_mount(struct volumes *e, struct volume *v);
