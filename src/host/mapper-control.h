/* SPDX-License-Identifier: MIT */
/* What the daemon and rbdvol-mapper say to each other: packets of JSON on the mapper's socket.
 *
 * All questions go over a connection of their own, so that threads need not take turns and a late answer is
 * never taken for the next one; the connection in struct mapping only tells the mapper that a daemon is
 * there. */
#pragma once

#include <jansson.h>

#include "host/mapper.h"

/* The socket's path, from the file's: both are the id in one directory. */
void mapper_control_path(const struct mapping *m, char path[static PATH_MAX]);

/* Asks; takes the reference of request. *ret (which may be NULL) is the caller's. */
int mapper_control_call(const struct mapping *m, json_t *request, moment deadline, json_t **ret,
                        struct error *err);
json_t *mapper_control_question(const char *what);

/* Does the code of a question that failed say that the process has ended, or never answers again? */
bool mapper_control_is_gone(int rc);

/* Fills in what the mapper says about itself. -EPROTO: it speaks another language; -ESRCH: it has ended. */
int mapper_control_fill(struct mapping *m, const json_t *hello, struct error *err);

/* What it says of its health. 0, or -EPROTO. */
int mapper_control_health(const json_t *hello, struct mapping_health *ret);
