/* SPDX-License-Identifier: MIT */
/* What the engine's parts share. Private to the volume layer. */
#pragma once

#include "ceph/cluster.h"
#include "volume/registry.h"
#include "volume/volumes.h"

#define CLIENTS_MAX 64

struct volumes {
    const struct settings *settings;
    struct identity host;
    struct owner_self self;
    struct cluster *cluster;
    struct mapper_host mapper_host;
    char mount_root[PATH_MAX];  /* without symlinks, as mountinfo shows it */
    char run_dir[PATH_MAX];     /* STATE_DIR/map */
    char volumes_dir[PATH_MAX]; /* STATE_DIR/volumes */
    struct registry registry;
    struct watch *watch; /* over what is mapped (watch.h) */

    pthread_t keeper;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    bool stopping;
    bool keeper_started;
    moment check_owners_at; /* ownercheck.h */
    moment collect_at;      /* collector.h */
    unsigned collect_tries;
    bool recovered;                         /* the mappers of an earlier daemon have been looked for */
    char clients[CLIENTS_MAX][ADDRESS_MAX]; /* the control clients that this instance has been (former.h) */
    unsigned nclients, earlier;             /* all of them; those that are dead by now */
    unsigned driving;                       /* threads that work on, whoever began it */
    struct purge *purges;                   /* that wait for one of so many threads (purge.h) */
    unsigned purging;
    struct {
        char pool[NAME_PART_MAX + 1];
        unsigned n;
    } hidden[POOLS_MAX]; /* images that List left out, per configured pool */
};

/* The time by which one question to the cluster is answered, or given up. */
moment engine_ceph_deadline(const struct volumes *e);

/* Waits until the mappers of an earlier daemon have been looked for: a mapping that is being made meanwhile
 * would be taken for a dead one's leftovers. -EBUSY at the deadline. */
int engine_wait_recovered(struct volumes *e, moment deadline, struct error *err);

/* Around work that may outlive the request that began it: volumes_stop waits for it, and does not take the
 * engine away from under it. */
void engine_work_begins(struct volumes *e);
void engine_work_ends(struct volumes *e);

/* Has the collector come in a second, and again for a minute while there is something to purge. */
void engine_collect_soon(struct volumes *e);

/* A volume's mountpoint: mount-root/POOL[+NAMESPACE]/IMAGE. Returns buf. */
const char *engine_mountpoint(const struct volumes *e, const struct image_name *name,
                              char buf[static PATH_MAX]);

/* The file with the passphrase of an encrypted volume. Returns buf. */
const char *engine_key_file(const struct volumes *e, const struct spec *spec, char buf[static PATH_MAX]);

/* Borrows the place that the image is in. */
int engine_place(struct volumes *e, const struct image_name *name, struct place *ret, struct error *err);
