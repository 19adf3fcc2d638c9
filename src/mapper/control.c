/* SPDX-License-Identifier: MIT */
#include "mapper/control.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/channel.h"

#define PROTOCOL_VERSION 1

#define FIRST_PEER_MS 10000 /* the spawner connects within this */
#define LINGER_MS     2000  /* between the last close without a daemon and our end */
#define WAIT_MAX_MS   (24LL * 3600 * 1000)

enum exit_status { EXIT_CLEAN = 0, EXIT_NEVER_STARTED = 1, EXIT_NOT_RELEASED = 3 };

static json_t *hello(const struct control *c)
{
    struct state_view v;
    state_view(c->state, &v);
    bool known = v.phase != STATE_STARTING; /* address and size are being written until then */
    json_t *r = json_pack("{s:b, s:i, s:s, s:i, s:s, s:s, s:s, s:s, s:s, s:b}", "ok", 1, "version",
                          PROTOCOL_VERSION, "state", state_phase_name(v.phase), "pid", (int)getpid(),
                          "mapping", c->mapping, "pool", c->opts->pool, "namespace", c->opts->ns, "image",
                          c->opts->name, "image_id", c->opts->id, "ro", c->opts->ro);
    json_t *more =
        json_pack("{s:s, s:I, s:i, s:b, s:i, s:I, s:s}", "address", known ? c->image->address : "", "size",
                  (json_int_t)atomic_load(&c->image->size), "opens", (int)v.opens, "unclean", v.unclean,
                  "inflight", (int)v.inflight, "stalled_ms", (json_int_t)v.stalled_ms, "why", v.why.msg);
    if (*c->warning)
        (void)json_object_set_new(more, "warning", json_string(c->warning));
    (void)json_object_update(r, more);
    json_decref(more);
    return r;
}

static void peer_close(struct control *c, struct control_peer *p)
{
    (void)close(p->fd);
    *p = c->peers[--c->npeers];
}

/* A peer that does not read is cut off: there is no waiting here. False: it is gone. Takes the reference. */
static bool peer_send(struct control *c, struct control_peer *p, json_t *msg)
{
    struct error err;
    int rc = channel_send(p->fd, msg, clock_now(), &err);
    json_decref(msg);
    if (rc < 0)
        peer_close(c, p);
    return rc == 0;
}

static json_t *refusal(int code, const char *text)
{
    struct error err;
    (void)error_set(&err, code, "%s", text);
    return channel_refusal(&err);
}

static void wake(struct control *c)
{
    uint64_t one = 1;
    if (write(c->state->wake, &one, sizeof one) < 0)
        return; /* full: it is awake */
}

static void *finish(void *arg)
{
    struct control *c = arg;
    struct state_view v;
    state_view(c->state, &v);
    if (v.phase != STATE_LOST) /* then the image is left as it is, and so may be the heartbeat */
        heartbeat_stop(c->heartbeat);
    if (image_finish(c->image, &c->outcome) == 0)
        c->outcome.code = 0;
    atomic_store(&c->finished, true);
    wake(c);
    return NULL;
}

/* Begins the end. 0, or why not. */
static int end(struct control *c)
{
    struct state_view v;
    state_view(c->state, &v);
    if (v.phase == STATE_FAILED)
        _exit(EXIT_NEVER_STARTED); /* it has nothing; whoever asked sees that it is gone */
    int rc = state_end(c->state);
    if (rc < 0)
        return rc;
    pthread_t thread;
    rc = -pthread_create(&thread, NULL, finish, c);
    if (rc < 0) { /* then no one can be told the result: leave the lock */
        (void)error_set(&c->outcome, -EIO, "cannot start a thread: %s; the lock was left for fencing",
                        error_text(rc));
        atomic_store(&c->finished, true);
        wake(c);
        return 0;
    }
    (void)pthread_detach(thread);
    return 0;
}

