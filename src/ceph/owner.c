/* SPDX-License-Identifier: MIT */
#include "ceph/owner.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

#include "base/cleanup.h"

#define CTL_RENEW 10000 /* ms */
#define CTL_POLL  50    /* ms */

/* Copies up to the next '/' (or the end, for the last part). NULL: empty or too long. */
static const char *part(const char *from, char *to, size_t size, bool last)
{
    size_t n = last ? strlen(from) : strcspn(from, "/");
    if (n == 0 || n >= size || (!last && from[n] != '/'))
        return NULL;
    memcpy(to, from, n);
    to[n] = '\0';
    return from + n + (last ? 0 : 1);
}

int owner_parse(const char *cookie, struct owner_record *ret)
{
    struct owner_record r = { 0 };
    const char *p = cookie;
    if (!(p = part(p, r.host, sizeof r.host, false)) ||
        !(p = part(p, r.machine_id, sizeof r.machine_id, false)) ||
        !(p = part(p, r.boot_id, sizeof r.boot_id, false)) ||
        !(p = part(p, r.instance, sizeof r.instance, false)) ||
        !(p = part(p, r.mapping, sizeof r.mapping, false)) || !part(p, r.address, sizeof r.address, true))
        return -EINVAL;
    *ret = r;
    return 0;
}

bool owner_is_self(const struct owner_record *r, const struct owner_self *self)
{
    return strcmp(r->machine_id, self->host->machine_id) == 0 && strcmp(r->instance, self->instance) == 0;
}

time_t owner_since(const struct owner_record *r)
{
    return identity_stamped_time(r->mapping);
}

int owner_read(const struct place *p, const char *id, struct owner_record *ret, struct error *err)
{
    struct lock_holder h;
    int rc = imagelock_holder(p, id, OWNER_LOCK, &h, err);
    if (rc <= 0)
        return rc;
    if (owner_parse(h.cookie, ret) < 0)
        return 0;
    ret->holder = h;
    return 1;
}

static int set_lock(const struct place *p, const char *id, const char *lock, const char *cookie,
                    unsigned seconds, uint8_t flags)
{
    char object[IMAGE_ID_LEN + 16];
    struct timeval duration = { .tv_sec = seconds };
    return rados_lock_exclusive(p->io, image_header_object(id, object), lock, cookie, "",
                                seconds ? &duration : NULL, flags);
}

int owner_cookie(const struct owner_self *self, const char *mapping, const char *address,
                 char cookie[static LOCK_TEXT_MAX], struct error *err)
{
    int n = snprintf(cookie, LOCK_TEXT_MAX, "%s/%s/%s/%s/%s/%s", self->host->host, self->host->machine_id,
                     self->host->boot_id, self->instance, mapping, address);
    return n < LOCK_TEXT_MAX
               ? 0
               : error_set(err, -ENAMETOOLONG,
                           "host name '%s' and instance '%s' are too long together for the owner record",
                           self->host->host, self->instance);
}

int owner_write(const struct place *p, const char *id, const struct owner_self *self, const char *mapping,
                const char *address, struct error *err)
{
    char cookie[LOCK_TEXT_MAX];
    int n = owner_cookie(self, mapping, address, cookie, err);
    if (n < 0)
        return n;
    for (int tries = 0; tries < 3; tries++) {
        int rc = set_lock(p, id, OWNER_LOCK, cookie, 0, 0);
        if (rc == 0 || rc == -EEXIST)
            return 0;
        if (rc != -EBUSY)
            return place_error(p, rc, err, "cannot write the owner record");
        /* We hold the managed lock, so the record that is there is of an owner before us. */
        struct lock_holder h;
        rc = imagelock_holder(p, id, OWNER_LOCK, &h, err);
        if (rc == 1)
            rc = imagelock_break(p, id, OWNER_LOCK, &h, err);
        if (rc < 0)
            return rc;
    }
    return error_set(err, -EBUSY, "cannot write the owner record: another one keeps coming back");
}

int owner_forget(const struct place *p, const char *id, const struct owner_record *r, struct error *err)
{
    return imagelock_break(p, id, OWNER_LOCK, &r->holder, err);
}

int owner_remove(const struct place *p, const char *id, const struct owner_self *self, struct error *err)
{
    struct owner_record r;
    int rc = owner_read(p, id, &r, err);
    if (rc <= 0 || !owner_is_self(&r, self))
        return rc < 0 ? rc : 0;
    return owner_forget(p, id, &r, err);
}

/* What this process holds, or is about to take, by its cookies. */
static struct {
    pthread_mutex_t lock; /* a leaf */
    char (*cookies)[LOCK_TEXT_MAX];
    size_t n;
} held = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* With the lock held. */
static char *held_find(const char *cookie)
{
    for (size_t i = 0; i < held.n; i++)
        if (strcmp(held.cookies[i], cookie) == 0)
            return held.cookies[i];
    return NULL;
}

