/* SPDX-License-Identifier: MIT */
/* The threads that ask the cluster: whether the lock is still ours, every few seconds, since an idle mapping
 * would not notice that it was fenced; and how large the image is, when its header has changed. The second
 * question can hang behind I/O that does not end, and must not keep the first from being asked. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "mapper/buffers.h"
#include "mapper/image.h"

struct heartbeat {
    struct image *image;
    struct buffers *buffers;
    pthread_t beat, follow;
    uint64_t watch;
    bool watching;
    uint64_t ios_seen,
        ios_trimmed;      /* the thread's own: state_view's ios_ever at the last beat, at the last trim */
    pthread_mutex_t lock; /* guards the two below */
    pthread_cond_t changed;
    bool stop, resized;
};

int heartbeat_start(struct heartbeat *h, struct image *im, struct buffers *buffers, struct error *err);

/* Returns when the threads are out of the image; waits for the cluster if it must. */
void heartbeat_stop(struct heartbeat *h);
