/* SPDX-License-Identifier: MIT */
#include "volume/content.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "ceph/imageadmin.h"
#include "host/fs.h"
#include "volume/mapping.h"

#define PROBE_MS  30000
#define FORMAT_MS 3600000
#define RENEW_MS  3600000
#define LONG_MS   (24 * 3600000L) /* a check of a large one: not killed at anybody's budget */

#define GROWING_KEY "rbdvol.growing" /* metadata: the uuid of the ext4 that is being grown unmounted */

int content_save_spec(const struct volume *v, const struct place *p, struct error *err)
{
    auto_free char *text = spec_encode(&v->spec);
    return image_set_meta(p, v->image_id, SPEC_KEY, text, err);
}

/* Takes over the file system that somebody else made: nothing of it is changed. */
static int adopt(struct volumes *e, struct volume *v, const struct place *p, const char *type,
                 struct error *err)
{
    struct spec *s = &v->spec;
    const struct fs *fs = fs_find(type);
    (void)snprintf(s->fstype, sizeof s->fstype, "%s", type);
    s->mkfs_options[0] = '\0';
    s->fresh = s->formatting = s->adopt = false;
    if (fs_check_mount_options(fs, s->mount_options, err) < 0) {
        /* The host's words are for the host's own kind of file system. */
        (void)snprintf(s->mount_options, sizeof s->mount_options, "noatime+nodev+nosuid");
    }
    (void)e;
    if (s->snapshot) /* of which nothing is written */
        return 0;
    int rc = content_save_spec(v, p, err);
    if (rc == 0)
        log_notice("adopted an image made by others pool=%s image=%s fstype=%s", v->name.pool, v->name.image,
                   type);
    return rc;
}

/* Formats an image on which nothing was found. The spec says `formatting` first, so that a later Mount knows
 * half a file system for our own. */
static int format(struct volumes *e, struct volume *v, const struct place *p, struct error *err)
{
    struct spec *s = &v->spec;
    if (s->ro)
        return error_set(err, -EINVAL, "the image is empty, and the volume is read-only");
    if (!s->formatting) {
        if (!e->settings->create)
            return error_set(err, -EINVAL,
                             "the image is empty, and this host does not format images (create = no)");
        int rc = image_check_blank(p, v->image_id, err);
        if (rc == -ENOTEMPTY)
            return error_prefix(
                err, "no file system was found on the image, but it is not blank, so it is not formatted");
        if (rc < 0)
            return rc;
        rc = fs_check_size(fs_find(s->fstype), v->facts.size, err);
        if (rc < 0)
            return rc;
        s->formatting = true;
        rc = content_save_spec(v, p, err);
        if (rc < 0)
            return rc;
    }
    volume_says(v, "formatting");
    int rc = device_format(v->device, mapping_blocks(&v->mapping), s->fstype, s->mkfs_options,
                           e->settings->scratch_dir, clock_in_ms(FORMAT_MS), err);
    if (rc < 0)
        return rc;
    s->formatting = s->adopt = false;
    s->fresh = true;
    v->has_spec = true;
    rc = content_save_spec(v, p, err);
    if (rc == 0)
        log_notice("formatted a blank image pool=%s image=%s fstype=%s", v->name.pool, v->name.image,
                   s->fstype);
    return rc;
}

static int refuse(const struct volume *v, const struct device_probe *found, struct error *err)
{
    if (found->found == PROBE_AMBIGUOUS)
        return error_set(
            err, -EINVAL,
            "the image carries the signatures of more than one kind of content; nothing was done "
            "to it");
    if (found->found == PROBE_OTHER)
        return error_set(err, -EINVAL,
                         "the image holds %s, which is no file system that rbdvol mounts (%s); nothing was "
                         "done to it",
                         found->type, fs_names());
    return error_set(err, -EUCLEAN,
                     "the volume was made with %s, but no file system is found on it; nothing was done to it",
                     v->spec.fstype);
}

int content_look(struct volume *v, struct device_probe *found, struct error *err)
{
    return device_probe(v->device, mapping_blocks(&v->mapping), clock_in_ms(PROBE_MS), found, err);
}

int content_prepare(struct volumes *e, struct volume *v, const struct place *p, struct device_probe *found,
                    struct error *err)
{
    int rc;
    if (found->found == PROBE_EMPTY && (v->spec.formatting || v->spec.adopt || !v->has_spec)) {
        rc = format(e, v, p, err);
        if (rc == 0)
            rc = content_look(v, found, err);
        if (rc < 0)
            return rc;
    } else if (found->found == PROBE_FS && (!v->has_spec || v->spec.formatting || v->spec.adopt)) {
        /* formatting and a whole file system: the spec's last write is what is missing, or the superblock,
         * written last, was the last thing done */
        bool own = v->has_spec && !v->spec.adopt && strcmp(found->type, v->spec.fstype) == 0;
        if (own) {
            v->spec.formatting = false;
            v->spec.fresh = true;
            rc = content_save_spec(v, p, err);
        } else {
            rc = adopt(e, v, p, found->type, err);
        }
        if (rc < 0)
            return rc;
        v->has_spec = true;
    }
    if (found->found != PROBE_FS)
        return refuse(v, found, err);
    if (strcmp(found->type, v->spec.fstype) != 0)
        return error_set(err, -EINVAL,
                         "the volume was made with %s, but %s is on it now; nothing was done to it",
                         v->spec.fstype, found->type);
    LOCK_SCOPE(&v->lock);
    (void)snprintf(v->facts.fstype, sizeof v->facts.fstype, "%s", v->spec.fstype);
    (void)snprintf(v->facts.mount_options, sizeof v->facts.mount_options, "%s", v->spec.mount_options);
    return 0;
}

