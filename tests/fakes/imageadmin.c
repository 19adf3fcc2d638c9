/* SPDX-License-Identifier: MIT */
#include "ceph/imageadmin.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fakes/calls.h"
#include "fakes/world.h"

static const struct {
    const char *name;
    uint64_t bit;
} features[] = {
    { "layering", 1 },   { "exclusive-lock", 4 }, { "object-map", 8 },
    { "fast-diff", 16 }, { "deep-flatten", 32 },
};
#define NFEATURES (sizeof features / sizeof *features)

int image_parse_features(const char *text, uint64_t *ret, struct error *err)
{
    uint64_t bits = 0;
    for (const char *p = text; *p;) {
        size_t n = strcspn(p, "+"), i = 0;
        while (i < NFEATURES && (strlen(features[i].name) != n || strncmp(features[i].name, p, n) != 0))
            i++;
        if (i == NFEATURES)
            return error_set(err, -EINVAL, "features: '%.*s' is not one of them", (int)(n > 40 ? 40 : n), p);
        bits |= features[i].bit;
        p += n + (p[n] == '+');
    }
    if (!(bits & IMAGE_FEATURE_EXCLUSIVE_LOCK))
        return error_set(err, -EINVAL, "features: exclusive-lock must be among them");
    *ret = bits;
    return 0;
}

const char *image_feature_names(uint64_t bits, char *buf, size_t size)
{
    size_t at = 0;
    buf[0] = '\0';
    for (size_t i = 0; i < NFEATURES && at < size; i++)
        if (bits & features[i].bit)
            at += (size_t)snprintf(buf + at, size - at, "%s%s", at ? "+" : "", features[i].name);
    return buf;
}

/* Asks one thing of an image: the code, or what `look` says. */
static int look_at(const char *call, const struct place *p, const char *id,
                   int (*look)(const struct fake_image *image, void *arg, struct error *err), void *arg,
                   struct error *err)
{
    int rc = fake_call(call, id, err);
    if (rc < 0)
        return rc;
    fake_lock();
    const struct fake_image *image = fake_image_by_id(p, id);
    rc = image ? look(image, arg, err) : error_set(err, -ENOENT, "image id %s is gone", id);
    fake_unlock();
    return rc;
}

static int has_snapshots(const struct fake_image *image, void *arg, struct error *err)
{
    (void)arg;
    (void)err;
    return image->snapshots;
}

int image_has_snapshots(const struct place *p, const char *id, struct error *err)
{
    return look_at("image_has_snapshots", p, id, has_snapshots, NULL, err);
}

/* Nothing that rbdvol has put in the trash has come of age. */
int image_purge_own(const struct place *p, unsigned *left, struct error *err)
{
    if (left)
        *left = 0;
    return fake_call("image_purge_own", fake_pool_of(p)->name, err);
}

struct buffer {
    char *text;
    size_t size;
};

static int first_watcher(const struct fake_image *image, void *arg, struct error *err)
{
    const struct buffer *b = arg;
    (void)err;
    for (size_t i = 0; i < 2; i++)
        if (image->watchers[i][0]) {
            (void)snprintf(b->text, b->size, "%s", image->watchers[i]);
            return 1;
        }
    return 0;
}

int image_watcher(const struct place *p, const char *id, char *addr, size_t size, struct error *err)
{
    struct buffer b = { addr, size };
    return look_at("image_watcher", p, id, first_watcher, &b, err);
}

static int all_watchers(const struct fake_image *image, void *arg, struct error *err)
{
    struct image_watchers *all = arg;
    (void)err;
    for (size_t i = 0; i < 2; i++)
        if (image->watchers[i][0])
            (void)snprintf(all->addresses[all->n++], sizeof all->addresses[0], "%s", image->watchers[i]);
    return 0;
}

int image_watchers(const struct place *p, const char *id, struct image_watchers *ret, struct error *err)
{
    ret->n = 0;
    return look_at("image_watchers", p, id, all_watchers, ret, err);
}

static int watched_by(const struct fake_image *image, void *arg, struct error *err)
{
    (void)err;
    return strcmp(image->watchers[0], arg) == 0 || strcmp(image->watchers[1], arg) == 0;
}

int image_watched_by(const struct place *p, const char *id, const char *address, struct error *err)
{
    return look_at("image_watched_by", p, id, watched_by, (void *)(uintptr_t)address, err);
}

int image_add_exclusive_lock(const struct place *p, const char *id, struct error *err)
{
    int rc = fake_call("image_add_exclusive_lock", id, err);
    if (rc < 0)
        return rc;
    fake_lock();
    struct fake_image *image = fake_image_by_id(p, id);
    if (image)
        image->features |= IMAGE_FEATURE_EXCLUSIVE_LOCK;
    fake_unlock();
    return 0;
}

static int blank(const struct fake_image *image, void *arg, struct error *err)
{
    (void)arg;
    if (image->snapshots)
        return error_set(err, -ENOTEMPTY, "it has snapshots");
    return image->written ? error_set(err, -ENOTEMPTY, "it has data at offset 0") : 0;
}

int image_check_blank(const struct place *p, const char *id, struct error *err)
{
    return look_at("image_check_blank", p, id, blank, NULL, err);
}

int image_half_trashed_each(const struct place *p, void (*visit)(void *arg, const struct image_trashed *one),
                            void *arg, struct error *err)
{
    struct fake_image *image;
    int rc = fake_call("image_half_trashed_each", fake_pool_of(p)->name, err);
    for (size_t i = 0; rc == 0 && (image = fake_image_at(i)); i++) {
        struct image_trashed one = { .moved = 1700000000 };
        fake_lock();
        bool half = image->used && image->half_trashed && image->pool == fake_pool_of(p);
        memcpy(one.id, image->id, sizeof one.id);
        memcpy(one.name, image->listed[0] ? image->listed : image->objects[0], sizeof one.name);
        fake_unlock();
        if (half)
            visit(arg, &one);
    }
    return rc;
}

int image_purge_now(const struct place *p, const char *id, struct error *err)
{
    fake_lock();
    const struct fake_image *image = fake_image_by_id(p, id);
    bool needed = image && image->snapshots;
    fake_unlock();
    return needed ? error_set(err, -EBUSY, "image id %s has snapshots, or clones that need it", id)
                  : image_purge(p, id, err);
}

int image_untrash(const struct place *p, const char *id, const char *name, struct error *err)
{
    int rc = fake_call("image_untrash", id, err);
    if (rc < 0)
        return rc;
    fake_lock();
    struct fake_image *image = fake_image_by_id(p, id);
    bool trashed = image && (image->trashed || image->half_trashed);
    if (trashed) {
        image->trashed = image->half_trashed = false;
        (void)snprintf(image->listed, sizeof image->listed, "%s", name);
        (void)snprintf(image->objects[0], sizeof image->objects[0], "%s", name);
    }
    fake_unlock();
    if (!trashed)
        return 0;
    fake_changed("untrash %s", name);
    rc = fake_call_end("image_untrash", id, err);
    return rc < 0 ? rc : 1;
}
