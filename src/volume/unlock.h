/* SPDX-License-Identifier: MIT */
/* `rbdvol unlock`: a person decides over somebody's lock. */
#pragma once

#include <jansson.h>

#include "volume/engine.h"

/* Looks whose lock is on the volume, and with `go` takes it away: the owner is fenced for 30 days first, and
 * with `force` a living one, too, and who else has the image open. *ret tells: "Owner" (a sentence part),
 * "State" ("free", "dead", "silent": it answers nothing, but its watch has not lapsed, "unknown": nor does
 * the cluster in time, "alive", "by hand"), "Watchers" (addresses of all clients that have it open for
 * writing), "Unlocked". Asks for as long as the setting `silence` says. -EBUSY: alive, or open elsewhere
 * although locked by hand, without force; or in use on this host. -EAGAIN: unknown, without force.
 * -ENOENT: no such volume. */
int unlock_volume(struct volumes *e, const char *name, bool go, bool force, moment deadline, json_t **ret,
                  struct error *err);
