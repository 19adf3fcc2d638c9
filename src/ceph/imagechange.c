/* SPDX-License-Identifier: MIT */
#include "ceph/imagechange.h"

#include <errno.h>
#include <stdbool.h>

#include "base/text.h"
#include "ceph/imagehandle.h"

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

int image_change_free(const struct place *p, const char *id, const struct image_change *change,
                      struct error *err)
{
    rbd_image_t image;
    int rc = imagehandle_open(p, id, false, &image, err);
    if (rc < 0)
        return rc;
    rc = imagehandle_lock(image, err);
    if (rc == 0)
        rc = image_change(image, change, err);
    (void)rbd_close(image); /* releases the lock */
    if (rc == -ESHUTDOWN) { /* fenced: the connection is replaced */
        struct error why = *err;
        rc = place_error(p, rc, err, "%s", why.msg);
    }
    return rc;
}
