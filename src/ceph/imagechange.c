/* SPDX-License-Identifier: MIT */
#include "ceph/imagechange.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/job.h"
#include "base/log.h"
#include "base/text.h"
#include "ceph/blocklist.h"
#include "ceph/imagehandle.h"

#define FENCE_MS 20000
#define AGAIN_S  5

static int grow(rbd_image_t image, uint64_t size, struct error *err)
{
    char have[32], want[32];
    uint64_t now;
    int rc = rbd_get_size(image, &now);
    if (rc < 0)
        return error_set(err, rc, "cannot ask the image for its size: %s", error_text(rc));
    if (size < now)
        return error_set(err, -EINVAL, "the image has %s, which is more than %s", text_size(now, have),
                         text_size(size, want));
    if (size == now)
        return 0;
    rc = rbd_resize2(image, size, false, NULL, NULL);
    return rc < 0
               ? error_set(err, rc, "cannot grow the image to %s: %s", text_size(size, want), error_text(rc))
               : 0;
}

static int snap_create(rbd_image_t image, const char *snap, struct error *err)
{
    int rc = rbd_snap_create(image, snap);
    if (rc == -EEXIST)
        return error_set(err, rc, "there is a snapshot '%s' already", snap);
    return rc < 0 ? error_set(err, rc, "cannot make the snapshot '%s': %s", snap, error_text(rc)) : 0;
}

static int no_such(const char *snap, struct error *err)
{
    return error_set(err, -ENODEV, "there is no snapshot '%s'", snap);
}

static int snap_remove(rbd_image_t image, const char *snap, struct error *err)
{
    int rc = rbd_snap_remove(image, snap);
    if (rc == -ENOENT)
        return no_such(snap, err);
    if (rc == -EBUSY)
        return error_set(err, rc,
                         "the snapshot '%s' is protected: it has clones of the old kind, which need it "
                         "(`rbd children`, `rbd flatten`, `rbd snap unprotect`)",
                         snap);
    return rc < 0 ? error_set(err, rc, "cannot remove the snapshot '%s': %s", snap, error_text(rc)) : 0;
}

static int snap_rollback(rbd_image_t image, const char *snap, struct error *err)
{
    int rc = rbd_snap_rollback(image, snap);
    if (rc == -ENOENT)
        return no_such(snap, err);
    return rc < 0 ? error_set(err, rc, "cannot roll the image back to '%s': %s", snap, error_text(rc)) : 0;
}

int image_change(rbd_image_t image, const struct image_change *change, struct error *err)
{
    switch (change->what) {
    case IMAGE_GROW:
        return grow(image, change->size, err);
    case IMAGE_SNAP_CREATE:
        return snap_create(image, change->snap, err);
    case IMAGE_SNAP_REMOVE:
        return snap_remove(image, change->snap, err);
    case IMAGE_SNAP_ROLLBACK:
        return snap_rollback(image, change->snap, err);
    }
    return error_set(err, -EINVAL, "no such change");
}

/* Whose last writes may still be on their way: they must have been turned away before its lock is anybody
 * else's. */
struct unfinished {
    struct place place;
    rbd_image_t image;
};

/* Fences this connection's own client: its lock is left for the next taker, and the connection is replaced.
 * While the monitors cannot be asked it stays open, which keeps the lock. */
static int fence_own(void *arg, struct error *err)
{
    struct unfinished *u = arg;
    char address[80];
    int rc = connection_address(rados_ioctx_get_cluster(u->place.io), address, sizeof address, err);
    if (rc < 0)
        return rc;
    do {
        rc = blocklist_add(&u->place, address, clock_in_ms(FENCE_MS), err);
        if (rc < 0 && rc != -EBUSY && rc != -EPERM)
            (void)nanosleep(&(struct timespec){ .tv_sec = AGAIN_S }, NULL);
    } while (rc < 0 && rc != -EBUSY && rc != -EPERM);
    if (rc == -EPERM) /* nor may the next taker: it is kept out for as long as we live */
        return rc;
    log_notice("fenced own client=%s: what it has not finished does not land later", address);
    (void)rbd_close(u->image); /* of a fenced client: this releases nothing */
    return 0;
}

static void unfinished_free(void *arg)
{
    struct unfinished *u = arg;
    place_done(&u->place);
    free(u);
}

/* Goes on behind us when it takes long. */
static void close_unfinished(const struct place *p, rbd_image_t image)
{
    struct error err;
    struct unfinished *u = calloc(1, sizeof *u);
    if (!u)
        abort();
    *u = (struct unfinished){ .place = place_again(p), .image = image };
    if (job_run(fence_own, unfinished_free, u, clock_in_ms(FENCE_MS), &err) < 0)
        log_warning("the lock of an image is kept, whose rollback was cut off: %s", err.msg);
}

/* With the lock. What was given up by a time-out was not called back; all but a rollback changes only what
 * the next one to have the lock is told in the same order. */
static int change_locked(const struct place *p, rbd_image_t image, const struct image_change *change,
                         struct error *err)
{
    int rc = image_change(image, change, err);
    if (rc < 0 && rc != -ENODEV && change->what == IMAGE_SNAP_ROLLBACK)
        close_unfinished(p, image);
    else
        (void)rbd_close(image); /* releases the lock */
    return rc;
}

int image_change_free(const struct place *p, const char *id, const struct image_change *change,
                      struct error *err)
{
    rbd_image_t image;
    int rc = imagehandle_open(p, id, false, &image, err);
    if (rc < 0)
        return rc;
    rc = imagehandle_lock(image, err);
    if (rc == 0)
        rc = change_locked(p, image, change, err);
    else
        (void)rbd_close(image);
    if (rc == -ESHUTDOWN) { /* fenced: the connection is replaced */
        struct error why = *err;
        rc = place_error(p, rc, err, "%s", why.msg);
    }
    return rc;
}
