/* SPDX-License-Identifier: MIT */
/* `rbdvol trim`: gives back to the cluster what the file system of a mounted volume does not use. */
#pragma once

#include <jansson.h>

#include "volume/engine.h"

/* *ret: "Trimmed" (bytes that are free now, and were told); or at the deadline "Going", a text: it goes on,
 * and who asks again with that text as `after` ("" otherwise) waits for it and gets what it ended with. One
 * of a volume at a time: another request joins it. In pieces, between which the volume may be unmounted: that
 * ends it. -EBUSY: not mounted here; -EROFS; -EOPNOTSUPP. */
int trim_volume(struct volumes *e, const char *name, const char *after, moment deadline, json_t **ret,
                struct error *err);
