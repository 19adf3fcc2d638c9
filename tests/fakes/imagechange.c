/* SPDX-License-Identifier: MIT */
#include "ceph/imagechange.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fakes/calls.h"
#include "fakes/world.h"

#define SNAPS (sizeof((struct fake_image *)0)->snaps / sizeof *((struct fake_image *)0)->snaps)

static char *snap_find(struct fake_image *image, const char *name)
{
    for (size_t i = 0; i < SNAPS; i++)
        if (strcmp(image->snaps[i], name) == 0)
            return image->snaps[i];
    return NULL;
}

int fake_image_change(struct fake_image *image, const struct image_change *change, struct error *err)
{
    char *snap = change->snap[0] ? snap_find(image, change->snap) : NULL, *slot;
    switch (change->what) {
    case IMAGE_GROW:
        image->size = change->size;
        image->snug = true;
        fake_changed("resize %s", image->listed);
        return 0;
    case IMAGE_SNAP_CREATE:
        slot = snap_find(image, "");
        if (snap || !slot)
            return error_set(err, -EEXIST, "there is a snapshot '%s' already", change->snap);
        (void)snprintf(slot, sizeof image->snaps[0], "%s", change->snap);
        fake_changed("snap %s@%s", image->listed, change->snap);
        return 0;
    case IMAGE_SNAP_REMOVE:
        if (!snap)
            return error_set(err, -ENODEV, "there is no snapshot '%s'", change->snap);
        fake_changed("unsnap %s@%s", image->listed, snap);
        snap[0] = '\0';
        return 0;
    case IMAGE_SNAP_ROLLBACK:
        if (!snap)
            return error_set(err, -ENODEV, "there is no snapshot '%s'", change->snap);
        fake_changed("rollback %s@%s", image->listed, snap);
        return 0;
    }
    return -EINVAL;
}

int image_change_free(const struct place *p, const char *id, const struct image_change *change,
                      struct error *err)
{
    int rc = fake_call("image_change_free", id, err);
    if (rc < 0)
        return rc;
    fake_lock();
    struct fake_image *image = fake_image_by_id(p, id);
    if (!image)
        rc = error_set(err, -ENOENT, "image id %s is gone", id);
    else if (fake_image_lock(image, "rbd_lock"))
        rc = error_set(err, -EBUSY, "another client has just locked the image");
    else
        rc = fake_image_change(image, change, err);
    fake_unlock();
    return rc < 0 ? rc : fake_call_end("image_change_free", id, err);
}
