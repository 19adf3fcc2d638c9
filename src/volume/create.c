/* SPDX-License-Identifier: MIT */
#include "volume/create.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/job.h"
#include "base/log.h"
#include "base/passphrase.h"
#include "base/text.h"
#include "ceph/imageadmin.h"
#include "ceph/imagefill.h"
#include "host/fs.h"
#include "volume/birth.h"
#include "volume/clone.h"
#include "volume/createopts.h"
#include "volume/drive.h"
#include "volume/lookup.h"
#include "volume/reversal.h"

#define MKFS_MS     600000
#define CTL_WAIT_MS 10000

static int fill_piece(void *fill, const char *bytes, size_t len, uint64_t offset, struct error *err)
{
    return imagefill_write(fill, bytes, len, offset, err);
}

static int fill(struct birth *b, int scratch, bool written, struct error *err)
{
    int rc = written ? fs_extents_written(scratch, fill_piece, b->fill, err)
                     : fs_extents(scratch, fill_piece, b->fill, err);
    int landed = imagefill_finish(b->fill, rc < 0 ? &(struct error){ 0 } : err);
    return rc < 0 ? rc : landed;
}

static int make_image(struct birth *b, const struct createopts *asked, struct error *err)
{
    const struct image_name *name = &asked->name.image;
    int rc = image_create(b->place, b->mark.temp, &asked->layout, err);
    if (rc == -ENODEV && name->ns[0])
        return error_set(err, rc, "pool '%s' has no namespace '%s'; `rbd namespace create %s/%s` makes it",
                         name->pool, name->ns, name->pool, name->ns);
    return rc;
}

/* mkfs first: what fails there has left nothing in the cluster. */
static int make_plain(struct birth *b, const struct createopts *asked, struct error *err)
{
    int scratch;
    const struct spec *spec = &asked->spec;
    int rc = fs_make(fs_find(spec->fstype), spec->mkfs_options, asked->layout.size,
                     b->engine->settings->scratch_dir, clock_in_ms(MKFS_MS), &scratch, err);
    if (rc < 0)
        return rc;
    rc = make_image(b, asked, err);
    if (rc == 0) {
        rc = birth_open(b, err);
        if (rc == 0)
            rc = fill(b, scratch, false, err);
        rc = birth_end(b, spec, rc, err);
    }
    (void)close(scratch);
    return rc;
}

/* How large the file system is to be is known when the image is encrypted. */
static int fill_encrypted(struct birth *b, const struct spec *spec, const struct passphrase *key,
                          struct error *err)
{
    uint64_t room = 0;
    auto_close int scratch = -1;
    int rc = birth_open(b, err);
    if (rc == 0)
        rc = imagefill_encrypt(b->fill, key, &room, err);
    if (rc == 0)
        rc = fs_make_written(fs_find(spec->fstype), spec->mkfs_options, room,
                             b->engine->settings->scratch_dir, clock_in_ms(MKFS_MS), &scratch, err);
    return rc < 0 ? rc : fill(b, scratch, true, err);
}

static int make_encrypted(struct birth *b, const struct createopts *asked, struct error *err)
{
    char path[PATH_MAX];
    auto_passphrase struct passphrase key;
    int rc = passphrase_read(engine_key_file(b->engine, &asked->spec, path), &key, err);
    if (rc < 0)
        return error_prefix(err, "option encrypt");
    rc = make_image(b, asked, err);
    if (rc < 0)
        return rc;
    rc = fill_encrypted(b, &asked->spec, &key, err);
    return birth_end(b, &asked->spec, rc, err);
}

static int make_new(struct birth *b, const struct createopts *asked, struct error *err)
{
    return asked->spec.encrypt[0] ? make_encrypted(b, asked, err) : make_plain(b, asked, err);
}

