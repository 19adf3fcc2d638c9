/* SPDX-License-Identifier: MIT */
#include "volume/birth.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "ceph/imageadmin.h"
#include "volume/lookup.h"
#include "volume/reversal.h"

void birth_begin(struct birth *b, struct volumes *e, const struct place *p, struct volume *v)
{
    char random[25];
    *b = (struct birth){ .engine = e, .volume = v, .place = p, .mark.since = time(NULL) };
    identity_random_hex(random, 12);
    (void)snprintf(b->mark.temp, sizeof b->mark.temp, IMAGE_TEMP_NEW "%s", random);
    (void)snprintf(b->mark.final, sizeof b->mark.final, "%s", v->name.image);
}

int birth_open(struct birth *b, struct error *err)
{
    auto_free char *mark = making_encode(&b->mark, b->engine->host.host, b->engine->host.boot_id);
    int rc = imagefill_open(b->place, b->mark.temp, &b->fill, err);
    if (rc == 0)
        rc = image_id_object(b->place, b->mark.temp, b->id, err);
    return rc < 0 ? rc : image_set_meta(b->place, b->id, MAKING_KEY, mark, err);
}

static int set_limit(const struct place *p, const char *id, const char *key, uint64_t value,
                     struct error *err)
{
    char text[32];
    (void)snprintf(text, sizeof text, "%" PRIu64, value);
    return value ? image_set_meta(p, id, key, text, err) : 0;
}

int birth_limit(const struct place *p, const char *id, const struct spec *spec, struct error *err)
{
    int rc = set_limit(p, id, "conf_rbd_qos_iops_limit", spec->qos_iops, err);
    return rc < 0 ? rc : set_limit(p, id, "conf_rbd_qos_bps_limit", spec->qos_bps, err);
}

/* Claims the final name. A rename is three writes: whatever it says, where the image is now decides.
 * -EEXIST: another host was first. */
static int claim(struct birth *b, struct error *err)
{
    char id[IMAGE_ID_LEN + 1];
    struct error why;
    int rc = image_rename(b->place, b->mark.temp, b->mark.final, b->id, &why);
    b->claimed = rc == 0;
    if (rc == 0)
        return 0;
    int found = lookup_image(b->place, b->mark.final, id, err);
    if (found == 0)
        return strcmp(id, b->id) == 0 ? 0 : error_set(err, -EEXIST, "another host made it at the same time");
    /* Nothing of it seen is no proof after a time-out: the write may land yet. */
    b->keep = rc != -EEXIST && (found != -ENOENT || rc == -ETIMEDOUT);
    if (found == -ENOENT)
        *err = why;
    if (b->keep) {
        why = *err;
        error_set(err, why.code, "%s; should it be made when it does, that is taken back", why.msg);
    }
    return err->code;
}

/* Takes back what was begun. What cannot be taken back now is left, marked, to the collector. */
static void undo(struct birth *b)
{
    struct error err;
    if (b->keep) {
        reversal_owe_create(b->volume, b->id, &b->mark);
        return;
    }
    int rc = b->id[0] ? 0 : image_id_object(b->place, b->mark.temp, b->id, &err);
    if (rc == 0)
        rc = image_trash(b->place, b->mark.temp, b->id, b->engine->host.host, 0, &err);
    if (rc == 0)
        rc = image_purge(b->place, b->id, &err);
    if (rc < 0 && rc != -ENOENT)
        log_warning("an unfinished image is left to the collector image=%s: %s", b->mark.temp, err.msg);
}

int birth_end(struct birth *b, const struct spec *spec, int rc, struct error *err)
{
    auto_free char *text = spec_encode(spec);
    struct error ignored;
    if (rc == 0)
        rc = birth_limit(b->place, b->id, spec, err);
    if (rc == 0)
        rc = image_set_meta(b->place, b->id, SPEC_KEY, text, err);
    if (rc == 0)
        rc = claim(b, err);
    imagefill_close(b->fill); /* the lock is kept until after the rename */
    b->fill = NULL;
    if (rc < 0) {
        undo(b);
        return rc;
    }
    if (b->claimed) /* else the next look at it finishes the rename first, by this mark */
        (void)image_set_meta(b->place, b->id, MAKING_KEY, NULL, &ignored);
    return 0;
}
