/* SPDX-License-Identifier: MIT */
/* A mounted file system is frozen for a bounded time, and thawed whatever becomes of the daemon. */
#pragma once

#include <stdbool.h>

#include "base/clock.h"
#include "base/error.h"
#include "host/device.h"

struct freeze {
    int root;     /* of the frozen file system; -1: none is */
    bool expired; /* it was thawed because its time was over */
    moment thaw_at;
};

/* Writes what is dirty, then freezes it for hold_ms at most. -EBUSY: somebody has frozen it already. */
int freeze_begin(struct freeze *f, const char *mountpoint, const struct device_node *node, int hold_ms,
                 struct error *err);

/* Thaws it. -ETIMEDOUT: it had thawed before, since its time was over. */
int freeze_end(struct freeze *f, struct error *err);

/* Its time is over; does nothing when none is frozen. */
void freeze_expire(struct freeze *f);

/* Thaws one that a helper left frozen which did not live to thaw it; one that is not frozen is fine. */
int freeze_undo(const char *mountpoint, const struct device_node *node, struct error *err);