static int make(struct volumes *e, const struct place *p, struct volume *v, struct createopts *asked,
                struct error *err)
{
    char full[IMAGE_NAME_MAX + 1], size[32];
    const struct image_name *name = &asked->name.image;
    struct birth b;
    moment begin = clock_now();
    if (!e->settings->create)
        return error_set(err, -EPERM,
                         "there is no such image, and this host does not create images (create = no)");
    int rc = createopts_check_new(e->settings, asked, err);
    if (rc < 0)
        return rc;
    birth_begin(&b, e, p, v);
    rc = asked->given & GIVEN_FROM ? clone_make(&b, asked, err) : make_new(&b, asked, err);
    if (rc == 0)
        log_notice("created volume=%s id=%s size=%s fstype=%s%s%s ms=%lld", image_name_full(name, full), b.id,
                   text_size(asked->layout.size, size), asked->spec.fstype,
                   asked->spec.from[0] ? " from=" : "", asked->spec.from, (long long)clock_since_ms(begin));
    return rc;
}

/* An image that others made, and that is to be used in a certain way: that is written down, for every host.
 * What file system it has is seen when it is mounted. */
static int note_use(struct volumes *e, const struct place *p, const struct createopts *asked, const char *id,
                    struct error *err)
{
    struct ctl ctl = { 0 };
    struct spec spec = asked->spec;
    if (!(asked->given & GIVEN_NOTABLE))
        return 0;
    spec.adopt = true;
    spec.fresh = false;
    auto_free char *text = spec_encode(&spec);
    int rc = ctl_take(p, id, &e->self, clock_in_ms(CTL_WAIT_MS), &ctl, err);
    if (rc == 0)
        rc = birth_limit(p, id, &spec, err);
    if (rc == 0)
        rc = image_set_meta(p, id, SPEC_KEY, text, err);
    ctl_drop(p, &ctl);
    return rc;
}

/* It is there: is it what was asked for? */
static int compare(struct volumes *e, const struct place *p, const struct createopts *asked, const char *id,
                   struct error *err)
{
    auto_header struct image_header h = { 0 };
    auto_spec struct spec spec = { 0 };
    char data_pool[256] = "";
    int rc = lookup_header(p, asked->name.image.image, id, &h, err);
    if (rc == 0 && (asked->given & GIVEN_DATA_POOL))
        rc = image_data_pool(p, id, data_pool, sizeof data_pool, err);
    if (rc == 0 && h.spec)
        rc = spec_decode(h.spec, &spec, err);
    if (rc == 0)
        rc = createopts_match(asked, &h, data_pool, h.spec ? &spec : NULL, err);
    /* last: what is refused leaves others' images as they are, and Remove lets them alone */
    return rc < 0 || h.spec ? rc : note_use(e, p, asked, id, err);
}

struct work {
    struct volumes *engine;
    struct volume *volume;
    struct createopts asked;
    bool bare; /* the name came without a pool */
    bool made;
    moment deadline;
};

/* REX-Ray calls a volume of another pool POOL.NAME. Who means one that is there would get a new one, empty.
 */
static int check_dotted(struct volumes *e, const struct image_name *name, struct error *err)
{
    for (unsigned i = 0; i < e->settings->npools; i++) {
        char id[IMAGE_ID_LEN + 1], full[IMAGE_NAME_MAX + 1];
        auto_place struct place p = PLACE_NONE;
        struct image_name meant = *name;
        size_t len = strlen(e->settings->pools[i]);
        if (strncmp(name->image, e->settings->pools[i], len) != 0 || name->image[len] != '.')
            continue;
        memcpy(meant.pool, e->settings->pools[i], sizeof meant.pool);
        (void)snprintf(meant.image, sizeof meant.image, "%s", name->image + len + 1);
        int rc = name_is_listable(meant.image) ? engine_place(e, &meant, &p, err) : -ENOENT;
        if (rc == 0)
            rc = image_find(&p, meant.image, id, err);
        if (rc == 0)
            return error_set(err, -EINVAL,
                             "there is no volume '%s', but '%s', as it is written here; should it be another "
                             "one, name its pool, too",
                             name->image, image_name_full(&meant, full));
        if (rc != -ENOENT)
            return rc;
    }
    return 0;
}

