/* SPDX-License-Identifier: MIT */
#include "ceph/imagefill.h"

#include <errno.h>
#include <pthread.h>
#include <rbd/librbd.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "ceph/luks.h"

#define FLIGHT_MAX 64

struct imagefill {
    struct place place; /* its link is kept by the caller for as long as this lives */
    rbd_image_t image;
    pthread_mutex_t lock; /* guards the two below; taken by librbd's threads in done() */
    pthread_cond_t landed;
    unsigned flying;
    int failed; /* the first write's error */
};

struct flight {
    struct imagefill *fill;
    char bytes[];
};

int imagefill_open(const struct place *p, const char *name, struct imagefill **ret, struct error *err)
{
    rbd_image_t image;
    int rc = rbd_open(p->io, name, &image, NULL);
    if (rc < 0)
        return place_error(p, rc, err, "cannot open the new image");
    rc = rbd_lock_acquire(image, RBD_LOCK_MODE_EXCLUSIVE);
    if (rc < 0) {
        (void)rbd_close(image);
        return rc == -EROFS ? error_set(err, -EBUSY, "another client has locked the new image")
                            : place_error(p, rc, err, "cannot lock the new image");
    }
    struct imagefill *f = calloc(1, sizeof *f);
    if (!f)
        abort();
    f->place = *p;
    f->image = image;
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->landed, NULL);
    *ret = f;
    return 0;
}

static void done(rbd_completion_t completion, void *arg)
{
    struct flight *flight = arg;
    struct imagefill *f = flight->fill;
    ssize_t rc = rbd_aio_get_return_value(completion);
    rbd_aio_release(completion);
    free(flight);
    LOCK_SCOPE(&f->lock);
    if (rc < 0 && f->failed == 0)
        f->failed = (int)rc;
    f->flying--;
    pthread_cond_broadcast(&f->landed);
}

/* Waits until at most `most` writes are in flight. */
static int wait_for(struct imagefill *f, unsigned most, struct error *err)
{
    int failed;
    {
        LOCK_SCOPE(&f->lock);
        while (f->flying > most)
            pthread_cond_wait(&f->landed, &f->lock); /* ends: the connection has an operation time-out */
        failed = f->failed;
    }
    return failed < 0 ? place_error(&f->place, failed, err, "cannot write to the new image") : 0;
}

int imagefill_write(struct imagefill *f, const char *bytes, size_t len, uint64_t offset, struct error *err)
{
    rbd_completion_t completion;
    int rc = wait_for(f, FLIGHT_MAX - 1, err);
    if (rc < 0)
        return rc;
    struct flight *flight = malloc(sizeof *flight + len);
    if (!flight)
        abort();
    flight->fill = f;
    memcpy(flight->bytes, bytes, len);
    rc = rbd_aio_create_completion(flight, done, &completion);
    if (rc == 0) {
        pthread_mutex_lock(&f->lock);
        f->flying++;
        pthread_mutex_unlock(&f->lock);
        rc = rbd_aio_write(f->image, offset, len, flight->bytes, completion);
        if (rc == 0)
            return 0;
        rbd_aio_release(completion);
        pthread_mutex_lock(&f->lock);
        f->flying--;
        pthread_mutex_unlock(&f->lock);
    }
    free(flight);
    return place_error(&f->place, rc, err, "cannot write to the new image");
}

int imagefill_finish(struct imagefill *f, struct error *err)
{
    int rc = wait_for(f, 0, err);
    if (rc < 0)
        return rc;
    rc = rbd_flush(f->image);
    return rc < 0 ? place_error(&f->place, rc, err, "cannot flush the new image") : 0;
}

void imagefill_close(struct imagefill *f)
{
    struct error ignored;
    if (!f)
        return;
    (void)wait_for(f, 0, &ignored);
    (void)rbd_close(f->image);
    pthread_cond_destroy(&f->landed);
    pthread_mutex_destroy(&f->lock);
    free(f);
}

int imagefill_encrypt(struct imagefill *f, const struct passphrase *key, uint64_t *room, struct error *err)
{
    int rc = luks_format(f->image, key, err); /* which loads it, too */
    if (rc < 0)
        return rc;
    rc = rbd_get_size(f->image, room);
    return rc < 0 ? place_error(&f->place, rc, err, "cannot ask the new image for its size") : 0;
}

int imagefill_grow(struct imagefill *f, uint64_t size, struct error *err)
{
    int rc = rbd_resize2(f->image, size, false, NULL, NULL);
    return rc < 0 ? place_error(&f->place, rc, err, "cannot grow the new image") : 0;
}
