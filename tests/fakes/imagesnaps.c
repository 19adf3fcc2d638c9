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

int image_clone(const struct place *from, const char *name, const char *snap, const struct place *to,
                const char *clone, const struct image_layout *layout, struct error *err)
{
    struct image_layout like = *layout;
    int rc = fake_call("image_clone", name, err);
    if (rc < 0)
        return rc;
    struct fake_image *source = fake_image_find(fake_pool_of(from)->name, name);
    bool found = false;
    fake_lock();
    for (size_t i = 0; source && i < sizeof source->snaps / sizeof *source->snaps; i++)
        found |= strcmp(source->snaps[i], snap) == 0;
    if (source)
        like.size = source->size;
    fake_unlock();
    if (!found)
        return error_set(err, -ENODEV, "there is no snapshot '%s' of image '%s'", snap, name);
    rc = image_create(to, clone, &like, err);
    if (rc < 0)
        return rc;
    struct fake_image *made = fake_image_find(fake_pool_of(to)->name, clone);
    fake_lock();
    made->content = source->content;
    made->written = source->written;
    made->rolling = source->rolling ? strdup(source->rolling) : NULL;
    fake_unlock();
    return fake_call_end("image_clone", name, err);
}
