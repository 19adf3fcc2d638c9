/* SPDX-License-Identifier: MIT */
#include "fakes/world.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "ceph/imageadmin.h"
#include "fakes/calls.h"

#define IMAGES 256

static pthread_mutex_t world = PTHREAD_MUTEX_INITIALIZER;
struct fake_pool fake_pools[FAKE_POOLS_MAX];
static struct fake_image images[IMAGES];
static unsigned next_id;

void fake_lock(void)
{
    pthread_mutex_lock(&world);
}

void fake_unlock(void)
{
    pthread_mutex_unlock(&world);
}

static void image_clear(struct fake_image *i)
{
    char *const texts[] = { i->spec, i->making, i->rolling, i->growing, i->danger, i->hindrance };
    for (size_t n = 0; n < sizeof texts / sizeof *texts; n++)
        free(texts[n]);
    *i = (struct fake_image){ 0 };
}

void fake_world_reset(void)
{
    fake_lock();
    for (size_t i = 0; i < IMAGES; i++)
        image_clear(&images[i]);
    memset(fake_pools, 0, sizeof fake_pools);
    next_id = 0;
    fake_fences_reset();
    fake_pending_reset();
    fake_mounts_reset();
    fake_devices_reset();
    fake_mappings_reset();
    fake_processes_reset();
    fake_unlock();
    fake_cluster_set(FAKE_CLUSTER_UP);
    fake_rename_stops_after(3, 0);
    fake_pool_add("rbd", "");
    fake_calls_reset();
}

struct fake_pool *fake_pool_add(const char *name, const char *ns)
{
    LOCK_SCOPE(&world);
    for (size_t i = 0; i < FAKE_POOLS_MAX; i++)
        if (!fake_pools[i].used) {
            fake_pools[i].used = true;
            (void)snprintf(fake_pools[i].name, sizeof fake_pools[i].name, "%s", name);
            (void)snprintf(fake_pools[i].ns, sizeof fake_pools[i].ns, "%s", ns);
            return &fake_pools[i];
        }
    abort();
}

struct fake_pool *fake_pool_find(const char *name, const char *ns)
{
    LOCK_SCOPE(&world);
    for (size_t i = 0; i < FAKE_POOLS_MAX; i++)
        if (fake_pools[i].used && strcmp(fake_pools[i].name, name) == 0 && strcmp(fake_pools[i].ns, ns) == 0)
            return &fake_pools[i];
    return NULL;
}

struct fake_pool *fake_pool_of(const struct place *p)
{
    return p->io;
}

/* ---- images ---- */

static struct fake_image *image_new(struct fake_pool *pool, const char *name)
{
    for (struct fake_image *image = images; image < images + IMAGES; image++) {
        if (image->used)
            continue;
        image_clear(image);
        *image = (struct fake_image){ .used = true,
                                      .pool = pool,
                                      .size = 1ULL << 30,
                                      .order = 22,
                                      .features = IMAGE_FEATURES_DEFAULT,
                                      .created = 1700000000 };
        (void)snprintf(image->id, sizeof image->id, "%012x", ++next_id);
        (void)snprintf(image->listed, sizeof image->listed, "%s", name);
        (void)snprintf(image->objects[0], sizeof image->objects[0], "%s", name);
        return image;
    }
    abort();
}

struct fake_image *fake_image_add(struct fake_pool *pool, const char *name)
{
    LOCK_SCOPE(&world);
    struct fake_image *image = image_new(pool ? pool : &fake_pools[0], name);
    image->content = (struct device_probe){ .found = PROBE_FS, .type = "xfs", .block_size = 4096 };
    return image;
}

struct fake_image *fake_volume_add(struct fake_pool *pool, const char *name)
{
    struct fake_image *image = fake_image_add(pool, name);
    fake_image_set(&image->spec,
                   "{\"version\":1,\"fstype\":\"xfs\",\"mount-options\":\"noatime+nodev+nosuid\","
                   "\"uid\":1,\"gid\":2,\"mode\":493,\"sharing\":\"exclusive\",\"fresh\":false}");
    return image;
}

void fake_image_set(char **field, const char *text)
{
    char *copy = text ? strdup(text) : NULL;
    LOCK_SCOPE(&world);
    free(*field);
    *field = copy;
}

