/* SPDX-License-Identifier: MIT */
#include "ceph/cluster.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "ceph/blocklist.h"
#include "ceph/fullness.h"
#include "ceph/placecache.h"

#define PROBE_MS     5000 /* between two health probes */
#define RETRY_MIN_MS 500
#define RETRY_MAX_MS 5000
#define STOP_WAIT_MS 1000

struct cluster {
    struct connection_options opts;
    char *pool, *ns;
    void (*on_client)(void *arg, const char *address);
    void *on_client_arg;
    pthread_t thread;

    pthread_mutex_t lock; /* guards all below; never held over a call to the cluster */
    pthread_cond_t changed;
    struct cluster_link *link; /* NULL while there is none */
    struct cluster_status status;
    bool stopping, stopped;
};

static void set_state(struct cluster *c, enum cluster_state state, const char *why)
{
    if (c->status.state != state || c->status.since == 0) {
        c->status.since = time(NULL);
        if (state == CLUSTER_UP)
            log_notice("cluster up fsid=%s", c->status.fsid);
        else
            log_warning("cluster %s: %s", state == CLUSTER_DOWN ? "down" : "not connected", why);
    }
    c->status.state = state;
    (void)snprintf(c->status.why, sizeof c->status.why, "%s", why);
}

/* What is to be known of a new client before anybody uses it. */
static int introduce(struct cluster *c, rados_t rados, struct cluster_status *s, struct error *err)
{
    char address[80];
    struct error why;
    int rc = connection_address(rados, address, sizeof address, err);
    if (rc < 0)
        return rc;
    if (c->on_client)
        c->on_client(c->on_client_arg, address);
    if (rados_cluster_fsid(rados, s->fsid, sizeof s->fsid) < 0)
        s->fsid[0] = '\0';
    if (blocklist_permitted(rados, &why) == -EPERM)
        (void)snprintf(s->no_fencing, sizeof s->no_fencing, "%.255s", why.msg);
    return 0;
}

/* Makes a connection; the thread's first duty. */
static void connect_once(struct cluster *c)
{
    struct error err;
    struct cluster_status s = { 0 };
    rados_t rados;
    int rc = connection_open(&c->opts, CONNECTION_CONTROL, &rados, &err);
    if (rc == 0) {
        rc = introduce(c, rados, &s, &err);
        if (rc < 0)
            rados_shutdown(rados);
    }
    struct cluster_link *link = rc == 0 ? link_new(rados) : NULL;
    if (s.no_fencing[0])
        log_warning("%s", s.no_fencing);
    LOCK_SCOPE(&c->lock);
    if (rc == 0) {
        memcpy(c->status.fsid, s.fsid, sizeof s.fsid);
        memcpy(c->status.no_fencing, s.no_fencing, sizeof s.no_fencing);
        c->link = link;
        set_state(c, CLUSTER_UP, "");
        pthread_cond_broadcast(&c->changed);
    } else {
        set_state(c, CLUSTER_DOWN, err.msg);
    }
}

/* Asks the cluster something small. A missing pool is an answer, too: the cluster is there. */
static void probe(struct cluster *c, struct cluster_link *link)
{
    struct error err;
    rados_ioctx_t io;
    uint64_t size;
    time_t mtime;
    int rc = link_ioctx(link, c->pool, c->ns, clock_in_ms(c->opts.timeout_ms), &io, &err);
    if (rc == 0) {
        rc = rados_stat(io, "rbd_directory", &size, &mtime);
        if (rc == -ESHUTDOWN)
            link_condemn(link);
    }
    LOCK_SCOPE(&c->lock);
    if (rc == -ETIMEDOUT)
        set_state(c, CLUSTER_DOWN, "the cluster does not answer in time");
    else if (rc != -ESHUTDOWN)
        set_state(c, CLUSTER_UP, "");
}

/* Waits on the condition for at most ms; with the lock held. */
static void pause_for(struct cluster *c, int64_t ms)
{
    struct timespec until = clock_spec(clock_in_ms(ms));
    (void)pthread_cond_timedwait(&c->changed, &c->lock, &until);
}

/* Drops a condemned link; with the lock held. Returns it for the caller to release without the lock. */
static struct cluster_link *take_condemned(struct cluster *c)
{
    struct cluster_link *link = c->link;
    if (!link || !link_condemned(link))
        return NULL;
    c->link = NULL;
    set_state(c, CLUSTER_CONNECTING, "this client was blocklisted; connecting as a new one");
    return link;
}

