/* SPDX-License-Identifier: MIT */
#include "mapper/presence.h"

#define LAPSE_S 30

/* Who notifies waits for all: an answer without words. */
static void on_notify(void *arg, uint64_t notify_id, uint64_t handle, uint64_t notifier, void *data,
                      size_t len)
{
    struct presence *p = arg;
    (void)notifier;
    (void)data;
    (void)len;
    (void)rados_notify_ack(p->pool, p->object, notify_id, handle, NULL, 0);
}

/* presence_renew sees it. */
static void on_error(void *arg, uint64_t handle, int rc)
{
    (void)arg;
    (void)handle;
    (void)rc;
}

static int watch(struct presence *p)
{
    int rc = rados_watch3(p->pool, p->object, &p->handle, on_notify, on_error, LAPSE_S, p);
    p->there = rc == 0;
    return rc;
}

int presence_start(struct presence *p, rados_ioctx_t pool, const char *id, struct error *err)
{
    p->pool = pool;
    (void)image_header_object(id, p->object);
    int rc = watch(p);
    return rc < 0 ? error_set(err, rc, "cannot show that image id %s is in use: %s", id, error_text(rc)) : 0;
}

void presence_renew(struct presence *p)
{
    if (p->there && rados_watch_check(p->pool, p->handle) >= 0)
        return;
    if (p->there)
        (void)rados_unwatch2(p->pool, p->handle);
    (void)watch(p);
}

void presence_end(struct presence *p)
{
    if (p->there)
        (void)rados_unwatch2(p->pool, p->handle);
    p->there = false;
}