struct fake_image *fake_image_find(const char *pool, const char *name)
{
    LOCK_SCOPE(&world);
    for (size_t i = 0; i < IMAGES; i++)
        if (images[i].used && !images[i].trashed && strcmp(images[i].pool->name, pool) == 0 &&
            strcmp(images[i].listed, name) == 0)
            return &images[i];
    return NULL;
}

struct fake_image *fake_image_any_pool(const struct image_name *name)
{
    for (size_t i = 0; i < IMAGES; i++)
        if (images[i].used && !images[i].trashed && strcmp(images[i].pool->name, name->pool) == 0 &&
            strcmp(images[i].pool->ns, name->ns) == 0 && strcmp(images[i].listed, name->image) == 0)
            return &images[i];
    return NULL;
}

static size_t count(bool trashed)
{
    size_t n = 0;
    LOCK_SCOPE(&world);
    for (size_t i = 0; i < IMAGES; i++)
        n += images[i].used && images[i].trashed == trashed;
    return n;
}

size_t fake_image_count(void)
{
    return count(false);
}

size_t fake_trash_count(void)
{
    return count(true);
}

struct fake_image *fake_image_by_id(const struct place *p, const char *id)
{
    for (size_t i = 0; i < IMAGES; i++)
        if (images[i].used && images[i].pool == fake_pool_of(p) && strcmp(images[i].id, id) == 0)
            return &images[i];
    return NULL;
}

/* With the lock held. The object rbd_id.NAME: whose is it? */
static struct fake_image *by_object(const struct fake_pool *pool, const char *name)
{
    for (size_t i = 0; i < IMAGES; i++)
        if (images[i].used && images[i].pool == pool &&
            (strcmp(images[i].objects[0], name) == 0 || strcmp(images[i].objects[1], name) == 0))
            return &images[i];
    return NULL;
}

static struct fake_image *by_directory(const struct fake_pool *pool, const char *name)
{
    for (size_t i = 0; i < IMAGES; i++)
        if (images[i].used && images[i].pool == pool && strcmp(images[i].listed, name) == 0)
            return &images[i];
    return NULL;
}

struct fake_image *fake_image_at(size_t i)
{
    return i < IMAGES ? &images[i] : NULL;
}

/* ---- ceph/image.h ---- */

int image_id_object(const struct place *p, const char *name, char id[static IMAGE_ID_LEN + 1],
                    struct error *err)
{
    int rc = fake_call("image_id_object", name, err);
    if (rc < 0)
        return rc;
    LOCK_SCOPE(&world);
    const struct fake_image *image = by_object(fake_pool_of(p), name);
    if (!image)
        return error_set(err, -ENOENT, "no image '%s'", name);
    memcpy(id, image->id, sizeof image->id);
    return 0;
}

int image_find(const struct place *p, const char *name, char id[static IMAGE_ID_LEN + 1], struct error *err)
{
    int rc = fake_call("image_find", name, err);
    if (rc < 0)
        return rc;
    LOCK_SCOPE(&world);
    const struct fake_image *listed = by_directory(fake_pool_of(p), name),
                            *own = by_object(fake_pool_of(p), name);
    if (!listed && !own)
        return error_set(err, -ENOENT, "no image '%s'", name);
    if (listed != own) {
        (void)snprintf(id, IMAGE_ID_LEN + 1, "%s", !listed ? own->id : !own ? listed->id : "");
        return error_set(err, -EUCLEAN, "image '%s' is half made or half removed", name);
    }
    memcpy(id, own->id, sizeof own->id);
    return 0;
}

int image_name_of(const struct place *p, const char *id, char *name, size_t size, struct error *err)
{
    int rc = fake_call("image_name_of", id, err);
    if (rc < 0)
        return rc;
    LOCK_SCOPE(&world);
    const struct fake_image *image = fake_image_by_id(p, id);
    if (!image || !image->listed[0])
        return error_set(err, -ENOENT, "not in the pool's directory");
    (void)snprintf(name, size, "%s", image->listed);
    return 0;
}

