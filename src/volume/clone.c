/* SPDX-License-Identifier: MIT */
#include "volume/clone.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/text.h"
#include "ceph/clustertime.h"
#include "ceph/imagesnaps.h"
#include "ceph/pending.h"
#include "host/fs.h"
#include "volume/change.h"
#include "volume/drive.h"
#include "volume/lookup.h"
#include "volume/snap.h"

#define SNAP_PREFIX IMAGE_TEMP_NEW /* of those that are made for a clone; no user can give such a name */
#define GATE_MS     30000
#define OLD_S       3600 /* who is still at it is younger */

/* What is cloned. */
struct source {
    struct volumes *engine;
    struct image_name name;
    struct place place;
    char id[IMAGE_ID_LEN + 1];
    char snap[SNAP_NAME_MAX + 1];
    char pending[PENDING_KEY_MAX + 1]; /* "": the snapshot was there before */
    bool rolling;                      /* a rollback of it was cut off, which is none of the clone's */
    struct source *next;
};

/* Those of this daemon that are being cloned. What else is written down as ours was cut off. */
static struct {
    pthread_mutex_t lock; /* a leaf */
    struct source *first;
} live = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void live_add(struct source *s)
{
    LOCK_SCOPE(&live.lock);
    s->next = live.first;
    live.first = s;
}

static void live_remove(struct source *s)
{
    LOCK_SCOPE(&live.lock);
    for (struct source **p = &live.first; *p; p = &(*p)->next)
        if (*p == s) {
            *p = s->next;
            return;
        }
}

static bool is_live(const char *pending)
{
    LOCK_SCOPE(&live.lock);
    for (const struct source *s = live.first; s; s = s->next)
        if (strcmp(s->pending, pending) == 0)
            return true;
    return false;
}

/* Who writes it down: the daemon of this name on this machine, of which there is one at a time. Machine ids
 * get cloned with their machines. */
static const char *own_mark(const struct volumes *e, char buf[static PENDING_KEY_MAX + 1])
{
    (void)snprintf(buf, PENDING_KEY_MAX + 1, " %s/%s/%s", e->host.host, e->host.machine_id, e->self.instance);
    return buf;
}

static void source_done(struct source *s)
{
    place_done(&s->place);
}

/* A source that is named without its pool is in the clone's. */
static int source_find(struct volumes *e, const struct createopts *asked, struct source *s, struct error *err)
{
    char full[IMAGE_NAME_MAX + 1];
    *s = (struct source){ .engine = e, .name = asked->from.image };
    (void)snprintf(s->snap, sizeof s->snap, "%s", asked->snap);
    if (!s->name.pool[0]) {
        s->name = asked->name.image;
        memcpy(s->name.image, asked->from.image.image, sizeof s->name.image);
    }
    int rc = engine_place(e, &s->name, &s->place, err);
    if (rc == 0)
        rc = lookup_image(&s->place, s->name.image, s->id, err);
    if (rc == -ENOENT) /* that would say that the clone is not there */
        return error_set(err, -ENODEV, "option from: there is no image '%s'",
                         image_name_full(&s->name, full));
    return rc;
}

/* Its source's mapper may not do for a clone that is read-only or has limits: then it has the host's choice,
 * unless it was asked for. */
static int settle_mapper(const struct createopts *asked, struct spec *of, struct error *err)
{
    struct error why;
    if (createopts_check_mapper(of, &why) == 0)
        return 0;
    if (asked->given & GIVEN_MAPPER) {
        *err = why;
        return why.code;
    }
    of->mapper[0] = '\0';
    return 0;
}

