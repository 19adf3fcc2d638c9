/* SPDX-License-Identifier: MIT */
/* What the kernel counts of a block device's I/O (Linux: Documentation/block/stat.rst). */
#pragma once

#include "host/mapper.h"

/* Fills in inflight and answered from the counters of a device ("/dev/rbd0"). Without them there is nothing
 * in flight. */
void blockstat_fill(const char *device, struct mapping_health *health);

/* The same from the text of its `stat` file. */
void blockstat_parse(const char *text, struct mapping_health *health);
