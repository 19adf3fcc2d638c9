/* SPDX-License-Identifier: MIT */
#include "ceph/cluster.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "ceph/clustertime.h"
#include "fakes/calls.h"
#include "fakes/world.h"

struct cluster {
    char nothing;
};

struct cluster_link {
    char nothing;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards the two below */
static enum fake_cluster state;
static int lent;
static struct cluster_link the_link;

void fake_cluster_set(enum fake_cluster now)
{
    LOCK_SCOPE(&lock);
    state = now;
}

int fake_places_lent(void)
{
    LOCK_SCOPE(&lock);
    return lent;
}

int cluster_start(const struct connection_options *opts, const char *pool, const char *ns,
                  void (*on_client)(void *arg, const char *address), void *arg, struct cluster **ret,
                  struct error *err)
{
    (void)opts;
    (void)on_client;
    (void)arg;
    (void)ns;
    int rc = fake_call("cluster_start", pool, err);
    if (rc < 0)
        return rc;
    *ret = calloc(1, sizeof **ret);
    return *ret ? 0 : error_set(err, -ENOMEM, "out of memory");
}

void cluster_stop(struct cluster *c)
{
    free(c);
}

int cluster_place(struct cluster *c, const char *pool, const char *ns, moment deadline, struct place *ret,
                  struct error *err)
{
    (void)c;
    (void)deadline;
    int rc = fake_call("cluster_place", pool, err);
    if (rc < 0)
        return rc;
    LOCK_SCOPE(&lock);
    if (state == FAKE_CLUSTER_DOWN)
        return error_set(err, -ENOTCONN, "cluster unreachable: no monitor answered");
    struct fake_pool *found = fake_pool_find(pool, ns);
    if (!found)
        return error_set(err, -ENODEV, "there is no pool '%s'", pool);
    lent++;
    *ret = (struct place){ &the_link, found };
    return 0;
}

struct place place_again(const struct place *p)
{
    LOCK_SCOPE(&lock);
    lent++;
    return *p;
}

void place_done(struct place *p)
{
    LOCK_SCOPE(&lock);
    if (p->link)
        lent--;
    *p = (struct place)PLACE_NONE;
}

int place_error(const struct place *p, int rc, struct error *err, const char *fmt, ...)
{
    char text[sizeof err->msg];
    va_list ap;
    (void)p;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return error_set(err,
                     rc == -ENOENT      ? -ENODEV
                     : rc == -ESHUTDOWN ? -ENOTCONN
                     : rc == -EACCES    ? -EPERM
                                        : rc,
                     "%s: %s", text, error_text(rc));
}

void cluster_status(struct cluster *c, struct cluster_status *ret)
{
    (void)c;
    LOCK_SCOPE(&lock);
    *ret = (struct cluster_status){ .state = state == FAKE_CLUSTER_UP ? CLUSTER_UP : CLUSTER_DOWN,
                                    .fsid = "7d0a9cd4-0000-4000-8000-000000000000",
                                    .since = 1700000000 };
    (void)snprintf(ret->why, sizeof ret->why, "%s", state == FAKE_CLUSTER_UP ? "" : "no monitor answered");
}

static time_t ahead;

void fake_clustertime_ahead(time_t seconds)
{
    ahead = seconds;
}

int clustertime(const struct place *p, time_t *ret, struct error *err)
{
    (void)p;
    int rc = fake_call("clustertime", "", err);
    if (rc == 0)
        *ret = time(NULL) + ahead;
    return rc;
}
