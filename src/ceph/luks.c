/* SPDX-License-Identifier: MIT */
#include "ceph/luks.h"

#include <errno.h>

static rbd_encryption_luks2_format_options_t options_of(const struct passphrase *key)
{
    return (rbd_encryption_luks2_format_options_t){ .alg = RBD_ENCRYPTION_ALGORITHM_AES256,
                                                    .passphrase = key->bytes,
                                                    .passphrase_size = key->len };
}

int luks_format(rbd_image_t image, const struct passphrase *key, struct error *err)
{
    rbd_encryption_luks2_format_options_t o = options_of(key);
    int rc = rbd_encryption_format(image, RBD_ENCRYPTION_FORMAT_LUKS2, &o, sizeof o);
    return rc < 0 ? error_set(err, rc, "cannot make the image's LUKS header: %s", error_text(rc)) : 0;
}

int luks_load(rbd_image_t image, const struct passphrase *key, struct error *err)
{
    rbd_encryption_luks2_format_options_t o = options_of(key);
    int rc = rbd_encryption_load(image, RBD_ENCRYPTION_FORMAT_LUKS2, &o, sizeof o);
    if (rc == -EPERM)
        return error_set(err, -EKEYREJECTED, "the passphrase does not open the image");
    if (rc == -EINVAL)
        return error_set(err, rc, "the image has no LUKS2 header");
    return rc < 0 ? error_set(err, rc, "cannot decrypt the image: %s", error_text(rc)) : 0;
}
