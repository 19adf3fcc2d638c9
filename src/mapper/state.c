/* SPDX-License-Identifier: MIT */
#include "mapper/state.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/cleanup.h"

int state_init(struct state *s, struct error *err)
{
    *s = (struct state){ .phase = STATE_STARTING };
    s->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (s->wake < 0)
        return error_set(err, -errno, "cannot make an eventfd: %s", error_text(errno));
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->quiet, NULL);
    s->ios.prev = s->ios.next = &s->ios;
    return 0;
}

static void wake(struct state *s)
{
    uint64_t one = 1;
    /* Full means that it is awake already. */
    if (write(s->wake, &one, sizeof one) < 0)
        return;
}

const char *state_phase_name(enum state_phase phase)
{
    static const char *const names[] = { "starting", "ready", "lost", "failed" };
    return names[phase];
}

void state_view(struct state *s, struct state_view *ret)
{
    LOCK_SCOPE(&s->lock);
    moment since = s->ios.next->since > s->last_end ? s->ios.next->since : s->last_end;
    *ret = (struct state_view){
        .phase = s->phase,
        .why = s->why,
        .opens = s->opens,
        .inflight = s->inflight,
        .ios_ever = s->ios_ever,
        .was_open = s->was_open,
        .ending = s->ending,
        .unclean = s->unclean,
        .stalled_ms = s->inflight ? clock_since_ms(since) : 0,
    };
}

void state_ready(struct state *s)
{
    {
        LOCK_SCOPE(&s->lock);
        if (s->phase == STATE_STARTING)
            s->phase = STATE_READY;
    }
    wake(s);
}

void state_failed(struct state *s, const struct error *why)
{
    {
        LOCK_SCOPE(&s->lock);
        s->phase = STATE_FAILED;
        s->why = *why;
    }
    wake(s);
}

void state_lost(struct state *s, const char *fmt, ...)
{
    char text[sizeof s->why.msg];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    {
        LOCK_SCOPE(&s->lock);
        if (s->phase == STATE_LOST || s->phase == STATE_FAILED)
            return;
        s->phase = STATE_LOST;
        (void)error_set(&s->why, -ESHUTDOWN, "%s", text);
    }
    wake(s);
}

int state_open(struct state *s)
{
    LOCK_SCOPE(&s->lock);
    if (s->phase != STATE_READY || s->ending)
        return -EIO;
    s->was_open = true;
    return (int)s->opens++;
}

void state_release(struct state *s)
{
    {
        LOCK_SCOPE(&s->lock);
        if (s->opens > 0)
            s->opens--;
        if (s->opens > 0)
            return;
    }
    wake(s);
}

void state_unmounted(struct state *s)
{
    {
        LOCK_SCOPE(&s->lock);
        s->opens = 0;
    }
    wake(s);
}

int state_end(struct state *s)
{
    LOCK_SCOPE(&s->lock);
    if (s->phase == STATE_STARTING)
        return -EAGAIN;
    if (s->ending)
        return -EALREADY;
    if (s->opens)
        return -EBUSY;
    s->ending = true;
    return 0;
}

int state_io_begin(struct state *s, struct state_io *io)
{
    io->since = clock_now();
    LOCK_SCOPE(&s->lock);
    if (s->phase != STATE_READY || s->ending)
        return -EIO;
    io->prev = s->ios.prev;
    io->next = &s->ios;
    io->prev->next = io;
    io->next->prev = io;
    s->inflight++;
    s->ios_ever++;
    return 0;
}

void state_io_end(struct state *s, struct state_io *io, bool unclean)
{
    LOCK_SCOPE(&s->lock);
    io->prev->next = io->next;
    io->next->prev = io->prev;
    s->last_end = clock_now();
    s->unclean |= unclean;
    if (--s->inflight == 0)
        pthread_cond_broadcast(&s->quiet);
}

void state_unclean(struct state *s)
{
    LOCK_SCOPE(&s->lock);
    s->unclean = true;
}

void state_wait_quiet(struct state *s)
{
    LOCK_SCOPE(&s->lock);
    while (s->inflight)
        pthread_cond_wait(&s->quiet, &s->lock);
}
