/* SPDX-License-Identifier: MIT */
/* The sockets that requests come in by. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"
#include "volume/settings.h"

struct listener {
    int fd;            /* listening, close-on-exec; -1: given away */
    bool from_systemd; /* systemd made it, keeps it while we are away, and removes it */
    char path[108];    /* of our own one; "" otherwise */
    dev_t dev;         /* which file that is: a later daemon may have put its own there */
    ino_t ino;
};

/* The plugin's socket: the one that systemd passes, or our own at settings->socket, with its mode and group;
 * its directory is made, a socket that nobody listens at is replaced, one that somebody does is left alone:
 * -EADDRINUSE. */
int listener_open(const struct settings *settings, struct listener *ret, struct error *err);

/* New connections are refused from now on, those that wait to be accepted still can be. A client whose
 * connect fails comes again with its request whole; one whose connection is cut off comes again with an empty
 * body. Not ours: does nothing. */
void listener_refuse(struct listener *l, int fd);

/* Removes our own socket's file. */
void listener_remove(struct listener *l);

/* A loopback TCP socket at "127.0.0.1:PORT" or "[::1]:PORT". Returns the descriptor. */
int listen_loopback(const char *address, struct error *err);
