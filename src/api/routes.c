/* SPDX-License-Identifier: MIT */
#include "api/routes.h"

#include <string.h>

#include "api/fields.h"
#include "volume/create.h"
#include "volume/query.h"
#include "volume/remove.h"
#include "volume/resize.h"
#include "volume/snap.h"
#include "volume/stale.h"
#include "volume/trash.h"
#include "volume/trim.h"
#include "volume/unlock.h"

/* The budget of Mount and Create, and half of it for the others. */
static moment budget(const struct exchange *x, int64_t parts)
{
    return clock_in_ms(x->volumes->settings->budget_ms / parts);
}

/* What the request itself says wrongly is 400, what then fails is 500. */
static int took(struct exchange *x, int rc)
{
    x->malformed = rc < 0;
    return rc;
}

static int take_name(struct exchange *x, const char **name, struct error *err)
{
    return took(x, fields_text(x->in, "Name", name, err));
}

static int take_id(struct exchange *x, const char **id, struct error *err)
{
    return took(x, fields_text_or_empty(x->in, "ID", id, err));
}

static int take_flag(struct exchange *x, const char *key, bool *flag, struct error *err)
{
    return took(x, fields_flag(x->in, key, flag, err));
}

static int activate(struct exchange *x, struct error *err)
{
    (void)err;
    json_object_set_new(x->out, "Implements", json_pack("[s]", "VolumeDriver"));
    return 0;
}

static int capabilities(struct exchange *x, struct error *err)
{
    (void)err;
    json_object_set_new(x->out, "Capabilities", json_pack("{s:s}", "Scope", "global"));
    return 0;
}

static int create(struct exchange *x, struct error *err)
{
    const char *name;
    const json_t *opts = NULL;
    int rc = take_name(x, &name, err);
    if (rc == 0)
        rc = took(x, fields_options(x->in, "Opts", &opts, err));
    return rc < 0 ? rc : create_volume(x->volumes, name, opts, budget(x, 1), err);
}

static int remove_one(struct exchange *x, struct error *err)
{
    const char *name;
    int rc = take_name(x, &name, err);
    return rc < 0 ? rc : remove_volume(x->volumes, name, false, budget(x, 2), err);
}

static int remove_for_good(struct exchange *x, struct error *err)
{
    const char *name;
    bool for_good = false;
    int rc = take_name(x, &name, err);
    if (rc == 0)
        rc = take_flag(x, "Delete", &for_good, err);
    return rc < 0 ? rc : remove_volume(x->volumes, name, for_good, budget(x, 2), err);
}

static int mount_one(struct exchange *x, struct error *err)
{
    const char *name, *id = "";
    char mountpoint[PATH_MAX];
    int rc = take_name(x, &name, err);
    if (rc == 0)
        rc = take_id(x, &id, err);
    if (rc == 0)
        rc = mount_volume(x->volumes, name, id, x->caller, budget(x, 1), mountpoint, x->grant, err);
    if (rc == 0)
        json_object_set_new(x->out, "Mountpoint", json_string(mountpoint));
    return rc;
}

static int unmount_one(struct exchange *x, struct error *err)
{
    const char *name, *id = "";
    int rc = take_name(x, &name, err);
    if (rc == 0)
        rc = take_id(x, &id, err);
    return rc < 0 ? rc : unmount_volume(x->volumes, name, id, budget(x, 2), err);
}

static int path(struct exchange *x, struct error *err)
{
    const char *name;
    char mountpoint[PATH_MAX];
    int rc = take_name(x, &name, err);
    if (rc == 0)
        rc = query_path(x->volumes, name, mountpoint, err);
    if (rc == 0)
        json_object_set_new(x->out, "Mountpoint", json_string(mountpoint));
    return rc;
}

static int get(struct exchange *x, struct error *err)
{
    const char *name;
    json_t *volume;
    int rc = take_name(x, &name, err);
    if (rc == 0)
        rc = query_get(x->volumes, name, &volume, err);
    if (rc == 0)
        json_object_set_new(x->out, "Volume", volume);
    return rc;
}

static int list(struct exchange *x, struct error *err)
{
    json_t *volumes;
    int rc = query_list(x->volumes, &volumes, err);
    if (rc == 0)
        json_object_set_new(x->out, "Volumes", volumes);
    return rc;
}

static int status(struct exchange *x, struct error *err)
{
    (void)err;
    json_t *all = query_status(x->volumes);
    json_object_update(x->out, all);
    json_decref(all);
    return 0;
}

static int release(struct exchange *x, struct error *err)
{
    const char *name, *id = "";
    bool force = false, by_id = json_is_string(json_object_get(x->in, "ID"));
    unsigned dropped = 0;
    json_t *left;
    int rc = take_name(x, &name, err);
    if (rc == 0)
        rc = take_id(x, &id, err);
    if (rc == 0)
        rc = take_flag(x, "Force", &force, err);
    if (rc == 0)
        rc = release_holder(x->volumes, name, by_id ? id : NULL, force, budget(x, 2), &dropped, &left, err);
    if (rc == 0) {
        json_object_set_new(x->out, "Dropped", json_integer(dropped));
        json_object_set_new(x->out, "Holders", left);
    }
    return rc;
}

