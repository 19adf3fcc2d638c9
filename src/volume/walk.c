/* SPDX-License-Identifier: MIT */
#include "volume/walk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "ceph/namespaces.h"

/* The namespaces of one pool that are not the configured one. */
struct others {
    const char *home;
    char (*names)[NAME_PART_MAX + 1];
    size_t n;
};

static void note(void *arg, const char *ns)
{
    struct others *o = arg;
    if (strcmp(ns, o->home) == 0 || strlen(ns) > NAME_PART_MAX) /* a longer one has no name here */
        return;
    o->names = reallocarray(o->names, o->n + 1, sizeof *o->names);
    if (!o->names)
        abort();
    (void)snprintf(o->names[o->n++], sizeof *o->names, "%s", ns);
}

static int visit_place(struct volumes *e, const struct image_name *where, walk_fn *visit, void *arg,
                       struct error *err)
{
    auto_place struct place p = PLACE_NONE;
    int rc = engine_place(e, where, &p, err);
    return rc < 0 ? rc : visit(arg, where, &p, err);
}

static int list_others(struct volumes *e, const char *pool, struct others *o, struct error *err)
{
    struct image_name where = { 0 };
    auto_place struct place p = PLACE_NONE;
    (void)snprintf(where.pool, sizeof where.pool, "%s", pool);
    int rc = engine_place(e, &where, &p, err);
    if (rc == 0)
        rc = namespaces_each(&p, note, o, err);
    return rc == -EPERM ? 0 : rc; /* a tenant's key: it has the one namespace */
}

static int walk(struct volumes *e, const char *pool, bool others, walk_fn *visit, void *arg,
                struct error *err)
{
    struct others o = { .home = e->settings->ns };
    struct image_name where = { 0 };
    (void)snprintf(where.pool, sizeof where.pool, "%s", pool);
    (void)snprintf(where.ns, sizeof where.ns, "%s", e->settings->ns);
    int rc = visit_place(e, &where, visit, arg, err);
    if (rc == 0 && others)
        rc = list_others(e, pool, &o, err);
    for (size_t i = 0; rc == 0 && i < o.n; i++) {
        memcpy(where.ns, o.names[i], sizeof where.ns);
        rc = visit_place(e, &where, visit, arg, err);
        if (rc != -EPERM)
            continue;
        log_debug("the key does not open namespace=%s/%s: %s", pool, where.ns, err->msg);
        rc = 0;
    }
    free(o.names);
    return rc;
}

int walk_pool(struct volumes *e, const char *pool, bool others, walk_fn *visit, void *arg, struct error *err)
{
    int rc = walk(e, pool, others, visit, arg, err);
    return rc < 0 ? error_prefix(err, "pool '%s'", pool) : 0;
}

int walk_pools(struct volumes *e, bool others, walk_fn *visit, void *arg, struct error *err)
{
    int rc = 0;
    for (unsigned i = 0; i < e->settings->npools && rc == 0; i++)
        rc = walk_pool(e, e->settings->pools[i], others, visit, arg, err);
    return rc;
}
