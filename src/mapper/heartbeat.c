/* SPDX-License-Identifier: MIT */
#include "mapper/heartbeat.h"

#include <malloc.h>

#include "base/cleanup.h"
#include "base/clock.h"

#define BEAT_MS 5000

/* The image's header has changed. Called from within librbd: it must not ask anything here. */
static void on_update(void *arg)
{
    struct heartbeat *h = arg;
    LOCK_SCOPE(&h->lock);
    h->resized = true;
    pthread_cond_broadcast(&h->changed);
}

/* Waits for the next beat. False: stop. */
static bool wait_beat(struct heartbeat *h)
{
    struct timespec until = clock_spec(clock_in_ms(BEAT_MS));
    LOCK_SCOPE(&h->lock);
    while (!h->stop && pthread_cond_timedwait(&h->changed, &h->lock, &until) == 0)
        ;
    return !h->stop;
}

/* Waits for a change of the header. False: stop. */
static bool wait_resized(struct heartbeat *h)
{
    LOCK_SCOPE(&h->lock);
    while (!h->stop && !h->resized)
        pthread_cond_wait(&h->changed, &h->lock);
    h->resized = false;
    return !h->stop;
}

/* What a burst of I/O left behind in the heap goes back to the kernel once nothing moves any more. */
static void heap_trim(struct heartbeat *h)
{
    struct state_view v;
    state_view(h->image->state, &v);
    if (v.ios_ever == h->ios_seen && v.ios_ever != h->ios_trimmed) {
        (void)malloc_trim(0);
        h->ios_trimmed = v.ios_ever;
    }
    h->ios_seen = v.ios_ever;
}

static void *beat(void *arg)
{
    struct heartbeat *h = arg;
    while (wait_beat(h)) {
        if (!h->image->opts->ro)
            image_check_owner(h->image);
        else
            image_check_presence(h->image);
        buffers_trim(h->buffers);
        heap_trim(h);
    }
    return NULL;
}

static void end(struct heartbeat *h)
{
    LOCK_SCOPE(&h->lock);
    h->stop = true;
    pthread_cond_broadcast(&h->changed);
}

static void *follow(void *arg)
{
    struct heartbeat *h = arg;
    while (wait_resized(h))
        image_check_size(h->image);
    return NULL;
}

int heartbeat_start(struct heartbeat *h, struct image *im, struct buffers *buffers, struct error *err)
{
    *h = (struct heartbeat){ .image = im, .buffers = buffers };
    pthread_mutex_init(&h->lock, NULL);
    clock_cond_init(&h->changed);
    /* Without the watch a grown image shows its new size at the next mapping: no reason to fail. */
    h->watching = rbd_update_watch(im->rbd, &h->watch, on_update, h) == 0;
    int rc = -pthread_create(&h->beat, NULL, beat, h);
    if (rc == 0 && (rc = -pthread_create(&h->follow, NULL, follow, h)) < 0) {
        end(h);
        (void)pthread_join(h->beat, NULL);
    }
    return rc < 0 ? error_set(err, rc, "cannot start a thread: %s", error_text(rc)) : 0;
}

void heartbeat_stop(struct heartbeat *h)
{
    end(h);
    (void)pthread_join(h->beat, NULL);
    (void)pthread_join(h->follow, NULL);
    if (h->watching)
        (void)rbd_update_unwatch(h->image->rbd, h->watch);
}
