/* SPDX-License-Identifier: MIT */
#include "volume/recover.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "host/loop.h"
#include "volume/drive.h"
#include "volume/ladder.h"
#include "volume/lost.h"
#include "volume/statefile.h"
#include "volume/watch.h"

#define RECOVERING "recovering"

/* The gate of a volume that nobody can know of yet. */
static void close_gate(struct volume *v)
{
    v->busy = RECOVERING;
    v->busy_since = clock_now();
}

/* Is there a loop device on the file of its mapping? It frees itself with its last user. */
static bool has_loop(const struct volumes *e, struct volume *v)
{
    char file[PATH_MAX];
    return v->mapping.id[0] &&
           snprintf(file, sizeof file, "%s/%s.img", e->run_dir, v->mapping.id) < (int)sizeof file &&
           loop_named(file, &v->node) == 1;
}

static void take_state(struct volumes *e, const struct state *s)
{
    struct volume *v = registry_get(&e->registry, &s->name);
    {
        LOCK_SCOPE(&v->lock);
        close_gate(v);
        memcpy(v->image_id, s->image_id, sizeof v->image_id);
        memcpy(v->mapping.id, s->mapping_id, sizeof v->mapping.id);
        v->facts = s->facts;
        v->known = true;
        v->lost = s->lost;
        v->loss = s->loss;
        holders_load(&v->holders, s->holders);
        (void)ladder_find_mount(e, v);
    }
    registry_release(&e->registry, v); /* the gate is closed: it stays in the registry */
}

int recover_state(struct volumes *e, struct error *err)
{
    return statefile_each(e, take_state, err);
}

/* A mapper that is alive. */
static bool take_mapping(void *arg, const struct mapping *m)
{
    struct volumes *e = arg;
    struct volume *v = registry_get(&e->registry, &m->name);
    bool taken = false;
    {
        LOCK_SCOPE(&v->lock);
        if (!v->busy) { /* without a state file: nobody holds it, so it will be taken down */
            close_gate(v);
            memcpy(v->image_id, m->image_id, sizeof v->image_id);
            memcpy(v->mapping.id, m->id, sizeof v->mapping.id);
            (void)ladder_find_mount(e, v);
        }
        if (strcmp(v->busy, RECOVERING) == 0 && !v->mapping.mapper) {
            v->mapping = *m;
            watch_add(e, v);
            if (v->rung < RUNG_MAPPED)
                v->rung = RUNG_MAPPED; /* perhaps not locked yet, perhaps without a record */
            taken = true;
        }
    }
    if (!taken)
        log_warning("a second mapper of one image is left alone pool=%s image=%s pid=%d", m->name.pool,
                    m->name.image, (int)m->pid);
    registry_release(&e->registry, v); /* the gate is closed: it stays in the registry */
    return taken;
}

/* No mapper is alive for it. */
static void without_mapping(struct volumes *e, struct volume *v)
{
    if (v->rung == RUNG_MOUNTED || has_loop(e, v)) {
        /* The device is there, and its mapper is dead: its I/O fails. */
        v->mapping.mapper = mapper_named(v->facts.mapper);
        if (!v->mapping.mapper)
            v->mapping.mapper = mapper_named("fuse"); /* a state file of a version that knew no other */
        v->mapping.name = v->name;
        if (v->mapping.mapper == mapper_named("fuse"))
            (void)snprintf(v->mapping.file, sizeof v->mapping.file, "%s/%s.img", e->run_dir, v->mapping.id);
        if (v->rung < RUNG_MAPPED)
            v->rung = RUNG_MAPPED;
        lost_mark(e, v, "its mapping process ended while no daemon was there to see it");
        return;
    }
    v->mapping = (struct mapping){ .control = -1 };
    /* Never mounted, or taken down but for the records in the cluster, which a descent clears. */
    v->rung = RUNG_CLAIMED;
}

static void settle(struct volumes *e, struct volume *v)
{
    {
        LOCK_SCOPE(&v->lock);
        if (!v->busy || strcmp(v->busy, RECOVERING) != 0)
            return;
        if (!v->mapping.mapper)
            without_mapping(e, v);
        v->redo = true;
        statefile_save(e, v);
        log_notice("adopted pool=%s image=%s state=%s holders=%zu", v->name.pool, v->name.image,
                   v->rung == RUNG_MOUNTED ? "mounted" : "unfinished", v->holders.n);
    }
    drive_gate_leave(e, v);
}

void recover_mappings(struct volumes *e)
{
    struct error err;
    size_t n;
    if (mapper_find(&e->mapper_host, take_mapping, e, &err) < 0)
        log_error("cannot look for mappers that are alive: %s", err.msg);
    struct volume **all = registry_all(&e->registry, &n);
    for (size_t i = 0; i < n; i++) {
        settle(e, all[i]);
        registry_release(&e->registry, all[i]);
    }
    free(all);
}
