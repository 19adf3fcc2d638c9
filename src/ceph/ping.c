/* SPDX-License-Identifier: MIT */
#include "ceph/ping.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/job.h"

#define GRACE_MS   5000 /* beyond the time-out that the OSD keeps */
#define CONTROL_MS 1000
#define WATCH_S    10

/* A watcher, as acknowledgements name it. */
struct watcher {
    uint64_t client; /* the number of "client.4122" */
    uint64_t cookie; /* 0: not known */
};

struct pinging {
    struct place place;
    char object[IMAGE_ID_LEN + 16];
    struct watcher owner;
    unsigned seconds[2]; /* of each ping; 0: there is no second one */
    bool control;
    atomic_int_fast64_t heard; /* when our own watch was last notified */
};

/* Both librbd and krbd put the cookie of their watch into the lock's: "auto 140154379445456". */
static struct watcher watcher_of(const struct lock_holder *h)
{
    struct watcher w = { 0 };
    if (sscanf(h->client, "client.%" SCNu64, &w.client) != 1)
        w.client = 0;
    if (sscanf(h->cookie, "auto %" SCNu64, &w.cookie) != 1)
        w.cookie = 0;
    return w;
}

static bool acknowledged(const struct notify_ack_t *acks, size_t n, const struct watcher *w)
{
    for (size_t i = 0; i < n; i++)
        if (acks[i].notifier_id == w->client && (w->cookie == 0 || acks[i].cookie == w->cookie))
            return true;
    return false;
}

/* One notification. 1: acknowledged by the owner; 0: not. What it returns is -ETIMEDOUT when any watcher is
 * dead: the list tells. */
static int ping(struct pinging *g, unsigned seconds, struct error *err)
{
    char *reply = NULL;
    size_t len = 0, nacks = 0, ntimeouts = 0;
    struct notify_ack_t *acks = NULL;
    struct notify_timeout_t *timeouts = NULL;
    int rc = rados_notify2(g->place.io, g->object, NULL, 0, (uint64_t)seconds * 1000, &reply, &len);
    if (rc < 0 && rc != -ETIMEDOUT) {
        rados_buffer_free(reply);
        return place_error(&g->place, rc, err, "cannot ask whether the owner is alive");
    }
    rc = rados_decode_notify_response(reply, len, &acks, &nacks, &timeouts, &ntimeouts);
    if (rc == 0) {
        rc = acknowledged(acks, nacks, &g->owner);
        rados_free_notify_response(acks, nacks, timeouts);
    } else {
        rc = error_set(err, -EPROTO, "cannot read the answer to a notification");
    }
    rados_buffer_free(reply);
    return rc;
}

static void on_notify(void *arg, uint64_t notify_id, uint64_t handle, uint64_t notifier_id, void *data,
                      size_t data_len)
{
    struct pinging *g = arg;
    (void)notifier_id;
    (void)data;
    (void)data_len;
    atomic_store(&g->heard, clock_now());
    (void)rados_notify_ack(g->place.io, g->object, notify_id, handle, NULL, 0);
}

static void on_watch_error(void *arg, uint64_t cookie, int rc)
{
    (void)arg;
    (void)cookie;
    (void)rc;
}

/* One ping of the silence test. As ping(), and -EAGAIN when our own watch was slow. */
static int ping_controlled(struct pinging *g, unsigned seconds, struct error *err)
{
    moment begin = clock_now();
    atomic_store(&g->heard, 0);
    int rc = ping(g, seconds, err);
    if (rc != 0)
        return rc;
    moment heard = atomic_load(&g->heard);
    if (heard == 0 || heard - begin > CONTROL_MS * 1000000LL)
        return error_set(err, -EAGAIN, "the cluster is slow just now, so an owner's silence proves nothing");
    return 0;
}

static int ping_twice(struct pinging *g, struct error *err)
{
    uint64_t cookie;
    int rc = rados_watch3(g->place.io, g->object, &cookie, on_notify, on_watch_error, WATCH_S, g);
    if (rc < 0)
        return place_error(&g->place, rc, err, "cannot watch the image's header");
    for (size_t i = 0; i < 2 && rc == 0; i++)
        rc = ping_controlled(g, g->seconds[i], err);
    (void)rados_unwatch2(g->place.io, cookie);
    (void)rados_watch_flush(rados_ioctx_get_cluster(g->place.io)); /* no callback has g after this */
    return rc;
}

static int pinging_run(void *arg, struct error *err)
{
    struct pinging *g = arg;
    return g->control ? ping_twice(g, err) : ping(g, g->seconds[0], err);
}

static void pinging_free(void *arg)
{
    struct pinging *g = arg;
    place_done(&g->place);
    free(g);
}

/* In a thread that can be left behind: a notification is bounded by no operation time-out when the OSD hangs.
 */
static int run(const struct place *p, const char *id, const struct lock_holder *owner,
               const unsigned seconds[2], bool control, struct error *err)
{
    struct pinging *g = calloc(1, sizeof *g);
    if (!g)
        abort();
    g->place = place_again(p);
    (void)image_header_object(id, g->object);
    g->owner = watcher_of(owner);
    memcpy(g->seconds, seconds, sizeof g->seconds);
    g->control = control;
    moment deadline = clock_in_ms((int64_t)(seconds[0] + seconds[1]) * 1000 + GRACE_MS);
    int rc = job_run(pinging_run, pinging_free, g, deadline, err);
    return rc == -EINPROGRESS
               ? error_set(err, -ETIMEDOUT,
                           "cannot ask whether the owner is alive: the cluster does not answer")
               : rc;
}

int ping_owner(const struct place *p, const char *id, const struct lock_holder *owner, unsigned seconds,
               struct error *err)
{
    return run(p, id, owner, (const unsigned[]){ seconds, 0 }, false, err);
}

int ping_silence(const struct place *p, const char *id, const struct lock_holder *owner, int64_t silence_ms,
                 struct error *err)
{
    unsigned total = (unsigned)((silence_ms + 999) / 1000);
    unsigned first = total * 3 / 5 > 0 ? total * 3 / 5 : 1;
    return run(p, id, owner, (const unsigned[]){ first, total > first ? total - first : 1 }, true, err);
}
