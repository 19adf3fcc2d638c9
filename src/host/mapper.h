/* SPDX-License-Identifier: MIT */
/* The ways to make an image usable by this kernel. */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/imagename.h"

#define MAPPING_ID_LEN 16
#define IMAGE_ID_MAX   64
#define ADDRESS_MAX    80

/* What a mapping is made of, the same for all volumes of this daemon. */
struct mapper_host {
    const char *instance; /* stands in the mapper's argv, so that a later daemon knows its own */
    const char *ceph_conf, *cluster, *user;
    int64_t connect_ms;  /* bound of the mapping client's connect */
    const char *run_dir; /* for sockets and FUSE files; exists, 0700 */
};

/* One mapped image. */
struct mapping {
    char id[MAPPING_ID_LEN + 1]; /* random, lower-case hex; names its files in run_dir */
    const struct mapper *mapper;
    struct image_name name;
    char image_id[IMAGE_ID_MAX + 1];
    pid_t pid;                 /* of the mapping process; 0 where the kernel maps */
    uint64_t pid_start;        /* its start time (host/procs.h): a pid alone is re-used */
    char address[ADDRESS_MAX]; /* ip:port/nonce of the client that holds the managed lock and does the I/O */
    char
        file[PATH_MAX]; /* the image as one regular file, to be put behind a loop device; "": device is set */
    char device[32];    /* the block device, where the mapper makes one itself */
    bool ro;
    int control; /* connection to the mapping process; -1: none */
};

enum mapping_state { MAPPING_READY, MAPPING_LOST, MAPPING_GONE };

struct mapping_health {
    enum mapping_state
        state; /* lost: fenced, or the lock is no longer ours: all its I/O fails; gone: the process ended */
    unsigned opens;     /* who has the file open: 1 while a loop device is on it */
    bool unclean;       /* a write failed: the lock must not be released */
    unsigned inflight;  /* I/O that Ceph has not answered yet */
    int64_t stalled_ms; /* how long the oldest of it has waited */
    char why[256];      /* of lost: a sentence */
};

struct mapper {
    const char *name; /* "fuse" */

    /* Can this host do it? 0, or the reason in err. */
    int (*probe)(struct error *err);

    /* Maps the image and holds its managed lock in EXCLUSIVE mode by the client that does the I/O. The caller
     * has looked that the image is free. 0: *ret is filled. -EBUSY: another client holds the lock;
     * -ETIMEDOUT: it was stopped (nothing had been written); others: why not. Nothing is left behind on
     * failure. */
    int (*map)(const struct mapper_host *host, const struct image_name *name, const char *image_id, bool ro,
               moment deadline, struct mapping *ret, struct error *err);

    /* Waits until nobody in any mount namespace has it open: the one proof that nobody can write any more.
     * -EBUSY: somebody still has it at the deadline. */
    int (*wait_closed)(struct mapping *m, moment deadline, struct error *err);

    /* Flushes, releases the lock, ends the mapping and removes its files. -EBUSY: still open. -EIO: its last
     * writes are not known to be on disk, so the mapping ended WITHOUT releasing the lock: the next taker
     * must fence. */
    int (*unmap)(struct mapping *m, moment deadline, struct error *err);

    int (*health)(struct mapping *m, struct mapping_health *ret, struct error *err);

    /* Calls found() for each mapping of this instance that is alive (connected again; found() may keep *m by
     * copying it, and then owns m->control; otherwise it returns false and the connection is closed), and
     * clears away what dead ones left in run_dir. Never waits for Ceph. */
    int (*find)(const struct mapper_host *host, bool (*found)(void *arg, const struct mapping *m), void *arg,
                struct error *err);
};

extern const struct mapper mapper_fuse;

/* The mapper of this name; "auto" is the first that this host can do. *why tells why, for `status` (static
 * storage or the caller's buffer of `size` bytes). -ENODEV: none can be used, and why. */
int mapper_choose(const char *name, const struct mapper **ret, char *why, size_t size, struct error *err);
