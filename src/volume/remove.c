/* SPDX-License-Identifier: MIT */
#include "volume/remove.h"

#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "ceph/imageadmin.h"
#include "host/mountpoint.h"
#include "volume/claim.h"
#include "volume/drive.h"
#include "volume/job.h"
#include "volume/lookup.h"

#define CTL_WAIT_MS 10000

struct work {
    struct volumes *engine;
    struct volume *volume;
    bool delete;
    moment deadline;
};

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

/* Nobody anywhere uses it. */
static int check_unused(struct work *w, const struct place *p, const char *id, struct error *err)
{
    char watcher[128], full[IMAGE_NAME_MAX + 1];
    const struct image_name *name = &w->volume->name;
    int rc = claim_check_free(w->engine, p, name, id, err);
    if (rc == 0)
        rc = image_watcher(p, id, watcher, sizeof watcher, err);
    if (rc == 1)
        return error_set(err, -EBUSY, "opened by another client at %s (`rbd status %s` shows it)", watcher,
                         image_name_full(name, full));
    if (rc < 0 || !w->delete)
        return rc;
    rc = image_has_snapshots(p, id, err);
    return rc == 1 ? error_set(err, -EBUSY, "it has snapshots: `rbd snap ls %s` shows them",
                               image_name_full(name, full))
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
    if (w->delete)
        return 0;
    return (uint64_t)(name_is_anonymous(w->volume->name.image) ? s->trash_keep_anon_ms : s->trash_keep_ms) /
           1000;
}

static int remove_claimed(struct work *w, const struct place *p, const char *id, struct ctl *ctl,
                          struct error *err)
{
    char full[IMAGE_NAME_MAX + 1], mountpoint[PATH_MAX];
    const struct image_name *name = &w->volume->name;
    uint64_t keep = keep_seconds(w);
    int rc = check_unused(w, p, id, err);
    if (rc == 0)
        rc = ctl_check(p, ctl, err);
    /* Through the trash always: an interrupted rbd_remove leaves holes under a live name. */
    if (rc == 0)
        rc = image_trash(p, name->image, id, w->engine->host.host, keep, err);
    ctl_drop(p, ctl);
    if (rc == 0)
        mountpoint_forget(engine_mountpoint(w->engine, name, mountpoint));
    if (rc == 0)
        log_notice("removed volume=%s id=%s policy=%s keep_s=%llu", image_name_full(name, full), id,
                   w->delete ? "delete" : "trash", (unsigned long long)keep);
    return rc == 0 && w->delete ? image_purge(p, id, err) : rc;
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
        rc = lookup_image(&p, name->image, id, err);
    if (rc == -ENOENT)
        return 0; /* Docker's and Mesos' retries: it is gone, as asked */
    if (rc == 0)
        rc = lookup_header(&p, name->image, id, &h, err);
    if (rc == 0)
        rc = check_ours(name, &h, err);
    if (rc == 0)
        rc = check_unused(w, &p, id, err);
    if (rc == 0)
        rc = ctl_take(&p, id, &w->engine->self, clock_in_ms(CTL_WAIT_MS), &ctl, err);
    return rc < 0 ? rc : remove_claimed(w, &p, id, &ctl, err);
}

static int work_run(void *arg, struct error *err)
{
    struct work *w = arg;
    int rc = volume_gate_enter(w->volume, "removing", w->deadline, err);
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
    free(w);
}

int remove_volume(struct volumes *e, const char *text, bool for_good, moment deadline, struct error *err)
{
    struct volume_name name;
    struct image_name image;
    char full[IMAGE_NAME_MAX + 1];
    int rc = name_parse(e->settings, text, &name, err);
    if (rc == 0)
        rc = lookup_name(e, &name, &image, err);
    if (rc == -ENOENT)
        return 0;
    if (rc < 0)
        return error_prefix(err, "cannot remove '%.100s'", text);
    struct work *w = calloc(1, sizeof *w);
    if (!w)
        abort();
    *w = (struct work){ e, registry_get(&e->registry, &image),
                        for_good || e->settings->remove == REMOVE_DELETE, deadline };
    rc = job_run(work_run, work_release, w, deadline, err);
    return rc < 0 ? error_prefix(err, "cannot remove '%s'", image_name_full(&image, full)) : 0;
}
