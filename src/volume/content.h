/* SPDX-License-Identifier: MIT */
/* What is on a mapped image: makes sure that it is a file system that may be mounted, formatting a blank
 * image made by others. */
#pragma once

#include "volume/engine.h"

/* Looks what is on the mapping, through v->device. */
int content_look(struct volume *v, struct device_probe *found, struct error *err);

/* With what content_look found; fills v->spec for an image that has none. found->block_size is what the
 * device must have, and tells of the new file system, when it was formatted. Refuses (-EINVAL, -EUCLEAN,
 * -ENOTEMPTY) anything that is not exactly one file system that we mount, saying what was found; formats only
 * what libblkid finds nothing on, that holds no data object, and only where `create` is on. */
int content_prepare(struct volumes *e, struct volume *v, const struct place *p, struct device_probe *found,
                    struct error *err);

/* The attached device, on which content_prepare found this: checks it, and grows an ext4 that the kernel does
 * not grow once it is mounted. The image carries a mark meanwhile (metadata rbdvol.growing, the file system's
 * uuid): where that is found, an earlier one was cut off, and e2fsck may mend whatever is wrong (-y), which
 * it may nowhere else. Without the mark nothing is grown. */
int content_check(struct volume *v, const struct place *p, const struct device_probe *found,
                  struct error *err);

/* Writes v->spec to the image. */
int content_save_spec(const struct volume *v, const struct place *p, struct error *err);

/* A clone's file system has its source's uuid until this gives it one of its own: with the device attached
 * and checked. */
int content_renew(struct volumes *e, struct volume *v, const struct place *p, struct error *err);
