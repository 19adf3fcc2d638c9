/* SPDX-License-Identifier: MIT */
#include "ceph/imagefill.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fakes/calls.h"
#include "fakes/world.h"

#define ADDRESS "192.0.2.1:0/2"

struct imagefill {
    struct place place;
    char id[IMAGE_ID_LEN + 1], name[256];
};

int imagefill_open(const struct place *p, const char *name, struct imagefill **ret, struct error *err)
{
    int rc = fake_call("imagefill_open", name, err);
    if (rc < 0)
        return rc;
    struct imagefill *f = calloc(1, sizeof *f);
    if (!f)
        abort();
    f->place = *p;
    struct fake_image *image = fake_image_find(fake_pool_of(p)->name, name);
    fake_lock();
    if (!image)
        rc = error_set(err, -ENODEV, "cannot open the new image");
    else if (fake_image_lock(image, "rbd_lock"))
        rc = error_set(err, -EBUSY, "another client has locked the new image");
    if (rc == 0) {
        fake_image_lock_set(image, "rbd_lock", "auto 1", "internal", ADDRESS);
        fake_image_watch(image, ADDRESS, true);
        memcpy(f->id, image->id, sizeof f->id);
        memcpy(f->name, image->listed, sizeof f->name);
    }
    fake_unlock();
    if (rc < 0) {
        free(f);
        return rc;
    }
    fake_changed("fill_open %s", name);
    *ret = f;
    return 0;
}

int imagefill_write(struct imagefill *f, const char *bytes, size_t len, uint64_t offset, struct error *err)
{
    (void)bytes;
    (void)offset;
    int rc = fake_call("imagefill_write", f->name, err);
    if (rc < 0)
        return rc;
    fake_lock();
    struct fake_image *image = fake_image_by_id(&f->place, f->id);
    if (image) {
        image->written += len;
        image->content = (struct device_probe){ .found = PROBE_FS, .type = "xfs", .block_size = 4096 };
    }
    fake_unlock();
    fake_changed("write %s", f->name);
    return 0;
}

int imagefill_encrypt(struct imagefill *f, const struct passphrase *key, uint64_t *room, struct error *err)
{
    (void)key;
    *room = 1ULL << 30;
    return fake_call("imagefill_encrypt", f->name, err);
}

int imagefill_finish(struct imagefill *f, struct error *err)
{
    return fake_call("imagefill_finish", f->name, err);
}

void imagefill_close(struct imagefill *f)
{
    if (!f)
        return;
    fake_lock();
    struct fake_image *image = fake_image_by_id(&f->place, f->id);
    if (image) {
        struct fake_lock *l = fake_image_lock(image, "rbd_lock");
        if (l)
            l->held = false;
        fake_image_watch(image, ADDRESS, false);
    }
    fake_unlock();
    fake_changed("fill_close");
    free(f);
}

int imagefill_grow(struct imagefill *f, uint64_t size, struct error *err)
{
    int rc = fake_call("imagefill_grow", f->name, err);
    if (rc < 0)
        return rc;
    fake_lock();
    struct fake_image *image = fake_image_by_id(&f->place, f->id);
    if (image)
        image->size = size;
    fake_unlock();
    fake_changed("grow_image %s", f->name);
    return 0;
}
