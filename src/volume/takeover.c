/* SPDX-License-Identifier: MIT */
#include "volume/takeover.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "ceph/blocklist.h"
#include "ceph/imageadmin.h"
#include "ceph/ping.h"
#include "volume/former.h"
#include "volume/hindrance.h"

#define PING_S       1u
#define CTL_WAIT_MS  10000
#define FENCE_MS     20000 /* within the 30 s that rbdvol.ctl lasts */
#define CLOSING_MS   1500  /* between two steps of another host's that belong together */
#define CLOSING_LOOK 20
#define TRIES        5

/* What for: is anything to be written to the image, or read from it, afterwards? */
enum use { USE_WRITE, USE_NONE };

enum verdict { VERDICT_TAKE, VERDICT_WAIT };

/* An owner that lives, or that nobody may take from: says who it is and what can be done. */
static int refuse(const struct image_name *name, const struct ownership *o, const char *why,
                  struct error *err)
{
    char who[OWNERSHIP_TEXT_MAX], full[IMAGE_NAME_MAX + 1];
    (void)ownership_text(o, who);
    (void)image_name_full(name, full);
    switch (o->kind) {
    case OWNER_BY_HAND:
        return error_set(
            err, -EBUSY,
            "locked by hand or by another plugin: %s; `rbd lock ls %s` shows it, `rbdvol unlock %s` "
            "takes it away",
            who, full, full);
    case OWNER_HOST:
        return error_set(err, -EBUSY, "in use on %s%s", who, why);
    case OWNER_SELF:
    case OWNER_CLIENT:
    case OWNER_NONE:
        break;
    }
    return error_set(err, -EBUSY, "locked by %s%s", who, why);
}

/* Of this host and instance: is what had the lock gone? */
static bool own_is_gone(struct volumes *e, const struct owner_record *r)
{
    if (r->mapping[0] == '\0')
        return true; /* an earlier daemon's control client */
    if (strcmp(r->boot_id, e->host.boot_id) != 0)
        return strcmp(r->host, e->host.host) == 0; /* machine ids get cloned with their machines */
    return !mapper_alive(&e->mapper_host, r->mapping);
}

/* An owner with a watch. patient: somebody needs the volume, and waits for it. */
static int judge_watching(struct volumes *e, const struct place *p, const struct image_name *name,
                          const char *id, const struct ownership *o, bool patient, enum verdict *ret,
                          struct error *err)
{
    bool gone = o->kind == OWNER_SELF && own_is_gone(e, &o->record);
    /* Only another rbdvol is known to answer as long as it lives, whatever else it does. */
    bool silent = patient && !gone && e->settings->takeover == TAKEOVER_SILENT &&
                  (o->kind == OWNER_HOST || o->kind == OWNER_SELF);
    int rc = silent ? ping_silence(p, id, &o->holder, e->settings->silence_ms, err)
                    : ping_owner(p, id, &o->holder, PING_S, err);
    char hindrance[300];
    if (rc == 1)
        return refuse(name, o, hindrance_text(p, id, o->holder.address, hindrance, sizeof hindrance), err);
    if (rc < 0 && rc != -EAGAIN)
        return rc;
    if (gone || (silent && rc == 0)) {
        *ret = VERDICT_TAKE;
        return 0;
    }
    if (e->settings->takeover == TAKEOVER_NEVER)
        return refuse(name, o, ", which does not answer; `rbdvol unlock` takes it away (takeover=never)",
                      err);
    *ret = VERDICT_WAIT;
    return 0;
}

static int judge(struct volumes *e, const struct place *p, const struct image_name *name, const char *id,
                 const struct ownership *o, bool patient, enum verdict *ret, struct error *err)
{
    *ret = VERDICT_TAKE;
    if (o->kind == OWNER_NONE)
        return 0;
    if (o->kind == OWNER_BY_HAND)
        return refuse(name, o, "", err);
    if (o->watches)
        return judge_watching(e, p, name, id, o, patient, ret, err);
    if (e->settings->takeover == TAKEOVER_NEVER && o->kind != OWNER_SELF)
        return refuse(name, o, ", which is dead or cut off; `rbdvol unlock` takes it away (takeover=never)",
                      err);
    return 0;
}

/* Looks; and again for a moment while the lock is there and its record is not, but a host of ours is at work:
 * it has just locked the image and is about to say so. */
