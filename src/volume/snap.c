/* SPDX-License-Identifier: MIT */
#include "volume/snap.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/text.h"
#include "ceph/imagechange.h"
#include "ceph/imagelock.h"
#include "ceph/imagesnaps.h"
#include "volume/change.h"
#include "volume/freeze.h"
#include "volume/lookup.h"
#include "volume/takeover.h"

static int check_name(const char *snap, struct error *err)
{
    return text_is_name(snap)
               ? 0
               : error_set(err, -EINVAL,
                           "'%.80s' is no name of a snapshot: letters, digits, '_', '.' and '-', beginning "
                           "with a letter or digit, at most 128",
                           snap);
}

static int run(struct volumes *e, const char *name, const struct task_kind *kind, const char *snap,
               moment deadline, json_t **ret, struct error *err)
{
    if (check_name(snap, err) < 0)
        return error_prefix(err, "cannot %s '%.100s'", kind->verb, name);
    char *arg = strdup(snap);
    if (!arg)
        abort();
    return task_run(e, name, kind, arg, deadline, ret, err);
}

/* A rollback that was cut off has left a mixture. */
static int check_whole(struct task *t, struct error *err)
{
    auto_header struct image_header h = { 0 };
    int rc = lookup_header(t->place, t->volume->name.image, t->id, &h, err);
    if (rc == 0 && h.rolling)
        return error_set(err, -EBUSY,
                         "a rollback of it to '%.128s' was cut off; the next mount finishes it, or "
                         "`rbdvol snap rollback`",
                         h.rolling);
    return rc;
}

/* Who did not hear how it went, since the mapper has ended, looks. There was none of this name when the file
 * system stood still already, and while the lock is our mapper's, none is made but by it: so it is of that
 * moment, even if somebody else should have asked for it (librbd passes such requests on to who has the
 * lock). */
static bool is_made(const struct task *t, const char *snap)
{
    struct image_snap made;
    struct lock_holder h;
    struct error ignored;
    bool managed = false;
    return image_snap_find(t->place, t->id, snap, &made, &ignored) == 0 &&
           imagelock_image_holder(t->place, t->id, &h, &managed, &ignored) == 1 && managed &&
           strcmp(h.address, t->volume->mapping.address) == 0;
}

static int check_new(const struct task *t, const char *snap, struct error *err)
{
    struct image_snap there;
    int rc = image_snap_find(t->place, t->id, snap, &there, err);
    if (rc == 0)
        return error_set(err, -EEXIST, "there is a snapshot '%s' already", snap);
    return rc == -ENODEV ? 0 : rc;
}

/* Of a volume that is mounted here. */
static int take_frozen(struct task *t, const struct image_change *make, struct error *err)
{
    const struct image_change unmake = { .what = IMAGE_SNAP_REMOVE, .snap = make->snap };
    struct device *frozen = NULL;
    struct error thaw, also;
    int rc = freeze_on(t->engine, t->volume, &frozen, err);
    if (rc < 0)
        return rc;
    rc = check_new(t, make->snap, err);
    bool asked = rc == 0;
    if (asked)
        rc = change_run(t->engine, t->volume, t->place, t->id, make, err);
    int thawed = freeze_off(t->engine, t->volume, frozen, &thaw);
    if (asked && rc == -EIO && is_made(t, make->snap))
        rc = 0;
    if (rc < 0 || thawed >= 0)
        return rc;
    if (change_run(t->engine, t->volume, t->place, t->id, &unmake, &also) < 0)
        log_warning("a snapshot that was not made in time is left snap=%s: %s", make->snap, also.msg);
    return error_set(err, thawed, "the snapshot was not made while the file system stood still: %s",
                     thaw.msg);
}

int snap_take(struct task *t, const char *snap, struct error *err)
{
    const struct image_change make = { .what = IMAGE_SNAP_CREATE, .snap = snap };
    int mounted = change_check(t->volume, t->id, err);
    int rc = mounted < 0 ? mounted : check_whole(t, err);
    if (rc < 0)
        return rc;
    return mounted ? take_frozen(t, &make, err)
                   : change_run(t->engine, t->volume, t->place, t->id, &make, err);
}

static int create(struct task *t, struct error *err)
{
    char full[IMAGE_NAME_MAX + 1];
    int rc = snap_take(t, t->arg, err);
    if (rc == 0)
        log_notice("made a snapshot volume=%s snap=%s", image_name_full(&t->volume->name, full),
                   (const char *)t->arg);
    return rc;
}

int snap_create(struct volumes *e, const char *name, const char *snap, moment deadline, json_t **ret,
                struct error *err)
{
    static const struct task_kind kind = { "make a snapshot of", "making a snapshot of", create };
    return run(e, name, &kind, snap, deadline, ret, err);
}

