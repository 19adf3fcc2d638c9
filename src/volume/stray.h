/* SPDX-License-Identifier: MIT */
/* Mounts of ours that no state file tells of. */
#pragma once

#include "volume/engine.h"

/* Calls found() with each volume that is mounted at its place below the mount root from a file of a mapper of
 * ours, and with that mapping's id, whether its process is alive or not. Only looks at /proc and /sys. */
void stray_each(struct volumes *e,
                void (*found)(struct volumes *e, const struct image_name *name, const char *mapping));
