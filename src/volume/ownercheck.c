/* SPDX-License-Identifier: MIT */
#include "volume/ownercheck.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "volume/drive.h"
#include "volume/lost.h"

#define CHECK_MS 4000 /* so that a loss is seen within 10 s */

/* A client that takes its lock anew after its connection had lapsed may have none for an instant. */
#define UNOWNED_MAX 2

/* Is there something to ask for this volume? Then fills in what its mapping is. */
static bool is_to_be_asked(struct volume *v, char id[static IMAGE_ID_LEN + 1],
                           char address[static ADDRESS_MAX])
{
    LOCK_SCOPE(&v->lock);
    const struct mapper *mapper = v->mapping.mapper;
    if (!mapper || mapper->hear || v->lost || v->busy || v->rung < RUNG_MAPPED)
        return false;
    memcpy(id, v->image_id, sizeof v->image_id);
    memcpy(address, v->mapping.address, ADDRESS_MAX);
    return true;
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

static void check(struct volumes *e, struct volume *v)
{
    char id[IMAGE_ID_LEN + 1], address[ADDRESS_MAX];
    auto_place struct place p = PLACE_NONE;
    struct lock_holder h;
    struct error ignored; /* who cannot be asked says nothing about the lock */
    bool managed;
    if (!is_to_be_asked(v, id, address) || engine_place(e, &v->name, &p, &ignored) < 0)
        return;
    learn_address(v, &p, id, address);
    int rc = address[0] ? imagelock_image_holder(&p, id, &h, &managed, &ignored) : -1;
    if (rc >= 0)
        judge(e, v, address, rc == 1 ? &h : NULL);
}

static void round_over(struct volumes *e)
{
    LOCK_SCOPE(&e->lock);
    e->check_owners_at = clock_in_ms(CHECK_MS);
}

static void *check_all(void *arg)
{
    struct volumes *e = arg;
    size_t n;
    struct volume **all = registry_all(&e->registry, &n);
    for (size_t i = 0; i < n; i++) {
        check(e, all[i]);
        registry_release(&e->registry, all[i]);
    }
    free(all);
    round_over(e);
    engine_work_ends(e);
    return NULL;
}

static bool is_any_to_be_asked(struct volumes *e)
{
    size_t n;
    char id[IMAGE_ID_LEN + 1], address[ADDRESS_MAX];
    bool any = false;
    struct volume **all = registry_all(&e->registry, &n);
    for (size_t i = 0; i < n; i++) {
        any = any || is_to_be_asked(all[i], id, address);
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