static int unlock(struct exchange *x, struct error *err)
{
    const char *name;
    bool go = false, force = false;
    json_t *report = NULL;
    int rc = take_name(x, &name, err);
    if (rc == 0)
        rc = take_flag(x, "Go", &go, err);
    if (rc == 0)
        rc = take_flag(x, "Force", &force, err);
    if (rc == 0)
        rc = unlock_volume(x->volumes, name, go, force, budget(x, 2), &report, err);
    if (rc < 0)
        return rc;
    json_object_update(x->out, report);
    json_decref(report);
    return 0;
}

/* A result of our own: its members are the answer's. */
static int answer(struct exchange *x, int rc, json_t *result)
{
    if (rc < 0)
        return rc;
    json_object_update(x->out, result);
    json_decref(result);
    return 0;
}

static int resize(struct exchange *x, struct error *err)
{
    const char *name, *size;
    json_t *result = NULL;
    int rc = take_name(x, &name, err);
    if (rc == 0)
        rc = took(x, fields_text(x->in, "Size", &size, err));
    if (rc == 0)
        rc = resize_volume(x->volumes, name, size, budget(x, 1), &result, err);
    return answer(x, rc, result);
}

typedef int snap_fn(struct volumes *e, const char *name, const char *snap, moment deadline, json_t **ret,
                    struct error *err);

static int on_snap(struct exchange *x, snap_fn *run, struct error *err)
{
    const char *name, *snap;
    json_t *result = NULL;
    int rc = take_name(x, &name, err);
    if (rc == 0)
        rc = took(x, fields_text(x->in, "Snap", &snap, err));
    if (rc == 0)
        rc = run(x->volumes, name, snap, budget(x, 1), &result, err);
    return answer(x, rc, result);
}

static int snap_make(struct exchange *x, struct error *err)
{
    return on_snap(x, snap_create, err);
}

static int snap_take_away(struct exchange *x, struct error *err)
{
    return on_snap(x, snap_remove, err);
}

static int snap_go_back(struct exchange *x, struct error *err)
{
    return on_snap(x, snap_rollback, err);
}

static int snaps(struct exchange *x, struct error *err)
{
    const char *name;
    json_t *result = NULL;
    int rc = take_name(x, &name, err);
    if (rc == 0)
        rc = snap_list(x->volumes, name, budget(x, 2), &result, err);
    return answer(x, rc, result);
}

static int trim(struct exchange *x, struct error *err)
{
    const char *name, *after;
    json_t *result = NULL;
    int rc = take_name(x, &name, err);
    if (rc == 0)
        rc = took(x, fields_text_or_empty(x->in, "After", &after, err));
    if (rc == 0)
        rc = trim_volume(x->volumes, name, after, budget(x, 1), &result, err);
    return answer(x, rc, result);
}

static int trashed(struct exchange *x, struct error *err)
{
    json_t *result = NULL;
    int rc = trash_list(x->volumes, &result, err);
    return answer(x, rc, result);
}

static int untrash(struct exchange *x, struct error *err)
{
    const char *name, *as;
    json_t *result = NULL;
    int rc = take_name(x, &name, err);
    if (rc == 0)
        rc = took(x, fields_text_or_empty(x->in, "As", &as, err));
    if (rc == 0)
        rc = trash_restore(x->volumes, name, as, &result, err);
    return answer(x, rc, result);
}

static int purge(struct exchange *x, struct error *err)
{
    const char *name;
    int rc = took(x, fields_text_or_empty(x->in, "Name", &name, err));
    return rc < 0 ? rc : trash_purge(x->volumes, name, budget(x, 1), err);
}

static const struct route routes[] = {
    { "/Plugin.Activate", false, false, activate },
    { "/VolumeDriver.Create", true, false, create },
    { "/VolumeDriver.Remove", true, false, remove_one },
    { "/VolumeDriver.Mount", true, false, mount_one },
    { "/VolumeDriver.Unmount", true, false, unmount_one },
    { "/VolumeDriver.Path", true, false, path },
    { "/VolumeDriver.Get", true, true, get },
    { "/VolumeDriver.List", false, false, list },
    { "/VolumeDriver.Capabilities", false, false, capabilities },
    { "/Rbdvol.Status", false, false, status },
    { "/Rbdvol.Remove", true, false, remove_for_good },
    { "/Rbdvol.Release", true, false, release },
    { "/Rbdvol.Unlock", true, false, unlock },
    { "/Rbdvol.Resize", true, false, resize },
    { "/Rbdvol.Trim", true, false, trim },
    { "/Rbdvol.Trash.List", false, false, trashed },
    { "/Rbdvol.Trash.Restore", true, false, untrash },
    { "/Rbdvol.Trash.Purge", false, false, purge },
    { "/Rbdvol.Snap.Create", true, false, snap_make },
    { "/Rbdvol.Snap.List", true, false, snaps },
    { "/Rbdvol.Snap.Remove", true, false, snap_take_away },
    { "/Rbdvol.Snap.Rollback", true, false, snap_go_back },
};

const struct route *routes_find(const char *wanted)
{
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++)
        if (strcmp(routes[i].path, wanted) == 0)
            return &routes[i];
    return NULL;
}
