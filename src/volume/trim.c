/* SPDX-License-Identifier: MIT */
#include "volume/trim.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/job.h"
#include "base/log.h"
#include "base/text.h"
#include "volume/drive.h"
#include "volume/lookup.h"

#define PIECE    (4ULL << 30)
#define PIECE_MS 600000
#define GATE_MS  600000

struct work {
    struct volumes *engine;
    struct volume *volume;
    uint32_t run;
};

/* With the gate. */
static int trim_piece(struct work *w, struct device *d, uint64_t from, uint64_t *trimmed, struct error *err)
{
    char mountpoint[PATH_MAX];
    const struct volume *v = w->volume;
    engine_mountpoint(w->engine, &v->name, mountpoint);
    {
        LOCK_SCOPE(&w->volume->lock);
        if (v->rung != RUNG_MOUNTED || v->lost || v->holders.n == 0)
            return error_set(err, -EBUSY,
                             from ? "it was unmounted meanwhile" : "it is not mounted on this host");
    }
    if (v->mapping.ro)
        return error_set(err, -EROFS, "it is read-only");
    return device_trim(d, mountpoint, &v->node, from, PIECE, clock_in_ms(PIECE_MS), trimmed, err);
}

static int trim_all(struct work *w, struct device *d, uint64_t *total, struct error *err)
{
    int rc = 0;
    uint64_t size;
    {
        LOCK_SCOPE(&w->volume->lock);
        size = w->volume->facts.size;
    }
    for (uint64_t from = 0; rc == 0 && (from == 0 || from < size); from += PIECE) {
        uint64_t trimmed = 0;
        rc = volume_gate_enter(w->volume, "trimming", clock_in_ms(GATE_MS), err);
        if (rc < 0)
            return rc;
        rc = trim_piece(w, d, from, &trimmed, err);
        drive_gate_leave(w->engine, w->volume); /* who wants to unmount it comes first now */
        *total += trimmed;
        if (rc == -ERANGE && from > 0)
            return 0;
    }
    return rc;
}

static int trim(struct work *w, uint64_t *total, struct error *err)
{
    char full[IMAGE_NAME_MAX + 1], id[IMAGE_ID_LEN + 1];
    auto_place struct place p = PLACE_NONE;
    struct device *d = NULL;
    moment begin = clock_now();
    int rc = engine_place(w->engine, &w->volume->name, &p, err);
    if (rc == 0)
        rc = lookup_image(&p, w->volume->name.image, id, err);
    if (rc == 0)
        rc = device_start(&d, err);
    if (rc == 0)
        rc = trim_all(w, d, total, err);
    device_end(d);
    if (rc == 0)
        log_info("trimmed volume=%s bytes=%llu ms=%lld", image_name_full(&w->volume->name, full),
                 (unsigned long long)*total, (long long)clock_since_ms(begin));
    return rc;
}

/* Once: who could not begin it says so, too. */
static void end(struct volume *v, uint32_t run, uint64_t total, int rc, const struct error *err)
{
    LOCK_SCOPE(&v->lock);
    if (!v->trim.going || v->trim.run != run)
        return;
    v->trim.going = false;
    v->trim.bytes = total;
    v->trim.end = rc < 0 ? *err : (struct error){ 0 };
    pthread_cond_broadcast(&v->changed);
}

static int work_run(void *arg, struct error *err)
{
    struct work *w = arg;
    uint64_t total = 0;
    int rc = trim(w, &total, err);
    end(w->volume, w->run, total, rc, err);
    return rc;
}

static void work_release(void *arg)
{
    struct work *w = arg;
    struct volumes *e = w->engine;
    registry_release(&e->registry, w->volume);
    free(w);
    engine_work_ends(e);
}

static void begin(struct volumes *e, struct volume *v, uint32_t run, moment deadline)
{
    struct error err;
    struct work *w = calloc(1, sizeof *w);
    if (!w)
        abort();
    *w = (struct work){ .engine = e, .volume = registry_get(&e->registry, &v->name), .run = run };
    engine_work_begins(e);
    int rc = job_run(work_run, work_release, w, deadline, &err);
    if (rc < 0 && rc != -EINPROGRESS)
        end(v, run, 0, rc, &err);
}

static int await(struct volume *v, moment deadline, json_t **ret, struct error *err)
{
    char run[16];
    struct timespec until = clock_spec(deadline);
    LOCK_SCOPE(&v->lock);
    while (v->trim.going && pthread_cond_timedwait(&v->changed, &v->lock, &until) == 0)
        ;
    if (v->trim.going) {
        (void)snprintf(run, sizeof run, "%u", v->trim.run);
        *ret = json_pack("{s:s}", "Going", run);
        return 0;
    }
    if (v->trim.end.code < 0) {
        *err = v->trim.end;
        return err->code;
    }
    *ret = json_pack("{s:I}", "Trimmed", (json_int_t)v->trim.bytes);
    return 0;
}

int trim_volume(struct volumes *e, const char *name, const char *after, moment deadline, json_t **ret,
                struct error *err)
{
    struct image_name image;
    char full[IMAGE_NAME_MAX + 1];
    uint32_t joined = 0, run = 0;
    if (*after && text_parse_u32(after, UINT32_MAX, &joined) < 0)
        return error_set(err, -EINVAL, "field 'After': '%.32s' is no trim", after);
    int rc = lookup_text(e, name, &image, err);
    if (rc < 0)
        return error_prefix(err, "cannot trim '%.100s'", name);
    struct volume *v = registry_get(&e->registry, &image);
    {
        LOCK_SCOPE(&v->lock);
        if (!v->trim.going && (joined == 0 || joined != v->trim.run)) {
            run = ++v->trim.run;
            v->trim.going = true;
        }
    }
    if (run)
        begin(e, v, run, deadline);
    rc = await(v, deadline, ret, err);
    registry_release(&e->registry, v);
    return rc < 0 ? error_prefix(err, "cannot trim '%s'", image_name_full(&image, full)) : 0;
}
