/* SPDX-License-Identifier: MIT */
/* Where an image is: pool, RADOS namespace, name. */
#pragma once

#define NAME_PART_MAX  128                     /* of one part, without the NUL */
#define IMAGE_NAME_MAX (3 * NAME_PART_MAX + 2) /* of "pool/namespace/image", without the NUL */

struct image_name {
    char pool[NAME_PART_MAX + 1];
    char ns[NAME_PART_MAX + 1]; /* "" is the default namespace */
    char image[NAME_PART_MAX + 1];
};

/* "pool/image" or "pool/namespace/image": the full spelling, which is also an acceptable volume name.
 * Returns buf, which holds IMAGE_NAME_MAX + 1 bytes or more. */
const char *image_name_full(const struct image_name *name, char buf[static IMAGE_NAME_MAX + 1]);

/* "pool" or "pool+namespace": one path component ('+' is in no part of a name). Returns buf. */
const char *image_name_place(const struct image_name *name, char buf[static IMAGE_NAME_MAX + 1]);