/* Can the peer be answered by now? NULL: not yet. */
static json_t *wait_over(struct control *c, const struct control_peer *p, const struct state_view *v)
{
    switch (p->wait) {
    case WAIT_READY:
        if (v->phase == STATE_STARTING)
            return NULL;
        return v->phase == STATE_READY ? hello(c) : channel_refusal(&v->why);
    case WAIT_CLOSED:
        if (v->opens > 0 && clock_now() < p->deadline)
            return NULL;
        return json_pack("{s:b, s:i}", "ok", 1, "opens", (int)v->opens);
    case WAIT_STOPPED:
        if (v->phase == STATE_LOST)
            return channel_refusal(&v->why);
        if (!atomic_load(&c->finished))
            return NULL;
        return c->outcome.code ? channel_refusal(&c->outcome) : json_pack("{s:b}", "ok", 1);
    case WAIT_CHANGED:
        return change_running(&c->change) ? NULL : change_answer(&c->change);
    case WAIT_NONE:
        break;
    }
    return NULL;
}

/* One at a time, and not the next before the last one's answer. */
static bool do_change(struct control *c, struct control_peer *p, const json_t *msg)
{
    struct state_view v;
    struct error err;
    state_view(c->state, &v);
    bool taken = change_running(&c->change);
    for (unsigned i = 0; i < c->npeers; i++)
        taken |= c->peers[i].wait == WAIT_CHANGED;
    if (v.phase != STATE_READY || v.ending || c->opts->ro)
        return peer_send(c, p, refusal(-EROFS, "the image cannot be changed through this mapping"));
    if (taken)
        return peer_send(c, p, refusal(-EBUSY, "another change of the image is still going on"));
    if (change_start(&c->change, c->image, c->state->wake, msg, &err) < 0)
        return peer_send(c, p, channel_refusal(&err));
    p->wait = WAIT_CHANGED;
    return true;
}

static bool do_stop(struct control *c, struct control_peer *p)
{
    if (change_running(&c->change))
        return peer_send(c, p, refusal(-EBUSY, "the image is still being changed"));
    int rc = end(c);
    if (rc == 0 || rc == -EALREADY) {
        p->wait = WAIT_STOPPED;
        return true;
    }
    return peer_send(c, p,
                     refusal(rc, rc == -EBUSY ? "the image is still open" : "the mapper is still starting"));
}

/* One request of a peer. False: the peer is gone. */
static bool request(struct control *c, struct control_peer *p, const json_t *msg)
{
    const char *what = json_string_value(json_object_get(msg, "do"));
    p->wait = WAIT_NONE;
    if (!what)
        return peer_send(c, p, refusal(-EINVAL, "a request without \"do\""));
    if (strcmp(what, "hello") == 0)
        return peer_send(c, p, hello(c));
    if (strcmp(what, "wait-ready") == 0) {
        p->wait = WAIT_READY;
    } else if (strcmp(what, "wait-closed") == 0) {
        json_int_t ms = json_integer_value(json_object_get(msg, "ms"));
        p->wait = WAIT_CLOSED;
        p->deadline = clock_in_ms(ms < 0 ? 0 : ms > WAIT_MAX_MS ? WAIT_MAX_MS : ms);
    } else if (strcmp(what, "stop") == 0) {
        return do_stop(c, p);
    } else if (strcmp(what, "change") == 0) {
        return do_change(c, p, msg);
    } else if (strcmp(what, "abandon") == 0) {
        (void)peer_send(c, p, json_pack("{s:b}", "ok", 1));
        _exit(EXIT_NOT_RELEASED);
    } else {
        return peer_send(c, p, refusal(-EINVAL, "a request that this mapper does not know"));
    }
    return true;
}

static void receive(struct control *c, struct control_peer *p)
{
    json_auto_t *msg = NULL;
    struct error err;
    int rc = channel_receive(p->fd, clock_now(), &msg, &err);
    if (rc == 0)
        (void)request(c, p, msg);
    else if (rc == -EPROTO)
        (void)peer_send(c, p, channel_refusal(&err));
    else if (rc != -ETIMEDOUT)
        peer_close(c, p);
}

