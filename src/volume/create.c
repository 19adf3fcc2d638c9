/* SPDX-License-Identifier: MIT */
#include "volume/create.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/job.h"
#include "base/log.h"
#include "base/text.h"
#include "ceph/imageadmin.h"
#include "ceph/imagefill.h"
#include "host/fs.h"
#include "volume/createopts.h"
#include "volume/drive.h"
#include "volume/lookup.h"
#include "volume/making.h"

#define MKFS_MS 600000

/* One image on its way: nothing with the final name ever exists unformatted. */
struct birth {
    struct volumes *engine;
    const struct place *place;
    const struct createopts *asked;
    struct making mark;
    char id[IMAGE_ID_LEN + 1];
    int scratch;  /* the file that mkfs filled */
    bool claimed; /* by a rename that is known to be whole */
    bool keep;    /* by a rename whose outcome could not be learnt: it may be a volume now */
};

static int fill_piece(void *fill, const char *bytes, size_t len, uint64_t offset, struct error *err)
{
    return imagefill_write(fill, bytes, len, offset, err);
}

/* Marks the new image and copies the file system into it. */
static int birth_fill(struct birth *b, struct imagefill *fill, struct error *err)
{
    auto_free char *mark = making_encode(&b->mark, b->engine->host.host, b->engine->host.boot_id);
    auto_free char *spec = spec_encode(&b->asked->spec);
    int rc = image_id_object(b->place, b->mark.temp, b->id, err);
    if (rc == 0)
        rc = image_set_meta(b->place, b->id, MAKING_KEY, mark, err);
    if (rc == 0)
        rc = fs_extents(b->scratch, fill_piece, fill, err);
    int landed = imagefill_finish(fill, rc < 0 ? &(struct error){ 0 } : err);
    if (rc == 0)
        rc = landed;
    return rc < 0 ? rc : image_set_meta(b->place, b->id, SPEC_KEY, spec, err);
}

/* Claims the final name. A rename is three writes: whatever it says, where the image is now decides.
 * -EEXIST: another host was first. */
static int birth_claim(struct birth *b, struct error *err)
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
    return err->code;
}

