/* SPDX-License-Identifier: MIT */
/* Get, List, Path and status: never wait for a volume's gate, never spawn anything, never open an image. */
#pragma once

#include "volume/engine.h"

/* Docker's Volume object: {"Name" as asked, "Mountpoint", "CreatedAt", "Status"}. A volume mounted here is
 * answered from memory, others by two or three small reads. -ENOENT: the cluster says that there is none.
 * -EINVAL: no volume can have this name. Anything else: could not ask, which Docker must not take for an
 * answer. */
int query_get(struct volumes *e, const char *name, json_t **ret, struct error *err);

/* Docker's Volumes array: the images of all configured pools whose names are volume names. While the cluster
 * cannot be asked, the volumes that are mounted here; the error when there are none. */
int query_list(struct volumes *e, json_t **ret, struct error *err);

/* The mountpoint, "" when it is not mounted here; from memory alone. */
int query_path(struct volumes *e, const char *name, char mountpoint[static PATH_MAX], struct error *err);

/* The daemon's own view, for `rbdvol status`. */
json_t *query_status(struct volumes *e);
