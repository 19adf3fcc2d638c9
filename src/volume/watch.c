/* SPDX-License-Identifier: MIT */
#include "volume/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "host/procs.h"
#include "volume/drive.h"
#include "volume/lost.h"

#define LOOK_MS    500
#define ASK_MIN_MS 500
#define ASK_MAX_MS 5000

/* One mapping. Its descriptor is a duplicate, so that its number is nobody else's while it is polled. */
struct watched {
    struct watched *next;
    struct image_name name;
    char mapping[MAPPING_ID_LEN + 1];
    int control;       /* -1: there is no process to listen to */
    moment asked;      /* no answer has come since; 0: it has */
    moment ask_again;  /* when its health is due */
    uint64_t answered; /* where only the kernel counts: how much of its I/O, */
    moment moved;      /* and since when it has been so much, with more in flight; 0: not seen yet */
};

struct watch {
    pthread_t thread;
    bool started;
    int wake;             /* eventfd; negative: why there is none */
    pthread_mutex_t lock; /* guards the two below; a leaf */
    struct watched *added;
    bool stop;
    struct watched *all; /* the thread's own */
};

static void wake(const struct watch *w)
{
    uint64_t one = 1;
    if (write(w->wake, &one, sizeof one) < 0)
        return; /* full: it is awake */
}

/* How often each mapping is asked: often enough to see it stuck in time. */
static int64_t ask_ms(const struct volumes *e)
{
    int64_t ms = e->settings->io_stuck_ms / 4;
    return ms < ASK_MIN_MS ? ASK_MIN_MS : ms > ASK_MAX_MS ? ASK_MAX_MS : ms;
}

void watch_add(struct volumes *e, struct volume *v)
{
    struct watch *w = e->watch;
    struct watched *one = calloc(1, sizeof *one);
    if (!one)
        abort();
    one->name = v->name;
    one->control = v->mapping.control < 0 ? -1 : fcntl(v->mapping.control, F_DUPFD_CLOEXEC, 0);
    memcpy(one->mapping, v->mapping.id, sizeof one->mapping);
    {
        LOCK_SCOPE(&w->lock);
        one->next = w->added;
        w->added = one;
    }
    wake(w);
}

static void take_added(struct watch *w)
{
    LOCK_SCOPE(&w->lock);
    while (w->added) {
        struct watched *one = w->added;
        w->added = one->next;
        one->next = w->all;
        w->all = one;
    }
}

static void watched_end(struct watched *one)
{
    if (one->control >= 0)
        (void)close(one->control);
    free(one);
}

/* This is still what the volume is mapped by, and nobody knows yet that it is lost. With the lock held. */
static bool is_current(const struct volume *v, const struct watched *one)
{
    return !v->lost && strcmp(v->mapping.id, one->mapping) == 0;
}

/* The volume while that is so, and a copy of its mapping, unless m is NULL. The caller releases it. NULL: it
 * is no longer so. */
static struct volume *current(struct volumes *e, const struct watched *one, struct mapping *m)
{
    struct volume *v = registry_find(&e->registry, &one->name);
    if (!v)
        return NULL;
    bool so;
    {
        LOCK_SCOPE(&v->lock);
        so = is_current(v, one);
        if (so && m)
            *m = v->mapping;
    }
    if (so)
        return v;
    registry_release(&e->registry, v);
    return NULL;
}

static void mark_lost(struct volumes *e, struct volume *v, const struct watched *one, const char *why)
{
    bool now;
    {
        LOCK_SCOPE(&v->lock);
        now = is_current(v, one) && !v->unmapping;
        if (now)
            lost_mark(e, v, why);
    }
    if (now)
        drive_kick(e, v);
}

/* Its device may wait for another process, which is started then. m: what it was mapped by when we looked. */
static void process_ended(struct volumes *e, struct volume *v, const struct watched *one,
                          const struct mapping *m)
{
    if (m->going) /* it was told to, and who told it looks again */
        return;
    if (!m->mapper->waits || !m->mapper->waits(m)) {
        mark_lost(e, v, one, "its mapping process has ended");
        return;
    }
    {
        LOCK_SCOPE(&v->lock);
        if (!is_current(v, one) || v->unmapping || v->mapping.pid != m->pid || v->orphaned)
            return;
        v->orphaned = clock_now();
        v->retry_at = clock_now(); /* also when the gate is somebody's just now */
    }
    drive_kick(e, v);
}

/* A mapping whose I/O is to be failed: what was known of it when it was seen stuck. */
struct failing {
    struct volumes *engine;
    struct volume *volume;
    struct watched one;
    struct mapping mapping;
    char span[32];
};

