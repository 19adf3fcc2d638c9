/* SPDX-License-Identifier: MIT */
/* Looks at the locks on an image's header object, live and without taking anything or leaving a watch. */
#pragma once

#include <stdbool.h>

#include "ceph/image.h"

#define LOCK_TEXT_MAX 256

/* Who holds a RADOS lock of class "lock". */
struct lock_holder {
    char client[64]; /* "client.4122" */
    char cookie[LOCK_TEXT_MAX];
    char tag[64];
    char address[80]; /* ip:port/nonce, without the "v1:" of librados */
};

/* The named lock of the header object: 1 held (the first holder is filled in), 0 free, or could not ask. */
int imagelock_holder(const struct place *p, const char *id, const char *lock, struct lock_holder *ret,
                     struct error *err);

/* The lock rbd_lock, which librbd's managed lock and `rbd lock add` share: 1 held, 0 free. *managed: librbd's
 * or krbd's own, whose holder writes (tag "internal"); otherwise an advisory one, put there by hand or by
 * another plugin. */
int imagelock_image_holder(const struct place *p, const char *id, struct lock_holder *ret, bool *managed,
                           struct error *err);

/* Takes somebody's lock away by recorded client and cookie. Never for rbd_lock: this does not fence. Not held
 * any more: success. */
int imagelock_break(const struct place *p, const char *id, const char *lock, const struct lock_holder *holder,
                    struct error *err);

/* Takes rbd_lock from a holder that has been fenced (blocklist_add), by recorded client and cookie; from an
 * advisory lock's, too. Not held by that one any more: success. */
int imagelock_break_fenced(const struct place *p, const char *id, const struct lock_holder *holder,
                           struct error *err);
