/* SPDX-License-Identifier: MIT */
#include "volume/volumes.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "volume/collector.h"
#include "volume/drive.h"
#include "volume/engine.h"
#include "volume/former.h"
#include "volume/lost.h"
#include "volume/mapping.h"
#include "volume/ownercheck.h"
#include "volume/recover.h"
#include "volume/watch.h"

#define TICK_MS      500
#define COLLECT_MS   (24 * 3600000L)
#define AGAIN_MS     1000L /* doubled each time */
#define AGAIN_TRIES  6     /* a minute in all */
#define STOP_WAIT_MS 5000

moment engine_ceph_deadline(const struct volumes *e)
{
    return clock_in_ms(e->settings->ceph_timeout_ms);
}

const char *engine_mountpoint(const struct volumes *e, const struct image_name *name,
                              char buf[static PATH_MAX])
{
    char place[IMAGE_NAME_MAX + 1];
    (void)snprintf(buf, PATH_MAX, "%s/%s/%s", e->mount_root, image_name_place(name, place), name->image);
    return buf;
}

const char *engine_key_file(const struct volumes *e, const struct spec *spec, char buf[static PATH_MAX])
{
    (void)snprintf(buf, PATH_MAX, "%s/%s", e->settings->key_dir, spec->encrypt);
    return buf;
}

int engine_place(struct volumes *e, const struct image_name *name, struct place *ret, struct error *err)
{
    return cluster_place(e->cluster, name->pool, name->ns, engine_ceph_deadline(e), ret, err);
}

int engine_wait_recovered(struct volumes *e, moment deadline, struct error *err)
{
    struct timespec until = clock_spec(deadline);
    LOCK_SCOPE(&e->lock);
    while (!e->recovered)
        if (pthread_cond_timedwait(&e->changed, &e->lock, &until) != 0)
            return error_set(err, -EBUSY,
                             "rbdvol is still looking for what an earlier daemon left mapped; try again");
    return 0;
}

void engine_work_begins(struct volumes *e)
{
    LOCK_SCOPE(&e->lock);
    e->driving++;
}

void engine_work_ends(struct volumes *e)
{
    LOCK_SCOPE(&e->lock);
    e->driving--;
    pthread_cond_broadcast(&e->changed);
}

/* Retries that are due, and questions. */
static void tend(struct volumes *e)
{
    size_t n;
    struct volume **all = registry_all(&e->registry, &n);
    for (size_t i = 0; i < n; i++) {
        struct volume *v = all[i];
        pthread_mutex_lock(&v->lock);
        bool due = v->retry_at != 0 && clock_left_ms(v->retry_at) == 0;
        if (due)
            v->retry_at = 0;
        due = due || (v->retry_at == 0 && lost_is_to_be_asked(v));
        pthread_mutex_unlock(&v->lock);
        if (due)
            drive_kick(e, v);
        registry_release(&e->registry, v);
    }
    free(all);
}

void engine_collect_soon(struct volumes *e)
{
    pthread_mutex_lock(&e->lock);
    e->collect_tries = 0;
    e->collect_at = clock_in_ms(AGAIN_MS);
    pthread_mutex_unlock(&e->lock);
}

static void *collect(void *arg)
{
    struct volumes *e = arg;
    bool again = collector_run(e);
    pthread_mutex_lock(&e->lock);
    moment next =
        clock_in_ms(again && e->collect_tries < AGAIN_TRIES ? AGAIN_MS << e->collect_tries++ : COLLECT_MS);
    if (next < e->collect_at) /* it may have been asked for since the round began */
        e->collect_at = next;
    pthread_mutex_unlock(&e->lock);
    engine_work_ends(e);
    return NULL;
}

/* In a thread of its own: it waits for Ceph. */
static void start_collector(struct volumes *e)
{
    pthread_t thread;
    engine_work_begins(e);
    pthread_mutex_lock(&e->lock);
    e->collect_at = clock_in_ms(COLLECT_MS);
    pthread_mutex_unlock(&e->lock);
    if (pthread_create(&thread, NULL, collect, e) == 0) {
        pthread_detach(thread);
        return;
    }
    engine_collect_soon(e);
    engine_work_ends(e);
}

static bool cluster_is_up(struct volumes *e)
{
    struct cluster_status s;
    cluster_status(e->cluster, &s);
    return s.state == CLUSTER_UP;
}

/* Where the next Mount would use it, something is kept ready for it. */
static void prepare_mapper(struct volumes *e)
{
    const struct mapper *mapper;
    struct error err;
    char why[sizeof err.msg];
    if (e->mapper_host.spare && cluster_is_up(e) &&
        mapping_choose_any(e->settings, &mapper, why, sizeof why, &err) == 0 && mapper->prepare)
        mapper->prepare(&e->mapper_host);
}

static void *keep(void *arg)
{
    struct volumes *e = arg;
    e->collect_at = clock_now();
    recover_mappings(e);
    pthread_mutex_lock(&e->lock);
    e->recovered = true;
    pthread_cond_broadcast(&e->changed);
    while (!e->stopping) {
        pthread_mutex_unlock(&e->lock);
        recover_rest(e);
        tend(e);
        ownercheck_tick(e);
        prepare_mapper(e);
        pthread_mutex_lock(&e->lock);
        bool due = clock_left_ms(e->collect_at) == 0;
        pthread_mutex_unlock(&e->lock);
        if (due && cluster_is_up(e))
            start_collector(e);
        pthread_mutex_lock(&e->lock);
        struct timespec until = clock_spec(clock_in_ms(TICK_MS));
        while (!e->stopping && pthread_cond_timedwait(&e->changed, &e->lock, &until) == 0)
            ;
    }
    pthread_mutex_unlock(&e->lock);
    return NULL;
}

