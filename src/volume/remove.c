/* SPDX-License-Identifier: MIT */
#include "volume/remove.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/job.h"
#include "base/log.h"
#include "ceph/imageadmin.h"
#include "host/mountpoint.h"
#include "volume/drive.h"
#include "volume/former.h"
#include "volume/lookup.h"
#include "volume/making.h"
#include "volume/purge.h"
#include "volume/reversal.h"
#include "volume/stale.h"
#include "volume/takeover.h"

#define RENAME_TRIES 1000
#define HEADERLESS_S 10 /* `rbd create` takes milliseconds from the name to the header */

struct work {
    struct volumes *engine;
    struct volume *volume;
    enum remove_policy policy;
    bool for_good; /* whatever the policy is */
    moment deadline;
};

/* The volume's own policy, or the host's. What cannot be read may have one that keeps it: it is never deleted
 * for good. */
static enum remove_policy policy_of(const struct settings *s, const char *text)
{
    auto_spec struct spec spec = { 0 };
    struct error ignored;
    enum remove_policy own;
    if (text && spec_decode(text, &spec, &ignored) < 0)
        return s->remove == REMOVE_DELETE ? REMOVE_TRASH : s->remove;
    return spec_remove_policy(spec.remove, &own) ? own : s->remove;
}

/* Is it to be left alone, whoever uses it? 1 yes, 0 no, or could not ask. */
static int left_alone(struct work *w, struct error *err)
{
    char id[IMAGE_ID_LEN + 1], full[IMAGE_NAME_MAX + 1];
    auto_free char *text = NULL;
    auto_place struct place p = PLACE_NONE;
    const struct image_name *name = &w->volume->name;
    if (w->for_good)
        return 0;
    int rc = engine_place(w->engine, name, &p, err);
    if (rc == 0)
        rc = lookup_image(&p, name->image, id, err);
    if (rc == 0 || (rc == -EUCLEAN && id[0]))
        rc = image_get_meta(&p, id, SPEC_KEY, &text, err);
    if (rc < 0 && rc != -ENOENT && rc != -ENODATA && rc != -EUCLEAN) /* these are settled in the gate */
        return rc;
    if (policy_of(w->engine->settings, text) != REMOVE_IGNORE)
        return 0;
    log_notice("left alone, as remove=ignore says volume=%s", image_name_full(name, full));
    return 1;
}

static int check_unused_here(struct volume *v, struct error *err)
{
    LOCK_SCOPE(&v->lock);
    if (v->holders.n > 0)
        return error_set(err, -EBUSY, "in use on this host by %s%.12s",
                         v->holders.all[0].id[0] ? "mount ID " : "a caller ",
                         v->holders.all[0].id[0] ? v->holders.all[0].id : "without ID");
    if (v->rung > RUNG_DETACHED)
        return error_set(err, -EBUSY, "still %s on this host%s%s", volume_state(v),
                         v->trouble.code ? ": " : "", v->trouble.code ? v->trouble.msg : "");
    return 0;
}

/* Somebody who has it open. A client that this daemon was before is none. */
static int check_unwatched(struct work *w, const struct place *p, const char *id, struct ctl *ctl,
                           struct error *err)
{
    char watcher[128], full[IMAGE_NAME_MAX + 1];
    const struct image_name *name = &w->volume->name;
    int rc = image_watcher(p, id, watcher, sizeof watcher, err);
    if (rc == 1 && former_has(w->engine, watcher)) {
        rc = takeover_fence(p, name, watcher, "an earlier daemon of this host", ctl, err);
        if (rc == 0)
            rc = image_watcher(p, id, watcher, sizeof watcher, err);
    }
    return rc == 1 ? error_set(err, -EBUSY, "opened by another client at %s (`rbd status %s` shows it)",
                               watcher, image_name_full(name, full))
                   : rc;
}

/* Nobody anywhere uses it; with rbdvol.ctl held. */
static int check_unused(struct work *w, const struct place *p, const char *id, struct ctl *ctl,
                        struct error *err)
{
    char full[IMAGE_NAME_MAX + 1];
    int rc = check_unwatched(w, p, id, ctl, err);
    if (rc < 0 || w->policy != REMOVE_DELETE)
        return rc;
    rc = image_has_snapshots(p, id, err);
    return rc == 1 ? error_set(err, -EBUSY, "it has snapshots: `rbd snap ls %s` shows them",
                               image_name_full(&w->volume->name, full))
                   : rc;
}

/* Ours, by its mark? */
static int check_ours(const struct image_name *name, const struct image_header *h, struct error *err)
{
    char full[IMAGE_NAME_MAX + 1];
    if (h->spec)
        return 0;
    return error_set(
        err, -EPERM,
        "the image was neither made nor ever mounted by rbdvol, so it is not removed; `rbd trash mv %s` does "
        "it by hand",
        image_name_full(name, full));
}

