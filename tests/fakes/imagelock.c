/* SPDX-License-Identifier: MIT */
/* RADOS locks on header objects: imagelock.h, and the two calls of librados that the real owner.c makes. */
#include "ceph/imagelock.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "fakes/calls.h"
#include "fakes/world.h"

#define IMAGE_LOCK "rbd_lock"
#define HEADER     "rbd_header."

struct fake_lock *fake_image_lock(struct fake_image *image, const char *lock)
{
    for (size_t i = 0; i < FAKE_LOCKS_MAX; i++)
        if (image->locks[i].held && strcmp(image->locks[i].name, lock) == 0)
            return &image->locks[i];
    return NULL;
}

void fake_image_lock_set(struct fake_image *image, const char *lock, const char *cookie, const char *tag,
                         const char *address)
{
    for (size_t i = 0; i < FAKE_LOCKS_MAX; i++) {
        struct fake_lock *l = &image->locks[i];
        if (l->held)
            continue;
        *l = (struct fake_lock){ .held = true };
        (void)snprintf(l->name, sizeof l->name, "%s", lock);
        (void)snprintf(l->holder.client, sizeof l->holder.client, "client.4100");
        (void)snprintf(l->holder.cookie, sizeof l->holder.cookie, "%s", cookie);
        (void)snprintf(l->holder.tag, sizeof l->holder.tag, "%s", tag);
        (void)snprintf(l->holder.address, sizeof l->holder.address, "%s", address);
        return;
    }
}

void fake_image_watch(struct fake_image *image, const char *address, bool watches)
{
    for (size_t i = 0; i < 2; i++)
        if (strcmp(image->watchers[i], watches ? "" : address) == 0) {
            (void)snprintf(image->watchers[i], sizeof image->watchers[i], "%s", watches ? address : "");
            return;
        }
}

void fake_watches_end(const char *address)
{
    fake_lock();
    struct fake_image *image;
    for (size_t i = 0; (image = fake_image_at(i)); i++)
        if (image->used)
            fake_image_watch(image, address, false);
    fake_unlock();
}

int imagelock_holder(const struct place *p, const char *id, const char *lock, struct lock_holder *ret,
                     struct error *err)
{
    int rc = fake_call("imagelock_holder", lock, err);
    if (rc < 0)
        return rc;
    fake_lock();
    struct fake_image *image = fake_image_by_id(p, id);
    const struct fake_lock *l = image ? fake_image_lock(image, lock) : NULL;
    if (l)
        *ret = l->holder;
    fake_unlock();
    return l != NULL;
}

int imagelock_image_holder(const struct place *p, const char *id, struct lock_holder *ret, bool *managed,
                           struct error *err)
{
    int rc = imagelock_holder(p, id, IMAGE_LOCK, ret, err);
    if (rc == 1)
        *managed = strcmp(ret->tag, "internal") == 0;
    return rc;
}

int imagelock_break(const struct place *p, const char *id, const char *lock, const struct lock_holder *holder,
                    struct error *err)
{
    int rc = fake_call("break", lock, err);
    if (rc < 0)
        return rc;
    char name[256] = "";
    fake_lock();
    struct fake_image *image = fake_image_by_id(p, id);
    struct fake_lock *l = image ? fake_image_lock(image, lock) : NULL;
    if (l && strcmp(l->holder.cookie, holder->cookie) == 0) {
        l->held = false;
        memcpy(name, image->listed, sizeof name);
    }
    fake_unlock();
    if (name[0])
        fake_changed("break %s %s", name, lock);
    return fake_call_end("break", lock, err);
}

int imagelock_break_fenced(const struct place *p, const char *id, const struct lock_holder *holder,
                           struct error *err)
{
    if (!fake_is_fenced(holder->address))
        return error_set(err, -EPROTO, "the test found a lock broken whose owner had not been fenced");
    return imagelock_break(p, id, IMAGE_LOCK, holder, err);
}

/* ---- librados ---- */

static struct fake_image *image_of(rados_ioctx_t io, const char *object)
{
    const struct place p = { .io = io };
    return strncmp(object, HEADER, strlen(HEADER)) == 0 ? fake_image_by_id(&p, object + strlen(HEADER))
                                                        : NULL;
}

/* As cls_lock does: the own cookie again is -EEXIST, or a renewal if that is asked for. */
static int lock_object(rados_ioctx_t io, const char *object, const char *name, const char *cookie,
                       uint8_t flags, char listed[256])
{
    struct fake_image *image = image_of(io, object);
    if (!image)
        return -ENOENT;
    const struct fake_lock *l = fake_image_lock(image, name);
    memcpy(listed, image->listed, sizeof image->listed);
    if (l && strcmp(l->holder.cookie, cookie) != 0)
        return -EBUSY;
    if (flags & LIBRADOS_LOCK_FLAG_MUST_RENEW)
        return l ? 0 : -ENOENT;
    if (l)
        return -EEXIST;
    fake_image_lock_set(image, name, cookie, "", "192.0.2.1:0/1");
    return 0;
}

int rados_lock_exclusive(rados_ioctx_t io, const char *o, const char *name, const char *cookie,
                         const char *desc, struct timeval *duration, uint8_t flags)
{
    char listed[256] = "";
    (void)desc;
    (void)duration;
    int rc = fake_call("lock", name, NULL);
    if (rc < 0)
        return rc;
    fake_lock();
    rc = lock_object(io, o, name, cookie, flags, listed);
    fake_unlock();
    if (rc == 0 && !(flags & LIBRADOS_LOCK_FLAG_MUST_RENEW))
        fake_changed("lock %s %s", listed, name);
    return rc < 0 ? rc : fake_call_end("lock", name, NULL);
}

/* Never told to fail: nobody looks at what it returns, and the lock lapses by itself. */
int rados_unlock(rados_ioctx_t io, const char *o, const char *name, const char *cookie)
{
    char listed[256] = "";
    fake_lock();
    struct fake_image *image = image_of(io, o);
    struct fake_lock *l = image ? fake_image_lock(image, name) : NULL;
    bool mine = l && strcmp(l->holder.cookie, cookie) == 0;
    if (mine) {
        l->held = false;
        memcpy(listed, image->listed, sizeof listed);
    }
    fake_unlock();
    if (mine)
        fake_changed("unlock %s %s", listed, name);
    return mine ? 0 : -ENOENT;
}
