/* SPDX-License-Identifier: MIT */
/* The control connection: made and re-made in the background, lent to whoever has a question for the cluster.
 */
#pragma once

#include <rados/librados.h>
#include <time.h>

#include "base/clock.h"
#include "base/error.h"
#include "ceph/connection.h"

struct cluster;
struct cluster_link; /* one rados_t with its ioctxs; outlives its replacement until the last borrower is done
                      */

/* A pool and namespace to work in. io may be used from several threads; nobody changes its settings. */
struct place {
    struct cluster_link *link;
    rados_ioctx_t io;
};
#define PLACE_NONE                                                                                           \
    {                                                                                                        \
        NULL, NULL                                                                                           \
    }
#define auto_place CLEANUP(place_done)

/* Starts to connect; returns at once. pool and ns are what the health probe reads (one object, every few
 * seconds): the answer tells whether the cluster is there and whether this client has been blocklisted, in
 * which case a new one is made (a blocklisted rados_t is dead for good). The strings in opts must outlive it.
 * on_client (may be NULL) is told the address of each new client before it is lent to anybody. */
int cluster_start(const struct connection_options *opts, const char *pool, const char *ns,
                  void (*on_client)(void *arg, const char *address), void *arg, struct cluster **ret,
                  struct error *err);

/* Ends it. A connect that hangs is left behind after a second. NULL is fine. */
void cluster_stop(struct cluster *c);

/* Borrows a place, waiting for the connection and, for a pool not used before, for the monitors, until the
 * deadline (rados_ioctx_create of an unknown pool is bounded by nothing: it runs in a thread that can be left
 * behind). -ENODEV: there is no such pool. -ENOTCONN: no connection, and why. Never -ENOENT. */
int cluster_place(struct cluster *c, const char *pool, const char *ns, moment deadline, struct place *ret,
                  struct error *err);

/* Another reference to a borrowed place, for work that may outlive the first: place_done() for each. */
struct place place_again(const struct place *p);

/* Gives it back. Does nothing for PLACE_NONE. */
void place_done(struct place *p);

/* Fills err for a call of librados or librbd that failed with rc in this place: "<text>: <why>". A
 * blocklisted connection is replaced from now on. The code is rc, but -ENOENT becomes -ENODEV (what is not
 * there is not the volume: callers handle the -ENOENT that means that before they come here), -ESHUTDOWN
 * -ENOTCONN, -EACCES -EPERM. */
int place_error(const struct place *p, int rc, struct error *err, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* Is the pool of this place still there? Asks nobody while it is. -ENODEV: it was deleted since the place was
 * first lent; a pool made anew under its name is found by the next cluster_place(). */
int place_check_pool(const struct place *p, struct error *err);

enum cluster_state { CLUSTER_CONNECTING, CLUSTER_UP, CLUSTER_DOWN };

struct cluster_status {
    enum cluster_state state;
    char fsid[40];        /* "" until the first connection */
    time_t since;         /* of this state */
    char why[256];        /* of down and connecting */
    char no_fencing[256]; /* why clients cannot be fenced with this key; "": they can, or it is not known yet
                           */
};

/* Never blocks. */
void cluster_status(struct cluster *c, struct cluster_status *ret);