int image_finish_rename(const struct place *p, const char *temp, const char *name, const char *id,
                        struct error *err)
{
    int rc = fake_call("image_finish_rename", name, err);
    if (rc < 0)
        return rc;
    bool changed = false;
    {
        LOCK_SCOPE(&world);
        struct fake_image *image = fake_image_by_id(p, id);
        if (!image)
            return error_set(err, -ENOENT, "image id %s is gone", id);
        if (strcmp(image->listed, temp) != 0 && strcmp(image->listed, name) != 0)
            return error_set(err, -EUCLEAN, "image id %s is listed as '%s'", id, image->listed);
        changed = strcmp(image->listed, name) != 0 || image->objects[1][0];
        (void)snprintf(image->listed, sizeof image->listed, "%s", name);
        (void)snprintf(image->objects[0], sizeof image->objects[0], "%s", name);
        image->objects[1][0] = '\0';
    }
    if (changed)
        fake_changed("finish_rename %s %s", temp, name);
    return 0;
}

static char *copy_of(const char *text)
{
    return text ? strdup(text) : NULL;
}

int image_read_header(const struct place *p, const char *id, struct image_header *ret, struct error *err)
{
    int rc = fake_call("image_read_header", id, err);
    if (rc < 0)
        return rc;
    LOCK_SCOPE(&world);
    const struct fake_image *image = fake_image_by_id(p, id);
    if (!image || image->headerless)
        return error_set(err, -ENOENT, "image id %s is gone", id);
    *ret = (struct image_header){ .size = image->size,
                                  .order = image->order,
                                  .features = image->features,
                                  .created = image->created,
                                  .spec = copy_of(image->spec),
                                  .making = copy_of(image->making),
                                  .rolling = copy_of(image->rolling),
                                  .growing = image->growing != NULL,
                                  .trashed = image->half_trashed,
                                  .danger = copy_of(image->danger) };
    return 0;
}

int image_name_age(const struct place *p, const char *name, int64_t *ret, struct error *err)
{
    int rc = fake_call("image_name_age", name, err);
    if (rc < 0)
        return rc;
    LOCK_SCOPE(&world);
    const struct fake_image *image = by_object(fake_pool_of(p), name);
    if (!image)
        return error_set(err, -ENOENT, "no image '%s'", name);
    *ret = image->name_age;
    return 0;
}

int image_drop_name(const struct place *p, const char *name, const char *id, struct error *err)
{
    int rc = fake_call("image_drop_name", name, err);
    if (rc < 0)
        return rc;
    {
        LOCK_SCOPE(&world);
        struct fake_image *image = fake_image_by_id(p, id);
        if (image && image->headerless)
            image_clear(image);
    }
    fake_changed("drop_name %s", name);
    return 0;
}

int image_data_pool(const struct place *p, const char *id, char *pool, size_t size, struct error *err)
{
    int rc = fake_call("image_data_pool", id, err);
    if (rc < 0)
        return rc;
    LOCK_SCOPE(&world);
    const struct fake_image *image = fake_image_by_id(p, id);
    if (!image || image->headerless)
        return error_set(err, -ENOENT, "image id %s is gone", id);
    (void)snprintf(pool, size, "%s", image->data_pool);
    return 0;
}

void image_header_done(struct image_header *h)
{
    free(h->spec);
    free(h->making);
    free(h->rolling);
    free(h->danger);
    *h = (struct image_header){ 0 };
}

static char **meta_field(struct fake_image *image, const char *key)
{
    return strcmp(key, "rbdvol.hindrance") == 0 ? &image->hindrance
           : strcmp(key, "rbdvol.rolling") == 0 ? &image->rolling
           : strcmp(key, "rbdvol.growing") == 0 ? &image->growing
           : strcmp(key, "rbdvol.spec") == 0    ? &image->spec
                                                : &image->making;
}

int image_get_meta(const struct place *p, const char *id, const char *key, char **ret, struct error *err)
{
    int rc = fake_call("image_get_meta", key, err);
    if (rc < 0)
        return rc;
    LOCK_SCOPE(&world);
    struct fake_image *image = fake_image_by_id(p, id);
    *ret = image ? copy_of(*meta_field(image, key)) : NULL;
    return *ret != NULL;
}

