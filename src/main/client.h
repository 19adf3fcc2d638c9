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

#define CLIENT_PATIENCE_MS 150000 /* longer than the longest budget that the daemon takes */

/* How an answer is waited for. */
struct client_patience {
    int ms;
    void (*waiting)(void *arg, int seconds); /* called after each second; NULL: nobody wants to know */
    void *arg;
};

int client_call_patiently(const char *socket_path, const char *path, const json_t *request,
                          const struct client_patience *how, json_t **ret, struct error *err);

/* GETs a path of whatever listens there, until ms are over. *ret: a new reference to any JSON. */
int client_get(const char *socket_path, const char *path, int ms, json_t **ret, struct error *err);
