/* SPDX-License-Identifier: MIT */
/* What an image's header object says of the image, as a part of a read of that object that may ask for more.
 * Most callers want image_read_header (ceph/image.h). */
#pragma once

#include "ceph/image.h"

#define IMAGE_META_KEY "metadata_" /* how the omap keys of an image's metadata begin */

/* A copy of a key or value of metadata, the caller's. librados gives NULL for an empty one. What there is no
 * memory for ends the process: it would look like what is not there, and the image like one of another kind.
 */
char *header_text(const char *data, size_t len);

struct header_read {
    char size_out[16], features_out[32], stamp_out[16];
    size_t size_len, features_len, stamp_len;
    int size_rc, features_rc, stamp_rc, meta_rc;
    unsigned char more;
    rados_omap_iter_t iter;
};

/* Adds the questions; their answers come to *r, which stays where it is until the read is done. */
void header_read_add(rados_read_op_t op, struct header_read *r);

/* What was answered, rc being the whole read's result. To be called once, whatever that was. Errors as
 * image_read_header. */
int header_read_take(struct header_read *r, int rc, const struct place *p, const char *id,
                     struct image_header *ret, struct error *err);