static bool held_has(const char *cookie)
{
    LOCK_SCOPE(&held.lock);
    return held_find(cookie) != NULL;
}

static void held_add(const char *cookie)
{
    LOCK_SCOPE(&held.lock);
    held.cookies = reallocarray(held.cookies, held.n + 1, sizeof *held.cookies);
    if (!held.cookies)
        abort();
    (void)snprintf(held.cookies[held.n++], sizeof *held.cookies, "%s", cookie);
}

static void held_remove(const char *cookie)
{
    LOCK_SCOPE(&held.lock);
    char *there = held_find(cookie);
    if (there)
        memmove(there, held.cookies[--held.n], sizeof *held.cookies);
}

/* The mutex is held by somebody: is it an earlier daemon of ours? Then takes it away. A host of another name
 * is not (machine ids get cloned with their machines), nor is another thread of this daemon (the collector
 * and a Create work without a volume's gate), as long as it is known to hold it: a request that was not
 * answered may have taken it all the same. */
static int clear_own_ctl(const struct place *p, const char *id, const struct owner_self *self,
                         struct owner_record *r, struct error *err)
{
    struct lock_holder h;
    int rc = imagelock_holder(p, id, CTL_LOCK, &h, err);
    if (rc <= 0)
        return rc;
    if (owner_parse(h.cookie, r) < 0 || !owner_is_self(r, self) || strcmp(r->host, self->host->host) != 0 ||
        held_has(h.cookie))
        return 0;
    return imagelock_break(p, id, CTL_LOCK, &h, err);
}

int ctl_holder(const struct place *p, const char *id, struct owner_record *ret, struct error *err)
{
    struct lock_holder h;
    int rc = imagelock_holder(p, id, CTL_LOCK, &h, err);
    return rc == 1 && owner_parse(h.cookie, ret) == 0 ? 1 : rc < 0 ? rc : 0;
}

/* Until the deadline. *before: it is ours since then at least. */
static int wait_for_ctl(const struct place *p, const char *id, const struct owner_self *self,
                        const char *cookie, moment deadline, moment *before, struct error *err)
{
    struct owner_record r = { .host = "another host" };
    for (;;) {
        *before = clock_now();
        int rc = set_lock(p, id, CTL_LOCK, cookie, CTL_SECONDS, 0);
        if (rc == 0 || rc == -EEXIST)
            return 0;
        if (rc != -EBUSY)
            return place_error(p, rc, err, "cannot take the control lock rbdvol.ctl");
        rc = clear_own_ctl(p, id, self, &r, err);
        if (rc < 0)
            return rc;
        if (clock_left_ms(deadline) == 0)
            return error_set(err, -EBUSY, "host %s is changing its state just now (control lock rbdvol.ctl)",
                             r.host);
        clock_pause_ms(CTL_POLL);
    }
}

void ctl_new(const char *id, const struct owner_self *self, struct ctl *ret)
{
    struct ctl c = { .renewed = clock_now() };
    char random[17];
    identity_random_hex(random, 8);
    (void)snprintf(c.id, sizeof c.id, "%s", id);
    (void)snprintf(c.cookie, sizeof c.cookie, "%s/%s/%s/%s/%s/-", self->host->host, self->host->machine_id,
                   self->host->boot_id, self->instance, random);
    held_add(c.cookie);
    *ret = c;
}

void ctl_forget(struct ctl *c)
{
    held_remove(c->cookie);
    c->held = false;
}

int ctl_take(const struct place *p, const char *id, const struct owner_self *self, moment deadline,
             struct ctl *ret, struct error *err)
{
    struct ctl c;
    ctl_new(id, self, &c);
    int rc = wait_for_ctl(p, id, self, c.cookie, deadline, &c.renewed, err);
    if (rc < 0) {
        ctl_forget(&c);
        return rc;
    }
    c.held = true;
    *ret = c;
    return 0;
}

int ctl_check(const struct place *p, struct ctl *c, struct error *err)
{
    int64_t age = clock_since_ms(c->renewed);
    if (age < CTL_RENEW)
        return 0;
    moment before = clock_now();
    int rc = set_lock(p, c->id, CTL_LOCK, c->cookie, CTL_SECONDS, LIBRADOS_LOCK_FLAG_MUST_RENEW);
    if (rc == -ENOENT || rc == -EBUSY) {
        ctl_forget(c);
        return error_set(err, -ESTALE,
                         "the control lock rbdvol.ctl lapsed in the middle of a step; try again");
    }
    if (rc < 0)
        return place_error(p, rc, err, "cannot renew the control lock rbdvol.ctl");
    c->renewed = before;
    return 0;
}

void ctl_drop(const struct place *p, struct ctl *c)
{
    char object[IMAGE_ID_LEN + 16];
    if (!c->held)
        return;
    (void)rados_unlock(p->io, image_header_object(c->id, object), CTL_LOCK, c->cookie);
    ctl_forget(c);
}