static void prepare(struct volumes *e, const struct settings *s)
{
    struct error err;
    e->settings = s;
    if (!realpath(s->mount_root, e->mount_root))
        (void)snprintf(e->mount_root, sizeof e->mount_root, "%s", s->mount_root);
    e->self = (struct owner_self){ &e->host, s->name };
    (void)snprintf(e->run_dir, sizeof e->run_dir, "%s/map", s->state_dir);
    (void)snprintf(e->volumes_dir, sizeof e->volumes_dir, "%s/volumes", s->state_dir);
    e->mapper_host = (struct mapper_host){ .instance = s->name,
                                           .ceph_conf = s->ceph_conf,
                                           .cluster = s->cluster,
                                           .user = s->user,
                                           .connect_ms = s->ceph_timeout_ms,
                                           .run_dir = e->run_dir,
                                           .spare = s->spare_mapper,
                                           .map_options = s->map_options };
    pthread_mutex_init(&e->lock, NULL);
    clock_cond_init(&e->changed);
    registry_init(&e->registry);
    watch_init(e);
    const struct mapper *mapper;
    char why[sizeof err.msg];
    /* Everything but Mount works without one; the reason is in each refusal and in status. */
    if (mapping_choose_any(s, &mapper, why, sizeof why, &err) < 0)
        log_error("no volume can be mounted on this host: %s", err.msg);
}

static void engine_free(struct volumes *e)
{
    watch_free(e);
    registry_done(&e->registry);
    pthread_cond_destroy(&e->changed);
    pthread_mutex_destroy(&e->lock);
    free(e);
}

int volumes_start(const struct settings *s, struct volumes **ret, struct error *err)
{
    const struct connection_options opts = {
        .conf = s->ceph_conf, .cluster = s->cluster, .user = s->user, .timeout_ms = s->ceph_timeout_ms
    };
    struct volumes *e = calloc(1, sizeof *e);
    if (!e)
        abort();
    prepare(e, s);
    int rc = mapper_check_options(s->map_options, err);
    if (rc == 0)
        rc = identity_read(&e->host, err);
    if (rc == 0) {
        former_start(e);
        rc = recover_state(e, err);
    }
    if (rc == 0)
        rc = cluster_start(&opts, s->pools[0], s->ns, former_add, e, &e->cluster, err);
    if (rc == 0)
        rc = watch_start(e, err);
    if (rc == 0) {
        rc = -pthread_create(&e->keeper, NULL, keep, e);
        if (rc < 0)
            error_set(err, rc, "cannot start a thread: %s", error_text(rc));
        e->keeper_started = rc == 0;
    }
    if (rc < 0) {
        watch_stop(e);
        cluster_stop(e->cluster);
        engine_free(e);
        return rc;
    }
    *ret = e;
    return 0;
}

void volumes_stop(struct volumes *e)
{
    if (!e)
        return;
    struct timespec until = clock_spec(clock_in_ms(STOP_WAIT_MS));
    pthread_mutex_lock(&e->lock);
    e->stopping = true;
    pthread_cond_broadcast(&e->changed);
    pthread_mutex_unlock(&e->lock);
    pthread_join(e->keeper, NULL);
    watch_stop(e);
    pthread_mutex_lock(&e->lock);
    while (e->driving > 0 && pthread_cond_timedwait(&e->changed, &e->lock, &until) == 0)
        ;
    unsigned driving = e->driving;
    pthread_mutex_unlock(&e->lock);
    if (driving >
        0) { /* the next start finishes or undoes it; the process ends now, and its threads with it */
        log_notice("stopping in the middle of %u operations; the next start goes on with them", driving);
        return;
    }
    cluster_stop(e->cluster);
    engine_free(e);
}

void volumes_summary(struct volumes *e, char *buf, size_t size)
{
    static const char *const states[] = {
        [CLUSTER_CONNECTING] = "connecting", [CLUSTER_UP] = "up", [CLUSTER_DOWN] = "down"
    };
    struct cluster_status s;
    size_t n, mounted = 0, pending = 0, lost = 0, stuck = 0;
    cluster_status(e->cluster, &s);
    struct volume **all = registry_all(&e->registry, &n);
    for (size_t i = 0; i < n; i++) {
        pthread_mutex_lock(&all[i]->lock);
        mounted += all[i]->rung == RUNG_MOUNTED && !all[i]->lost;
        lost += all[i]->lost && all[i]->holders.n > 0;
        stuck += all[i]->stuck_since != 0;
        pending += all[i]->trouble.code < 0;
        pthread_mutex_unlock(&all[i]->lock);
        registry_release(&e->registry, all[i]);
    }
    free(all);
    int at = snprintf(buf, size, "cluster %s, %zu volumes mounted", states[s.state], mounted);
    if (lost && at > 0 && (size_t)at < size)
        at += snprintf(buf + at, size - (size_t)at, ", %zu lost", lost);
    if (stuck && at > 0 && (size_t)at < size)
        at += snprintf(buf + at, size - (size_t)at, ", %zu stuck", stuck);
    if (pending && at > 0 && (size_t)at < size)
        (void)snprintf(buf + at, size - (size_t)at, ", %zu with trouble (see `rbdvol status`)", pending);
}