static void fail_now(struct failing *f)
{
    const struct mapping *m = &f->mapping;
    struct volume *v = f->volume;
    char why[sizeof v->loss.why], full[IMAGE_NAME_MAX + 1];
    struct error err = { 0 };
    int rc = m->mapper->fail ? m->mapper->fail(m, &err) : 0;
    (void)snprintf(why, sizeof why, "none of its I/O was answered for %s, so %s (io-stuck-action=error)",
                   f->span, m->mapper->fail ? "all of it was failed" : "its client is fenced");
    if (rc == 0)
        mark_lost(f->engine, v, &f->one, why);
    else
        log_error("cannot fail the stuck I/O of volume=%s: %s", image_name_full(&v->name, full), err.msg);
    registry_release(&f->engine->registry, v);
}

static void *fail_run(void *arg)
{
    struct failing *f = arg;
    struct volumes *e = f->engine;
    fail_now(f);
    free(f);
    engine_work_ends(e);
    return NULL;
}

/* io-stuck-action=error: who waits gets an error, and the mapping is lost by that. Where this host cannot end
 * it, the way down has the client fenced (volume/ladder.c), and it ends with the cluster's next answer. In a
 * thread of its own: it may take half a minute, and who has the volume's gate may wait for that very I/O. */
static void fail_stuck(struct volumes *e, struct volume *v, const struct watched *one,
                       const struct mapping *m, const char *span)
{
    pthread_t thread;
    struct failing *f = malloc(sizeof *f);
    if (!f)
        abort();
    *f = (struct failing){ e, registry_hold(&e->registry, v), *one, *m, "" };
    (void)snprintf(f->span, sizeof f->span, "%s", span);
    engine_work_begins(e);
    if (m->mapper->fail && pthread_create(&thread, NULL, fail_run, f) == 0)
        pthread_detach(thread);
    else
        (void)fail_run(f);
}

/* For so long nothing has moved; 0: it moves. m: the volume's mapping. */
static void report_stall(struct volumes *e, struct volume *v, const struct watched *one,
                         const struct mapping *m, int64_t ms, unsigned inflight)
{
    char span[32], full[IMAGE_NAME_MAX + 1];
    bool stuck = ms >= e->settings->io_stuck_ms, began, ended;
    bool fail = e->settings->io_stuck_action == STUCK_ERROR;
    {
        LOCK_SCOPE(&v->lock);
        if (!is_current(v, one))
            return;
        began = stuck && !v->stuck_since;
        ended = !stuck && v->stuck_since;
        clock_span(ended ? clock_since_ms(v->stuck_since) : ms, span, sizeof span);
        if (began)
            v->stuck_since = clock_in_ms(-ms);
        if (ended)
            v->stuck_since = 0;
    }
    image_name_full(&v->name, full);
    if (ended)
        log_notice("moves again volume=%s: its I/O was stuck for %s", full, span);
    if (began)
        log_error("stuck volume=%s inflight=%u: none of its I/O was answered for %s; %s", full, inflight,
                  span, fail ? "it is failed now" : "it goes on when the cluster answers");
    if (began && fail)
        fail_stuck(e, v, one, m, span);
}

static void report(struct volumes *e, struct volume *v, const struct watched *one, const struct mapping *m,
                   const struct mapping_health *h)
{
    if (h->state == MAPPING_READY)
        report_stall(e, v, one, m, h->inflight ? h->stalled_ms : 0, h->inflight);
    else if (h->state == MAPPING_LOST)
        mark_lost(e, v, one, h->why[0] ? h->why : "its lock is no longer held");
    else
        process_ended(e, v, one, m);
}

/* Something has come from its process. False: nothing more will. */
static bool hear(struct volumes *e, struct watched *one, struct mapping *m)
{
    struct mapping_health h = { .state = MAPPING_GONE };
    struct volume *v = current(e, one, m);
    if (!v)
        return false; /* it was unmapped */
    int rc = m->mapper->hear ? m->mapper->hear(one->control, &h) : -EPIPE;
    if (rc != 0) {
        one->asked = 0;
        report(e, v, one, m, &h);
    }
    registry_release(&e->registry, v);
    return rc == 0 || h.state == MAPPING_READY;
}

/* Asks a process; the answer will be heard. */
static void ask(struct volumes *e, struct volume *v, struct watched *one, const struct mapping *m)
{
    one->ask_again = clock_in_ms(ask_ms(e));
    if (one->asked) /* a stopped one can be as stuck as its I/O, and does not say so */
        report_stall(e, v, one, m, clock_since_ms(one->asked), 0);
    else if (m->mapper->ask && m->mapper->ask(one->control) == 0)
        one->asked = clock_now();
}

/* For so long the kernel has counted no answer, and something was in flight each time. */
static int64_t unanswered_ms(struct watched *one, const struct mapping_health *h)
{
    if (h->inflight == 0 || h->answered != one->answered || !one->moved)
        one->moved = clock_now();
    one->answered = h->answered;
    return clock_since_ms(one->moved);
}

