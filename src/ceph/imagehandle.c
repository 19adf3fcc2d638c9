/* SPDX-License-Identifier: MIT */
#include "ceph/imagehandle.h"

#include <errno.h>

int imagehandle_open(const struct place *p, const char *id, bool read_only, rbd_image_t *ret,
                     struct error *err)
{
    int rc =
        read_only ? rbd_open_by_id_read_only(p->io, id, ret, NULL) : rbd_open_by_id(p->io, id, ret, NULL);
    if (rc == -ENOENT)
        return error_set(err, rc, "image id %s is gone", id);
    return rc < 0 ? place_error(p, rc, err, "cannot open image id %s", id) : 0;
}

int imagehandle_layout(const struct image_layout *layout, rbd_image_options_t opts)
{
    int rc = rbd_image_options_set_uint64(opts, RBD_IMAGE_OPTION_FEATURES, layout->features);
    if (rc == 0 && layout->order)
        rc = rbd_image_options_set_uint64(opts, RBD_IMAGE_OPTION_ORDER, layout->order);
    if (rc == 0 && layout->data_pool[0])
        rc = rbd_image_options_set_string(opts, RBD_IMAGE_OPTION_DATA_POOL, layout->data_pool);
    return rc;
}

static int check_unowned(rbd_image_t image, struct error *err)
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
        return error_set(err, rc, "somebody has just set an advisory lock on the image (`rbd lock ls`)");
    if (rc == -EINVAL)
        return error_set(err, -EOPNOTSUPP,
                         "the image has no exclusive-lock feature, so nothing would keep a second writer out "
                         "meanwhile; its first mount by rbdvol adds it");
    return rc < 0 && rc != -ENOENT
               ? error_set(err, rc, "cannot ask who has the image's lock: %s", error_text(rc))
               : 0;
}

int imagehandle_lock(rbd_image_t image, struct error *err)
{
    int rc = check_unowned(image, err);
    if (rc < 0)
        return rc;
    rc = rbd_lock_acquire(image, RBD_LOCK_MODE_EXCLUSIVE);
    if (rc == -EROFS || rc == -EBUSY)
        return error_set(err, -EBUSY, "another client has just locked the image");
    return rc < 0 ? error_set(err, rc, "cannot lock the image: %s", error_text(rc)) : 0;
}
