/* SPDX-License-Identifier: MIT */
/* The control socket: what the daemon asks of this mapper, and when the mapper ends by itself. One thread for
 * all connections; nothing that can wait for the cluster runs on it. */
#pragma once

#include <stdbool.h>

#include "base/clock.h"
#include "base/error.h"
#include "mapper/change.h"
#include "mapper/heartbeat.h"
#include "mapper/image.h"
#include "mapper/state.h"

#define CONTROL_PEERS_MAX 32

/* What a connection waits for. */
enum control_wait { WAIT_NONE, WAIT_READY, WAIT_CLOSED, WAIT_STOPPED, WAIT_CHANGED };

struct control_peer {
    int fd;
    enum control_wait wait;
    moment deadline; /* of WAIT_CLOSED */
    bool told_lost;
};

struct control {
    int listen;
    const char *mapping;
    const char *warning; /* "" or what setup_process said */
    const struct image_options *opts;
    struct image *image;
    struct state *state;
    struct heartbeat *heartbeat;
    struct change change; /* the one that is made, or was made last */

    /* The control thread's own. */
    struct control_peer peers[CONTROL_PEERS_MAX];
    unsigned npeers;
    bool had_peer;
    moment began, idle_since; /* idle_since 0: there is a connection, or an open */

    /* Written by the ending thread before it wakes the control thread. */
    atomic_bool finished;
    struct error outcome;
};

/* Starts the thread. It ends the process when the time has come. */
int control_start(struct control *c, struct error *err);
