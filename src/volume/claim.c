/* SPDX-License-Identifier: MIT */
#include "volume/claim.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/text.h"
#include "ceph/imageadmin.h"
#include "ceph/imageclaim.h"
#include "volume/former.h"
#include "volume/hindrance.h"
#include "volume/lookup.h"
#include "volume/reversal.h"
#include "volume/snap.h"
#include "volume/takeover.h"

#define CTL_WAIT_MS 10000
#define STALE_MS    500

/* Is the image one that we can lock, and whose metadata does not undo the lock's safety? */
static int check_header(struct volumes *e, const struct volume *v, const struct image_header *h,
                        struct error *err)
{
    char full[IMAGE_NAME_MAX + 1];
    image_name_full(&v->name, full);
    if (h->danger && !text_is_name(h->danger)) /* in a command that somebody types it would be another */
        return error_set(err, -EINVAL,
                         "a key of the image's metadata, of an odd name, would undo the safety of its lock; "
                         "`rbd image-meta list %s` shows it",
                         full);
    if (h->danger)
        return error_set(
            err, -EINVAL,
            "the image's metadata key %s would undo the safety of its lock; `rbd image-meta remove %s %s` "
            "takes it away",
            h->danger, full, h->danger);
    if (!(h->features & IMAGE_FEATURE_EXCLUSIVE_LOCK) && e->settings->legacy_images == LEGACY_REFUSE)
        return error_set(err, -EINVAL,
                         "the image has no exclusive-lock feature, so nothing would keep a second writer "
                         "out; `rbd feature "
                         "enable %s exclusive-lock` adds it",
                         full);
    return 0;
}

/* Takes over what the header says. */
static int take_header(struct volumes *e, struct volume *v, const char *id, const struct image_header *h,
                       struct error *err)
{
    struct spec spec;
    if (h->spec) {
        int rc = spec_decode(h->spec, &spec, err);
        if (rc < 0)
            return rc;
    } else {
        spec_default(e->settings, &spec);
    }
    LOCK_SCOPE(&v->lock);
    memcpy(v->image_id, id, sizeof v->image_id);
    spec_done(&v->spec);
    v->spec = spec;
    v->has_spec = h->spec != NULL;
    v->growing = h->growing;
    v->known = true;
    v->facts = (struct volume_facts){
        .size = h->size, .features = h->features, .created = h->created, .sharing = spec.sharing
    };
    (void)snprintf(v->facts.fstype, sizeof v->facts.fstype, "%s", spec.fstype);
    (void)snprintf(v->facts.mount_options, sizeof v->facts.mount_options, "%s", spec.mount_options);
    memcpy(v->facts.remove, spec.remove, sizeof v->facts.remove);
    return 0;
}

/* Of an image without exclusive-lock, nobody can tell who writes it: but for who has it open. An earlier
 * daemon of ours that was killed in this very step is watched for half a minute. */
static int check_unwatched(struct volumes *e, const struct volume *v, const struct place *p, const char *id,
                           struct ctl *ctl, struct error *err)
{
    char watcher[128];
    int rc = image_watcher(p, id, watcher, sizeof watcher, err);
    if (rc == 1 && former_has(e, watcher)) {
        rc = takeover_fence(p, &v->name, watcher, "an earlier daemon of this host", ctl, err);
        if (rc == 0)
            rc = image_watcher(p, id, watcher, sizeof watcher, err);
    }
    return rc == 1
               ? error_set(err, -EBUSY,
                           "the image has no exclusive-lock feature, and another client has it open, at %s",
                           watcher)
               : rc;
}

/* Gives an image of old the feature that our safety rests on; nobody has it open or locked. */
static int upgrade(struct volumes *e, const struct volume *v, const struct place *p, const char *id,
                   struct ctl *ctl, struct image_header *h, struct error *err)
{
    char full[IMAGE_NAME_MAX + 1];
    if (h->features & IMAGE_FEATURE_EXCLUSIVE_LOCK)
        return 0;
    int rc = check_unwatched(e, v, p, id, ctl, err);
    if (rc == 0)
        rc = ctl_check(p, ctl, err);
    if (rc == 0)
        rc = image_add_exclusive_lock(p, id, err);
    if (rc == 0)
        rc = check_unwatched(e, v, p, id, ctl,
                             err); /* one that came before the feature may go on without it */
    if (rc < 0)
        return rc;
    log_notice("added the feature exclusive-lock volume=%s id=%s", image_name_full(&v->name, full), id);
    image_header_done(h);
    return lookup_header(p, v->name.image, id, h, err);
}

/* Does anybody wait for this volume? Told to who asks, while an owner is waited for. */
static bool is_wanted(void *arg)
{
    struct volume *v = arg;
    volume_says(v, "waiting for the watch of its silent owner to lapse");
    LOCK_SCOPE(&v->lock);
    return v->holders.n > 0;
}

/* A rollback that was cut off is finished first; that may take longer than rbdvol.ctl lasts. */
static int finish_rollback(struct volumes *e, struct volume *v, const struct place *p, const char *id,
                           const struct image_header *h, struct error *err)
{
    if (!h->rolling)
        return 0;
    int rc = snap_finish_rollback(v, p, id, h->rolling, err);
    ctl_drop(p, &v->ctl);
    return rc < 0 ? rc : takeover_run(e, p, &v->name, id, is_wanted, v, &v->ctl, err);
}

