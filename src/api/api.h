/* SPDX-License-Identifier: MIT */
/* The plugin protocol without HTTP: a method, a path and a body in, a status and JSON out. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define API_BODY_MAX (1u << 20) /* bytes; what is longer gets 413 */

struct volumes; /* volume/volumes.h: all that the routes act on */

struct api_request {
    const char *method; /* "POST", "GET", ... as it came */
    const char *path;   /* decoded, without a query */
    const char *body;   /* not NUL-terminated; may be NULL when len is 0 */
    size_t len;         /* bytes that arrived, which may be more than the body holds when it was too large */
    pid_t peer_pid;     /* SO_PEERCRED; 0: unknown (another pid namespace, TCP) */
    /* Tells whether the caller has gone away (poll(2) says POLLHUP; a client that only half-closed still
     * reads), so that what was done for it must be undone: Docker never sends the Unmount of a Mount it gave
     * up. Called from the thread that handles the request. May be NULL. */
    bool (*caller_left)(void *caller);
    void *caller;
};

struct api_reply {
    int status;       /* HTTP: 200, 400, 404, 405, 413, 500; 0: close the connection without an answer */
    const char *type; /* Content-Type, static */
    char *body;       /* NUL-terminated, the caller frees; NULL when status is 0 */
    /* What the answer grants (a holder of a mount), or NULL. The caller passes it to api_sent exactly once.
     */
    void *grant;
};

/* Handles one request; may block until the request's budget ends. Thread-safe. Always fills the reply. */
void api_handle(struct volumes *volumes, const struct api_request *req, struct api_reply *ret);

/* Tells what became of the answer; delivered is false when it could not be sent: then what it granted is
 * taken back. Does nothing when reply->grant is NULL. */
void api_sent(struct volumes *volumes, struct api_reply *reply, bool delivered);