int image_set_meta(const struct place *p, const char *id, const char *key, const char *value,
                   struct error *err)
{
    char name[256];
    int rc = fake_call("image_set_meta", key, err);
    if (rc < 0)
        return rc;
    {
        LOCK_SCOPE(&world);
        struct fake_image *image = fake_image_by_id(p, id);
        if (!image)
            return error_set(err, -ENOENT, "image id %s is gone", id);
        char **field = meta_field(image, key);
        free(*field);
        *field = copy_of(value);
        memcpy(name, image->listed, sizeof name);
    }
    fake_changed("%s %s %s", value ? "set" : "unset", name, key);
    return fake_call_end("image_set_meta", key, err);
}

int image_swap_meta(const struct place *p, const char *id, const char *key, const char *from, const char *to,
                    struct error *err)
{
    int rc = fake_call(to ? "image_swap_meta" : "image_drop_meta", key, err);
    if (rc < 0)
        return rc;
    {
        LOCK_SCOPE(&world);
        struct fake_image *image = fake_image_by_id(p, id);
        char **field = image ? meta_field(image, key) : NULL;
        if (!field || !*field || strcmp(*field, from) != 0)
            return 0;
        free(*field);
        *field = copy_of(to);
    }
    fake_changed("%s %s", to ? "swap" : "drop", key);
    rc = fake_call_end("image_swap_meta", key, err);
    return rc < 0 ? rc : 1;
}

int image_list(const struct place *p, void (*visit)(void *arg, const char *name, const char *id), void *arg,
               struct error *err)
{
    int rc = fake_call("image_list", fake_pool_of(p)->name, err);
    if (rc < 0)
        return rc;
    LOCK_SCOPE(&world);
    for (size_t i = 0; i < IMAGES; i++)
        if (images[i].used && images[i].pool == fake_pool_of(p) && images[i].listed[0])
            visit(arg, images[i].listed, images[i].id[0] == '-' ? "" : images[i].id);
    return 0;
}

const char *image_header_object(const char *id, char buf[static IMAGE_ID_LEN + 16])
{
    (void)snprintf(buf, IMAGE_ID_LEN + 16, "rbd_header.%s", id);
    return buf;
}

/* ---- what imageadmin.c needs of the table ---- */

int image_create(const struct place *p, const char *name, const struct image_layout *layout,
                 struct error *err)
{
    int rc = fake_call("image_create", name, err);
    if (rc < 0)
        return rc;
    {
        LOCK_SCOPE(&world);
        if (by_directory(fake_pool_of(p), name) || by_object(fake_pool_of(p), name))
            return error_set(err, -EEXIST, "cannot create the image: File exists");
        struct fake_image *image = image_new(fake_pool_of(p), name);
        image->size = layout->size;
        image->order = layout->order ? (uint8_t)layout->order : 22;
        image->features = layout->features;
    }
    fake_changed("create %s", name);
    return fake_call_end("image_create", name, err);
}

static unsigned rename_writes;
static int rename_code;

void fake_rename_stops_after(unsigned writes, int code)
{
    LOCK_SCOPE(&world);
    rename_writes = writes;
    rename_code = code;
}

int image_rename(const struct place *p, const char *from, const char *to, const char *id, struct error *err)
{
    int code;
    int rc = fake_call("image_rename", to, err);
    if (rc < 0)
        return rc;
    {
        LOCK_SCOPE(&world);
        struct fake_image *image = fake_image_by_id(p, id);
        if (!image || strcmp(image->listed, from) != 0)
            return error_set(err, -ENOENT, "image id %s was removed or renamed by another client", id);
        const struct fake_image *has = by_object(fake_pool_of(p), to);
        if ((has && has != image) || by_directory(fake_pool_of(p), to))
            return error_set(err, -EEXIST, "cannot rename image '%s' to '%s': File exists", from, to);
        if (has && strcmp(image->objects[0], to) == 0) /* back to a name that it has not quite lost */
            memcpy(image->objects[0], image->objects[1], sizeof image->objects[0]);
        if (rename_writes > 0)
            (void)snprintf(image->objects[1], sizeof image->objects[1], "%s", to);
        if (rename_writes > 1)
            (void)snprintf(image->listed, sizeof image->listed, "%s", to);
        if (rename_writes > 2) {
            memcpy(image->objects[0], image->objects[1], sizeof image->objects[0]);
            image->objects[1][0] = '\0';
        }
        code = rename_code;
        rename_writes = 3;
        rename_code = 0;
    }
    fake_changed("rename %s %s", from, to);
    if (code < 0)
        return error_set(err, code, "cannot rename image '%s' to '%s': cut off", from, to);
    return fake_call_end("image_rename", to, err);
}

