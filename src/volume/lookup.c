/* SPDX-License-Identifier: MIT */
#include "volume/lookup.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "volume/making.h"

#define MARK_TRIES 3

/* Held, mounted or worked on? */
static bool in_use_here(struct volumes *e, const struct image_name *name)
{
    struct volume *v = registry_find(&e->registry, name);
    if (!v)
        return false;
    pthread_mutex_lock(&v->lock);
    bool used = v->holders.n > 0 || v->rung > RUNG_DETACHED || v->retry_at != 0;
    pthread_mutex_unlock(&v->lock);
    registry_release(&e->registry, v);
    return used;
}

static void in_pool(struct volumes *e, unsigned i, const struct image_name *name, struct image_name *ret)
{
    *ret = *name;
    memcpy(ret->pool, e->settings->pools[i], sizeof ret->pool);
}

int lookup_local(struct volumes *e, const struct volume_name *name, struct image_name *ret)
{
    if (name->image.pool[0]) {
        *ret = name->image;
        return in_use_here(e, ret);
    }
    for (unsigned i = 0; i < e->settings->npools; i++) {
        in_pool(e, i, &name->image, ret);
        if (in_use_here(e, ret))
            return 1;
    }
    in_pool(e, 0, &name->image, ret);
    return 0;
}

/* Does a caller of this ID hold it? */
static bool held_here(struct volumes *e, const struct image_name *name, const char *id)
{
    struct volume *v = registry_find(&e->registry, name);
    if (!v)
        return false;
    pthread_mutex_lock(&v->lock);
    bool held = holders_find(&v->holders, id) != NULL;
    pthread_mutex_unlock(&v->lock);
    registry_release(&e->registry, v);
    return held;
}

int lookup_held(struct volumes *e, const struct volume_name *name, const char *id, struct image_name *ret)
{
    for (unsigned i = 0; i < e->settings->npools && !name->image.pool[0]; i++) {
        in_pool(e, i, &name->image, ret);
        if (held_here(e, ret, id))
            return 1;
    }
    return 0;
}

static int ambiguous(const struct image_name *one, const struct image_name *other, struct error *err)
{
    char a[IMAGE_NAME_MAX + 1], b[IMAGE_NAME_MAX + 1];
    return error_set(err, -EEXIST, "'%s' is ambiguous: write '%s' or '%s'", one->image,
                     image_name_full(one, a), image_name_full(other, b));
}

/* It is in use here; in another pool, too? */
static int check_only_one(struct volumes *e, const struct volume_name *name, const struct image_name *used,
                          struct error *err)
{
    for (unsigned i = 0; i < e->settings->npools && !name->image.pool[0]; i++) {
        struct image_name other;
        in_pool(e, i, &name->image, &other);
        if (strcmp(other.pool, used->pool) != 0 && in_use_here(e, &other))
            return ambiguous(used, &other, err);
    }
    return 0;
}

int lookup_name(struct volumes *e, const struct volume_name *name, struct image_name *ret, struct error *err)
{
    struct image_name found = { 0 }, other = { 0 };
    unsigned n = 0;
    if (lookup_local(e, name, ret))
        return check_only_one(e, name, ret, err);
    if (name->image.pool[0] || e->settings->npools == 1)
        return 0;
    for (unsigned i = 0; i < e->settings->npools; i++) {
        struct image_name here;
        char id[IMAGE_ID_LEN + 1];
        auto_place struct place p = PLACE_NONE;
        in_pool(e, i, &name->image, &here);
        int rc = engine_place(e, &here, &p, err);
        if (rc == 0)
            rc = image_find(&p, here.image, id, err);
        if (rc == 0 || rc == -EUCLEAN)
            *(n++ == 0 ? &found : &other) = here;
        else if (rc != -ENOENT) /* a pool that cannot be asked may have it: no guess */
            return error_prefix(err, "cannot tell in which pool '%s' is", name->image.image);
    }
    in_pool(e, 0, &name->image, ret);
    if (n == 0)
        return error_set(err, -ENOENT, "no such volume: no pool of this host has an image '%s'",
                         name->image.image);
    *ret = found;
    return n == 1 ? 0 : ambiguous(&found, &other, err);
}

int lookup_text(struct volumes *e, const char *text, struct image_name *ret, struct error *err)
{
    struct volume_name name;
    int rc = name_parse(e->settings, text, &name, err);
    return rc < 0 ? rc : lookup_name(e, &name, ret, err);
}

/* The name opens but is not listed, or the other way round: was it a rename of ours that was cut off? */
static int finish_rename(const struct place *p, const char *name, char id[static IMAGE_ID_LEN + 1],
                         struct error *err)
{
    auto_header struct image_header h = { 0 };
    struct making m;
    struct error was = *err, ignored;
    if (image_id_object(p, name, id, &ignored) < 0 || image_read_header(p, id, &h, &ignored) < 0 ||
        !h.making || making_decode(h.making, &m) < 0 ||
        (strcmp(m.final, name) != 0 && strcmp(m.temp, name) != 0)) {
        *err = was;
        return was.code;
    }
    int rc = image_finish_rename(p, m.temp, m.final, id, err);
    if (rc < 0)
        return rc;
    log_notice("finished an interrupted rename image=%s id=%s", m.final, id);
    return image_find(p, name, id, err);
}

