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
#include "base/identity.h"
#include "base/imagechange.h"
#include "base/imagename.h"
#include "host/device.h"

#define MAPPING_ID_LEN STAMPED_ID_LEN
#define IMAGE_ID_MAX   64
#define ADDRESS_MAX    80

/* What a mapping is made of, the same for all volumes of this daemon. */
struct mapper_host {
    const char *instance; /* stands in the mapper's argv, so that a later daemon knows its own */
    const char *ceph_conf, *cluster, *user;
    int64_t connect_ms;      /* bound of the mapping client's connect */
    const char *run_dir;     /* for sockets, FUSE files and records; exists, 0700 */
    bool spare;              /* a mapping process waits for the next image */
    const char *map_options; /* the operator's, for krbd and rbd-nbd: words joined by commas; "": none */
};

/* What a mapper that does not read ceph.conf itself must be told about the cluster. The strings and the key
 * are the caller's. */
struct mapper_cluster {
    char fsid[40];
    int64_t pool_id;
    const char *v2, *v1;      /* the monitors' addresses per protocol, joined by commas; "": some have none */
    const unsigned char *key; /* the user's cephx key, binary: never in argv, files or messages */
    size_t key_len;           /* 0: the cluster takes clients without a key */
};

/* A process that was started for a mapping before its image was known, and waits for that. */
struct mapper_early {
    const struct mapper *mapper; /* said by the engine: whose it is; NULL: there is none */
    pid_t pid;                   /* 0: there is none (any more) */
    int channel;                 /* closing it is how it is told that it is not needed */
    struct timespec conf_time;   /* of the ceph.conf that it reads */
};

/* What is to be mapped. */
struct mapper_image {
    const struct image_name *name;
    const char *id;
    uint64_t features;              /* bits of RBD_FEATURE_* */
    bool ro;                        /* nobody writes it, so there is no lock; its client shows as a watcher */
    const char *key_file;           /* with its passphrase; NULL: it is not encrypted */
    const char *not_krbd, *not_nbd; /* NULL, or why these must not map it */
    const char *mountpoint; /* where it is going to be mounted: at shutdown the mapping outlives that; NULL:
                               not known */
    const struct mapper_cluster *cluster; /* NULL, where the mapper does not need it */
    struct mapper_early *early;           /* map() may take it; NULL: nothing was started */
};

/* One mapped image. */
struct mapping {
    char id[MAPPING_ID_LEN + 1]; /* identity_stamped_id(); names its files in run_dir */
    const struct mapper *mapper;
    struct image_name name;
    char image_id[IMAGE_ID_MAX + 1];
    pid_t pid;                 /* of the mapping process; 0 where the kernel maps */
    uint64_t pid_start;        /* its start time (host/procs.h): a pid alone is re-used */
    char address[ADDRESS_MAX]; /* ip:port/nonce of the client that holds the managed lock and does the I/O;
                                  "": the mapper cannot tell, the lock can */
    char
        file[PATH_MAX]; /* the image as one regular file, to be put behind a loop device; "": device is set */
    char device[32];    /* the block device, where the mapper makes one itself */
    bool ro;
    bool fenced; /* said by the engine: the cluster lets its client write no more, so that it may be unmapped
                    by force */
    bool going;  /* said by unmap(), also by one that failed: it has been told to end, and shows the image no
                    more; nothing can be done with it but unmap() again */
    int control; /* connection to the mapping process; -1: none */
};

enum mapping_state { MAPPING_READY, MAPPING_LOST, MAPPING_GONE };

struct mapping_health {
    enum mapping_state
        state; /* lost: fenced, or the lock is no longer ours: all its I/O fails; gone: the process ended */
    unsigned opens;     /* who has the file open: 1 while a loop device is on it */
    bool unclean;       /* a write failed: the lock must not be released */
    unsigned inflight;  /* I/O that Ceph has not answered yet */
    int64_t stalled_ms; /* for so long there has been such I/O, and none of it was answered */
    bool counted;       /* stalled_ms is not known, but how much I/O was answered in all: */
    uint64_t answered;  /* whoever asks again and again sees for how long that has not grown */
    char why[256];      /* of lost: a sentence */
};

struct mapper {
    const char *name;   /* "fuse" */
    bool needs_cluster; /* map() must be told about it */

    /* Can this host do it, and (image not NULL) this image? 0, or the reason in err. Cheap: asked for each
     * Mount. */
    int (*probe)(const struct mapper_image *image, struct error *err);

    /* Maps the image and holds its managed lock in EXCLUSIVE mode by the client that does the I/O. The caller
     * has looked that the image is free. 0: *ret is filled. -EBUSY: another client holds the lock;
     * -ETIMEDOUT: it was stopped (nothing had been written); others: why not. Nothing is left behind on
     * failure. */
    int (*map)(const struct mapper_host *host, const struct mapper_image *image, moment deadline,
               struct mapping *ret, struct error *err);

    /* Is this device, which somebody holds open, (still) the mapping's? Device numbers are re-used. NULL:
     * who opened it has made sure. -ENODEV: it is not. */
    int (*verify)(const struct mapping *m, const struct device_node *node, struct error *err);

    /* Waits until nobody in any mount namespace has it open: the one proof that nobody can write any more.
     * -EBUSY: somebody still has it at the deadline; others: could not look. NULL: unmap() refuses what is
     * open, since the kernel counts. */
    int (*wait_closed)(struct mapping *m, moment deadline, struct error *err);

