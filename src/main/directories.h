/* SPDX-License-Identifier: MIT */
/* The directories that the daemon works in. */
#pragma once

#include "base/error.h"
#include "volume/settings.h"

/* Makes state-dir, mount-root and scratch-dir where they are absent and checks that they are ours. Takes the
 * lock of state-dir: one daemon at a time, until *lock is closed (or the process ends, however). -EBUSY names
 * the other one. */
int directories_make(const struct settings *settings, int *lock, struct error *err);
