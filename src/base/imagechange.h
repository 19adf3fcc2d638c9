/* SPDX-License-Identifier: MIT */
/* A change of an image as a whole, which only the holder of its managed lock may make. */
#pragma once

#include <stdint.h>

#define SNAP_NAME_MAX 128

enum image_change_what {
    IMAGE_GROW,          /* to `size` bytes; smaller than it is: -EINVAL; as large: nothing is done */
    IMAGE_SNAP_CREATE,   /* -EEXIST: there is one of this name */
    IMAGE_SNAP_REMOVE,   /* -ENODEV: there is none; -EBUSY: it has clones that need it */
    IMAGE_SNAP_ROLLBACK, /* the image becomes what it was; long. Cut off, it is a mixture, and is to be
                            repeated */
};

struct image_change {
    enum image_change_what what;
    uint64_t size;
    const char *snap; /* "" for IMAGE_GROW */
};
