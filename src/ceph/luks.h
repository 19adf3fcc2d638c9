/* SPDX-License-Identifier: MIT */
/* Encryption of an image in librbd, by LUKS2: as `rbd encryption format` makes it, and cryptsetup knows it.
 *
 * What was never written of an object that is there reads as noise, as on any encrypted disk: who makes a
 * file system must write the zeros that it counts on. Either takes seconds, and up to a gigabyte of memory,
 * which the key derivation is made of. */
#pragma once

#include <rbd/librbd.h>

#include "base/error.h"
#include "base/passphrase.h"

/* Makes the header. The caller has the lock, and the image is new. librbd's code on failure. */
int luks_format(rbd_image_t image, const struct passphrase *key, struct error *err);

/* From now on the handle reads and writes what is within; its size is that of what is within, too, but
 * rbd_resize still takes the image's. -EKEYREJECTED: the passphrase does not open it. -EINVAL: there is no
 * LUKS2 header. */
int luks_load(rbd_image_t image, const struct passphrase *key, struct error *err);
