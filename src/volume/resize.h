/* SPDX-License-Identifier: MIT */
/* A volume's size: `rbdvol resize`, and what others made of the image. */
#pragma once

#include <jansson.h>

#include "volume/engine.h"

/* Grows the image, and its file system when it is mounted here; otherwise that grows at the next Mount, as
 * after a resize that was cut off. *ret tells: "Size" (bytes), "Mounted", "Grown" (the file system was
 * smaller). -EINVAL: no size, smaller than it is, or more than max-size. -EBUSY: in use elsewhere. -EPERM:
 * the image has grown, its file system can only at the next Mount. */
int resize_volume(struct volumes *e, const char *name, const char *size, moment deadline, json_t **ret,
                  struct error *err);

/* With the gate: grows the file system that was just mounted here to its image's size. One that does not grow
 * is no reason not to use it: that is logged. d is a helper. */
void resize_at_mount(struct volume *v, struct device *d, const char *mountpoint);
