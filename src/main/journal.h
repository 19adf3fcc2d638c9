/* SPDX-License-Identifier: MIT */
/* Log lines as entries of systemd's journal, with their fields. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/log.h"

#define JOURNAL_FIELDS_MAX 16
#define JOURNAL_FIELD_SIZE 320

/* Where standard error is the journal (JOURNAL_STREAM), lines are sent there with each "key=value" of theirs
 * as a field RBDVOL_KEY, and with RBDVOL_VOLUME where they name a pool and an image. Before the first thread.
 */
void journal_start(void);

/* The fields of a line: "RBDVOL_VOLUME=rbd/db". Returns how many. */
size_t journal_fields(const char *text, char (*ret)[JOURNAL_FIELD_SIZE], size_t max);