/* ---- checking and growing ---- */

/* Does the image say that this file system was being grown before it was mounted? 1 yes, 0 no. */
static int is_marked(const struct volume *v, const struct place *p, const char *uuid, struct error *err)
{
    auto_free char *mark = NULL;
    int rc = image_get_meta(p, v->image_id, GROWING_KEY, &mark, err);
    return rc == 1 ? strcmp(mark, uuid) == 0 : rc;
}

/* Before it is mounted, so that the mark never tells of a file system that somebody has used since. */
static int take_mark_away(struct volume *v, const struct place *p, struct error *err)
{
    int rc = image_set_meta(p, v->image_id, GROWING_KEY, NULL, err);
    v->growing = v->growing && rc < 0;
    return rc;
}

static int enlarge(struct volume *v, const struct place *p, const char *uuid, struct error *err)
{
    char full[IMAGE_NAME_MAX + 1];
    image_name_full(&v->name, full);
    v->growing = true;
    int rc = image_set_meta(p, v->image_id, GROWING_KEY, uuid, err);
    if (rc < 0) {
        log_warning("the file system is smaller than its image, and was not grown volume=%s: %s", full,
                    err->msg);
        return rc == -ETIMEDOUT ? take_mark_away(v, p, err) : 0; /* it may be there */
    }
    volume_says(v, "growing");
    rc = device_enlarge(v->device, clock_in_ms(LONG_MS), err);
    if (rc == -EOPNOTSUPP) { /* nothing was done to it */
        log_warning("the file system is smaller than its image, and was not grown volume=%s: %s", full,
                    err->msg);
        return take_mark_away(v, p, err);
    }
    if (rc < 0)
        return rc;
    log_notice("grew the file system to its image volume=%s", full);
    return take_mark_away(v, p, err);
}

/* *mended: the mark was there. */
static int check(struct volume *v, const struct place *p, const char *uuid, bool *mended, enum grow_due *due,
                 struct error *err)
{
    struct error why;
    int marked = v->growing ? is_marked(v, p, uuid, err) : 0;
    if (marked < 0)
        return marked;
    int rc = device_check(v->device, v->spec.fstype, marked, clock_in_ms(LONG_MS), due, err);
    if (rc == -EUCLEAN && !marked) { /* or was it written after we had read the header? */
        why = *err;
        marked = is_marked(v, p, uuid, err);
        if (marked == 1)
            rc = device_check(v->device, v->spec.fstype, true, clock_in_ms(LONG_MS), due, err);
        else
            *err = why;
    }
    *mended = marked == 1;
    return rc;
}

int content_check(struct volume *v, const struct place *p, const struct device_probe *found,
                  struct error *err)
{
    char full[IMAGE_NAME_MAX + 1];
    enum grow_due due = GROW_NOT_DUE;
    bool mended = false;
    int rc = check(v, p, found->uuid, &mended, &due, err);
    if (rc < 0)
        return rc;
    v->full = due == GROW_NEVER;
    image_name_full(&v->name, full);
    if (mended)
        log_notice("mended the file system, whose growth was cut off volume=%s", full);
    if (due == GROW_TOO_FAR)
        log_warning("the file system is smaller than its image, and was not grown volume=%s: it has no room "
                    "for tables of that size; a host that grants CAP_SYS_RESOURCE grows it all the same",
                    full);
    if (due == GROW_DUE && found->uuid[0])
        return enlarge(v, p, found->uuid, err);
    return mended || v->growing ? take_mark_away(v, p, err) : 0;
}

/* ---- a clone's own uuid ---- */

/* Only a mount replays the log of an xfs, and a snapshot always has something in its log. */
static int replay(struct volumes *e, struct volume *v, struct error *err)
{
    char mountpoint[PATH_MAX], words[SPEC_WORDS_MAX + 1], full[IMAGE_NAME_MAX + 1];
    struct device_mount m = { .mountpoint = engine_mountpoint(e, &v->name, mountpoint),
                              .fstype = v->spec.fstype,
                              .options = spec_mount_words(&v->spec, e->settings->mount_options, words),
                              .volume = image_name_full(&v->name, full) };
    int rc = device_mount(v->device, &m, clock_in_ms(RENEW_MS), err);
    return rc < 0 ? rc : device_umount(v->device, mountpoint, &v->node, false, clock_in_ms(RENEW_MS), err);
}

int content_renew(struct volumes *e, struct volume *v, const struct place *p, struct error *err)
{
    char full[IMAGE_NAME_MAX + 1];
    bool renewed = false;
    if (!v->spec.new_uuid)
        return 0;
    int rc = device_renew(v->device, v->spec.fstype, clock_in_ms(RENEW_MS), &renewed, err);
    if (rc == 0 && !renewed)
        rc = replay(e, v, err);
    if (rc == 0 && !renewed)
        rc = device_renew(v->device, v->spec.fstype, clock_in_ms(RENEW_MS), &renewed, err);
    if (rc == -EOPNOTSUPP && strcmp(v->spec.fstype, "btrfs") != 0) {
        /* ext4 goes by the device, xfs gets nouuid: only btrfs would take it for its source */
        log_warning("the clone's file system has the uuid of its source still volume=%s: %s",
                    image_name_full(&v->name, full), err->msg);
        return 0;
    }
    if (rc < 0 || !renewed) /* the next time: mounting it beside its source is what nouuid is for */
        return rc;
    v->spec.new_uuid = false;
    rc = content_save_spec(v, p, err);
    if (rc < 0)
        v->spec.new_uuid = true;
    else
        log_info("gave the clone's file system a uuid of its own volume=%s", image_name_full(&v->name, full));
    return rc;
}