    /* Flushes, releases the lock, ends the mapping and removes its files. -EBUSY: still open. -EIO: its last
     * writes are not known to be on disk, so the mapping ended WITHOUT releasing the lock: the next taker
     * must fence. */
    int (*unmap)(const struct mapper_host *host, struct mapping *m, moment deadline, struct error *err);

    /* After an unmap() that gave 0 or -EIO: waits for what is still ending of it, and has nothing left to do.
     * -ETIMEDOUT. NULL: nothing is. */
    int (*await_end)(const struct mapping *m, moment deadline);

    /* Is a mapping of this id alive on this host, whoever knows of it? Asks the kernel, not our own table. */
    bool (*alive)(const struct mapper_host *host, const char *id);

    int (*health)(struct mapping *m, struct mapping_health *ret, struct error *err);

    /* Lets the mapping client, which has the lock, change the image while it is in use. -ETIMEDOUT: it may
     * still be at it; others as in base/imagechange.h. NULL: this mapper's client cannot. */
    int (*change)(struct mapping *m, const struct image_change *change, moment deadline, struct error *err);

    /* The same without waiting, for many mappings at a time, over `control` (a duplicate of the mapping's, on
     * which poll(2) tells when there is something to hear). NULL where there is no process behind a mapping:
     * then health() asks the kernel, which answers at once.
     * ask: sends the question. 0, or it could not be sent.
     * hear: takes what has come, which may be news that nobody asked for. 1: *ret is filled; 0: nothing that
     * tells of its health; -EPIPE: the process has ended. */
    int (*ask)(int control);
    int (*hear)(int control, struct mapping_health *ret);

    /* Fails all I/O of the mapping, that which is in flight too, now and for good, without the cluster: who
     * waits for it gets an error. Its lock stays where it is. Again: success. NULL: it cannot be done. */
    int (*fail)(const struct mapping *m, struct error *err);

    /* The mapping's process has ended. waits: does its device, and all I/O on it, wait for another one?
     * reattach: starts that, as a client that takes the managed lock. The caller has made sure that nobody
     * else had the image meanwhile, and has fenced the client that ended. 0: *m has the new process, and no
     * address; -ETIMEDOUT and others: it was stopped. Both NULL: no device does. */
    bool (*waits)(const struct mapping *m);
    int (*reattach)(const struct mapper_host *host, const struct mapper_image *image, struct mapping *m,
                    moment deadline, struct error *err);

    /* Calls found() for each mapping of this instance that is alive, or whose device waits() (connected
     * again, unless its process does not let itself be reached; found() may keep *m by copying it, and then
     * owns m->control; otherwise it returns false and the connection is closed), and clears away what dead
     * ones left in run_dir. Never waits for Ceph. */
    int (*find)(const struct mapper_host *host, bool (*found)(void *arg, const struct mapping *m), void *arg,
                struct error *err);

    /* Looks again for a mapping that find() could not tell enough of, though it is alive(). 1: *ret is
     * filled, as by find(); 0: not now. */
    int (*find_one)(const struct mapper_host *host, const char *id, struct mapping *ret);

    /* Connects to the process of a mapping that was found without a connection; does not wait. The
     * descriptor, or negative: not now. NULL: there is no process that is listened to. */
    int (*connect)(const struct mapping *m);

    /* Gets ready for the next map(), as far as the host wants that; asked for again and again while the
     * cluster is there. NULL: there is nothing to get ready. */
    void (*prepare)(const struct mapper_host *host);

    /* Starts what the map() of any image is going to take a while for, so that this goes on while the image
     * is looked at; the cluster is not asked anything. When it fails, map() does it. drop_early: what no
     * map() has taken ends; again, or of none: nothing happens. Both NULL: there is nothing of the kind. */
    void (*start_early)(const struct mapper_host *host, struct mapper_early *ret);
    void (*drop_early)(struct mapper_early *early);
};

extern const struct mapper mapper_krbd, mapper_nbd, mapper_fuse;

/* Which one is asked for. */
struct mapper_wish {
    const char *name;     /* "auto", or a mapper's */
    bool fails_by_itself; /* `auto` is to take one that can end its I/O without the cluster */
};

/* The mapper that is wished for this image (NULL: for any that it may be asked for); "auto" is the first that
 * this host and the image's features allow. *why tells why it is this one (the caller's buffer of `size`
 * bytes). -ENODEV: none can be used, and why. Nothing is remembered: a module that is loaded later counts. */
int mapper_choose(const struct mapper_wish *wish, const struct mapper_image *image, const struct mapper **ret,
                  char *why, size_t size, struct error *err);

/* The mapper that has this name, whether it can be used or not. NULL: there is none. */
const struct mapper *mapper_named(const char *name);

/* Words of map-options that a mapper knows, and that cost no safety? -EINVAL names the first that is none. */
int mapper_check_options(const char *words, struct error *err);

/* find() of all mappers: what an earlier daemon has mapped, by whatever it used. */
int mapper_find(const struct mapper_host *host, bool (*found)(void *arg, const struct mapping *m), void *arg,
                struct error *err);

/* Is a mapping of this id alive on this host, by whichever mapper it was made? */
bool mapper_alive(const struct mapper_host *host, const char *id);
