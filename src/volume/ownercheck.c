/* SPDX-License-Identifier: MIT */
#include "volume/ownercheck.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/job.h"
#include "volume/drive.h"
#include "volume/lost.h"

#define CHECK_MS    4000 /* so that a loss is seen within 10 s */
#define PATIENCE_MS 1000 /* of a round: as long as answers come, one volume is asked for after the other */

/* A client that takes its lock anew after its connection had lapsed may have none for an instant. */
#define UNOWNED_MAX 2

/* Is there something to ask for this volume, and nobody at it? With the lock held. */
static bool is_to_be_asked(const struct volume *v)
{
    const struct mapper *mapper = v->mapping.mapper;
    return mapper && !mapper->hear && !v->lost && !v->busy && !v->asking && v->rung >= RUNG_MAPPED;
}

/* Nobody has worked on the volume since we asked, and its lock was not that client's. */
static void judge(struct volumes *e, struct volume *v, const char *address, const struct lock_holder *h)
{
    char why[sizeof v->loss.why];
    bool lost = false;
    {
        LOCK_SCOPE(&v->lock);
        if (v->lost || v->busy || strcmp(v->mapping.address, address) != 0)
            return;
        v->unowned = h && strcmp(h->address, address) == 0 ? 0 : v->unowned + 1;
        lost = v->unowned > 0 && (h || v->unowned >= UNOWNED_MAX);
        if (lost && h)
            (void)snprintf(why, sizeof why, "its lock is another client's, %s at %s", h->client, h->address);
        else if (lost)
            (void)snprintf(why, sizeof why, "its lock is no longer held");
        if (lost)
            lost_mark(e, v, why);
    }
    if (lost)
        drive_kick(e, v);
}

/* A mapping of an earlier daemon, whose mapper cannot tell its client's address: the owner record does. */
static void learn_address(struct volume *v, const struct place *p, const char *id,
                          char address[static ADDRESS_MAX])
{
    struct owner_record r;
    struct error ignored;
    if (address[0] || owner_read(p, id, &r, &ignored) != 1)
        return;
    LOCK_SCOPE(&v->lock);
    if (v->busy || strcmp(v->mapping.id, r.mapping) != 0)
        return;
    memcpy(v->mapping.address, r.address, sizeof v->mapping.address);
    memcpy(address, r.address, ADDRESS_MAX);
}

/* One volume's turn. */
struct turn {
    struct volumes *engine;
    struct volume *volume;
    char id[IMAGE_ID_LEN + 1], address[ADDRESS_MAX];
};

/* Who cannot be asked says nothing about the lock. */
static int check(void *arg, struct error *ignored)
{
    struct turn *t = arg;
    auto_place struct place p = PLACE_NONE;
    struct lock_holder h;
    bool managed;
    if (engine_place(t->engine, &t->volume->name, &p, ignored) < 0)
        return 0;
    learn_address(t->volume, &p, t->id, t->address);
    int rc = t->address[0] ? imagelock_image_holder(&p, t->id, &h, &managed, ignored) : -1;
    if (rc >= 0)
        judge(t->engine, t->volume, t->address, rc == 1 ? &h : NULL);
    return 0;
}

/* Takes over the reference to v. */
static struct turn *turn_new(struct volumes *e, struct volume *v)
{
    struct turn *t = calloc(1, sizeof *t);
    if (!t)
        abort();
    t->engine = e;
    t->volume = v;
    engine_work_begins(e);
    return t;
}

static void turn_free(struct turn *t)
{
    struct volumes *e = t->engine;
    registry_release(&e->registry, t->volume);
    free(t);
    engine_work_ends(e);
}

/* False: there is nothing to ask. */
static bool turn_begins(struct turn *t)
{
    struct volume *v = t->volume;
    LOCK_SCOPE(&v->lock);
    if (!is_to_be_asked(v))
        return false;
    memcpy(t->id, v->image_id, sizeof t->id);
    memcpy(t->address, v->mapping.address, sizeof t->address);
    v->asking = true;
    return true;
}

static void turn_over(void *arg)
{
    struct turn *t = arg;
    {
        LOCK_SCOPE(&t->volume->lock);
        t->volume->asking = false;
    }
    turn_free(t);
}

static void round_over(struct volumes *e)
{
    LOCK_SCOPE(&e->lock);
    e->check_owners_at = clock_in_ms(CHECK_MS);
}

/* Who has waited too long for the first answers asks for the rest at once: a volume whose pool hangs delays
 * the news of no other, nor the next round. */
static void *check_all(void *arg)
{
    struct volumes *e = arg;
    size_t n;
    struct volume **all = registry_all(&e->registry, &n);
    moment patience = clock_in_ms(PATIENCE_MS);
    for (size_t i = 0; i < n; i++) {
        struct error ignored;
        struct turn *t = turn_new(e, all[i]);
        if (turn_begins(t))
            (void)job_run(check, turn_over, t, patience, &ignored);
        else
            turn_free(t);
    }
    free(all);
    round_over(e);
    engine_work_ends(e);
    return NULL;
}

static bool is_any_to_be_asked(struct volumes *e)
{
    size_t n;
    bool any = false;
    struct volume **all = registry_all(&e->registry, &n);
    for (size_t i = 0; i < n; i++) {
        {
            LOCK_SCOPE(&all[i]->lock);
            any = any || is_to_be_asked(all[i]);
        }
        registry_release(&e->registry, all[i]);
    }
    free(all);
    return any;
}

void ownercheck_tick(struct volumes *e)
{
    pthread_t thread;
    {
        LOCK_SCOPE(&e->lock);
        if (clock_left_ms(e->check_owners_at) > 0)
            return;
        e->check_owners_at = clock_in_ms(CHECK_MS);
    }
    if (!is_any_to_be_asked(e))
        return;
    {
        LOCK_SCOPE(&e->lock);
        e->check_owners_at = INT64_MAX; /* until the round is over */
    }
    engine_work_begins(e);
    if (pthread_create(&thread, NULL, check_all, e) == 0) {
        pthread_detach(thread);
        return;
    }
    round_over(e);
    engine_work_ends(e);
}
