/* SPDX-License-Identifier: MIT */
#include "ceph/imagesnaps.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fakes/calls.h"
#include "fakes/world.h"

int image_snaps(const struct place *p, const char *id,
                void (*visit)(void *arg, const struct image_snap *snap), void *arg, struct error *err)
{
    int rc = fake_call("image_snaps", id, err);
    if (rc < 0)
        return rc;
    fake_lock();
    const struct fake_image *image = fake_image_by_id(p, id);
    for (size_t i = 0; image && i < sizeof image->snaps / sizeof *image->snaps; i++) {
        struct image_snap s = { .size = image->size, .created = 1700000000 };
        (void)snprintf(s.name, sizeof s.name, "%s", image->snaps[i]);
        if (s.name[0])
            visit(arg, &s);
    }
    fake_unlock();
    return image ? 0 : error_set(err, -ENOENT, "image id %s is gone", id);
}

struct search {
    const char *name;
    struct image_snap *ret;
    bool found;
};

static void compare(void *arg, const struct image_snap *snap)
{
    struct search *s = arg;
    if (strcmp(s->name, snap->name) == 0) {
        *s->ret = *snap;
        s->found = true;
    }
}

int image_snap_find(const struct place *p, const char *id, const char *name, struct image_snap *ret,
                    struct error *err)
{
    struct search s = { .name = name, .ret = ret };
    int rc = image_snaps(p, id, compare, &s, err);
    if (rc < 0)
        return rc;
    return s.found ? 0 : error_set(err, -ENODEV, "there is no snapshot '%s'", name);
}