static int remove_one(struct task *t, struct error *err)
{
    char full[IMAGE_NAME_MAX + 1];
    const struct image_change change = { .what = IMAGE_SNAP_REMOVE, .snap = t->arg };
    struct image_snap left;
    struct error also;
    int rc = check_whole(t, err);
    if (rc == 0)
        rc = change_run(t->engine, t->volume, t->place, t->id, &change, err);
    /* who did not hear how it went, since the mapper has ended or is slow, looks */
    if ((rc == -EIO || rc == -ETIMEDOUT) && image_snap_find(t->place, t->id, t->arg, &left, &also) == -ENODEV)
        rc = 0;
    if (rc == 0)
        log_notice("removed a snapshot volume=%s snap=%s", image_name_full(&t->volume->name, full),
                   (const char *)t->arg);
    return rc;
}

int snap_remove(struct volumes *e, const char *name, const char *snap, moment deadline, json_t **ret,
                struct error *err)
{
    static const struct task_kind kind = { "remove a snapshot of", "removing a snapshot of", remove_one };
    return run(e, name, &kind, snap, deadline, ret, err);
}

static void add_snap(void *arg, const struct image_snap *s)
{
    char created[32] = "";
    if (s->created)
        clock_rfc3339(s->created, created, sizeof created);
    json_array_append_new(
        arg, json_pack("{s:s, s:I, s:s}", "Name", s->name, "Size", (json_int_t)s->size, "Created", created));
}

/* Without the gate: it only looks. */
int snap_list(struct volumes *e, const char *text, moment deadline, json_t **ret, struct error *err)
{
    struct image_name image;
    char id[IMAGE_ID_LEN + 1];
    auto_place struct place p = PLACE_NONE;
    json_auto_t *all = json_array();
    (void)deadline; /* each question has its own */
    int rc = lookup_text(e, text, &image, err);
    if (rc == 0)
        rc = engine_place(e, &image, &p, err);
    if (rc == 0)
        rc = lookup_image(&p, image.image, id, err);
    if (rc == 0)
        rc = image_snaps(&p, id, add_snap, all, err);
    if (rc < 0)
        return error_prefix(err, "cannot list the snapshots of '%.100s'", text);
    *ret = json_pack("{s:O}", "Snapshots", all);
    return 0;
}

static int clear_mark(const struct place *p, const char *id, struct error *err)
{
    return image_set_meta(p, id, ROLLING_KEY, NULL, err);
}

int snap_finish_rollback(struct volume *v, const struct place *p, const char *id, const char *mark,
                         struct error *err)
{
    char full[IMAGE_NAME_MAX + 1];
    const struct image_change change = { .what = IMAGE_SNAP_ROLLBACK, .snap = mark };
    volume_says(v, "rolling back");
    int rc = image_change_free(p, id, &change, err);
    if (rc == 0)
        rc = clear_mark(p, id, err);
    if (rc < 0)
        return error_prefix(err, "a rollback to '%.128s' was cut off, and cannot be finished", mark);
    log_notice("finished a rollback that was cut off volume=%s snap=%s", image_name_full(&v->name, full),
               mark);
    return 0;
}

/* With rbdvol.ctl. The mark comes before the first byte, and goes after the last. That of another rollback,
 * which was cut off, stays when this one is not begun. */
static int roll_back(struct task *t, struct ctl *ctl, struct error *err)
{
    struct image_snap found;
    struct error also;
    auto_free char *before = NULL;
    const struct image_change change = { .what = IMAGE_SNAP_ROLLBACK, .snap = t->arg };
    int rc = image_snap_find(t->place, t->id, t->arg, &found, err);
    if (rc == 0)
        rc = image_get_meta(t->place, t->id, ROLLING_KEY, &before, err);
    if (rc >= 0)
        rc = ctl_check(t->place, ctl, err);
    if (rc == 0)
        rc = image_set_meta(t->place, t->id, ROLLING_KEY, t->arg, err);
    if (rc < 0)
        return rc;
    rc = image_change_free(t->place, t->id, &change, err);
    if (rc == -EBUSY || rc == -EOPNOTSUPP || rc == -ENODEV) /* it was not begun */
        (void)image_set_meta(t->place, t->id, ROLLING_KEY, before, &also);
    else if (rc < 0)
        return error_prefix(err, "it was cut off, and the next mount goes on with it");
    return rc < 0 ? rc : clear_mark(t->place, t->id, err);
}

static int rollback(struct task *t, struct error *err)
{
    char full[IMAGE_NAME_MAX + 1];
    struct ctl ctl = { 0 };
    int rc = change_check(t->volume, t->id, err);
    if (rc == 1 || (rc < 0 && t->volume->rung == RUNG_MOUNTED))
        return error_set(err, -EBUSY, "it is mounted on this host; stop its container first");
    if (rc == 0)
        rc = takeover_run(t->engine, t->place, &t->volume->name, t->id, NULL, NULL, &ctl, err);
    if (rc == 0)
        rc = roll_back(t, &ctl, err);
    ctl_drop(t->place, &ctl);
    if (rc == 0)
        log_notice("rolled back volume=%s snap=%s", image_name_full(&t->volume->name, full),
                   (const char *)t->arg);
    return rc;
}

int snap_rollback(struct volumes *e, const char *name, const char *snap, moment deadline, json_t **ret,
                  struct error *err)
{
    static const struct task_kind kind = { "roll back", "rolling back", rollback };
    return run(e, name, &kind, snap, deadline, ret, err);
}