/* The clone's spec: its source's, and what was asked for. */
static int take_spec(struct source *s, struct createopts *asked, struct error *err)
{
    char full[IMAGE_NAME_MAX + 1];
    auto_header struct image_header h = { 0 };
    struct spec *to = &asked->spec, of;
    int rc = lookup_header(&s->place, s->name.image, s->id, &h, err);
    if (rc == -ENOENT)
        rc = error_set(err, -ENODEV, "option from: image '%s' is gone", image_name_full(&s->name, full));
    if (rc < 0)
        return rc;
    s->rolling = h.rolling != NULL;
    of = *to;
    of.adopt = true;
    of.fresh = false;
    if (h.spec && (rc = spec_decode(h.spec, &of, err)) < 0)
        return rc;
    if (asked->given & GIVEN_MOUNT)
        memcpy(of.mount_options, to->mount_options, sizeof of.mount_options);
    if (asked->given & GIVEN_SHARING)
        of.sharing = to->sharing;
    if (asked->given & GIVEN_MAPPER)
        memcpy(of.mapper, to->mapper, sizeof of.mapper);
    if (asked->given & GIVEN_QOS_IOPS)
        of.qos_iops = to->qos_iops;
    if (asked->given & GIVEN_QOS_BPS)
        of.qos_bps = to->qos_bps;
    memcpy(of.remove, to->remove, sizeof of.remove); /* that of the source is about the source's data */
    of.adopt |= of.formatting;
    of.formatting = false;
    of.ro = of.snapshot = to->ro;
    of.new_uuid = !of.ro;
    of.fresh = of.fresh && !of.ro;
    (void)snprintf(of.from, sizeof of.from, "%s%s%s", image_name_full(&s->name, full),
                   asked->snap[0] ? "@" : "", asked->snap);
    rc = settle_mapper(asked, &of, err);
    *to = of;
    if (rc < 0)
        return rc;
    rc = of.adopt ? 0 : fs_check_mount_options(fs_find(of.fstype), of.mount_options, err);
    return rc < 0 ? error_prefix(err, "option mount-options") : 0;
}

/* Changes the source in its gate. */
static int in_gate(const struct source *s, int (*run)(struct task *t, const char *snap, struct error *err),
                   struct error *err)
{
    struct volume *v = registry_get(&s->engine->registry, &s->name);
    struct task t = { .engine = s->engine, .volume = v, .place = &s->place };
    memcpy(t.id, s->id, sizeof t.id);
    int rc = volume_gate_enter(v, "cloning", clock_in_ms(GATE_MS), err);
    if (rc == 0) {
        rc = run(&t, s->snap, err);
        drive_gate_leave(s->engine, v);
    }
    registry_release(&s->engine->registry, v);
    return rc;
}

static int drop(struct task *t, const char *snap, struct error *err)
{
    const struct image_change change = { .what = IMAGE_SNAP_REMOVE, .snap = snap };
    int rc = change_run(t->engine, t->volume, t->place, t->id, &change, err);
    return rc == -ENODEV ? 0 : rc;
}

/* The snapshot of a source that was named without one. Written down first, so that it does not stay when we
 * are killed. */
static int snap_make(struct source *s, struct error *err)
{
    char random[25], mark[PENDING_KEY_MAX + 1];
    identity_random_hex(random, 12);
    (void)snprintf(s->snap, sizeof s->snap, SNAP_PREFIX "%s", random);
    own_mark(s->engine, mark);
    if (snprintf(s->pending, sizeof s->pending, "snap %s %s%s", s->id, s->snap, mark) >=
        (int)sizeof s->pending)
        (void)snprintf(s->pending, sizeof s->pending, "snap %s %s", s->id, s->snap);
    live_add(s);
    int rc = pending_add(&s->place, s->pending, err);
    return rc < 0 ? rc : in_gate(s, snap_take, err);
}

/* The clone has what it needs of it, or there is none. */
static void snap_unmake(struct source *s)
{
    struct error err;
    if (!s->pending[0])
        return;
    live_remove(s);
    int rc = in_gate(s, drop, &err);
    if (rc == 0)
        rc = pending_remove(&s->place, s->pending, &err);
    if (rc == 0)
        return;
    log_warning("a snapshot that was made for a clone is left to the collector snap=%s: %s", s->snap,
                err.msg);
    engine_collect_soon(s->engine);
}

static int check_size(const struct source *s, struct createopts *asked, bool *grow, struct error *err)
{
    char want[32], have[32];
    struct image_snap snap;
    int rc = image_snap_find(&s->place, s->id, s->snap, &snap, err);
    if (rc < 0)
        return rc == -ENODEV || rc == -ENOENT ? error_prefix(err, "option from") : rc;
    if ((asked->given & GIVEN_SIZE) && asked->layout.size < snap.size)
        return error_set(err, -EINVAL, "option size: a clone of %s cannot have %s",
                         text_size(snap.size, have), text_size(asked->layout.size, want));
    *grow = (asked->given & GIVEN_SIZE) && asked->layout.size > snap.size;
    if (!*grow)
        asked->layout.size = snap.size;
    rc = createopts_check_max(s->engine->settings, asked->layout.size, err);
    return rc < 0 ? error_prefix(err, "option from") : 0;
}