static uint64_t keep_seconds(const struct work *w)
{
    const struct settings *s = w->engine->settings;
    if (w->policy == REMOVE_DELETE)
        return 0;
    return (uint64_t)(name_is_anonymous(w->volume->name.image) ? s->trash_keep_anon_ms : s->trash_keep_ms) /
           1000;
}

/* A name that nobody has: zz_NAME, zz_NAME.1, ... */
static int free_name(const struct place *p, const char *name, char free[static NAME_PART_MAX + 1],
                     struct error *err)
{
    char id[IMAGE_ID_LEN + 1];
    for (unsigned i = 0; i < RENAME_TRIES; i++) {
        char number[16] = "";
        if (i > 0)
            (void)snprintf(number, sizeof number, ".%u", i);
        if (snprintf(free, NAME_PART_MAX + 1, REMOVE_PREFIX "%s%s", name, number) > NAME_PART_MAX)
            return error_set(err, -ENAMETOOLONG,
                             "its name is too long to be renamed to " REMOVE_PREFIX "NAME");
        int rc = lookup_image(p, free, id, err);
        if (rc == -ENOENT)
            return 0;
        if (rc < 0 && rc != -EUCLEAN && rc != -ENODATA)
            return rc;
    }
    return error_set(err, -EEXIST, "there are %d images " REMOVE_PREFIX "%s already", RENAME_TRIES, name);
}

/* Marked like a Create, so that a rename which is cut off is finished by whoever looks at either name. */
static int rename_away(struct work *w, const struct place *p, const char *id, struct error *err)
{
    struct making mark = { .since = time(NULL) };
    struct error also;
    const struct volumes *e = w->engine;
    int rc = free_name(p, w->volume->name.image, mark.final, err);
    if (rc < 0)
        return rc;
    (void)snprintf(mark.temp, sizeof mark.temp, "%s", w->volume->name.image);
    auto_free char *text = making_encode(&mark, e->host.host, e->host.boot_id);
    rc = image_set_meta(p, id, MAKING_KEY, text, err);
    if (rc == 0)
        rc = image_rename(p, mark.temp, mark.final, id, err);
    if (rc == 0 || rc == -EEXIST || rc == -ENOENT) /* any other outcome is unknown: the mark settles it */
        (void)image_set_meta(p, id, MAKING_KEY, NULL, &also);
    if (rc == -ETIMEDOUT)
        reversal_owe_remove(w->volume, id, &mark);
    if (rc == 0)
        log_notice("renamed pool=%s image=%s to=%s", w->volume->name.pool, mark.temp, mark.final);
    return rc;
}

static int put_away(struct work *w, const struct place *p, const char *id, struct error *err)
{
    /* Through the trash always: an interrupted rbd_remove leaves holes under a live name. */
    if (w->policy == REMOVE_RENAME)
        return rename_away(w, p, id, err);
    int rc = image_trash(p, w->volume->name.image, id, w->engine->host.host, keep_seconds(w), err);
    if (rc == -ETIMEDOUT)
        reversal_owe_remove(w->volume, id, NULL);
    return rc;
}

/* What was asked for and not answered in time may be done yet, and cannot be called back: it is undone. */
static int say_unknown(int rc, struct error *err)
{
    struct error was = *err;
    if (rc != -ETIMEDOUT)
        return rc;
    return error_set(err, rc, "%s; should it be removed when it does, that is taken back", was.msg);
}

static int remove_claimed(struct work *w, const struct place *p, const char *id, struct ctl *ctl,
                          struct error *err)
{
    char full[IMAGE_NAME_MAX + 1], mountpoint[PATH_MAX];
    const struct image_name *name = &w->volume->name;
    int rc = check_unused(w, p, id, ctl, err);
    if (rc == 0)
        rc = ctl_check(p, ctl, err);
    if (rc == 0) /* what follows goes by the name, which may be another's since we have waited */
        rc = lookup_again(p, name->image, id, err);
    if (rc == 0)
        rc = say_unknown(put_away(w, p, id, err), err);
    ctl_drop(p, ctl);
    if (rc < 0)
        return rc;
    mountpoint_forget(engine_mountpoint(w->engine, name, mountpoint));
    log_notice("removed volume=%s id=%s policy=%s keep_s=%llu", image_name_full(name, full), id,
               spec_remove_name(w->policy), (unsigned long long)keep_seconds(w));
    if (w->policy == REMOVE_DELETE)
        purge_soon(w->engine, name, id);
    return 0;
}

/* The image has names and no header: there is nothing left but to take the names away. What is so young may
 * be somebody's `rbd create` that has not come to the header yet. */
