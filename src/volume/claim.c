/* SPDX-License-Identifier: MIT */
#include "volume/claim.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "ceph/imageadmin.h"
#include "volume/lookup.h"

#define CTL_WAIT_MS 10000

/* The managed lock is held: by whom, as far as the cluster tells. */
static int refuse_owner(struct volumes *e, const struct place *p, const char *id, const struct lock_holder *h,
                        struct error *err)
{
    struct owner_record r;
    int rc = owner_read(p, id, &r, err);
    if (rc < 0)
        return rc;
    bool ours = rc == 1 && strcmp(r.address, h->address) == 0;
    rc = image_watched_by(p, id, h->address, err);
    if (rc < 0)
        return rc;
    const char *dead =
        rc == 1 ? ""
                : "; its watch has lapsed, so it is dead or cut off, but this version of rbdvol does not "
                  "take over yet: "
                  "fence it (`ceph osd blocklist add ADDRESS`), then break its lock (`rbd lock rm`)";
    if (ours && owner_is_self(&r, &e->self))
        return error_set(err, -EBUSY, "locked by this host's own earlier mapping %s (%s at %s)%s", r.mapping,
                         h->client, h->address, dead);
    if (ours)
        return error_set(err, -EBUSY, "in use on host %s (rbdvol instance %s, %s at %s)%s", r.host,
                         r.instance, h->client, h->address, dead);
    return error_set(err, -EBUSY, "locked by another client, %s at %s, which is no rbdvol%s", h->client,
                     h->address, dead);
}

int claim_check_free(struct volumes *e, const struct place *p, const struct image_name *name, const char *id,
                     struct error *err)
{
    struct lock_holder h;
    bool managed = false;
    char full[IMAGE_NAME_MAX + 1];
    int rc = imagelock_image_holder(p, id, &h, &managed, err);
    if (rc <= 0)
        return rc;
    if (managed)
        return refuse_owner(e, p, id, &h, err);
    return error_set(
        err, -EBUSY,
        "locked by hand or by another plugin: advisory lock '%.60s' of %s at %s; `rbd lock ls %s` shows it, "
        "`rbd lock rm` takes it away",
        h.cookie, h.client, h.address, image_name_full(name, full));
}

/* Is the image one that we can lock, and whose metadata does not undo the lock's safety? */
static int check_header(const struct volume *v, const struct image_header *h, struct error *err)
{
    char full[IMAGE_NAME_MAX + 1];
    image_name_full(&v->name, full);
    if (h->danger)
        return error_set(
            err, -EINVAL,
            "the image's metadata key %s would undo the safety of its lock; `rbd image-meta remove %s %s` "
            "takes it away",
            h->danger, full, h->danger);
    if (!(h->features & IMAGE_FEATURE_EXCLUSIVE_LOCK))
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
    v->known = true;
    v->facts = (struct volume_facts){
        .size = h->size, .features = h->features, .created = h->created, .sharing = spec.sharing
    };
    (void)snprintf(v->facts.fstype, sizeof v->facts.fstype, "%s", spec.fstype);
    (void)snprintf(v->facts.mount_options, sizeof v->facts.mount_options, "%s", spec.mount_options);
    return 0;
}

int claim_take(struct volumes *e, struct volume *v, const struct place *p, struct error *err)
{
    char id[IMAGE_ID_LEN + 1];
    auto_header struct image_header h = { 0 };
    int rc = lookup_image(p, v->name.image, id, err);
    if (rc == 0)
        rc = lookup_header(p, v->name.image, id, &h, err);
    if (rc == 0)
        rc = check_header(v, &h, err);
    if (rc == 0)
        rc = claim_check_free(e, p, &v->name, id, err);
    if (rc == 0)
        rc = ctl_take(p, id, &e->self, clock_in_ms(CTL_WAIT_MS), &v->ctl, err);
    if (rc < 0)
        return rc;
    /* Only now does nobody else of ours change it: look once more. */
    rc = claim_check_free(e, p, &v->name, id, err);
    if (rc == 0)
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

int claim_drop(struct volumes *e, struct volume *v, const struct place *p, struct error *err)
{
    int rc = record_is_needed(e, p, v->image_id, err);
    if (rc == 0)
        rc = owner_remove(p, v->image_id, &e->self, err);
    if (rc < 0)
        return rc;
    ctl_drop(p, &v->ctl);
    return 0;
}
