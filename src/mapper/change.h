/* SPDX-License-Identifier: MIT */
/* A change of the image as a whole, made by this client, which has the lock: in a thread of its own, since it
 * waits for the cluster. One at a time. */
#pragma once

#include <jansson.h>
#include <stdatomic.h>

#include "base/imagechange.h"
#include "mapper/image.h"

struct change {
    struct image *image;
    struct image_change what;
    char snap[SNAP_NAME_MAX + 1];
    int wake; /* eventfd: written at the end */
    atomic_bool running;
    struct error outcome; /* code 0: it was made. Read it when the change does not run */
};

/* Begins what the message asks for ("what", "size", "snap"). The caller has seen that none runs. -EINVAL,
 * -EAGAIN: it was not begun. */
int change_start(struct change *c, struct image *image, int wake, const json_t *msg, struct error *err);

bool change_running(const struct change *c);

/* The reply to who asked for the last one; a new reference. */
json_t *change_answer(const struct change *c);