static int finish_removal(struct work *w, const struct place *p, const char *id, struct error *err)
{
    char full[IMAGE_NAME_MAX + 1], mountpoint[PATH_MAX];
    const struct image_name *name = &w->volume->name;
    int64_t age;
    int rc = image_name_age(p, name->image, &age, err);
    if (rc == 0 && age < HEADERLESS_S)
        return error_set(err, -EBUSY, "it has no header: another client is making it; try again in %d s",
                         HEADERLESS_S);
    if (rc == 0 || rc == -ENOENT) /* only the directory has it: image_drop_name sees to that */
        rc = image_drop_name(p, name->image, id, err);
    if (rc < 0)
        return rc;
    mountpoint_forget(engine_mountpoint(w->engine, name, mountpoint));
    log_notice("finished an interrupted removal volume=%s id=%s", image_name_full(name, full), id);
    return 0;
}

/* Somebody has it, or it is not there: when nobody has the name any more it is gone, as asked. Another host
 * may have removed it while we waited for rbdvol.ctl, and have it open and locked to delete it. */
static int unless_gone(const struct place *p, const char *image, const char *id, int rc)
{
    struct error ignored;
    bool may_be = rc == -EBUSY || rc == -ENOENT;
    return may_be && lookup_again(p, image, id, &ignored) == -ENOENT ? 0 : rc;
}

static int remove_in_gate(struct work *w, struct error *err)
{
    char id[IMAGE_ID_LEN + 1];
    struct ctl ctl = { 0 };
    auto_header struct image_header h = { 0 };
    auto_place struct place p = PLACE_NONE;
    const struct image_name *name = &w->volume->name;
    int rc = check_unused_here(w->volume, err);
    if (rc == 0)
        rc = engine_place(w->engine, name, &p, err);
    if (rc == 0)
        rc = reversal_run(w->engine, w->volume, err);
    if (rc == 0)
        rc = reversal_lookup(w->engine, &p, name->image, id, &h, err);
    if (rc == -ENOENT)
        return 0; /* Docker's and Mesos' retries: it is gone, as asked */
    if (rc == -ENODATA)
        return finish_removal(w, &p, id, err);
    if (rc == 0)
        rc = check_ours(name, &h, err);
    if (rc == 0 && !w->for_good)
        w->policy = policy_of(w->engine->settings, h.spec);
    if (rc == 0 && w->policy == REMOVE_IGNORE)
        return error_set(err, -EAGAIN, "another client has just replaced the image: try again");
    if (rc < 0)
        return rc;
    rc = takeover_to_remove(w->engine, &p, name, id, &ctl, err);
    if (rc == 0)
        rc = remove_claimed(w, &p, id, &ctl, err);
    return unless_gone(&p, name->image, id, rc);
}

/* The last holder was stale: until the volume is detached, as after its Unmount. */
static void take_down(struct work *w)
{
    struct volume *v = w->volume;
    struct timespec until = clock_spec(w->deadline);
    drive_kick(w->engine, v);
    LOCK_SCOPE(&v->lock);
    while (!drive_settled(v) && v->busy && pthread_cond_timedwait(&v->changed, &v->lock, &until) == 0)
        ;
}

static int work_run(void *arg, struct error *err)
{
    struct work *w = arg;
    int rc = left_alone(w, err);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    if (stale_drop(w->engine, w->volume) > 0)
        take_down(w);
    rc = volume_gate_enter(w->volume, "removing", w->deadline, err);
    if (rc < 0)
        return rc;
    rc = remove_in_gate(w, err);
    drive_gate_leave(w->engine, w->volume);
    return rc;
}

static void work_release(void *arg)
{
    struct work *w = arg;
    registry_release(&w->engine->registry, w->volume);
    engine_work_ends(w->engine);
    free(w);
}

int remove_volume(struct volumes *e, const char *text, bool for_good, moment deadline, struct error *err)
{
    struct image_name image;
    char full[IMAGE_NAME_MAX + 1];
    int rc = lookup_text(e, text, &image, err);
    if (rc == -ENOENT)
        return 0;
    if (rc < 0)
        return error_prefix(err, "cannot remove '%.100s'", text);
    struct work *w = calloc(1, sizeof *w);
    if (!w)
        abort();
    *w = (struct work){ .engine = e,
                        .volume = registry_get(&e->registry, &image),
                        .policy = for_good ? REMOVE_DELETE : e->settings->remove,
                        .for_good = for_good,
                        .deadline = deadline };
    engine_work_begins(e);
    rc = job_run(work_run, work_release, w, deadline, err);
    return rc < 0 ? error_prefix(err, "cannot remove '%s'", image_name_full(&image, full)) : 0;
}
