/* SPDX-License-Identifier: MIT */
/* The RBD image: found, locked, read and written, flushed, let go. Knows nothing of FUSE. */
#pragma once

#include <rados/librados.h>
#include <rbd/librbd.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/passphrase.h"
#include "ceph/connection.h"
#include "mapper/presence.h"
#include "mapper/state.h"

struct image_options {
    struct connection_options connection;
    const char *pool, *ns, *name, *id;
    struct passphrase *key; /* len 0: it is not encrypted; wiped when it was used */
    bool ro;
    bool connected; /* `rados` is already */
};

struct image {
    const struct image_options *opts;
    struct state *state;
    rados_t rados;
    rados_ioctx_t pool;
    rbd_image_t rbd;
    struct presence presence;        /* of a read-only mapping */
    bool connected, in_pool, opened; /* how far the start came: what a failed one has to undo */
    char address[128];               /* of this client; complete before the state is "ready" */
    atomic_uint_fast64_t size;       /* grows when the image does, never shrinks */
};

/* Connects `rados` (from connection_prepare; given away), opens the image, checks that it is the one that was
 * asked for and that nothing in its settings undoes our safety, and takes its lock in EXCLUSIVE mode. Blocks
 * for as long as the cluster does. On failure nothing is left behind. -EBUSY: another client has the lock. */
int image_start(struct image *im, const struct image_options *opts, rados_t rados, struct state *state,
                struct error *err);

/* Undoes image_start while nothing has been written yet: releases the lock. */
void image_cancel(struct image *im);

enum image_op { IMAGE_READ, IMAGE_WRITE, IMAGE_FLUSH, IMAGE_ZERO };

/* One I/O; the caller keeps it and its data where they are until done() is called, from any thread. */
struct image_io {
    enum image_op op;
    uint64_t offset, length;                      /* within the size */
    char *data;                                   /* READ, WRITE: length bytes */
    void (*done)(struct image_io *io, int error); /* 0 or a negative errno that a file system understands */
    struct image *image;                          /* these two are set by image_submit */
    struct state_io track;
};

/* Calls io->done() exactly once, perhaps before it returns. */
void image_submit(struct image *im, struct image_io *io);

/* Is the lock still ours? Declares the mapping lost if not. Blocks while the cluster does. */
void image_check_owner(struct image *im);

/* Does a read-only mapping still show as a watcher? Blocks while the cluster does. */
void image_check_presence(struct image *im);

/* Looks whether the image has grown. Blocks while the cluster does. */
void image_check_size(struct image *im);

/* After state_end(), with no other thread in the image: waits for what is in flight, flushes, and, if every
 * write that was ever made is on disk, closes, which releases the lock. Anything else is -EIO, and the image
 * stays open: the process must then end without releasing, so that the next taker fences it. */
int image_finish(struct image *im, struct error *err);
