/* SPDX-License-Identifier: MIT */
/* What this mapping is up to: the one thing that its threads share. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/error.h"

enum state_phase {
    STATE_STARTING,
    STATE_READY,
    STATE_LOST,   /* fenced, or the lock is no longer ours: for good */
    STATE_FAILED, /* the start failed */
};

/* One I/O that Ceph has not answered yet. */
struct state_io {
    struct state_io *prev, *next;
    moment since;
};

struct state {
    pthread_mutex_t lock; /* guards all that follows; a leaf: nothing is called while it is held */
    pthread_cond_t quiet; /* signalled when inflight becomes 0 */
    enum state_phase phase;
    struct error why; /* of LOST and FAILED */
    unsigned opens;
    bool was_open; /* it has been opened at least once */
    bool ending;   /* nothing more is let in */
    bool unclean;  /* a write failed: the lock must not be released */
    unsigned inflight;
    uint64_t ios_ever;   /* how many I/Os there have been */
    struct state_io ios; /* ring, the oldest first */
    moment last_end;     /* when Ceph last answered one */
    int wake;            /* eventfd: written when something changed that the control thread waits for */
};

/* A copy for reading. */
struct state_view {
    enum state_phase phase;
    struct error why;
    unsigned opens, inflight;
    uint64_t ios_ever;
    bool was_open, ending, unclean;
    int64_t stalled_ms; /* for so long something has been in flight, and nothing was answered */
};

int state_init(struct state *s, struct error *err);
void state_view(struct state *s, struct state_view *ret);

/* "starting", "ready", "lost", "failed" */
const char *state_phase_name(enum state_phase phase);

void state_ready(struct state *s);
void state_failed(struct state *s, const struct error *why);

/* The first reason stays. */
void state_lost(struct state *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* One more open: how many there were before, or -EIO when this mapping is lost or ending. */
int state_open(struct state *s);
void state_release(struct state *s);

/* The kernel has unmounted the file: nobody can have it open. */
void state_unmounted(struct state *s);

/* Lets no more opens and no more I/O in. -EBUSY: it is open; -EAGAIN: it is still starting; -EALREADY: it is
 * ending. */
int state_end(struct state *s);

/* An I/O begins: 0, or -EIO when the mapping is lost or ending. */
int state_io_begin(struct state *s, struct state_io *io);
/* It has ended; unclean: it was a write and failed. */
void state_io_end(struct state *s, struct state_io *io, bool unclean);
void state_unclean(struct state *s);

/* Waits until no I/O is in flight. */
void state_wait_quiet(struct state *s);