static bool busy(const struct fake_image *image)
{
    for (size_t i = 0; i < FAKE_LOCKS_MAX; i++)
        if (image->locks[i].held && strcmp(image->locks[i].name, "rbd_lock") == 0)
            return true;
    return image->watchers[0][0] || image->watchers[1][0];
}

int image_trash(const struct place *p, const char *name, const char *id, const char *host, uint64_t delay_s,
                struct error *err)
{
    (void)host;
    int rc = fake_call("image_trash", name, err);
    if (rc < 0)
        return rc;
    {
        LOCK_SCOPE(&world);
        struct fake_image *image = fake_image_by_id(p, id);
        if (!image || strcmp(image->listed, name) != 0)
            return error_set(err, -ENOENT, "there is no image '%s' any more", name);
        if (busy(image))
            return error_set(err, -EBUSY, "image '%s' is in use by another client", name);
        image->trashed = true;
        image->moved = time(NULL);
        image->keep_s = delay_s;
        memcpy(image->was, image->listed, sizeof image->was);
        image->listed[0] = '\0';
        for (size_t i = 0; i < 2; i++) /* what another name's object says stays, as with rbd_trash_move */
            if (strcmp(image->objects[i], name) == 0)
                image->objects[i][0] = '\0';
    }
    fake_changed("trash %s keep_s=%llu", name, (unsigned long long)delay_s);
    return fake_call_end("image_trash", name, err);
}

int image_purge(const struct place *p, const char *id, struct error *err)
{
    int rc = fake_call("image_purge", id, err);
    if (rc < 0)
        return rc;
    {
        LOCK_SCOPE(&world);
        struct fake_image *image = fake_image_by_id(p, id);
        if (!image || !image->trashed)
            return 0;
        char left[256];
        memcpy(left, image->objects[0][0] ? image->objects[0] : image->objects[1], sizeof left);
        image_clear(image);
        if (left[0]) { /* an rbd_id object that points nowhere */
            image->used = image->trashed = image->headerless = true;
            image->pool = fake_pool_of(p);
            (void)snprintf(image->id, sizeof image->id, "%s", id);
            memcpy(image->objects[0], left, sizeof left);
        }
    }
    fake_changed("purge");
    return fake_call_end("image_purge", id, err);
}

int image_trashed_each(const struct place *p, void (*visit)(void *arg, const struct image_trashed *one),
                       void *arg, struct error *err)
{
    int rc = fake_call("image_trashed_each", fake_pool_of(p)->name, err);
    LOCK_SCOPE(&world);
    for (size_t i = 0; rc == 0 && i < IMAGES; i++) {
        struct image_trashed one = { .moved = images[i].moved,
                                     .until = images[i].moved + (time_t)images[i].keep_s };
        if (!images[i].used || !images[i].trashed || !images[i].moved || images[i].pool != fake_pool_of(p))
            continue;
        memcpy(one.id, images[i].id, sizeof one.id);
        memcpy(one.name, images[i].was, sizeof one.name);
        visit(arg, &one);
    }
    return rc;
}

int image_restore(const struct place *p, const char *id, const char *name, struct error *err)
{
    int rc = fake_call("image_restore", id, err);
    if (rc < 0)
        return rc;
    LOCK_SCOPE(&world);
    struct fake_image *image = fake_image_by_id(p, id);
    for (size_t i = 0; i < IMAGES; i++)
        if (images[i].used && images[i].pool == fake_pool_of(p) && strcmp(images[i].listed, name) == 0)
            return error_set(err, -EEXIST, "there is an image '%s'", name);
    if (!image || !image->trashed)
        return error_set(err, -ENODEV, "image id %s is not in the trash any more", id);
    image->trashed = false;
    (void)snprintf(image->listed, sizeof image->listed, "%s", name);
    (void)snprintf(image->objects[0], sizeof image->objects[0], "%s", name);
    return 0;
}
