/* SPDX-License-Identifier: MIT */
/* One request to the daemon: HTTP/1.1 over its UNIX socket. */
#pragma once

#include <jansson.h>

#include "base/error.h"

/* POSTs the object to the path and returns the daemon's answer (*ret: a new reference to an object). An
 * answer with an error becomes err with the daemon's own sentence. -ENOENT, -ECONNREFUSED: no daemon is
 * there; -EACCES: not for this user; -ENODATA: it closed the connection without an answer. */
int client_call(const char *socket_path, const char *path, const json_t *request, json_t **ret,
                struct error *err);
