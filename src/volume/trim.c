/* SPDX-License-Identifier: MIT */
#include "volume/trim.h"

#include <errno.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "volume/drive.h"
#include "volume/task.h"

#define PIECE    (4ULL << 30)
#define PIECE_MS 600000
#define GATE_MS  600000

/* With the gate. */
static int trim_piece(struct task *t, struct device *d, uint64_t from, uint64_t *trimmed, struct error *err)
{
    char mountpoint[PATH_MAX];
    const struct volume *v = t->volume;
    engine_mountpoint(t->engine, &v->name, mountpoint);
    {
        LOCK_SCOPE(&t->volume->lock);
        if (v->rung != RUNG_MOUNTED || v->lost || v->holders.n == 0)
            return error_set(err, -EBUSY,
                             from ? "it was unmounted meanwhile" : "it is not mounted on this host");
    }
    if (v->mapping.ro)
        return error_set(err, -EROFS, "it is read-only");
    return device_trim(d, mountpoint, &v->node, from, PIECE, clock_in_ms(PIECE_MS), trimmed, err);
}

static int trim_all(struct task *t, struct device *d, uint64_t *total, struct error *err)
{
    int rc = 0;
    uint64_t size;
    {
        LOCK_SCOPE(&t->volume->lock);
        size = t->volume->facts.size;
    }
    for (uint64_t from = 0; rc == 0 && (from == 0 || from < size); from += PIECE) {
        uint64_t trimmed = 0;
        rc = volume_gate_enter(t->volume, "trimming", clock_in_ms(GATE_MS), err);
        if (rc < 0)
            return rc;
        rc = trim_piece(t, d, from, &trimmed, err);
        drive_gate_leave(t->engine, t->volume); /* who wants to unmount it comes first now */
        *total += trimmed;
        if (rc == -ERANGE && from > 0)
            return 0;
    }
    return rc;
}

static int trim(struct task *t, struct error *err)
{
    char full[IMAGE_NAME_MAX + 1];
    struct device *d = NULL;
    uint64_t total = 0;
    moment begin = clock_now();
    int rc = device_start(&d, err);
    if (rc == 0)
        rc = trim_all(t, d, &total, err);
    device_end(d);
    if (rc < 0)
        return rc;
    log_info("trimmed volume=%s bytes=%llu ms=%lld", image_name_full(&t->volume->name, full),
             (unsigned long long)total, (long long)clock_since_ms(begin));
    json_object_set_new(t->out, "Trimmed", json_integer((json_int_t)total));
    return 0;
}

int trim_volume(struct volumes *e, const char *name, moment deadline, json_t **ret, struct error *err)
{
    static const struct task_kind kind = { "trim", "trimming", trim, true };
    return task_run(e, name, &kind, NULL, deadline, ret, err);
}