static int look_patiently(struct volumes *e, const struct place *p, const char *id, struct ownership *ret,
                          struct error *err)
{
    moment end = clock_in_ms(CLOSING_MS);
    for (;;) {
        struct owner_record r;
        int rc = ownership_look(e, p, id, ret, err);
        if (rc < 0 || ret->kind != OWNER_CLIENT || clock_left_ms(end) == 0)
            return rc;
        rc = ctl_holder(p, id, &r, err);
        if (rc < 0)
            return rc;
        if (rc == 0) /* it may have said so between our two questions */
            return ownership_look(e, p, id, ret, err);
        clock_pause_ms(CLOSING_LOOK);
    }
}

int takeover_await(struct volumes *e, const struct place *p, const struct image_name *name, const char *id,
                   bool (*wanted)(void *arg), void *arg, struct ownership *ret, struct error *err)
{
    for (;;) {
        enum verdict v = VERDICT_WAIT;
        int rc = look_patiently(e, p, id, ret, err);
        if (rc == 0)
            rc = judge(e, p, name, id, ret, wanted != NULL, &v, err);
        if (rc < 0 || v == VERDICT_TAKE)
            return rc;
        if (!wanted)
            return refuse(name, ret, ", which does not answer, and whose watch has not lapsed yet; try again",
                          err);
        /* A ping of a dead owner took its second, or until its watch lapsed. */
        if (!wanted(arg))
            return error_set(err, -ECANCELED, "nobody waits any more for its silent owner's watch to lapse");
    }
}

int takeover_fence(const struct place *p, const struct image_name *name, const char *address, const char *why,
                   struct ctl *ctl, struct error *err)
{
    char full[IMAGE_NAME_MAX + 1];
    int rc = ctl_check(p, ctl, err);
    if (rc == 0)
        rc = blocklist_add(p, address, clock_in_ms(FENCE_MS), err);
    if (rc == 0)
        rc = ctl_check(p, ctl, err);
    if (rc == 0)
        log_notice("fenced client=%s volume=%s: %s", address, image_name_full(name, full), why);
    return rc;
}

/* May the client that had the lock before still write? One that watches may; of one that does not, nothing is
 * known but for our own: an orderly Unmount takes its record away, and what an administrator does about a
 * lock fences for an hour at most. */
static bool may_write(struct volumes *e, const struct ownership *o, enum use use)
{
    const struct owner_record *r = &o->former;
    if (r->address[0] == '\0' || o->former_watches)
        return o->former_watches;
    return use == USE_WRITE && !(owner_is_self(r, &e->self) && own_is_gone(e, r));
}

/* Looks, and again for a moment while that is so: its host may be closing it, and about to take the record
 * away. */
static int look_at_rest(struct volumes *e, const struct place *p, const char *id, enum use use,
                        struct ownership *ret, struct error *err)
{
    moment end = clock_in_ms(CLOSING_MS);
    for (;;) {
        int rc = ownership_look(e, p, id, ret, err);
        if (rc < 0 || !may_write(e, ret, use) || clock_left_ms(end) == 0)
            return rc;
        clock_pause_ms(CLOSING_LOOK);
    }
}

/* Each mapping's client has one image in its life. */
static bool maps_another(struct volumes *e, const char *id, const char *address)
{
    size_t n;
    bool found = false;
    struct volume **all = registry_all(&e->registry, &n);
    for (size_t i = 0; i < n; i++) {
        const struct mapping *m = &all[i]->mapping;
        pthread_mutex_lock(&all[i]->lock);
        found |= m->mapper && strcmp(m->address, address) == 0 && strcmp(m->image_id, id) != 0;
        pthread_mutex_unlock(&all[i]->lock);
        registry_release(&e->registry, all[i]);
    }
    free(all);
    return found;
}

/* Whose the lock is, the OSD says; whose it was, only the record, and that is what its writer says. */
static int check_former(struct volumes *e, const struct image_name *name, const char *id,
                        const struct owner_record *r, struct error *err)
{
    char object[IMAGE_ID_LEN + 16];
    if (!maps_another(e, id, r->address) && !former_is_present(e, r->address))
        return 0;
    return error_set(
        err, -EPERM,
        "its owner record is false, and nobody is fenced for it: the client that it names, %s, is "
        "this host's own and never had this image; the record was written from %s; `rados -p %s%s%s "
        "rmxattr %s lock." OWNER_LOCK "` takes it away",
        r->address, r->holder.address, name->pool, name->ns[0] ? " -N " : "", name->ns,
        image_header_object(id, object));
}

