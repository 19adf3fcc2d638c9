/* SPDX-License-Identifier: MIT */
#include "ceph/placecache.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define OPENING_MAX 32 /* names that are being asked for at once: clients choose them */

enum entry_state { OPENING, READY, FAILED, GONE };

struct entry {
    struct entry *next;
    struct cluster_link *link;
    char *pool, *ns;
    enum entry_state state;
    unsigned waiting; /* who will still look at it */
    rados_ioctx_t io; /* when READY or GONE */
    int rc;           /* when FAILED */
};

struct cluster_link {
    rados_t rados;
    atomic_uint refs;
    atomic_bool condemned;
    pthread_mutex_t lock; /* guards the list; never held over a call to the cluster */
    pthread_cond_t opened;
    struct entry *entries;
    unsigned opening;
};

struct cluster_link *link_new(rados_t rados)
{
    struct cluster_link *link = calloc(1, sizeof *link);
    if (!link)
        abort();
    link->rados = rados;
    atomic_init(&link->refs, 1);
    pthread_mutex_init(&link->lock, NULL);
    clock_cond_init(&link->opened);
    return link;
}

struct cluster_link *link_ref(struct cluster_link *link)
{
    atomic_fetch_add(&link->refs, 1);
    return link;
}

static void entry_free(struct entry *e)
{
    if (e->state == READY || e->state == GONE)
        rados_ioctx_destroy(e->io);
    free(e->pool);
    free(e->ns);
    free(e);
}

void link_unref(struct cluster_link *link)
{
    if (atomic_fetch_sub(&link->refs, 1) != 1)
        return;
    while (link->entries) {
        struct entry *e = link->entries;
        link->entries = e->next;
        entry_free(e);
    }
    rados_shutdown(link->rados);
    pthread_cond_destroy(&link->opened);
    pthread_mutex_destroy(&link->lock);
    free(link);
}

void link_condemn(struct cluster_link *link)
{
    atomic_store(&link->condemned, true);
}

bool link_condemned(const struct cluster_link *link)
{
    return atomic_load(&link->condemned);
}

/* With the lock held. */
static struct entry *entry_find(struct cluster_link *link, const char *pool, const char *ns)
{
    struct entry *e = link->entries;
    while (e &&
           (e->state == FAILED || e->state == GONE || strcmp(e->pool, pool) != 0 || strcmp(e->ns, ns) != 0))
        e = e->next;
    return e;
}

/* With the lock held: takes an entry that failed out of the list once nobody looks at it any more. */
static void entry_drop(struct cluster_link *link, struct entry *e)
{
    struct entry **p = &link->entries;
    if (e->state != FAILED || e->waiting)
        return;
    while (*p != e)
        p = &(*p)->next;
    *p = e->next;
    entry_free(e);
}

static void *open_pool(void *arg)
{
    struct entry *e = arg;
    struct cluster_link *link = e->link;
    rados_ioctx_t io;
    int rc = rados_ioctx_create(link->rados, e->pool, &io);
    if (rc == 0)
        rados_ioctx_set_namespace(io, e->ns);
    pthread_mutex_lock(&link->lock);
    e->state = rc < 0 ? FAILED : READY;
    e->rc = rc;
    e->io = rc < 0 ? NULL : io;
    link->opening--;
    pthread_cond_broadcast(&link->opened);
    entry_drop(link, e);
    pthread_mutex_unlock(&link->lock);
    link_unref(link);
    return NULL;
}

/* With the lock held. NULL: err says why not. */
static struct entry *entry_start(struct cluster_link *link, const char *pool, const char *ns,
                                 struct error *err)
{
    pthread_t thread;
    if (link->opening >= OPENING_MAX) {
        error_set(err, -EAGAIN, "pool '%s': too many unknown pools are being looked up already; try again",
                  pool);
        return NULL;
    }
    struct entry *e = calloc(1, sizeof *e);
    if (!e)
        abort();
    e->link = link_ref(link);
    e->pool = strdup(pool);
    e->ns = strdup(ns);
    if (pthread_create(&thread, NULL, open_pool, e) != 0) {
        entry_free(e);
        atomic_fetch_sub(&link->refs, 1); /* never the last one: our caller has its own */
        error_set(err, -EAGAIN, "pool '%s': cannot start a thread to open it", pool);
        return NULL;
    }
    pthread_detach(thread);
    link->opening++;
    e->next = link->entries;
    link->entries = e;
    return e;
}

int link_ioctx(struct cluster_link *link, const char *pool, const char *ns, moment deadline,
               rados_ioctx_t *ret, struct error *err)
{
    struct timespec until = clock_spec(deadline);
    LOCK_SCOPE(&link->lock);
    struct entry *e = entry_find(link, pool, ns);
    if (!e && !(e = entry_start(link, pool, ns, err)))
        return err->code;
    e->waiting++;
    while (e->state == OPENING && pthread_cond_timedwait(&link->opened, &link->lock, &until) == 0)
        ;
    e->waiting--;
    if (e->state == READY || e->state == GONE) {
        *ret = e->io;
        return 0;
    }
    int rc = e->state == FAILED ? e->rc : -ETIMEDOUT;
    entry_drop(link, e);
    if (rc == -ENOENT)
        return error_set(err, -ENODEV, "pool '%s' does not exist in this cluster", pool);
    if (rc == -ETIMEDOUT)
        return error_set(err, rc, "cluster unreachable: the monitors did not say whether pool '%s' exists",
                         pool);
    return error_set(err, rc == -EACCES ? -EPERM : rc, "cannot open pool '%s': %s", pool, error_text(rc));
}

int link_forget(struct cluster_link *link, rados_ioctx_t io, struct error *err)
{
    LOCK_SCOPE(&link->lock);
    for (struct entry *e = link->entries; e; e = e->next)
        if (e->io == io) {
            e->state = GONE;
            return error_set(err, -ENODEV, "pool '%s' has been deleted", e->pool);
        }
    return error_set(err, -ENODEV, "the pool has been deleted");
}