static void *keep_connected(void *arg)
{
    struct cluster *c = arg;
    int64_t retry = RETRY_MIN_MS;
    pthread_mutex_lock(&c->lock);
    while (!c->stopping) {
        struct cluster_link *dead = take_condemned(c);
        struct cluster_link *link = c->link ? link_ref(c->link) : NULL;
        pthread_mutex_unlock(&c->lock);
        if (dead)
            link_unref(dead);
        if (link) {
            probe(c, link);
            link_unref(link);
        } else {
            connect_once(c);
        }
        pthread_mutex_lock(&c->lock);
        if (c->stopping || (c->link && link_condemned(c->link)))
            continue;
        pause_for(c, c->link ? PROBE_MS : retry);
        retry = c->link ? RETRY_MIN_MS : retry * 2 > RETRY_MAX_MS ? RETRY_MAX_MS : retry * 2;
    }
    c->stopped = true;
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

int cluster_start(const struct connection_options *opts, const char *pool, const char *ns,
                  void (*on_client)(void *arg, const char *address), void *arg, struct cluster **ret,
                  struct error *err)
{
    struct cluster *c = calloc(1, sizeof *c);
    if (!c)
        return error_set(err, -ENOMEM, "out of memory");
    c->opts = *opts;
    c->pool = strdup(pool);
    c->ns = strdup(ns);
    c->on_client = on_client;
    c->on_client_arg = arg;
    pthread_mutex_init(&c->lock, NULL);
    clock_cond_init(&c->changed);
    (void)snprintf(c->status.why, sizeof c->status.why, "connecting");
    c->status.since = time(NULL);
    int rc = -pthread_create(&c->thread, NULL, keep_connected, c);
    if (rc < 0) {
        free(c->pool);
        free(c->ns);
        free(c);
        return error_set(err, rc, "cannot start a thread: %s", error_text(rc));
    }
    *ret = c;
    return 0;
}

void cluster_stop(struct cluster *c)
{
    if (!c)
        return;
    struct timespec until = clock_spec(clock_in_ms(STOP_WAIT_MS));
    pthread_mutex_lock(&c->lock);
    c->stopping = true;
    pthread_cond_broadcast(&c->changed);
    while (!c->stopped && pthread_cond_timedwait(&c->changed, &c->lock, &until) == 0)
        ;
    bool stopped = c->stopped;
    pthread_mutex_unlock(&c->lock);
    if (!stopped) { /* inside rados_connect: the process ends soon, and the thread with it */
        pthread_detach(c->thread);
        return;
    }
    pthread_join(c->thread, NULL);
    if (c->link)
        link_unref(c->link);
    pthread_cond_destroy(&c->changed);
    pthread_mutex_destroy(&c->lock);
    free(c->pool);
    free(c->ns);
    free(c);
}

int cluster_place(struct cluster *c, const char *pool, const char *ns, moment deadline, struct place *ret,
                  struct error *err)
{
    struct timespec until = clock_spec(deadline);
    struct cluster_link *link;
    {
        LOCK_SCOPE(&c->lock);
        if (c->link && link_condemned(c->link))
            pthread_cond_broadcast(&c->changed); /* the thread may be between two probes */
        while (!c->link || link_condemned(c->link))
            if (c->stopping || pthread_cond_timedwait(&c->changed, &c->lock, &until) != 0)
                return error_set(err, -ENOTCONN, "cluster unreachable: %s", c->status.why);
        link = link_ref(c->link);
    }
    rados_ioctx_t io;
    int rc = link_ioctx(link, pool, ns, deadline, &io, err);
    if (rc < 0) {
        link_unref(link);
        return rc;
    }
    *ret = (struct place){ link, io };
    return 0;
}

struct place place_again(const struct place *p)
{
    return (struct place){ link_ref(p->link), p->io };
}

void place_done(struct place *p)
{
    if (p->link)
        link_unref(p->link);
    *p = (struct place)PLACE_NONE;
}

int place_error(const struct place *p, int rc, struct error *err, const char *fmt, ...)
{
    char text[sizeof err->msg];
    struct error full;
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    switch (rc) {
    case -ESHUTDOWN:
        link_condemn(p->link);
        return error_set(err, -ENOTCONN,
                         "%s: this client was blocklisted; a new one is being made, try again", text);
    case -ETIMEDOUT:
        if (fullness_check(p, &full) < 0) /* the outcome is as unknown as that of any other time-out */
            return error_set(err, rc, "%s: %s", text, full.msg);
        return error_set(err, rc, "%s: cluster unreachable: it did not answer in time", text);
    case -ENOSPC:
    case -EDQUOT:
        return error_set(err, rc, "%s: the pool is full: %s (`ceph df`)", text, error_text(rc));
    case -EPERM:
    case -EACCES:
        return error_set(err, -EPERM, "%s: the cephx key does not allow it (see `ceph auth get`): %s", text,
                         error_text(rc));
    case -ENOENT:
        return error_set(err, -ENODEV, "%s: %s", text, error_text(rc));
    default:
        return error_set(err, rc, "%s: %s", text, error_text(rc));
    }
}

int place_check_pool(const struct place *p, struct error *err)
{
    char name[256];
    int rc = rados_pool_reverse_lookup(rados_ioctx_get_cluster(p->io), rados_ioctx_get_id(p->io), name,
                                       sizeof name);
    if (rc == -ENOENT)
        return link_forget(p->link, p->io, err);
    return rc < 0 && rc != -ERANGE ? place_error(p, rc, err, "cannot tell whether the pool exists") : 0;
}

void cluster_status(struct cluster *c, struct cluster_status *ret)
{
    LOCK_SCOPE(&c->lock);
    *ret = c->status;
}
