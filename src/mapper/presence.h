/* SPDX-License-Identifier: MIT */
/* Shows that a read-only mapping is there: librbd leaves a watch on an image only where it may write, and by
 * the watches others see whether anybody uses it. */
#pragma once

#include <rados/librados.h>

#include "ceph/image.h"

struct presence {
    rados_ioctx_t pool;
    char object[IMAGE_ID_LEN + 16];
    uint64_t handle;
    bool there;
};

/* Begins to show. */
int presence_start(struct presence *p, rados_ioctx_t pool, const char *id, struct error *err);

/* A watch lapses while the cluster cannot be reached: then it is renewed. Blocks while the cluster does. */
void presence_renew(struct presence *p);

/* Does nothing when it does not show. */
void presence_end(struct presence *p);
