/* SPDX-License-Identifier: MIT */
#include "volume/freeze.h"

#include <errno.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "volume/statefile.h"

#define HOLD_MS   10000  /* a snapshot takes some 60 ms */
#define FREEZE_MS 120000 /* with gigabytes dirty, which are written before */
#define THAW_MS   5000
#define TRIES     3

/* Written down before it is true, and after it is not any more. */
static void note(struct volumes *e, struct volume *v, bool frozen)
{
    LOCK_SCOPE(&v->lock);
    v->facts.frozen = frozen;
    statefile_save(e, v);
}

/* By another helper than the one that froze it. */
static int undo(struct volumes *e, struct volume *v, struct error *err)
{
    char mountpoint[PATH_MAX];
    struct device *d = NULL;
    engine_mountpoint(e, &v->name, mountpoint);
    int rc = device_start(&d, err);
    if (rc == 0)
        rc = device_unfreeze(d, mountpoint, &v->node, clock_in_ms(THAW_MS), err);
    device_end(d);
    if (rc == 0 || rc == -ENODEV) /* not frozen, or not even mounted */
        note(e, v, false);
    return rc;
}

static void undo_or_say(struct volumes *e, struct volume *v)
{
    struct error err;
    char full[IMAGE_NAME_MAX + 1];
    int rc = -EIO;
    for (int i = 0; i < TRIES && rc < 0 && rc != -ENODEV; i++)
        rc = undo(e, v, &err);
    if (rc < 0 && rc != -ENODEV)
        log_error(
            "the file system may still be frozen, and is thawed at the next start (`fsfreeze -u` does it "
            "now) volume=%s: %s",
            image_name_full(&v->name, full), err.msg);
}

int freeze_on(struct volumes *e, struct volume *v, struct device **ret, struct error *err)
{
    char mountpoint[PATH_MAX];
    struct device *d = NULL;
    engine_mountpoint(e, &v->name, mountpoint);
    int rc = device_start(&d, err);
    if (rc < 0)
        return rc;
    note(e, v, true);
    rc = device_freeze(d, mountpoint, &v->node, HOLD_MS, clock_in_ms(FREEZE_MS), err);
    if (rc == 0) {
        *ret = d;
        return 0;
    }
    device_end(d);
    if (rc == -EBUSY) /* somebody else's freeze is not ours to end */
        note(e, v, false);
    else
        undo_or_say(e, v);
    return rc;
}

int freeze_off(struct volumes *e, struct volume *v, struct device *d, struct error *err)
{
    int rc = device_thaw(d, clock_in_ms(THAW_MS), err);
    device_end(d);
    if (rc == 0 || rc == -ETIMEDOUT)
        note(e, v, false);
    if (rc < 0)
        undo_or_say(e, v);
    return rc;
}

void freeze_recover(struct volumes *e, struct volume *v)
{
    char full[IMAGE_NAME_MAX + 1];
    if (!v->facts.frozen)
        return;
    log_notice("thawing what an earlier daemon had frozen volume=%s", image_name_full(&v->name, full));
    undo_or_say(e, v);
}
