/* SPDX-License-Identifier: MIT */
/* What rbdvol has moved to the trash of the configured pools: seen, taken back, deleted. Another program's
 * entries are not touched. */
#pragma once

#include <jansson.h>

#include "volume/engine.h"

/* *ret: "Volumes", a list of "Name", "Id", "Trashed", "Until". */
int trash_list(struct volumes *e, json_t **ret, struct error *err);

/* what: a name, or an id. as: its new name; "": the one that it had. *ret: "Name". -ENODEV: it is not in the
 * trash; -EEXIST: it is there several times, or the name is taken. */
int trash_restore(struct volumes *e, const char *what, const char *as, json_t **ret, struct error *err);

/* Deletes for good: the one that is asked for, and with "" those whose time is over. -EINPROGRESS: it goes
 * on. */
int trash_purge(struct volumes *e, const char *what, moment deadline, struct error *err);
