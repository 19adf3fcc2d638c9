/* SPDX-License-Identifier: MIT */
#include "mapper/serve.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/clock.h"
#include "mapper/fuse.h"

/* Below this a payload is copied, so that the reading thread keeps its buffer; above, the buffer itself goes
 * with the I/O. */
#define COPY_MAX 65536u

#define RETRY_MS 10 /* when the kernel is short of memory */

/* A request that waits for the image. */
struct job {
    struct image_io io;
    struct serve *serve;
    uint64_t unique;
    char *buffer; /* from the pool, or NULL: the data is in small[] */
    char small[];
};

static void reply(const struct serve *s, uint64_t unique, int error, const void *data, size_t len)
{
    struct fuse_out_header head = { .unique = unique, .error = -error, .len = (uint32_t)(sizeof head + len) };
    struct iovec parts[] = {
        { .iov_base = &head, .iov_len = sizeof head },
        { .iov_base = (void *)(uintptr_t)data, .iov_len = len },
    };
    if (writev(s->fuse, parts, len ? 2 : 1) >= 0 || errno == ENOENT || errno == ENODEV || !len)
        return;
    /* Whoever waits for this would wait for ever. */
    head.error = -EIO;
    head.len = sizeof head;
    if (writev(s->fuse, parts, 1) < 0)
        return; /* and nothing is left to try */
}

static void job_end(struct job *j)
{
    buffers_give(j->serve->buffers, j->buffer);
    free(j);
}

static void job_done(struct image_io *io, int error)
{
    struct job *j = (struct job *)(void *)((char *)io - offsetof(struct job, io));
    if (error < 0) {
        reply(j->serve, j->unique, -error, NULL, 0);
    } else if (io->op == IMAGE_READ) {
        reply(j->serve, j->unique, 0, io->data, io->length);
    } else if (io->op == IMAGE_WRITE) {
        struct fuse_write_out out = { .size = (uint32_t)io->length };
        reply(j->serve, j->unique, 0, &out, sizeof out);
    } else {
        reply(j->serve, j->unique, 0, NULL, 0);
    }
    job_end(j);
}

static struct job *job_new(struct serve *s, const struct fuse_request *req, enum image_op op, uint64_t length,
                           size_t room)
{
    struct job *j = malloc(sizeof *j + room);
    if (!j)
        return NULL;
    j->io = (struct image_io){
        .op = op, .offset = req->offset, .length = length, .data = j->small, .done = job_done
    };
    j->serve = s;
    j->unique = req->unique;
    j->buffer = NULL;
    return j;
}

static void do_read(struct serve *s, const struct fuse_request *req)
{
    uint64_t size = atomic_load(&s->image->size);
    uint64_t left = req->offset < size ? size - req->offset : 0;
    uint64_t length = req->length < left ? req->length : left;
    if (!length) {
        reply(s, req->unique, 0, NULL, 0);
        return;
    }
    bool large = length > COPY_MAX;
    struct job *j = job_new(s, req, IMAGE_READ, length, large ? 0 : (size_t)length);
    if (j && large)
        j->io.data = j->buffer = buffers_take(s->buffers);
    if (!j || !j->io.data) {
        free(j);
        reply(s, req->unique, ENOMEM, NULL, 0);
        return;
    }
    image_submit(s->image, &j->io);
}

/* *buffer holds the request; a large one is given away with the I/O and another taken in its place. */
static void do_write(struct serve *s, const struct fuse_request *req, char **buffer)
{
    uint64_t size = atomic_load(&s->image->size);
    if (s->ro || req->offset > size || req->length > size - req->offset) {
        reply(s, req->unique, s->ro ? EROFS : EFBIG, NULL, 0);
        return;
    }
    if (!req->length) {
        struct fuse_write_out out = { .size = 0 };
        reply(s, req->unique, 0, &out, sizeof out);
        return;
    }
    bool large = req->length > COPY_MAX;
    struct job *j = job_new(s, req, IMAGE_WRITE, req->length, large ? 0 : (size_t)req->length);
    char *other = j && large ? buffers_take(s->buffers) : NULL;
    if (!j || (large && !other)) {
        free(j);
        reply(s, req->unique, ENOMEM, NULL, 0);
        return;
    }
    if (large) {
        j->io.data = *buffer + req->data;
        j->buffer = *buffer;
        *buffer = other;
    } else {
        memcpy(j->small, *buffer + req->data, req->length);
    }
    image_submit(s->image, &j->io);
}

