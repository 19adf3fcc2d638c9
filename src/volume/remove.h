/* SPDX-License-Identifier: MIT */
/* Remove: what the remove policy says, and only on images that are ours and that nobody uses. */
#pragma once

#include "volume/engine.h"

/* What an image is renamed to under the policy `rename`: this and its name, with a number behind it when that
 * is taken. */
#define REMOVE_PREFIX "zz_"

/* for_good: delete, whatever the policy says. A volume that is not there is success. -EBUSY names who uses
 * it. */
int remove_volume(struct volumes *e, const char *name, bool for_good, moment deadline, struct error *err);
