/* SPDX-License-Identifier: MIT */
/* Large buffers that travel: one is filled with a request, given to the I/O, and comes back from whatever
 * thread ends that. */
#pragma once

#include <pthread.h>

#include "mapper/fuse.h"

#define BUFFER_SIZE FUSE_REQUEST_MAX /* a multiple of the page size */

struct buffers {
    pthread_mutex_t lock;
    struct buffer_link *idle;
    unsigned nidle,
        least; /* least: the fewest that were idle since the last trim; guarded by lock, as the others */
};

void buffers_init(struct buffers *b);

/* BUFFER_SIZE bytes, page-aligned. NULL: out of memory. */
char *buffers_take(struct buffers *b);

/* NULL is fine. */
void buffers_give(struct buffers *b, char *buffer);

/* Gives the kernel back what nobody needed since the last call. */
void buffers_trim(struct buffers *b);
