/* SPDX-License-Identifier: MIT */
/* The same as the real one, step by step, by what the other fakes offer. */
#include "ceph/imageclaim.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "fakes/world.h"

struct image_search {
    int rc;
    char id[IMAGE_ID_LEN + 1];
    struct error err;
};

struct image_search *image_search_begin(const struct place *p, const char *name)
{
    struct image_search *s = calloc(1, sizeof *s);
    if (!s)
        abort();
    s->rc = image_find(p, name, s->id, &s->err);
    return s;
}

int image_search_end(struct image_search *search, char id[static IMAGE_ID_LEN + 1], struct error *err)
{
    auto_free struct image_search *s = search;
    memcpy(id, s->id, sizeof s->id);
    *err = s->err;
    return s->rc;
}

/* Looks before it takes rbdvol.ctl; the real one has it for a moment where somebody else has the image, too.
 */
int imageclaim_free(const struct place *p, const char *id, const struct owner_self *self, struct ctl *ctl,
                    struct image_header *ret, struct error *err)
{
    struct lock_holder h;
    bool managed;
    int rc = imagelock_image_holder(p, id, &h, &managed, err);
    if (rc == 0)
        rc = imagelock_holder(p, id, OWNER_LOCK, &h, err);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    rc = image_read_header(p, id, ret, err);
    if (rc < 0)
        return rc == -ENOENT ? 0 : rc;
    rc = ctl_take(p, id, self, clock_in_ms(0), ctl, err);
    if (rc < 0)
        image_header_done(ret);
    return rc == -EBUSY ? 0 : rc < 0 ? rc : 1;
}

int imageclaim_settle(const struct place *p, const char *id, const struct owner_self *self,
                      const char *mapping, const char *address, struct ctl *ctl, struct error *err)
{
    int rc = owner_write(p, id, self, mapping, address, err);
    if (rc == 0)
        ctl_drop(p, ctl);
    return rc;
}
