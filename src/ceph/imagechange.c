/* SPDX-License-Identifier: MIT */
#include "ceph/imagechange.h"

#include <errno.h>
#include <stdbool.h>

#include "base/text.h"

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

/* It looks first: an acquire takes the lock from an owner in automatic mode, and hangs behind an advisory
 * lock. */
static int lock(rbd_image_t image, struct error *err)
{
    char *owner = NULL;
    size_t owners = 1;
    rbd_lock_mode_t mode;
    int rc = rbd_lock_get_owners(image, &mode, &owner, &owners);
    if (rc == 0 && owners > 0) {
        (void)error_set(err, -EBUSY, "client %s has just locked the image", owner);
        rbd_lock_get_owners_cleanup(&owner, owners);
        return -EBUSY;
    }
    if (rc == -EBUSY)
        return error_set(err, rc, "somebody has just set an advisory lock on the image");
    if (rc == -EINVAL)
        return error_set(err, -EOPNOTSUPP,
                         "the image has no exclusive-lock feature, so nothing would keep a second writer out "
                         "meanwhile; its first mount by rbdvol adds it");
    if (rc < 0 && rc != -ENOENT)
        return error_set(err, rc, "cannot ask who has the image's lock: %s", error_text(rc));
    rc = rbd_lock_acquire(image, RBD_LOCK_MODE_EXCLUSIVE);
    if (rc == -EROFS || rc == -EBUSY)
        return error_set(err, -EBUSY, "another client has just locked the image");
    return rc < 0 ? error_set(err, rc, "cannot lock the image: %s", error_text(rc)) : 0;
}

int image_change_free(const struct place *p, const char *id, const struct image_change *change,
                      struct error *err)
{
    rbd_image_t image;
    int rc = rbd_open_by_id(p->io, id, &image, NULL);
    if (rc == -ENOENT)
        return error_set(err, rc, "image id %s is gone", id);
    if (rc < 0)
        return place_error(p, rc, err, "cannot open image id %s", id);
    rc = lock(image, err);
    if (rc == 0)
        rc = image_change(image, change, err);
    (void)rbd_close(image); /* releases the lock */
    if (rc == -ESHUTDOWN) { /* fenced: the connection is replaced */
        struct error why = *err;
        rc = place_error(p, rc, err, "%s", why.msg);
    }
    return rc;
}