/* An image that nobody ever writes may be mapped by many: rbdvol.ctl alone is taken, so that nobody removes
 * it in the same moment. */
static int claim_snapshot(struct volumes *e, struct volume *v, const struct place *p, const char *id,
                          struct error *err)
{
    struct lock_holder h;
    bool managed;
    int rc = ctl_take(p, id, &e->self, clock_in_ms(CTL_WAIT_MS), &v->ctl, err);
    if (rc == 0)
        rc = imagelock_image_holder(p, id, &h, &managed, err);
    if (rc == 1)
        rc = error_set(err, -EBUSY,
                       "it is a read-only snapshot, but a client at %s has locked it, perhaps to write",
                       h.address);
    if (rc < 0)
        ctl_drop(p, &v->ctl);
    return rc;
}

static bool is_snapshot(const struct image_header *h)
{
    struct error ignored;
    auto_spec struct spec spec = { 0 };
    return h->spec && spec_decode(h->spec, &spec, &ignored) == 0 && spec.snapshot;
}

/* Nobody else has it, or ever will while we do; what its header says is true then. */
static int claim_image(struct volumes *e, struct volume *v, const struct place *p, const char *id,
                       struct image_header *h, struct error *err)
{
    moment begin = clock_now();
    if (is_snapshot(h))
        return claim_snapshot(e, v, p, id, err);
    int rc = takeover_run(e, p, &v->name, id, is_wanted, v, &v->ctl, err);
    if (rc == 0 && clock_since_ms(begin) > STALE_MS) { /* who had it may have changed it */
        image_header_done(h);
        rc = lookup_header(p, v->name.image, id, h, err);
    }
    return rc < 0 ? rc : finish_rollback(e, v, p, id, h, err);
}

/* Is there anything about it that must be seen to before it is mounted, or that is not to be locked at all?
 */
static bool is_plain(const struct image_header *h)
{
    return !h->making && !h->rolling && !h->trashed && !h->danger &&
           (h->features & IMAGE_FEATURE_EXCLUSIVE_LOCK) && !is_snapshot(h);
}

/* Nearly always an image is nobody's, and as it should be: two questions one after the other tell that, and
 * rbdvol.ctl is taken with the second. 1: so it is, and *h says what it is; 0: it must be looked at step by
 * step. */
static int claim_plain(struct volumes *e, struct volume *v, const struct place *p,
                       char id[static IMAGE_ID_LEN + 1], struct image_header *h, struct error *err)
{
    int rc = image_find(p, v->name.image, id, err);
    if (rc < 0)
        return rc == -EUCLEAN || rc == -ENOENT ? 0 : rc;
    rc = imageclaim_free(p, id, &e->self, &v->ctl, h, err);
    if (rc != 1 || is_plain(h))
        return rc;
    ctl_drop(p, &v->ctl);
    image_header_done(h);
    return 0;
}

/* Whoever has it, or had it, and whatever was left unfinished on it. */
static int claim_thoroughly(struct volumes *e, struct volume *v, const struct place *p,
                            char id[static IMAGE_ID_LEN + 1], struct image_header *h, struct error *err)
{
    int rc = reversal_lookup(e, p, v->name.image, id, h, err);
    if (rc == 0)
        rc = check_header(e, v, h, err);
    if (rc == 0)
        rc = claim_image(e, v, p, id, h, err);
    return rc < 0 ? rc : upgrade(e, v, p, id, &v->ctl, h, err);
}

int claim_take(struct volumes *e, struct volume *v, const struct place *p, struct error *err)
{
    char id[IMAGE_ID_LEN + 1];
    auto_header struct image_header h = { 0 };
    int rc = claim_plain(e, v, p, id, &h, err);
    if (rc == 0)
        rc = claim_thoroughly(e, v, p, id, &h, err);
    if (rc >= 0)
        rc = take_header(e, v, id, &h, err);
    if (rc < 0)
        ctl_drop(p, &v->ctl);
    return rc;
}

/* Does the record still tell whose the managed lock is? Then a mapping of ours ended without releasing it,
 * and other hosts must be able to say so. 1 yes, 0 no. */
static int record_is_needed(struct volumes *e, const struct place *p, const char *id, struct error *err)
{
    struct owner_record r;
    struct lock_holder h;
    bool managed = false;
    int rc = imagelock_image_holder(p, id, &h, &managed, err);
    if (rc != 1 || !managed)
        return rc < 0 ? rc : 0;
    rc = owner_read(p, id, &r, err);
    return rc == 1 ? owner_is_self(&r, &e->self) && strcmp(r.address, h.address) == 0 : rc;
}

int claim_forget(struct volume *v)
{
    v->hindered = 0;
    ctl_forget(&v->ctl);
    return 0;
}

int claim_drop(struct volumes *e, struct volume *v, const struct place *p, struct error *err)
{
    /* "": all that is known of it is a mount that a dead mapper left, whose lock and record are the next
     * taker's */
    int rc = v->image_id[0] ? record_is_needed(e, p, v->image_id, err) : 1;
    if (rc == 0)
        rc = owner_remove(p, v->image_id, &e->self, err);
    if (rc < 0)
        return rc;
    hindrance_clear(v, p);
    ctl_drop(p, &v->ctl);
    return 0;
}
