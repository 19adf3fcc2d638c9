/* SPDX-License-Identifier: MIT */
/* An operation on one volume that a person asked for: in its gate, in a thread that may outlive the request.
 */
#pragma once

#include <jansson.h>

#include "volume/engine.h"

/* What the operation gets. */
struct task {
    struct volumes *engine;
    struct volume *volume;
    const struct place *place;
    char id[IMAGE_ID_LEN + 1]; /* of the image that has the volume's name now */
    const void *arg;
    json_t *out; /* an object: what is told to who asked */
};

struct task_kind {
    const char *verb;  /* "resize", for messages */
    const char *doing; /* "resizing", for who waits for the gate */
    int (*run)(struct task *t, struct error *err);
};

/* Finds the volume, enters its gate, finds the image and runs it. arg is on the heap, and freed at its end.
 * *ret: a new reference to what it told. -ENOENT: no such volume. -EINPROGRESS at the deadline: it goes on.
 */
int task_run(struct volumes *e, const char *name, const struct task_kind *kind, void *arg, moment deadline,
             json_t **ret, struct error *err);