/* Takes back what was begun. What cannot be taken back now is left, marked, to the collector. */
static void birth_undo(struct birth *b)
{
    struct error err;
    if (b->keep) {
        log_warning("an image that may be half renamed is left to the next look at it or the collector "
                    "image=%s to=%s",
                    b->mark.temp, b->mark.final);
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

static int birth_run(struct birth *b, struct error *err)
{
    struct imagefill *fill = NULL;
    int rc = image_create(b->place, b->mark.temp, &b->asked->layout, err);
    const struct image_name *name = &b->asked->name.image;
    if (rc == -ENODEV && name->ns[0])
        return error_set(err, rc, "pool '%s' has no namespace '%s'; `rbd namespace create %s/%s` makes it",
                         name->pool, name->ns, name->pool, name->ns);
    if (rc == 0)
        rc = imagefill_open(b->place, b->mark.temp, &fill, err);
    if (rc == 0)
        rc = birth_fill(b, fill, err);
    if (rc == 0)
        rc = birth_claim(b, err);
    imagefill_close(fill); /* the lock is kept until after the rename */
    if (rc < 0) {
        birth_undo(b);
        return rc;
    }
    struct error ignored;
    if (b->claimed) /* else the next look at it finishes the rename first, by this mark */
        (void)image_set_meta(b->place, b->id, MAKING_KEY, NULL, &ignored);
    return 0;
}

static int make(struct volumes *e, const struct place *p, struct createopts *asked, struct error *err)
{
    char random[25], full[IMAGE_NAME_MAX + 1], size[32];
    const struct image_name *name = &asked->name.image;
    const struct spec *spec = &asked->spec;
    struct birth b = { .engine = e, .place = p, .asked = asked, .mark.since = time(NULL), .scratch = -1 };
    moment begin = clock_now();
    if (!e->settings->create)
        return error_set(err, -EPERM,
                         "there is no such image, and this host does not create images (create = no)");
    int rc = createopts_check_new(e->settings, asked, err);
    if (rc < 0)
        return rc;
    identity_random_hex(random, 12);
    (void)snprintf(b.mark.temp, sizeof b.mark.temp, IMAGE_TEMP_NEW "%s", random);
    (void)snprintf(b.mark.final, sizeof b.mark.final, "%s", name->image);
    /* mkfs first: what fails there has left nothing in the cluster. */
    rc = fs_make(fs_find(spec->fstype), spec->mkfs_options, asked->layout.size, e->settings->scratch_dir,
                 clock_in_ms(MKFS_MS), &b.scratch, err);
    if (rc < 0)
        return rc;
    rc = birth_run(&b, err);
    (void)close(b.scratch);
    if (rc == 0)
        log_notice("created volume=%s id=%s size=%s fstype=%s ms=%lld", image_name_full(name, full), b.id,
                   text_size(asked->layout.size, size), spec->fstype, (long long)clock_since_ms(begin));
    return rc;
}

/* It is there: is it what was asked for? */
static int compare(const struct place *p, const struct createopts *asked, const char *id, struct error *err)
{
    auto_header struct image_header h = { 0 };
    auto_spec struct spec spec = { 0 };
    char data_pool[256] = "";
    int rc = lookup_header(p, asked->name.image.image, id, &h, err);
    if (rc == 0 && (asked->given & GIVEN_DATA_POOL))
        rc = image_data_pool(p, id, data_pool, sizeof data_pool, err);
    if (rc == 0 && h.spec)
        rc = spec_decode(h.spec, &spec, err);
    return rc < 0 ? rc : createopts_match(asked, &h, data_pool, h.spec ? &spec : NULL, err);
}

struct work {
    struct volumes *engine;
    struct volume *volume;
    struct createopts asked;
    moment deadline;
};

/* With the gate: two Creates of one name on this host make one image. */
static int make_in_gate(struct work *w, const struct place *p, struct error *err)
{
    char id[IMAGE_ID_LEN + 1];
    int rc = lookup_image(p, w->asked.name.image.image, id, err);
    if (rc == -ENOENT)
        rc = make(w->engine, p, &w->asked, err);
    return rc;
}

static int work_run(void *arg, struct error *err)
{
    char id[IMAGE_ID_LEN + 1];
    struct work *w = arg;
    const char *image = w->asked.name.image.image;
    auto_place struct place p = PLACE_NONE;
    int rc = engine_place(w->engine, &w->asked.name.image, &p, err);
    if (rc == 0)
        rc = lookup_image(&p, image, id, err);
    if (rc == -ENOENT) {
        rc = volume_gate_enter(w->volume, "creating", w->deadline, err);
        if (rc < 0)
            return rc;
        rc = make_in_gate(w, &p, err);
        drive_gate_leave(w->engine, w->volume);
        if (rc == 0 || rc == -EEXIST) /* the loser of a race looks at the winner's */
            rc = lookup_image(&p, image, id, err);
    }
    return rc < 0 ? rc : compare(&p, &w->asked, id, err);
}

static void work_release(void *arg)
{
    struct work *w = arg;
    registry_release(&w->engine->registry, w->volume);
    engine_work_ends(w->engine);
    spec_done(&w->asked.spec);
    free(w);
}

int create_volume(struct volumes *e, const char *text, const json_t *opts, moment deadline, struct error *err)
{
    struct volume_name name;
    struct image_name image;
    char full[IMAGE_NAME_MAX + 1];
    int rc = name_parse(e->settings, text, &name, err);
    if (rc < 0)
        return rc;
    struct work *w = calloc(1, sizeof *w);
    if (!w)
        abort();
    rc = createopts_parse(e->settings, &name, opts, &w->asked, err);
    w->asked.layout.data_pool = w->asked.data_pool;
    if (rc == 0) {
        rc = lookup_name(e, &w->asked.name, &image, err);
        rc = rc == -ENOENT ? 0 : rc;
    }
    if (rc < 0) {
        spec_done(&w->asked.spec);
        free(w);
        return error_prefix(err, "cannot create '%.100s'", text);
    }
    w->asked.name.image = image;
    w->engine = e;
    w->volume = registry_get(&e->registry, &image);
    w->deadline = deadline;
    engine_work_begins(e);
    rc = job_run(work_run, work_release, w, deadline, err);
    return rc < 0 ? error_prefix(err, "cannot create '%s'", image_name_full(&image, full)) : 0;
}
