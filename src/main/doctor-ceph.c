/* SPDX-License-Identifier: MIT */
/* The cluster: can it be reached, and may the key do what volumes need? */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/job.h"
#include "ceph/blocklist.h"
#include "ceph/checkup.h"
#include "main/doctor.h"

#define EXTRA_MS 20000
#define MEND_MAX (POOLS_MAX * (2 * NAME_PART_MAX + 40) + 500)

/* The questions that may hang, with a copy of what they need. */
struct questions {
    const struct settings *settings; /* outlives the process' last job */
    struct findings found;           /* under the lock of nobody: read only when the job is done */
};

static void overridden(void *arg, const char *option, const char *value)
{
    findings_add(arg, FINDING_WARNING, "ceph.conf", "take it out of the file unless another program needs it",
                 "it sets %s=%s; rbdvol overrides that, but `rbd` and qemu do not", option, value);
}

/* "a, b (not: c)" */
struct namespaces {
    char open[400], closed[400];
};

static void note_namespace(void *arg, const char *ns, bool open)
{
    struct namespaces *n = arg;
    char *to = open ? n->open : n->closed;
    size_t at = strlen(to);
    (void)snprintf(to + at, sizeof n->open - at, "%s%s", at ? ", " : "", ns);
}

/* Those of others are no problem. */
static void ask_namespaces(rados_t rados, const char *pool, struct findings *f)
{
    struct error err;
    struct namespaces n = { "", "" };
    if (checkup_namespaces(rados, pool, note_namespace, &n, &err) < 0)
        findings_add(f, FINDING_WARNING, "pool", "", "%s", err.msg);
    else if (n.open[0] || n.closed[0])
        findings_add(f, FINDING_OK, "pool", "", "namespaces of '%s' that the key opens: %s%s%s%s", pool,
                     n.open[0] ? n.open : "none", n.closed[0] ? " (not: " : "", n.closed,
                     n.closed[0] ? ")" : "");
}

/* `ceph auth caps` replaces all that a key may: the command has each pool that is configured, and tells that
 * what only the administrator knows of (data pools, other namespaces, other programs) has to stand there,
 * too. */
static void caps_mend(const struct settings *s, char mend[MEND_MAX])
{
    int at = snprintf(mend, MEND_MAX, "ceph auth caps client.%s mon 'profile rbd' osd '", s->user);
    for (unsigned i = 0; i < s->npools && at < MEND_MAX; i++)
        at += snprintf(mend + at, MEND_MAX - (size_t)at, "%sprofile rbd pool=%s%s%s", i ? ", " : "",
                       s->pools[i], *s->ns ? " namespace=" : "", s->ns);
    if (at < MEND_MAX)
        (void)snprintf(
            mend + at, MEND_MAX - (size_t)at,
            "' (this replaces all of its caps: add what else `ceph auth get client.%s` shows, such "
            "as data pools)",
            s->user);
}

static void pool_mend(const struct settings *s, const char *pool, int rc, char mend[MEND_MAX])
{
    if (rc == -ENODEV)
        (void)snprintf(mend, MEND_MAX, "ceph osd pool create %s && rbd pool init %s", pool, pool);
    else if (rc == -EPERM)
        caps_mend(s, mend);
    else
        (void)snprintf(mend, MEND_MAX,
                       "look at `ceph health detail`: OSDs that are down, PGs that are not active, a cluster "
                       "that is full or paused; and at the network to the OSDs");
}

static void ask_pools(rados_t rados, const struct settings *s, struct findings *f)
{
    struct error err;
    char mend[MEND_MAX];
    for (unsigned i = 0; i < s->npools; i++) {
        int rc = checkup_pool(rados, s->pools[i], s->ns, &err);
        if (rc < 0) {
            pool_mend(s, s->pools[i], rc, mend);
            findings_add(f, FINDING_PROBLEM, "pool", mend, "%s", err.msg);
            continue;
        }
        findings_add(f, FINDING_OK, "pool", "", "'%s' can be read, written and locked", s->pools[i]);
        ask_namespaces(rados, s->pools[i], f);
    }
}

static void ask_fencing(rados_t rados, const struct settings *s, struct findings *f)
{
    char mend[MEND_MAX];
    struct error err;
    int rc = blocklist_permitted(rados, &err);
    if (rc == -EPERM)
        caps_mend(s, mend);
    else
        (void)snprintf(mend, sizeof mend, "look at the monitors with `ceph -s`");
    if (rc < 0)
        findings_add(f, FINDING_PROBLEM, "fencing", mend, "%s", err.msg);
    else
        findings_add(f, FINDING_OK, "fencing", "", "the key may blocklist clients");
}

static int ask(void *arg, struct error *err)
{
    struct questions *q = arg;
    const struct settings *s = q->settings;
    const struct connection_options opts = {
        .conf = s->ceph_conf, .cluster = s->cluster, .user = s->user, .timeout_ms = s->ceph_timeout_ms
    };
    rados_t rados;
    if (checkup_conf(&opts, overridden, &q->found, err) < 0) {
        findings_add(&q->found, FINDING_PROBLEM, "ceph.conf", "name the file with the option ceph-conf", "%s",
                     err->msg);
        return 0;
    }
    if (connection_open(&opts, CONNECTION_CONTROL, &rados, err) < 0) {
        findings_add(&q->found, FINDING_PROBLEM, "cluster",
                     "check the monitors' addresses and the key: ceph -s --id USER -c CONF", "%s", err->msg);
        return 0;
    }
    findings_add(&q->found, FINDING_OK, "cluster", "", "client.%s is connected by %s", s->user, s->ceph_conf);
    ask_pools(rados, s, &q->found);
    ask_fencing(rados, s, &q->found);
    rados_shutdown(rados);
    return 0;
}

/* What was found is taken over by who waited in time; the process ends soon. */
static void keep(void *arg)
{
    (void)arg;
}

void doctor_ceph(const struct settings *s, struct findings *f)
{
    struct error err;
    struct questions *q = calloc(1, sizeof *q);
    if (!q)
        abort();
    q->settings = s;
    findings_init(&q->found);
    if (job_run(ask, keep, q, clock_in_ms(s->ceph_timeout_ms * 2 + EXTRA_MS), &err) < 0) {
        findings_add(f, FINDING_PROBLEM, "cluster", "look at it with `ceph -s`", "it does not answer: %s",
                     err.msg);
        return;
    }
    json_array_extend(f->list, q->found.list);
    f->warnings += q->found.warnings;
    f->problems += q->found.problems;
    findings_done(&q->found);
    free(q);
}
