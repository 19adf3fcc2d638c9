/* SPDX-License-Identifier: MIT */
#include "volume/collector.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "ceph/clustertime.h"
#include "ceph/imageadmin.h"
#include "ceph/imagefill.h"
#include "volume/clone.h"
#include "volume/lookup.h"
#include "volume/making.h"
#include "volume/reversal.h"
#include "volume/takeover.h"
#include "volume/walk.h"

#define OLD_S    3600 /* a Create that is still at it is younger */
#define SEEN_MAX 256

/* Temporary names found in one pool. */
struct found {
    char (*names)[NAME_PART_MAX + 1];
    size_t n;
};

/* In one place. */
struct round {
    struct volumes *engine;
    const struct place *place;
    unsigned left; /* of all places: removed images that are to be purged soon */
};

static void note(void *arg, const char *name, const char *id)
{
    struct found *f = arg;
    if (strncmp(name, IMAGE_TEMP_NEW, strlen(IMAGE_TEMP_NEW)) != 0 || strlen(name) > NAME_PART_MAX ||
        id[0] == '\0')
        return;
    f->names = reallocarray(f->names, f->n + 1, sizeof *f->names);
    if (!f->names)
        abort();
    (void)snprintf(f->names[f->n++], sizeof *f->names, "%s", name);
}

/* Old, by the monitors' clock, and with nobody at work on it? Locks it for the time of the decision. 1: yes,
 * *lock is held. */
static int is_abandoned(struct volumes *e, const struct place *p, const struct image_name *name,
                        const char *id, const struct image_header *h, struct making *mark,
                        struct imagefill **lock, struct error *err)
{
    struct ctl ctl;
    time_t now;
    *mark = (struct making){ .since = h->created };
    if (h->making && making_decode(h->making, mark) < 0)
        return 0;
    int rc = clustertime(p, &now, err);
    if (rc < 0 || mark->since == 0 || mark->since > now - OLD_S) /* it may be any number */
        return rc;
    rc = takeover_run(e, p, name, id, NULL, NULL, &ctl, err); /* its maker may be dead, and its lock left */
    if (rc == 0) {
        rc = imagefill_open(p, name->image, lock, err);
        ctl_drop(p, &ctl);
    }
    return rc == -EBUSY ? 0 : rc < 0 ? rc : 1;
}

/* Ids that are listed, and have not even rbd_id.NAME. librbd writes that a moment after it has listed an
 * image, so such a one may just be made: how old it is tells only how long it has been seen. */
static struct {
    pthread_mutex_t lock; /* a leaf */
    struct {
        char id[IMAGE_ID_LEN + 1];
        time_t since;
    } all[SEEN_MAX];
    size_t next;
} seen = { .lock = PTHREAD_MUTEX_INITIALIZER };

static int64_t seen_for(const char *id, time_t now)
{
    LOCK_SCOPE(&seen.lock);
    for (size_t i = 0; i < SEEN_MAX; i++)
        if (strcmp(seen.all[i].id, id) == 0)
            return now - seen.all[i].since;
    (void)snprintf(seen.all[seen.next].id, sizeof seen.all[seen.next].id, "%s", id);
    seen.all[seen.next].since = now;
    seen.next = (seen.next + 1) % SEEN_MAX;
    return 0;
}

/* A Create that was killed before its image had a header: nothing marks it but its name. */
static int collect_name(const struct place *p, const char *name, const char *id, struct error *err)
{
    int64_t age;
    time_t now;
    int rc = image_name_age(p, name, &age, err);
    if (rc == -ENOENT) {
        rc = clustertime(p, &now, err);
        age = rc == 0 ? seen_for(id, now) : 0;
    }
    if (rc < 0 || age < OLD_S)
        return rc;
    log_notice("taking away the name of an image that was never made image=%s id=%s", name, id);
    return image_drop_name(p, name, id, err);
}

static int collect(struct volumes *e, const struct place *p, const struct image_name *image,
                   struct error *err)
{
    char id[IMAGE_ID_LEN + 1] = "", final_id[IMAGE_ID_LEN + 1];
    struct making mark;
    struct imagefill *lock = NULL;
    const char *name = image->image;
    auto_header struct image_header h = { 0 };
    struct error one;
    int rc = image_find(p, name, id, err);
    if (rc == -EUCLEAN && id[0]) {
        int looked = image_read_header(p, id, &h, &one);
        image_header_done(&h);
        if (looked == -ENOENT)
            return collect_name(p, name, id, err);
        if (looked == 0) /* it may be being made: rbd_id.NAME may have come since */
            rc = image_find(p, name, id, err);
    }
    if (rc < 0)
        return rc == -ENOENT ? 0 : rc;
    rc = image_read_header(p, id, &h, err);
    if (rc == -ENOENT)
        return collect_name(p, name, id, err);
    if (rc == 0)
        rc = is_abandoned(e, p, image, id, &h, &mark, &lock, err);
    if (rc <= 0)
        return rc;
    if (strcmp(mark.final, name) == 0) /* a Create that was being taken back has its first name again */
        rc = image_finish_rename(p, mark.temp, name, id, err) < 0 ? err->code : -ENOENT;
    else
        rc = mark.final[0] ? image_id_object(p, mark.final, final_id, err) : -ENOENT;
    bool renamed = rc == 0 && strcmp(final_id, id) == 0;
    if (renamed)
        rc = image_finish_rename(p, name, mark.final, id, err);
    imagefill_close(lock); /* trash_move wants the image closed */
    if (renamed || (rc < 0 && rc != -ENOENT))
        return rc;
    log_notice("moving an image that was never finished to the trash image=%s id=%s", name, id);
    return image_trash(p, name, id, e->host.host, (uint64_t)e->settings->trash_keep_ms / 1000, err);
}

/* A removal that was cut off, and that nobody came back to. */
static void take_back(void *arg, const struct image_trashed *one)
{
    const struct round *r = arg;
    struct error err;
    if (reversal_of_half_removed(r->engine, r->place, one->name, &err) < 0)
        log_warning("cannot take the removal back that was cut off of image=%s id=%s: %s", one->name, one->id,
                    err.msg);
}

static int collect_named(struct volumes *e, const struct place *p, const struct image_name *where,
                         struct error *err)
{
    struct found found = { 0 };
    struct image_name name = *where;
    int rc = image_list(p, note, &found, err);
    for (size_t i = 0; rc == 0 && i < found.n; i++) {
        struct error one;
        memcpy(name.image, found.names[i], sizeof name.image);
        if (collect(e, p, &name, &one) < 0)
            log_warning("cannot clear away image=%s: %s", name.image, one.msg);
    }
    free(found.names);
    return rc;
}

static int collect_place(void *arg, const struct image_name *where, const struct place *p, struct error *err)
{
    struct round *r = arg;
    unsigned left = 0;
    r->place = p;
    int rc = collect_named(r->engine, p, where, err);
    if (rc == 0)
        rc = clone_collect(r->engine, p, where, &r->left, err);
    if (rc == 0)
        rc = image_half_trashed_each(p, take_back, r, err);
    if (rc == 0)
        rc = image_purge_own(p, &left, err);
    r->left += left;
    return rc;
}

bool collector_run(struct volumes *e)
{
    struct round round = { .engine = e };
    for (unsigned i = 0; i < e->settings->npools; i++) {
        struct error err;
        if (walk_pool(e, e->settings->pools[i], true, collect_place, &round, &err) < 0)
            log_warning("the collector could not do its round: %s", err.msg);
    }
    return round.left > 0;
}
