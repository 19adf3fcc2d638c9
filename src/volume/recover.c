/* SPDX-License-Identifier: MIT */
#include "volume/recover.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "host/mountinfo.h"
#include "host/procs.h"
#include "volume/drive.h"
#include "volume/freeze.h"
#include "volume/ladder.h"
#include "volume/lost.h"
#include "volume/mapping.h"
#include "volume/statefile.h"
#include "volume/stray.h"
#include "volume/watch.h"

#define RECOVERING    "recovering"
#define MAPPING_ENDED "its mapping process ended while no daemon was there to see it"
#define SECTOR        512
#define FIND_MS       30000
#define FIND_AGAIN_MS 300

/* The gate of a volume that nobody can know of yet. */
static void close_gate(struct volume *v)
{
    v->busy = RECOVERING;
    v->busy_since = clock_now();
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

/* Mounted, and its state file is gone; perhaps its mapper, too: then nothing else would tell of it. */
static void take_stray(struct volumes *e, const struct image_name *name, const char *mapping)
{
    struct volume *v = registry_get(&e->registry, name);
    {
        LOCK_SCOPE(&v->lock);
        if (!v->busy) {
            close_gate(v);
            (void)snprintf(v->mapping.id, sizeof v->mapping.id, "%s", mapping);
            (void)ladder_find_mount(e, v);
        }
    }
    registry_release(&e->registry, v); /* the gate is closed: it stays in the registry */
}

int recover_state(struct volumes *e, struct error *err)
{
    int rc = statefile_each(e, take_state, err);
    if (rc == 0)
        stray_each(e, take_stray);
    return rc;
}

/* A mapper that is alive. */
static bool take_mapping(void *arg, const struct mapping *m)
{
    struct volumes *e = arg;
    struct volume *v = registry_get(&e->registry, &m->name);
    bool taken = false, known;
    {
        LOCK_SCOPE(&v->lock);
        known = v->mapping.mapper && strcmp(v->mapping.id, m->id) == 0; /* when it is looked again */
        if (!v->busy) { /* without a state file: taken down, unless somebody uses it */
            close_gate(v);
            memcpy(v->image_id, m->image_id, sizeof v->image_id);
        }
        if (strcmp(v->busy, RECOVERING) == 0 && !v->mapping.mapper) {
            v->mapping = *m;
            if (!v->image_id[0])
                memcpy(v->image_id, m->image_id, sizeof v->image_id);
            watch_add(e, v);
            if (v->rung < RUNG_MOUNTED) /* its device was not known before */
                (void)ladder_find_mount(e, v);
            if (v->rung < RUNG_MAPPED)
                v->rung = RUNG_MAPPED; /* perhaps not locked yet, perhaps without a record */
            taken = true;
        }
    }
    if (!taken && !known)
        log_warning("a second mapper of one image is left alone pool=%s image=%s pid=%d", m->name.pool,
                    m->name.image, (int)m->pid);
    registry_release(&e->registry, v); /* the gate is closed: it stays in the registry */
    return taken;
}

/* No mapper is alive for it. */
static void without_mapping(struct volumes *e, struct volume *v)
{
    if (v->rung == RUNG_MOUNTED || mapping_has_loop(e, v)) {
        /* The device is there, and its mapper is dead: its I/O fails. */
        v->mapping.mapper = mapper_named(v->facts.mapper);
        if (!v->mapping.mapper)
            v->mapping.mapper = mapper_named("fuse"); /* a state file of a version that knew no other */
        v->mapping.name = v->name;
        (void)snprintf(v->mapping.image_id, sizeof v->mapping.image_id, "%s", v->image_id);
        if (v->mapping.mapper == mapper_named("fuse"))
            (void)mapping_file(e, v, v->mapping.file);
        else
            memcpy(v->mapping.device, v->node.path, sizeof v->mapping.device);
        if (v->rung < RUNG_MAPPED)
            v->rung = RUNG_MAPPED;
        lost_mark(e, v, MAPPING_ENDED);
        return;
    }
    v->mapping = (struct mapping){ .control = -1 };
    /* Never mounted, or taken down but for the records in the cluster, which a descent clears. */
    v->rung = RUNG_CLAIMED;
    if (v->holders.n >
        0) /* They were told that it is mounted, and with its mount namespace all of it has gone. */
        lost_mark(e, v, MAPPING_ENDED);
}

/* What can be told of a mounted volume without its state file, and without the cluster. */
static void find_facts(struct volumes *e, struct volume *v)
{
    char path[PATH_MAX], sectors[32];
    struct error ignored;
    struct mount_entry *m = malloc(sizeof *m); /* large: three paths */
    if (!m)
        abort();
    struct volume_facts f = { .sharing = SHARING_EXCLUSIVE };
    if (mountinfo_at(engine_mountpoint(e, &v->name, path), m, &ignored) == 1)
        (void)snprintf(f.fstype, sizeof f.fstype, "%.*s", (int)sizeof f.fstype - 1, m->fstype);
    free(m);
    (void)snprintf(path, sizeof path, "/sys/dev/block/%u:%u/size", v->node.major, v->node.minor);
    if (file_read_line(path, sectors, sizeof sectors, &ignored) == 0)
        f.size = strtoull(sectors, NULL, 10) * SECTOR;
    memcpy(f.device, v->node.path, sizeof f.device);
    (void)snprintf(f.mapper, sizeof f.mapper, "%s", v->mapping.mapper->name);
    v->facts = f;
    v->known = true;
}

/* Mounted, and in use, but nobody is on record for it: its state file is gone. What is in use stays. For who
 * has the gate. */
static void keep_if_used(struct volumes *e, struct volume *v)
{
    char mountpoint[PATH_MAX], who[160];
    if (v->known || v->rung != RUNG_MOUNTED || !v->mapping.mapper ||
        procs_pinning(v->node.major, v->node.minor, engine_mountpoint(e, &v->name, mountpoint), who,
                      sizeof who) != 1)
        return;
    LOCK_SCOPE(&v->lock);
    holders_add_unknown(&v->holders);
    find_facts(e, v);
    log_warning("adopted a volume without a state file pool=%s image=%s: %s uses it", v->name.pool,
                v->name.image, who);
}

bool recover_is_at(struct volume *v)
{
    LOCK_SCOPE(&v->lock);
    return v->busy && strcmp(v->busy, RECOVERING) == 0;
}

/* Not found, and yet not dead: then nobody knows what it is at, and what is mounted from it may be in use. */
static bool may_be_alive(struct volumes *e, struct volume *v)
{
    char id[MAPPING_ID_LEN + 1];
    const struct mapper *mapper;
    {
        LOCK_SCOPE(&v->lock);
        memcpy(id, v->mapping.id, sizeof id);
        mapper = mapper_named(v->facts.mapper);
        if (v->mapping.mapper || !id[0])
            return false;
    }
    return mapper ? mapper->alive(&e->mapper_host, id) : mapper_alive(&e->mapper_host, id);
}

static void settle(struct volumes *e, struct volume *v)
{
    keep_if_used(e, v);
    {
        LOCK_SCOPE(&v->lock);
        if (!v->mapping.mapper)
            without_mapping(e, v);
        v->redo = true;
        statefile_save(e, v);
        log_notice("adopted pool=%s image=%s state=%s holders=%zu", v->name.pool, v->name.image,
                   v->rung == RUNG_MOUNTED ? "mounted" : "unfinished", v->holders.n);
    }
    freeze_recover(e, v);
    drive_gate_leave(e, v);
}

static void settle_or_leave(struct volumes *e, struct volume *v)
{
    if (may_be_alive(e, v))
        log_warning("the volume's mapper is alive, but cannot be asked; the volume stays as it is until it "
                    "can, or has ended pool=%s image=%s",
                    v->name.pool, v->name.image);
    else
        settle(e, v);
}

static bool is_stopping(struct volumes *e)
{
    LOCK_SCOPE(&e->lock);
    return e->stopping;
}

/* Where that failed, for want of descriptors or memory as a rule, it is looked again. */
static void find_mappings(struct volumes *e)
{
    struct error err;
    moment patience = clock_in_ms(FIND_MS);
    int rc = mapper_find(&e->mapper_host, take_mapping, e, &err);
    if (rc < 0)
        log_error("cannot look for mappers that are alive: %s", err.msg);
    while (rc < 0 && clock_left_ms(patience) > 0 && !is_stopping(e)) {
        clock_pause_ms(FIND_AGAIN_MS);
        rc = mapper_find(&e->mapper_host, take_mapping, e, &err);
    }
    if (rc < 0)
        log_error(
            "cannot look for mappers that are alive; what is not known to have ended stays as it is: %s",
            err.msg);
}

void recover_mappings(struct volumes *e)
{
    size_t n;
    find_mappings(e);
    struct volume **all = registry_all(&e->registry, &n);
    for (size_t i = 0; i < n; i++) {
        if (recover_is_at(all[i]))
            settle_or_leave(e, all[i]);
        registry_release(&e->registry, all[i]);
    }
    free(all);
}

/* Looks again. False: it still cannot be told what the volume's mapping is. */
static bool look_again(struct volumes *e, struct volume *v)
{
    struct mapping m = { .control = -1 };
    char id[MAPPING_ID_LEN + 1];
    const struct mapper *mapper;
    if (!may_be_alive(e, v))
        return true;
    {
        LOCK_SCOPE(&v->lock);
        memcpy(id, v->mapping.id, sizeof id);
        mapper = mapper_named(v->facts.mapper);
    }
    if (!mapper)
        mapper = mapper_named("fuse"); /* no other is found so without a state file */
    if (mapper->find_one(&e->mapper_host, id, &m) != 1)
        return false;
    bool taken = take_mapping(e, &m);
    if (!taken && m.control >= 0)
        (void)close(m.control);
    return taken;
}

void recover_rest(struct volumes *e)
{
    size_t n;
    struct volume **all = registry_all(&e->registry, &n);
    for (size_t i = 0; i < n; i++) {
        if (recover_is_at(all[i]) && look_again(e, all[i]))
            settle(e, all[i]);
        registry_release(&e->registry, all[i]);
    }
    free(all);
}