/* With the gate: two Creates of one name on this host make one image. */
static int make_in_gate(struct work *w, const struct place *p, struct error *err)
{
    char id[IMAGE_ID_LEN + 1];
    const char *image = w->asked.name.image.image;
    int rc = reversal_run(w->engine, w->volume, err);
    if (rc == 0)
        rc = lookup_image(p, image, id, err);
    if (rc == -EUCLEAN && reversal_of_half_removed(w->engine, p, image, err) == 0)
        rc = lookup_image(p, image, id, err); /* a Mount would find it, too */
    if (rc != -ENOENT)
        return rc;
    rc = w->bare ? check_dotted(w->engine, &w->asked.name.image, err) : 0;
    if (rc < 0)
        return rc;
    rc = make(w->engine, p, w->volume, &w->asked, err);
    w->made = rc == 0;
    return rc;
}

/* Ours, or the winner's of a race that we lost. What another client took away meanwhile is no "no such
 * image".
 */
static int look_at_made(const struct work *w, const struct place *p, char id[static IMAGE_ID_LEN + 1],
                        struct error *err)
{
    struct error why = *err;
    int rc = lookup_image(p, w->asked.name.image.image, id, err);
    if (rc != -ENOENT)
        return rc;
    return w->made ? error_set(err, -EAGAIN, "another client removed it as soon as it was made: try again")
                   : error_set(err, -EAGAIN, "%.400s, and it is gone by now: try again", why.msg);
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
    if (rc == -ENOENT || rc == -EUCLEAN) {
        rc = volume_gate_enter(w->volume, "creating", w->deadline, err);
        if (rc < 0)
            return rc;
        rc = make_in_gate(w, &p, err);
        drive_gate_leave(w->engine, w->volume);
        if (rc == 0 || rc == -EEXIST)
            rc = look_at_made(w, &p, id, err);
    }
    if (rc == 0)
        rc = compare(w->engine, &p, &w->asked, id, err);
    return w->made && rc == -ETIMEDOUT ? 0 : rc; /* whatever happens to the cluster now: it is made */
}

static void work_release(void *arg)
{
    struct work *w = arg;
    registry_release(&w->engine->registry, w->volume);
    engine_work_ends(w->engine);
    spec_done(&w->asked.spec);
    free(w);
}

/* A volume is asked for by the name that it was created with, without the options. */
static int check_found_again(const struct settings *s, const struct volume_name *name,
                             const struct createopts *asked, struct error *err)
{
    char full[IMAGE_NAME_MAX + 1];
    struct image_name image = asked->name.image;
    bool found = name->image.pool[0] || !image.pool[0];
    for (unsigned i = 0; i < s->npools && !found; i++)
        found = strcmp(s->pools[i], image.pool) == 0;
    if (found && strcmp(name->image.ns, image.ns) == 0)
        return 0;
    if (!image.pool[0])
        memcpy(image.pool, s->pools[0], sizeof image.pool);
    return error_set(err, -EINVAL,
                     "option %s: a volume there is not found by its short name again; name it '%s' wherever "
                     "it is used",
                     found ? "namespace" : "pool", image_name_full(&image, full));
}

int create_volume(struct volumes *e, const char *text, const json_t *opts, moment deadline, struct error *err)
{
    struct volume_name name;
    struct image_name image = { 0 };
    char full[IMAGE_NAME_MAX + 1];
    int rc = name_parse(e->settings, text, &name, err);
    if (rc < 0)
        return rc;
    struct work *w = calloc(1, sizeof *w);
    if (!w)
        abort();
    rc = createopts_parse(e->settings, &name, opts, &w->asked, err);
    w->asked.layout.data_pool = w->asked.data_pool;
    if (rc == 0)
        rc = check_found_again(e->settings, &name, &w->asked, err);
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
    w->bare = !name.image.pool[0];
    w->engine = e;
    w->volume = registry_get(&e->registry, &image);
    w->deadline = deadline;
    engine_work_begins(e);
    rc = job_run(work_run, work_release, w, deadline, err);
    return rc < 0 ? error_prefix(err, "cannot create '%s'", image_name_full(&image, full)) : 0;
}