static void do_flush(struct serve *s, const struct fuse_request *req)
{
    struct job *j = s->ro ? NULL : job_new(s, req, IMAGE_FLUSH, 0, 0);
    if (j)
        image_submit(s->image, &j->io);
    else
        reply(s, req->unique, s->ro ? 0 : ENOMEM, NULL, 0);
}

static void do_zero(struct serve *s, const struct fuse_request *req)
{
    uint64_t size = atomic_load(&s->image->size);
    uint64_t left = req->offset < size ? size - req->offset : 0;
    uint64_t length = req->length < left ? req->length : left;
    if (s->ro || !length) {
        reply(s, req->unique, s->ro ? EROFS : 0, NULL, 0);
        return;
    }
    struct job *j = job_new(s, req, IMAGE_ZERO, length, 0);
    if (j)
        image_submit(s->image, &j->io);
    else
        reply(s, req->unique, ENOMEM, NULL, 0);
}

static void do_open(struct serve *s, const struct fuse_request *req)
{
    struct fuse_open_out out;
    int others = s->ro && req->for_writing ? -EROFS : state_open(s->state);
    if (others < 0) {
        reply(s, req->unique, -others, NULL, 0);
        return;
    }
    /* Who looks what is on the image reads ahead. Never beside the loop device, or a writer: an open would
     * wait until their I/O has ended (fs/fuse/iomode.c). */
    fuse_open_fill(others == 0 && !req->for_writing, &out);
    reply(s, req->unique, 0, &out, sizeof out);
}

static void do_init(struct serve *s, const struct fuse_request *req)
{
    struct fuse_init_out out;
    int error = fuse_init_fill(req, &out);
    reply(s, req->unique, error, error ? NULL : &out, error ? 0 : sizeof out);
}

static void do_attr(struct serve *s, const struct fuse_request *req)
{
    struct fuse_attr_out out;
    uint64_t size = atomic_load(&s->image->size);
    if (req->wants == FUSE_WANTS_SETATTR && req->resizes && req->length != size) {
        reply(s, req->unique, EPERM, NULL, 0);
        return;
    }
    fuse_attr_fill(size, s->ro, &out);
    reply(s, req->unique, 0, &out, sizeof out);
}

static void do_statfs(struct serve *s, const struct fuse_request *req)
{
    struct fuse_statfs_out out;
    fuse_statfs_fill(atomic_load(&s->image->size), &out);
    reply(s, req->unique, 0, &out, sizeof out);
}

static void do_request(struct serve *s, const struct fuse_request *req, char **buffer)
{
    switch (req->wants) {
    case FUSE_WANTS_READ:
        do_read(s, req);
        break;
    case FUSE_WANTS_WRITE:
        do_write(s, req, buffer);
        break;
    case FUSE_WANTS_FLUSH:
        do_flush(s, req);
        break;
    case FUSE_WANTS_ZERO:
        do_zero(s, req);
        break;
    case FUSE_WANTS_OPEN:
        do_open(s, req);
        break;
    case FUSE_WANTS_RELEASE:
        state_release(s->state);
        reply(s, req->unique, 0, NULL, 0);
        break;
    case FUSE_WANTS_INIT:
        do_init(s, req);
        break;
    case FUSE_WANTS_ATTR:
    case FUSE_WANTS_SETATTR:
        do_attr(s, req);
        break;
    case FUSE_WANTS_STATFS:
        do_statfs(s, req);
        break;
    case FUSE_WANTS_SUCCESS:
        reply(s, req->unique, 0, NULL, 0);
        break;
    case FUSE_WANTS_ERROR:
        reply(s, req->unique, req->error, NULL, 0);
        break;
    case FUSE_WANTS_NOTHING:
        break;
    }
}

void serve_run(struct serve *s)
{
    char *buffer;
    while (!(buffer = buffers_take(s->buffers)))
        clock_pause_ms(RETRY_MS);
    for (;;) {
        struct fuse_request req;
        ssize_t n = read(s->fuse, buffer, BUFFER_SIZE);
        if (n >= 0) {
            if (fuse_request_decode(buffer, (size_t)n, &req) == 0)
                do_request(s, &req, &buffer);
        } else if (errno == ENOMEM) {
            clock_pause_ms(RETRY_MS);
        } else if (errno != EINTR && errno != EAGAIN &&
                   errno != ENOENT) { /* ENOENT: it was withdrawn meanwhile */
            break;
        }
    }
    buffers_give(s->buffers, buffer);
    state_unmounted(s->state);
}
