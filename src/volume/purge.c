/* SPDX-License-Identifier: MIT */
#include "volume/purge.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "ceph/imageadmin.h"

#define THREADS_MAX 4 /* of two objects at a time each: room for who works meanwhile */

struct purge {
    struct image_name name;
    char id[IMAGE_ID_LEN + 1];
    struct purge *next;
};

static void run_one(struct volumes *e, const struct purge *one)
{
    char full[IMAGE_NAME_MAX + 1];
    struct error err;
    auto_place struct place p = PLACE_NONE;
    int rc = engine_place(e, &one->name, &p, &err);
    if (rc == 0)
        rc = image_purge(&p, one->id, &err);
    if (rc == 0) {
        log_notice("purged image=%s id=%s from the trash", one->name.image, one->id);
        return;
    }
    log_warning("removed, but not deleted yet; it is tried again volume=%s: %s",
                image_name_full(&one->name, full), err.msg);
    engine_collect_soon(e);
}

/* The next one; NULL: there is none, and the thread that asks is to end. A daemon that stops begins none. */
static struct purge *take(struct volumes *e)
{
    LOCK_SCOPE(&e->lock);
    while (e->purges) {
        struct purge *one = e->purges;
        e->purges = one->next;
        if (!e->stopping)
            return one;
        free(one);
    }
    e->purging--;
    return NULL;
}

static void *run(void *arg)
{
    struct volumes *e = arg;
    struct purge *one;
    while ((one = take(e)) != NULL) {
        run_one(e, one);
        free(one);
    }
    engine_work_ends(e);
    return NULL;
}

/* Is there to be another thread for it? */
static bool add(struct volumes *e, struct purge *one)
{
    LOCK_SCOPE(&e->lock);
    struct purge **last = &e->purges;
    while (*last)
        last = &(*last)->next;
    *last = one;
    if (e->purging == THREADS_MAX)
        return false;
    e->purging++;
    return true;
}

void purge_soon(struct volumes *e, const struct image_name *name, const char *id)
{
    pthread_t thread;
    struct purge *one = calloc(1, sizeof *one);
    if (!one)
        abort();
    one->name = *name;
    (void)snprintf(one->id, sizeof one->id, "%s", id);
    if (!add(e, one))
        return;
    engine_work_begins(e);
    if (pthread_create(&thread, NULL, run, e) == 0) {
        pthread_detach(thread);
        return;
    }
    /* Those that run take it; where there are none, the collector does. */
    {
        LOCK_SCOPE(&e->lock);
        e->purging--;
        while (e->purging == 0 && (one = e->purges)) {
            e->purges = one->next;
            free(one);
        }
    }
    engine_collect_soon(e);
    engine_work_ends(e);
}
