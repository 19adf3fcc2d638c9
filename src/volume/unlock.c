/* SPDX-License-Identifier: MIT */
#include "volume/unlock.h"

#include <errno.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "ceph/imageadmin.h"
#include "ceph/ping.h"
#include "volume/drive.h"
#include "volume/lookup.h"
#include "volume/takeover.h"

#define CTL_WAIT_MS 10000
#define FORCED      "unlocked by force"

struct work {
    struct volumes *engine;
    struct volume *volume;
    bool go, force;
};

/* What was found. */
struct scene {
    struct ownership owner;
    const char *state;
    bool alive, slow; /* slow: the cluster was, so that the owner's silence says nothing */
    struct image_watchers watchers;
};

static int look(struct volumes *e, const struct place *p, const char *id, struct scene *s, struct error *err)
{
    int rc = ownership_look(e, p, id, &s->owner, err);
    if (rc == 0)
        rc = image_watchers(p, id, &s->watchers, err);
    if (rc < 0)
        return rc;
    s->state = "free";
    if (s->owner.kind == OWNER_NONE)
        return 0;
    s->state = s->owner.kind == OWNER_BY_HAND ? "by hand" : "dead";
    if (s->owner.kind == OWNER_BY_HAND || !s->owner.watches)
        return 0;
    rc = ping_silence(p, id, &s->owner.holder, e->settings->silence_ms, err);
    s->alive = rc == 1;
    s->slow = rc == -EAGAIN;
    s->state = s->alive ? "alive" : s->slow ? "unknown" : "silent";
    return rc < 0 && !s->slow ? rc : 0;
}

static json_t *report(const struct scene *s, bool unlocked)
{
    char who[OWNERSHIP_TEXT_MAX];
    json_t *watchers = json_array();
    for (size_t i = 0; i < s->watchers.n; i++)
        json_array_append_new(watchers, json_string(s->watchers.addresses[i]));
    return json_pack("{s:s, s:s, s:o, s:b}", "Owner",
                     s->owner.kind == OWNER_NONE ? "" : ownership_text(&s->owner, who), "State", s->state,
                     "Watchers", watchers, "Unlocked", unlocked);
}

static int check_allowed(const struct scene *s, bool force, struct error *err)
{
    char who[OWNERSHIP_TEXT_MAX];
    if (force)
        return 0;
    if (s->alive)
        return error_set(
            err, -EBUSY,
            "it is in use by %s, which is alive; stop what uses it there, or add --force: then it is "
            "fenced first, and loses what it has not written",
            ownership_text(&s->owner, who));
    if (s->slow)
        return error_set(
            err, -EAGAIN,
            "it is in use by %s, and whether that is alive is not known: the cluster is slow just now, so "
            "that its silence says nothing; try again, or add --force if it is surely dead",
            ownership_text(&s->owner, who));
    /* The holder of an advisory lock need not be who writes. */
    if (s->owner.kind == OWNER_BY_HAND && s->watchers.n > 0)
        return error_set(err, -EBUSY,
                         "it has an %s, and %zu clients have it open, one at %s; --force fences them all",
                         ownership_text(&s->owner, who), s->watchers.n, s->watchers.addresses[0]);
    return 0;
}

/* By hand, the lock says little about who writes: all that have it open are fenced. */
static int fence_watchers(struct work *w, const struct place *p, const struct scene *s, struct ctl *ctl,
                          struct error *err)
{
    int rc = 0;
    if (s->owner.kind != OWNER_BY_HAND)
        return 0;
    for (size_t i = 0; i < s->watchers.n && rc == 0; i++)
        rc = takeover_fence(p, &w->volume->name, s->watchers.addresses[i], FORCED, ctl, err);
    return rc;
}

static int unlock(struct work *w, const struct place *p, const char *id, const struct scene *s,
                  struct error *err)
{
    struct ctl ctl = { 0 };
    int rc = ctl_take(p, id, &w->engine->self, clock_in_ms(CTL_WAIT_MS), &ctl, err);
    if (rc < 0)
        return rc;
    rc = fence_watchers(w, p, s, &ctl, err);
    if (rc == 0)
        rc = takeover_take(w->engine, p, &w->volume->name, id, &s->owner, s->alive || s->slow ? FORCED : NULL,
                           &ctl, err);
    ctl_drop(p, &ctl);
    return rc;
}

static int check_unused_here(struct volume *v, struct error *err)
{
    LOCK_SCOPE(&v->lock);
    return v->rung > RUNG_DETACHED || v->holders.n > 0
               ? error_set(err, -EBUSY, "it is in use on this host; stop its container")
               : 0;
}

static int unlock_in_gate(struct work *w, json_t **ret, struct error *err)
{
    char id[IMAGE_ID_LEN + 1];
    auto_place struct place p = PLACE_NONE;
    struct scene s = { 0 };
    int rc = check_unused_here(w->volume, err);
    if (rc == 0)
        rc = engine_place(w->engine, &w->volume->name, &p, err);
    if (rc == 0)
        rc = lookup_image(&p, w->volume->name.image, id, err);
    if (rc == 0)
        rc = look(w->engine, &p, id, &s, err);
    bool go = w->go && s.owner.kind != OWNER_NONE;
    if (rc == 0 && go)
        rc = check_allowed(&s, w->force, err);
    if (rc == 0 && go)
        rc = unlock(w, &p, id, &s, err);
    if (rc == 0)
        *ret = report(&s, go);
    return rc;
}

int unlock_volume(struct volumes *e, const char *text, bool go, bool force, moment deadline, json_t **ret,
                  struct error *err)
{
    struct image_name image;
    char full[IMAGE_NAME_MAX + 1];
    int rc = lookup_text(e, text, &image, err);
    if (rc < 0)
        return error_prefix(err, "cannot unlock '%.100s'", text);
    struct work w = { e, registry_get(&e->registry, &image), go, force };
    rc = volume_gate_enter(w.volume, "unlocking", deadline, err);
    if (rc == 0) { /* every step of it has a time-out of its own */
        rc = unlock_in_gate(&w, ret, err);
        drive_gate_leave(e, w.volume);
    }
    registry_release(&e->registry, w.volume);
    return rc < 0 ? error_prefix(err, "cannot unlock '%s'", image_name_full(&image, full)) : 0;
}
