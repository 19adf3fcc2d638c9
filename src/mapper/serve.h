/* SPDX-License-Identifier: MIT */
/* Between /dev/fuse and the image: each request becomes an I/O, or is answered at once. */
#pragma once

#include "mapper/buffers.h"
#include "mapper/image.h"
#include "mapper/state.h"

struct serve {
    int fuse;
    bool ro;
    struct image *image;
    struct state *state;
    struct buffers *buffers;
};

/* Returns when the file has been unmounted, or its connection aborted. */
void serve_run(struct serve *s);