static void admit(struct control *c)
{
    int fd = accept4(c->listen, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    c->peers[c->npeers++] = (struct control_peer){ .fd = fd };
    c->had_peer = true;
}

/* Tells the peers what they wait for; ends the process when that was the last thing to do. Backwards, since a
 * peer that is closed is replaced by the last one. */
static void answer_waiting(struct control *c)
{
    struct state_view v;
    bool finished = atomic_load(&c->finished), told = false;
    state_view(c->state, &v);
    for (unsigned i = c->npeers; i-- > 0;) {
        struct control_peer *p = &c->peers[i];
        if (v.phase == STATE_LOST && !p->told_lost) {
            p->told_lost = true;
            if (!peer_send(c, p, json_pack("{s:s, s:s}", "event", "lost", "why", v.why.msg)))
                continue;
        }
        json_t *answer = wait_over(c, p, &v);
        if (answer) {
            told |= p->wait == WAIT_STOPPED;
            p->wait = WAIT_NONE;
            (void)peer_send(c, p, answer);
        }
    }
    /* What waits for Ceph gets no answer any more that a client that is fenced may give; and what librados
     * still has in its queues must never be sent. The end of the process does both: the kernel fails what it
     * has asked of us, and the connections are gone. What was told to the peers arrives all the same. */
    if (v.phase == STATE_LOST)
        _exit(EXIT_NOT_RELEASED);
    /* A daemon whose patience ended before the cluster's pause asks again, and is to learn how it went. */
    if (finished && (told || c->npeers == 0))
        _exit(c->outcome.code ? EXIT_NOT_RELEASED : EXIT_CLEAN);
}

/* Ends what nobody needs any more (design: the daemon may be gone for good). Returns when to look again; 0:
 * when something happens. */
static moment own_end(struct control *c)
{
    struct state_view v;
    state_view(c->state, &v);
    if (c->npeers > 0 || v.opens > 0 || v.phase == STATE_STARTING || v.ending || change_running(&c->change)) {
        c->idle_since = 0;
        return 0;
    }
    if (!c->idle_since)
        c->idle_since = clock_now();
    moment when = c->idle_since;
    if (!c->had_peer)
        when = c->began + FIRST_PEER_MS * 1000000LL;
    else if (v.was_open)
        when += LINGER_MS * 1000000LL;
    if (clock_now() < when)
        return when;
    (void)end(c);
    return 0;
}

static int poll_timeout(const struct control *c, moment next)
{
    for (unsigned i = 0; i < c->npeers; i++)
        if (c->peers[i].wait == WAIT_CLOSED && (!next || c->peers[i].deadline < next))
            next = c->peers[i].deadline;
    return next ? clock_left_ms(next) : -1;
}

static void *control_run(void *arg)
{
    struct control *c = arg;
    struct pollfd fds[2 + CONTROL_PEERS_MAX];
    for (;;) {
        answer_waiting(c);
        moment next = own_end(c);
        unsigned n = c->npeers;
        fds[0] = (struct pollfd){ .fd = c->state->wake, .events = POLLIN };
        fds[1] = (struct pollfd){ .fd = n < CONTROL_PEERS_MAX ? c->listen : -1, .events = POLLIN };
        for (unsigned i = 0; i < n; i++)
            fds[2 + i] = (struct pollfd){ .fd = c->peers[i].fd, .events = POLLIN };
        if (poll(fds, 2 + n, poll_timeout(c, next)) < 0)
            continue;
        uint64_t count;
        if (fds[0].revents && read(c->state->wake, &count, sizeof count) < 0)
            continue;
        for (unsigned i = n; i-- > 0;)
            if (fds[2 + i].revents)
                receive(c, &c->peers[i]);
        if (fds[1].revents)
            admit(c);
    }
    return NULL;
}

int control_start(struct control *c, struct error *err)
{
    pthread_t thread;
    c->began = clock_now();
    int rc = -pthread_create(&thread, NULL, control_run, c);
    return rc < 0 ? error_set(err, rc, "cannot start a thread: %s", error_text(rc)) : 0;
}
