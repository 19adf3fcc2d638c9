/* SPDX-License-Identifier: MIT */
/* Deletes for good what Remove has moved to the trash, while nobody waits for it: a large image takes
 * minutes. */
#pragma once

#include "volume/engine.h"

/* Image id, which had this name, is deleted from now on, beside a few others; those that are one too many
 * wait for these. What fails, and what is left when the daemon stops, is the collector's. */
void purge_soon(struct volumes *e, const struct image_name *name, const char *id);