static int say_headerless(const char *name, struct error *err)
{
    return error_set(
        err, -ENODATA,
        "the removal of image '%s' was interrupted: its name is there, its header is not; remove it "
        "again, which finishes that",
        name);
}

int lookup_image(const struct place *p, const char *name, char id[static IMAGE_ID_LEN + 1], struct error *err)
{
    auto_header struct image_header h = { 0 };
    char some[IMAGE_ID_LEN + 1];
    struct error ignored;
    id[0] = '\0';
    int rc = image_find(p, name, id, err);
    if (rc != -EUCLEAN)
        return rc;
    memcpy(some, id, sizeof some);
    rc = finish_rename(p, name, id, err);
    if (rc != -EUCLEAN || !some[0])
        return rc;
    memcpy(id, some, sizeof some);
    if (image_read_header(p, some, &h, &ignored) != -ENOENT)
        return rc;
    return say_headerless(name, err);
}

static int say_replaced(const char *name, struct error *err)
{
    return error_set(err, -EAGAIN, "another client has just replaced image '%s': try again", name);
}

int lookup_again(const struct place *p, const char *name, const char *id, struct error *err)
{
    char now[IMAGE_ID_LEN + 1];
    int rc = lookup_image(p, name, now, err);
    return rc == 0 && strcmp(now, id) != 0 ? say_replaced(name, err) : rc;
}

/* The header of image id, which this name had, is not there: -ENOENT when the name is gone, too, -ENODATA
 * when it is not, or could not ask. */
static int look_headerless(const struct place *p, const char *name, const char *id, struct error *err)
{
    char now[IMAGE_ID_LEN + 1] = "";
    int rc = image_find(p, name, now, err);
    if ((rc == 0 || rc == -EUCLEAN) && strcmp(now, id) == 0)
        return say_headerless(name, err);
    return rc == 0 ? say_replaced(name, err) : rc;
}

/* The image still has this name, but a rename away from it was begun: is it half done? Then it is finished,
 * and the name is nobody's: -ENOENT. A mark alone says nothing: nothing of the rename may ever have landed.
 * But that of a Create which is being taken back (volume/reversal.h): who made it was told that it failed,
 * and whoever used it would have it taken away. */
static int finish_leaving(const struct place *p, const struct making *m, const char *id, struct error *err)
{
    char final_id[IMAGE_ID_LEN + 1];
    bool doomed = strncmp(m->final, IMAGE_TEMP_NEW, strlen(IMAGE_TEMP_NEW)) == 0;
    int rc = doomed ? 0 : image_id_object(p, m->final, final_id, err);
    if (!doomed && (rc == -ENOENT || (rc == 0 && strcmp(final_id, id) != 0)))
        return 0;
    if (rc == 0)
        rc = doomed ? image_rename(p, m->temp, m->final, id, err)
                    : image_finish_rename(p, m->temp, m->final, id, err);
    if (rc < 0)
        return rc;
    log_notice("finished an interrupted rename image=%s id=%s", m->final, id);
    return error_set(err, -ENOENT, "it has been renamed to '%s'", m->final);
}

/* What the image's mark says of its name is settled, and it can be used. 1: it is; 0: the mark has just been
 * changed, and is to be read again. */
static int settle_mark(const struct place *p, const char *name, const char *id, const struct image_header *h,
                       struct error *err)
{
    struct making m;
    if (!h->making || making_decode(h->making, &m) < 0)
        return 1;
    if (strcmp(m.final, name) == 0) {
        /* Its rename may lack the last of three writes: `rbd rm` of the temporary name would delete the
         * volume. The mark goes only as it was read: whoever takes the image back turns it round. */
        int rc = image_finish_rename(p, m.temp, name, id, err);
        return rc < 0 ? rc : image_swap_meta(p, id, MAKING_KEY, h->making, NULL, err);
    }
    int rc = strcmp(m.temp, name) == 0 ? finish_leaving(p, &m, id, err) : 0;
    return rc < 0 ? rc : 1;
}

int lookup_header(const struct place *p, const char *name, const char *id, struct image_header *ret,
                  struct error *err)
{
    for (int tries = 0; tries < MARK_TRIES; tries++) {
        auto_header struct image_header h = { 0 };
        int rc = image_read_header(p, id, &h, err);
        if (rc == -ENOENT)
            return look_headerless(p, name, id, err);
        if (rc == 0)
            rc = settle_mark(p, name, id, &h, err);
        if (rc < 0)
            return rc;
        if (rc == 0)
            continue;
        *ret = h;
        h = (struct image_header){ 0 };
        return 0;
    }
    return say_replaced(name, err);
}
