/* SPDX-License-Identifier: MIT */
/* Writes the first contents of an image that nobody else knows yet, as the holder of its managed lock. */
#pragma once

#include "base/passphrase.h"
#include "ceph/image.h"

struct imagefill; /* an open, locked image with writes in flight */

/* Opens the image and takes its managed lock EXCLUSIVE, to be kept until imagefill_close. The image is new
 * and its name secret (rbdvol.new.RANDOM), so nobody competes: -EBUSY all the same if somebody does. */
int imagefill_open(const struct place *p, const char *name, struct imagefill **ret, struct error *err);

/* Writes a copy of these bytes at the offset, some writes running at the same time. An error may be an
 * earlier write's. */
int imagefill_write(struct imagefill *f, const char *bytes, size_t len, uint64_t offset, struct error *err);

/* Encrypts the image, which is empty still: what is written from now on is written within. *room is what it
 * has room for. Seconds. */
int imagefill_encrypt(struct imagefill *f, const struct passphrase *key, uint64_t *room, struct error *err);

/* Makes the image larger. */
int imagefill_grow(struct imagefill *f, uint64_t size, struct error *err);

/* Waits for all writes. Each one's own result counts: rbd_flush returns 0 after a write that timed out
 * (measured). */
int imagefill_finish(struct imagefill *f, struct error *err);

/* Closes it, which releases the lock. NULL is fine. */
void imagefill_close(struct imagefill *f);
