/* SPDX-License-Identifier: MIT */
#include "volume/task.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/job.h"
#include "volume/drive.h"
#include "volume/lookup.h"

/* Shared by the thread and by who waits for it. */
struct work {
    struct volumes *engine;
    struct volume *volume;
    const struct task_kind *kind;
    void *arg;
    moment deadline;
    json_t *out;
    atomic_uint refs;
};

static void work_put(struct work *w)
{
    if (atomic_fetch_sub(&w->refs, 1) > 1)
        return;
    json_decref(w->out);
    free(w->arg);
    free(w);
}

static int run(struct work *w, struct error *err)
{
    auto_place struct place p = PLACE_NONE;
    struct task t = { .engine = w->engine, .volume = w->volume, .place = &p, .arg = w->arg, .out = w->out };
    int rc = engine_place(w->engine, &w->volume->name, &p, err);
    if (rc == 0)
        rc = lookup_image(&p, w->volume->name.image, t.id, err);
    return rc < 0 ? rc : w->kind->run(&t, err);
}

static int work_run(void *arg, struct error *err)
{
    struct work *w = arg;
    int rc = volume_gate_enter(w->volume, w->kind->doing, w->deadline, err);
    if (rc < 0)
        return rc;
    rc = run(w, err);
    drive_gate_leave(w->engine, w->volume);
    return rc;
}

static void work_release(void *arg)
{
    struct work *w = arg;
    struct volumes *e = w->engine;
    registry_release(&e->registry, w->volume);
    work_put(w);
    engine_work_ends(e);
}

int task_run(struct volumes *e, const char *text, const struct task_kind *kind, void *arg, moment deadline,
             json_t **ret, struct error *err)
{
    struct image_name image;
    char full[IMAGE_NAME_MAX + 1];
    int rc = lookup_text(e, text, &image, err);
    if (rc < 0) {
        free(arg);
        return error_prefix(err, "cannot %s '%.100s'", kind->verb, text);
    }
    struct work *w = calloc(1, sizeof *w);
    if (!w)
        abort();
    *w = (struct work){ .engine = e,
                        .volume = registry_get(&e->registry, &image),
                        .kind = kind,
                        .arg = arg,
                        .deadline = deadline,
                        .out = json_object(),
                        .refs = 2 };
    engine_work_begins(e);
    rc = job_run(work_run, work_release, w, deadline, err);
    if (rc == 0)
        *ret = json_incref(w->out);
    work_put(w);
    return rc < 0 ? error_prefix(err, "cannot %s '%s'", kind->verb, image_name_full(&image, full)) : 0;
}
