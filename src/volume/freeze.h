/* SPDX-License-Identifier: MIT */
/* The file system of a volume that is mounted here, held still while a snapshot of its image is made. */
#pragma once

#include "volume/engine.h"

/* All with the gate. Freezes it for a bounded time; *ret is a helper that freeze_off takes back. On failure
 * nothing is frozen, or will be thawed. */
int freeze_on(struct volumes *e, struct volume *v, struct device **ret, struct error *err);

/* Thaws it; whatever this returns, it is thawed, or the next start of the daemon does it. -ETIMEDOUT: it was
 * thawed before, so that what was done meanwhile may have been done to a file system that moved. */
int freeze_off(struct volumes *e, struct volume *v, struct device *d, struct error *err);

/* Thaws what an earlier daemon had frozen when it was killed, and its helper with it. */
void freeze_recover(struct volumes *e, struct volume *v);
