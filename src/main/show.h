/* SPDX-License-Identifier: MIT */
/* Prints the daemon's answers for people. Members may be absent: an older daemon may answer a newer command.
 */
#pragma once

#include <jansson.h>

void show_list(const json_t *volumes);  /* the Volumes of List */
void show_volume(const json_t *volume); /* the Volume of Get */
void show_status(const json_t *status); /* the answer of /Rbdvol.Status */
void show_lock(const json_t *report);   /* the answer of /Rbdvol.Unlock */
