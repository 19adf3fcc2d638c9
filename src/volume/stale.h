/* SPDX-License-Identifier: MIT */
/* Holders that nobody is behind any more: Docker loses Unmounts (a kill, a crash, live-restore), and a volume
 * must not stay locked on this host for ever because of one. */
#pragma once

#include "volume/engine.h"

/* Drops the stale holders of a mounted volume. Stale is a holder with an ID when the device is mounted
 * nowhere but at our own mountpoint, in any mount namespace, and its caller's process is gone or it is older
 * than ten minutes (a minute, where the volume is lost). The flag of callers without an ID is never stale.
 * Returns how many were dropped; 0 also when it cannot be told just now. Leaves the rest to drive_kick.
 * Waits up to 10 s for a start that is still looking what there is. Called without the volume's lock. */
unsigned stale_drop(struct volumes *e, struct volume *v);

/* Is there a holder of this ID whose caller is gone, but whose container lives on, since the volume is
 * mounted in a mount namespace of its own? Docker was killed under live-restore then. False when it cannot be
 * told. Leaves the rest to drive_kick. Called without the volume's lock. */
bool stale_lives_on(struct volumes *e, struct volume *v, const char *id, moment deadline);

/* `rbdvol release`: id NULL drops the stale ones; an ID ("" is the flag) drops that one, if it is stale or
 * force is set. *left is the array of those that are still there. -ENOENT: not held here, or not by this ID;
 * -EBUSY: in use, by whom. */
int release_holder(struct volumes *e, const char *name, const char *id, bool force, moment deadline,
                   unsigned *dropped, json_t **left, struct error *err);