static int make(struct birth *b, const struct source *s, struct createopts *asked, struct error *err)
{
    bool grow = false;
    int rc = check_size(s, asked, &grow, err);
    if (rc < 0)
        return rc;
    rc = image_clone(&s->place, s->name.image, s->snap, b->place, b->mark.temp, &asked->layout, err);
    if (rc == 0)
        rc = birth_open(b, err);
    if (rc == 0 && s->rolling) /* the clone has a copy of the mark */
        rc = image_set_meta(b->place, b->id, ROLLING_KEY, NULL, err);
    if (rc == 0 && grow)
        rc = imagefill_grow(b->fill, asked->layout.size, err);
    return birth_end(b, &asked->spec, rc, err);
}

int clone_make(struct birth *b, struct createopts *asked, struct error *err)
{
    CLEANUP(source_done) struct source s = { .place = PLACE_NONE };
    if (!(asked->layout.features & IMAGE_FEATURE_LAYERING))
        return error_set(err, -EINVAL, "option features: a clone needs layering");
    int rc = source_find(b->engine, asked, &s, err);
    if (rc == 0)
        rc = take_spec(&s, asked, err);
    if (rc == 0 && !s.snap[0])
        rc = snap_make(&s, err);
    if (rc == 0)
        rc = make(b, &s, asked, err);
    snap_unmake(&s);
    return rc;
}

/* ---- what was left ---- */

struct left {
    const char *own; /* what keys of ours end with */
    time_t now;      /* by the monitors */
    char (*keys)[PENDING_KEY_MAX + 1];
    size_t n;
};

static bool ends_with(const char *text, const char *end)
{
    size_t len = strlen(text), n = strlen(end);
    return len >= n && strcmp(text + len - n, end) == 0;
}

static void note(void *arg, const char *key, time_t since)
{
    struct left *l = arg;
    /* `since` may be any number */
    bool cut_off = ends_with(key, l->own) ? !is_live(key) : since <= l->now - OLD_S;
    if (strncmp(key, "snap ", strlen("snap ")) != 0 || !cut_off)
        return;
    l->keys = reallocarray(l->keys, l->n + 1, sizeof *l->keys);
    if (!l->keys)
        abort();
    (void)snprintf(l->keys[l->n++], sizeof *l->keys, "%s", key);
}

/* 0: it is gone; 1: not now. */
static int collect(struct volumes *e, const struct place *p, const struct image_name *where, const char *key,
                   struct error *err)
{
    char listed[256];
    struct source s = { .engine = e, .name = *where, .place = *p };
    if (sscanf(key, "snap %64s %128s", s.id, s.snap) != 2 ||
        strncmp(s.snap, SNAP_PREFIX, strlen(SNAP_PREFIX)) != 0)
        return pending_remove(p, key, err);
    int rc = image_name_of(p, s.id, listed, sizeof listed, err);
    if (rc == -ENOENT) /* the image is gone, or in the trash: and so is its snapshot, with it */
        return pending_remove(p, key, err);
    if (rc < 0 || strlen(listed) > NAME_PART_MAX)
        return rc;
    (void)snprintf(s.name.image, sizeof s.name.image, "%s", listed);
    rc = in_gate(&s, drop, err);
    if (rc == -EBUSY) /* on another host, whose collector sees it, too */
        return 1;
    if (rc == 0)
        log_notice("removed a snapshot that a clone which was cut off has left image=%s snap=%s", listed,
                   s.snap);
    return rc < 0 ? rc : pending_remove(p, key, err);
}

int clone_collect(struct volumes *e, const struct place *p, const struct image_name *where, unsigned *again,
                  struct error *err)
{
    char own[PENDING_KEY_MAX + 1];
    struct left left = { .own = own_mark(e, own) };
    int rc = clustertime(p, &left.now, err);
    if (rc == 0)
        rc = pending_each(p, note, &left, err);
    for (size_t i = 0; rc == 0 && i < left.n; i++) {
        struct error one;
        int done = collect(e, p, where, left.keys[i], &one);
        if (done < 0)
            log_warning("cannot clear away what a clone has left: %s", one.msg);
        *again += done != 0 && ends_with(left.keys[i], own);
    }
    free(left.keys);
    return rc;
}
