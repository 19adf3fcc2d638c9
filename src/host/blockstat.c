/* SPDX-License-Identifier: MIT */
#include "host/blockstat.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

/* Fields, from 0: what was completed, and what was not yet. Kernels before 4.18 count no discards, before 5.5
 * no flushes. */
enum { READS = 0, WRITES = 4, INFLIGHT = 8, DISCARDS = 11, FLUSHES = 15, FIELDS = 17 };

void blockstat_parse(const char *text, struct mapping_health *health)
{
    unsigned long long n[FIELDS] = { 0 };
    char *end;
    for (size_t i = 0; i < FIELDS; i++, text = end) {
        n[i] = strtoull(text, &end, 10);
        if (end == text)
            break;
    }
    health->counted = true;
    health->inflight = (unsigned)n[INFLIGHT];
    health->answered = n[READS] + n[WRITES] + n[DISCARDS] + n[FLUSHES];
}

void blockstat_fill(const char *device, struct mapping_health *health)
{
    char path[PATH_MAX], text[512];
    struct error ignored;
    (void)snprintf(path, sizeof path, "/sys/block/%s/stat", device + strlen("/dev/"));
    blockstat_parse(file_read_line(path, text, sizeof text, &ignored) < 0 ? "" : text, health);
}
