/* SPDX-License-Identifier: MIT */
/* The HTTP server in front of api_handle: libmicrohttpd, one thread per connection. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct volumes;
struct http;

/* Serves a listening UNIX (or loopback TCP) socket; takes the descriptor over. With metrics_only everything
 * but GET /metrics and GET /healthz is 404, bodies are dropped, and connections are few, since strangers may
 * ask. Docker's client sets the rules (moby pkg/plugins/client.go): every reply carries `Connection: close`,
 * a request is never cut off, Host and Content-Type are ignored. */
int http_start(int listen_fd, struct volumes *volumes, bool metrics_only, struct http **ret,
               struct error *err);

/* Stops accepting, waits until the running requests are answered (at most wait_ms), stops the server, frees
 * it. NULL is fine. The listening socket is closed. Returns the number of requests that were still running:
 * if there are any, the server and its threads are left as they are, and the caller must end the process
 * without stopping the engine. */
unsigned http_stop(struct http *http, int64_t wait_ms);
