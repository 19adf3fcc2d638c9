/* SPDX-License-Identifier: MIT */
#include "volume/ownership.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "ceph/imageadmin.h"
#include "volume/former.h"

/* Whose the managed lock is, by the record beside it. */
static enum owner_kind kind_of(struct volumes *e, const struct ownership *o, const struct owner_record *r,
                               bool recorded)
{
    if (recorded && strcmp(r->address, o->holder.address) == 0)
        return owner_is_self(r, &e->self) ? OWNER_SELF : OWNER_HOST;
    return former_has(e, o->holder.address) ? OWNER_SELF : OWNER_CLIENT;
}

/* The record tells of a client that is not the lock's: does that one still watch? */
static int look_at_former(const struct place *p, const char *id, const struct owner_record *r,
                          struct ownership *o, struct error *err)
{
    int rc = image_watched_by(p, id, r->address, err);
    o->former = *r;
    o->former_watches = rc == 1;
    return rc < 0 ? rc : 0;
}

int ownership_look(struct volumes *e, const struct place *p, const char *id, struct ownership *ret,
                   struct error *err)
{
    struct ownership o = { .kind = OWNER_NONE };
    struct owner_record r = { 0 };
    bool managed = false;
    int held = imagelock_image_holder(p, id, &o.holder, &managed, err);
    int recorded = held < 0 ? held : owner_read(p, id, &r, err);
    int rc = recorded < 0 ? recorded : 0;
    if (rc == 0 && held)
        o.kind = managed ? kind_of(e, &o, &r, recorded) : OWNER_BY_HAND;
    if (rc == 0 && (o.kind == OWNER_HOST ||
                    (o.kind == OWNER_SELF && recorded && strcmp(r.address, o.holder.address) == 0)))
        o.record = r;
    else if (rc == 0 && recorded)
        rc = look_at_former(p, id, &r, &o, err);
    if (rc == 0 && held) {
        rc = image_watched_by(p, id, o.holder.address, err);
        o.watches = rc == 1;
    }
    if (rc < 0)
        return rc;
    *ret = o;
    return 0;
}

bool ownership_same(const struct ownership *a, const struct ownership *b)
{
    return a->kind == b->kind && strcmp(a->holder.client, b->holder.client) == 0 &&
           strcmp(a->holder.cookie, b->holder.cookie) == 0 &&
           strcmp(a->holder.address, b->holder.address) == 0;
}

static const char *since(const struct ownership *o, char buf[static 40])
{
    char when[24];
    time_t t = owner_since(&o->record);
    buf[0] = '\0';
    if (t) {
        clock_rfc3339(t, when, sizeof when);
        (void)snprintf(buf, 40, ", since %s", when);
    }
    return buf;
}

const char *ownership_text(const struct ownership *o, char buf[static OWNERSHIP_TEXT_MAX])
{
    char when[40];
    const struct lock_holder *h = &o->holder;
    switch (o->kind) {
    case OWNER_NONE:
        (void)snprintf(buf, OWNERSHIP_TEXT_MAX, "nobody");
        break;
    case OWNER_BY_HAND:
        (void)snprintf(buf, OWNERSHIP_TEXT_MAX, "advisory lock '%.60s' of %s at %s", h->cookie, h->client,
                       h->address);
        break;
    case OWNER_SELF:
        (void)snprintf(buf, OWNERSHIP_TEXT_MAX, "this host's own earlier %s (%s at %s%s)",
                       o->record.mapping[0] ? "mapping" : "daemon", h->client, h->address, since(o, when));
        break;
    case OWNER_HOST:
        (void)snprintf(buf, OWNERSHIP_TEXT_MAX, "host %s (rbdvol instance %.64s, %s at %s%s)", o->record.host,
                       o->record.instance, h->client, h->address, since(o, when));
        break;
    case OWNER_CLIENT:
        (void)snprintf(buf, OWNERSHIP_TEXT_MAX, "another client, %s at %s, which is no rbdvol", h->client,
                       h->address);
        break;
    }
    text_printable(buf); /* what anybody may have written on the image: as JSON it would be no text at all */
    return buf;
}
