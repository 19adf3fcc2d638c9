/* SPDX-License-Identifier: MIT */
/* Snapshots of a volume: `rbdvol snap`. */
#pragma once

#include <jansson.h>

#include "volume/engine.h"
#include "volume/task.h"

#define ROLLING_KEY "rbdvol.rolling" /* metadata: the snapshot that the image is being rolled back to */

/* Makes one. While the volume is mounted here its file system is frozen for that moment; mounted elsewhere,
 * -EBUSY says on which host to do it. -EEXIST: there is one of this name. */
int snap_create(struct volumes *e, const char *name, const char *snap, moment deadline, json_t **ret,
                struct error *err);

/* *ret: "Snapshots", a list of "Name", "Size", "Created". Wherever the volume is mounted. */
int snap_list(struct volumes *e, const char *name, moment deadline, json_t **ret, struct error *err);

/* -ENODEV: there is none of this name. One that has clones stays for them, unseen. */
int snap_remove(struct volumes *e, const char *name, const char *snap, moment deadline, json_t **ret,
                struct error *err);

/* The volume becomes what it was; it must not be in use anywhere. What is cut off is finished by the next
 * Mount, on any host. */
int snap_rollback(struct volumes *e, const char *name, const char *snap, moment deadline, json_t **ret,
                  struct error *err);

/* For others that need a snapshot of a volume, with its gate: frozen while it is mounted here. */
int snap_take(struct task *t, const char *snap, struct error *err);

/* With rbdvol.ctl, of an image that nobody owns, and whose header says ROLLING_KEY: goes on with it to its
 * end. */
int snap_finish_rollback(struct volume *v, const struct place *p, const char *id, const char *mark,
                         struct error *err);
