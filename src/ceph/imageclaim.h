/* SPDX-License-Identifier: MIT */
/* What a Mount asks and writes about an image that nobody has, in one flight each: the same as ceph/owner.h
 * and ceph/imagelock.h do one after the other, where somebody has it. */
#pragma once

#include "ceph/owner.h"

/* Takes rbdvol.ctl, and reads the header and who has the image in one read, which shows whose rbdvol.ctl is,
 * too: what it says was so while we had that. 1: the image is nobody's: no lock on it and no owner record;
 * *ctl is held, *ret filled. 0: it is not as simple as that (somebody has or had it, or rbdvol.ctl, or it is
 * gone): nothing is held, and who wants to know more asks. Others: could not ask. */
int imageclaim_free(const struct place *p, const char *id, const struct owner_self *self, struct ctl *ctl,
                    struct image_header *ret, struct error *err);

/* owner_write and ctl_drop in one write. The managed lock is ours by now. */
int imageclaim_settle(const struct place *p, const char *id, const struct owner_self *self,
                      const char *mapping, const char *address, struct ctl *ctl, struct error *err);
