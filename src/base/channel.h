/* SPDX-License-Identifier: MIT */
/* Requests and replies between our own processes: one JSON object per packet on a UNIX SOCK_SEQPACKET socket.
 *
 * A request has "do": what to do. Its reply has "ok": true and the results, or "code" (a negative errno) and
 * "err" (a sentence). What arrives with "event" instead was not asked for. */
#pragma once

#include <jansson.h>

#include "base/clock.h"
#include "base/error.h"

#define CHANNEL_PACKET_MAX 65536
#define CHANNEL_FDS_MAX    4

/* A listening socket at path (0600; what is at the path already is replaced). Returns the descriptor. */
int channel_listen(const char *path, struct error *err);

/* Connects to path. -ECONNREFUSED or -ENOENT: nobody listens. */
int channel_connect(const char *path, struct error *err);

/* Sends one object; does not take the reference. -EPIPE: the other side is gone; -ETIMEDOUT: it does not
 * read. */
int channel_send(int fd, const json_t *msg, moment deadline, struct error *err);

/* The same, and n descriptors (at most CHANNEL_FDS_MAX) with it, which stay the caller's. */
int channel_send_fds(int fd, const json_t *msg, const int *fds, unsigned n, moment deadline,
                     struct error *err);

/* Receives one object (*ret: a new reference). -EPIPE: the other side is gone. -ETIMEDOUT. -EPROTO: not an
 * object. */
int channel_receive(int fd, moment deadline, json_t **ret, struct error *err);

/* The same, with exactly n descriptors, closed at exec. -EPROTO: there were others, or none. */
int channel_receive_fds(int fd, moment deadline, json_t **ret, int *fds, unsigned n, struct error *err);

/* Sends a request and waits for its reply; events that come first are dropped. 0: it succeeded (*ret holds
 * the reply when ret is not NULL). A refusal becomes err with the other side's code and sentence. */
int channel_call(int fd, const json_t *request, moment deadline, json_t **ret, struct error *err);

/* The second half of channel_call: waits for the reply to what was sent. */
int channel_answer(int fd, moment deadline, json_t **ret, struct error *err);

/* A reply that refuses with this error; a new reference. */
json_t *channel_refusal(const struct error *err);