/* Its process could not be reached when it was found: as soon as it can, it is listened to. */
static void reach(struct volume *v, struct watched *one, const struct mapping *m)
{
    int fd = m->mapper->connect(m);
    if (fd < 0)
        return;
    LOCK_SCOPE(&v->lock);
    if (!is_current(v, one) || v->unmapping || v->mapping.control >= 0) {
        (void)close(fd);
        return;
    }
    one->control = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    v->mapping.control = fd;
}

/* Nothing can be heard: the kernel answers at once. */
static void look(struct volumes *e, struct volume *v, struct watched *one, struct mapping *m)
{
    struct mapping_health h;
    struct error err;
    if (m->pid && !procs_alive(m->pid, m->pid_start))
        process_ended(e, v, one, m);
    else if (m->control < 0 && m->mapper->connect)
        reach(v, one, m);
    else if (m->mapper->health(m, &h, &err) == 0) {
        if (h.counted)
            h.stalled_ms = unanswered_ms(one, &h);
        report(e, v, one, m, &h);
    }
}

/* What is due; forgets what was unmapped. */
static void go_round(struct volumes *e, struct watch *w, struct mapping *m)
{
    for (struct watched **p = &w->all; *p;) {
        struct watched *one = *p;
        struct volume *v = current(e, one, m);
        if (!v) {
            *p = one->next;
            watched_end(one);
            continue;
        }
        if (one->control < 0)
            look(e, v, one, m);
        else if (clock_left_ms(one->ask_again) == 0)
            ask(e, v, one, m);
        registry_release(&e->registry, v);
        p = &one->next;
    }
}

static size_t collect(const struct watch *w, struct pollfd **fds, struct watched ***who, size_t *room)
{
    size_t n = 1;
    for (struct watched *one = w->all; one; one = one->next)
        n += one->control >= 0;
    if (n > *room) {
        *room = 2 * n;
        *fds = reallocarray(*fds, *room, sizeof **fds);
        *who = reallocarray(*who, *room, sizeof **who);
        if (!*fds || !*who)
            abort();
    }
    (*fds)[0] = (struct pollfd){ .fd = w->wake, .events = POLLIN };
    n = 1;
    for (struct watched *one = w->all; one; one = one->next)
        if (one->control >= 0) {
            (*fds)[n] = (struct pollfd){ .fd = one->control, .events = POLLIN };
            (*who)[n++] = one;
        }
    return n;
}

static bool stopping(struct watch *w)
{
    LOCK_SCOPE(&w->lock);
    return w->stop;
}

static void *watch_run(void *arg)
{
    struct volumes *e = arg;
    struct watch *w = e->watch;
    struct mapping *m = malloc(sizeof *m); /* large: a path */
    struct pollfd *fds = NULL;
    struct watched **who = NULL;
    size_t room = 0;
    if (!m)
        abort();
    while (!stopping(w)) {
        take_added(w);
        go_round(e, w, m);
        size_t n = collect(w, &fds, &who, &room);
        uint64_t count;
        if (poll(fds, n, LOOK_MS) <= 0 || (fds[0].revents && read(w->wake, &count, sizeof count) < 0))
            continue;
        for (size_t i = 1; i < n; i++)
            if (fds[i].revents && !hear(e, who[i], m))
                (void)close(steal_fd(&who[i]->control));
    }
    free(m);
    free(fds);
    free(who);
    return NULL;
}

int watch_start(struct volumes *e, struct error *err)
{
    struct watch *w = e->watch;
    int rc = w->wake < 0 ? w->wake : -pthread_create(&w->thread, NULL, watch_run, e);
    w->started = rc == 0;
    return rc < 0 ? error_set(err, rc, "cannot watch over the mappings: %s", error_text(rc)) : 0;
}

void watch_stop(struct volumes *e)
{
    struct watch *w = e->watch;
    if (!w->started)
        return;
    {
        LOCK_SCOPE(&w->lock);
        w->stop = true;
    }
    wake(w);
    pthread_join(w->thread, NULL);
    w->started = false;
}

void watch_init(struct volumes *e)
{
    struct watch *w = calloc(1, sizeof *w);
    if (!w)
        abort();
    pthread_mutex_init(&w->lock, NULL);
    w->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (w->wake < 0)
        w->wake = -errno;
    e->watch = w;
}

void watch_free(struct volumes *e)
{
    struct watch *w = e->watch;
    take_added(w);
    while (w->all) {
        struct watched *one = w->all;
        w->all = one->next;
        watched_end(one);
    }
    if (w->wake >= 0)
        (void)close(w->wake);
    pthread_mutex_destroy(&w->lock);
    free(w);
}