static int fence_former(struct volumes *e, const struct place *p, const struct image_name *name,
                        const char *id, const struct ownership *o, struct ctl *ctl, struct error *err)
{
    const struct owner_record *r = &o->former;
    int rc = check_former(e, name, id, r, err);
    if (rc < 0)
        return rc;
    rc = takeover_fence(p, name, r->address,
                        o->former_watches ? "it has the image open, and lost its lock"
                                          : "its lock was taken away, and it may have writes on their way",
                        ctl, err);
    if (rc < 0)
        return error_prefix(
            err,
            "host %s (rbdvol instance %.64s) had it when its lock was taken away, and may have "
            "writes on their way",
            r->host, r->instance);
    return owner_forget(p, id, r, err);
}

/* Fences who has the lock, and breaks it. Its record goes first: without the lock it would tell of a client
 * that nobody has fenced. */
static int take_lock(const struct place *p, const struct image_name *name, const char *id,
                     const struct ownership *o, const char *why, struct ctl *ctl, struct error *err)
{
    int rc = takeover_fence(p, name, o->holder.address, why, ctl, err);
    if (rc == 0 && o->record.address[0])
        rc = owner_forget(p, id, &o->record, err);
    return rc < 0 ? rc : imagelock_break_fenced(p, id, &o->holder, err);
}

static int take(struct volumes *e, const struct place *p, const struct image_name *name, const char *id,
                const struct ownership *judged, enum use use, const char *why, struct ctl *ctl,
                struct error *err)
{
    struct ownership now;
    char who[OWNERSHIP_TEXT_MAX], full[IMAGE_NAME_MAX + 1];
    moment begin = clock_now();
    int rc = look_at_rest(e, p, id, use, &now, err);
    if (rc < 0)
        return rc;
    if (!ownership_same(judged, &now))
        return error_set(err, -EAGAIN, "its owner has just changed; try again");
    if (may_write(e, &now, use))
        rc = fence_former(e, p, name, id, &now, ctl, err);
    if (rc < 0 || now.kind == OWNER_NONE)
        return rc;
    if (!why)
        why = now.watches ? "it does not answer" : "its watch has lapsed";
    rc = take_lock(p, name, id, &now, why, ctl, err);
    if (rc == 0)
        log_notice("took over volume=%s ms=%lld from %s", image_name_full(name, full),
                   (long long)clock_since_ms(begin), ownership_text(&now, who));
    return rc;
}

int takeover_take(struct volumes *e, const struct place *p, const struct image_name *name, const char *id,
                  const struct ownership *judged, const char *why, struct ctl *ctl, struct error *err)
{
    return take(e, p, name, id, judged, USE_NONE, why, ctl, err);
}

static int run(struct volumes *e, const struct place *p, const struct image_name *name, const char *id,
               enum use use, bool (*wanted)(void *arg), void *arg, struct ctl *ctl, struct error *err)
{
    int rc = -EAGAIN;
    for (int i = 0; i < TRIES && rc == -EAGAIN; i++) {
        struct ownership o;
        rc = takeover_await(e, p, name, id, wanted, arg, &o, err);
        if (rc == 0)
            rc = ctl_take(p, id, &e->self, clock_in_ms(CTL_WAIT_MS), ctl, err);
        if (rc < 0)
            return rc;
        rc = take(e, p, name, id, &o, use, NULL, ctl, err);
        if (rc < 0)
            ctl_drop(p, ctl);
    }
    return rc == -EAGAIN ? error_set(err, -EBUSY, "its owner keeps changing; try again") : rc;
}

int takeover_run(struct volumes *e, const struct place *p, const struct image_name *name, const char *id,
                 bool (*wanted)(void *arg), void *arg, struct ctl *ctl, struct error *err)
{
    return run(e, p, name, id, USE_WRITE, wanted, arg, ctl, err);
}

int takeover_to_remove(struct volumes *e, const struct place *p, const struct image_name *name,
                       const char *id, struct ctl *ctl, struct error *err)
{
    return run(e, p, name, id, USE_NONE, NULL, NULL, ctl, err);
}
