/* SPDX-License-Identifier: MIT */
#include "ceph/imagelock.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"

#define IMAGE_LOCK   "rbd_lock"
#define MANAGED_TAG  "internal" /* librbd: ManagedLock/Utils, krbd: RBD_LOCK_TAG */
#define LISTING_SIZE 4096

int imagelock_holder(const struct place *p, const char *id, const char *lock, struct lock_holder *ret,
                     struct error *err)
{
    char object[IMAGE_ID_LEN + 16], tag[LISTING_SIZE], clients[LISTING_SIZE], cookies[LISTING_SIZE],
        addrs[LISTING_SIZE];
    size_t tag_len = sizeof tag, clients_len = sizeof clients, cookies_len = sizeof cookies,
           addrs_len = sizeof addrs;
    int exclusive;
    ssize_t n = rados_list_lockers(p->io, image_header_object(id, object), lock, &exclusive, tag, &tag_len,
                                   clients, &clients_len, cookies, &cookies_len, addrs, &addrs_len);
    if (n == 0 || n == -ENOENT) /* an object that is gone has no locks; image_find tells the difference */
        return 0;
    if (n < 0)
        return place_error(p, (int)n, err, "cannot look at lock %s of image id %s", lock, id);
    struct lock_holder h = { 0 };
    /* Each list is NUL-separated, so that its first member is a string. */
    (void)snprintf(h.client, sizeof h.client, "%s", clients);
    (void)snprintf(h.cookie, sizeof h.cookie, "%s", cookies);
    (void)snprintf(h.tag, sizeof h.tag, "%s", tag_len ? tag : "");
    const char *addr = strncmp(addrs, "v1:", 3) == 0 || strncmp(addrs, "v2:", 3) == 0 ? addrs + 3 : addrs;
    (void)snprintf(h.address, sizeof h.address, "%s", addr);
    *ret = h;
    return 1;
}

int imagelock_image_holder(const struct place *p, const char *id, struct lock_holder *ret, bool *managed,
                           struct error *err)
{
    int rc = imagelock_holder(p, id, IMAGE_LOCK, ret, err);
    if (rc == 1)
        *managed = strcmp(ret->tag, MANAGED_TAG) == 0;
    return rc;
}

static int lock_break(const struct place *p, const char *id, const char *lock,
                      const struct lock_holder *holder, struct error *err)
{
    char object[IMAGE_ID_LEN + 16];
    int rc = rados_break_lock(p->io, image_header_object(id, object), lock, holder->client, holder->cookie);
    if (rc < 0 && rc != -ENOENT)
        return place_error(p, rc, err, "cannot take lock %s of image id %s from %s", lock, id,
                           holder->client);
    return 0;
}

int imagelock_break(const struct place *p, const char *id, const char *lock, const struct lock_holder *holder,
                    struct error *err)
{
    if (strcmp(lock, IMAGE_LOCK) == 0)
        return error_set(err, -EINVAL, "the image's own lock is never broken without fencing its owner");
    return lock_break(p, id, lock, holder, err);
}

int imagelock_break_fenced(const struct place *p, const char *id, const struct lock_holder *holder,
                           struct error *err)
{
    return lock_break(p, id, IMAGE_LOCK, holder, err);
}
