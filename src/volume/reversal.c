/* SPDX-License-Identifier: MIT */
#include "volume/reversal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "ceph/imageadmin.h"
#include "volume/lookup.h"

#define CTL_WAIT_MS 10000
#define TRIES_MAX   20 /* that were answered, and failed */

static void owe(struct volume *v, enum owed what, const char *id, const struct making *mark)
{
    LOCK_SCOPE(&v->lock);
    v->owed = (struct reversal){ .what = what };
    (void)snprintf(v->owed.id, sizeof v->owed.id, "%s", id);
    if (mark) {
        memcpy(v->owed.temp, mark->temp, sizeof v->owed.temp);
        memcpy(v->owed.final, mark->final, sizeof v->owed.final);
    }
}

void reversal_owe_create(struct volume *v, const char *id, const struct making *mark)
{
    owe(v, OWED_CREATE, id, mark);
}

void reversal_owe_remove(struct volume *v, const char *id, const struct making *mark)
{
    owe(v, mark ? OWED_RENAME : OWED_TRASH, id, mark);
}

/* Renames back to the name before. The mark is turned round first, in one step that fails when it is not
 * there any more: whoever looked at the volume meanwhile has finished the rename and taken the mark away, and
 * may use it. From then on whoever looks helps. 1: renamed back; 0: nothing is left to do. */
static int rename_back(struct volumes *e, const struct place *p, const struct reversal *r, struct error *err)
{
    auto_header struct image_header h = { 0 };
    struct making mark, back = { .since = time(NULL) };
    char listed[256];
    int rc = image_read_header(p, r->id, &h, err);
    if (rc == -ENOENT || (rc == 0 && (!h.making || making_decode(h.making, &mark) < 0)))
        return 0;
    if (rc < 0)
        return rc;
    memcpy(back.temp, r->final, sizeof back.temp);
    memcpy(back.final, r->temp, sizeof back.final);
    if (strcmp(mark.final, r->final) == 0 && strcmp(mark.temp, r->temp) == 0) {
        auto_free char *text = making_encode(&back, e->host.host, e->host.boot_id);
        rc = image_swap_meta(p, r->id, MAKING_KEY, h.making, text, err);
        if (rc <= 0)
            return rc;
    } else if (strcmp(mark.final, back.final) != 0 || strcmp(mark.temp, back.temp) != 0) {
        return 0;
    }
    rc = image_name_of(p, r->id, listed, sizeof listed, err);
    if (rc == -ENOENT)
        return 0;
    if (rc == 0 && strcmp(listed, r->temp) == 0)
        rc = image_finish_rename(p, r->final, r->temp, r->id, err); /* only the first write had landed */
    else if (rc == 0)
        rc = image_rename(p, r->final, r->temp, r->id, err);
    return rc < 0 ? rc : 1;
}

static int back_create(struct volumes *e, const struct place *p, const struct reversal *r, struct error *err)
{
    int rc = rename_back(e, p, r, err);
    if (rc == 1)
        rc = image_trash(p, r->temp, r->id, e->host.host, 0, err);
    if (rc == 0)
        (void)image_purge(p, r->id, err); /* or the collector does it */
    return rc;
}

static int back_rename(struct volumes *e, const struct place *p, const struct reversal *r, struct error *err)
{
    int rc = rename_back(e, p, r, err);
    return rc == 1 ? image_set_meta(p, r->id, MAKING_KEY, NULL, err) : rc;
}

/* With rbdvol.ctl: a removal that is under way looks as one that was cut off. only_half: one that has come to
 * its end meanwhile is none of ours. */
static int back_trash(struct volumes *e, const struct place *p, const char *name, const char *id,
                      bool only_half, struct error *err)
{
    struct ctl ctl = { 0 };
    char listed[256];
    int rc = ctl_take(p, id, &e->self, clock_in_ms(CTL_WAIT_MS), &ctl, err);
    if (rc == 0 && only_half)
        rc = image_name_of(p, id, listed, sizeof listed, err);
    if (rc == 0)
        rc = image_untrash(p, id, name, err);
    ctl_drop(p, &ctl);
    if (rc == 1)
        log_notice("took a removal back that had been reported as failed image=%s id=%s", name, id);
    return rc < 0 && rc != -ENOENT ? rc : 0;
}

static int run(struct volumes *e, const struct volume *v, struct error *err)
{
    const struct reversal *r = &v->owed;
    auto_place struct place p = PLACE_NONE;
    int rc = engine_place(e, &v->name, &p, err);
    if (rc < 0)
        return rc;
    switch (r->what) {
    case OWED_CREATE:
        return back_create(e, &p, r, err);
    case OWED_RENAME:
        return back_rename(e, &p, r, err);
    case OWED_TRASH:
        return back_trash(e, &p, v->name.image, r->id, false, err);
    case OWED_NOTHING:
        break;
    }
    return 0;
}

int reversal_run(struct volumes *e, struct volume *v, struct error *err)
{
    char full[IMAGE_NAME_MAX + 1];
    if (v->owed.what == OWED_NOTHING)
        return 0;
    volume_says(v, "taking back what failed on");
    int rc = run(e, v, err);
    if (rc < 0 && (rc == -ETIMEDOUT || rc == -ENOTCONN || ++v->owed.tries < TRIES_MAX))
        return rc;
    image_name_full(&v->name, full);
    if (rc < 0)
        log_warning("what was reported as failed on volume=%s id=%s cannot be taken back: %s", full,
                    v->owed.id, err->msg);
    else
        log_info("settled what had not been answered in time volume=%s id=%s", full, v->owed.id);
    LOCK_SCOPE(&v->lock);
    v->owed.what = OWED_NOTHING;
    return 0;
}

int reversal_of_half_removed(struct volumes *e, const struct place *p, const char *name, struct error *err)
{
    char id[IMAGE_ID_LEN + 1] = "";
    auto_header struct image_header h = { 0 };
    struct error ignored;
    int rc = image_find(p, name, id, err);
    if (rc < 0 && (rc != -EUCLEAN || !id[0]))
        return rc;
    if (image_read_header(p, id, &h, &ignored) < 0 || !h.trashed)
        return rc;
    return back_trash(e, p, name, id, true, err);
}

int reversal_lookup(struct volumes *e, const struct place *p, const char *name,
                    char id[static IMAGE_ID_LEN + 1], struct image_header *ret, struct error *err)
{
    int rc = lookup_image(p, name, id, err);
    if (rc == -EUCLEAN && reversal_of_half_removed(e, p, name, err) == 0)
        rc = lookup_image(p, name, id, err);
    if (rc == 0)
        rc = lookup_header(p, name, id, ret, err);
    if (rc < 0 || !ret->trashed)
        return rc;
    rc = back_trash(e, p, name, id, true, err);
    return rc < 0 ? rc : lookup_again(p, name, id, err); /* it may have come to its end meanwhile */
}
