/* SPDX-License-Identifier: MIT */
/* The two records of ours beside an image's managed lock: who owns it (`rbdvol`), and who is changing its
 * state just now
 * (`rbdvol.ctl`). Both are RADOS locks on the header object. They protect no data: the managed lock does. */
#pragma once

#include <stdbool.h>

#include "base/identity.h"
#include "ceph/imagelock.h"

#define OWNER_LOCK  "rbdvol"
#define CTL_LOCK    "rbdvol.ctl"
#define CTL_SECONDS 30

/* Who a daemon is: this host, this boot, this instance. */
struct owner_self {
    const struct identity *host;
    const char *instance;
};

/* The owner record, as written in the lock's cookie: HOST/MACHINE-ID/BOOT-ID/INSTANCE/MAPPING/OWNER-ADDRESS.
 */
struct owner_record {
    char host[65];
    char machine_id[33];
    char boot_id[37];
    char instance[129];
    char mapping[33];
    char address[80];          /* of the client that held the managed lock when this was written */
    struct lock_holder holder; /* of the record itself: by this it is removed */
};

/* Parses a cookie. -EINVAL: not one of ours. */
int owner_parse(const char *cookie, struct owner_record *ret);

/* Same machine and same instance: this daemon or one before it. */
bool owner_is_self(const struct owner_record *r, const struct owner_self *self);

/* When the mapping was made; 0: the record does not tell. */
time_t owner_since(const struct owner_record *r);

/* 1: there is a record; 0: none (or an unreadable one, which counts as none); or could not ask. */
int owner_read(const struct place *p, const char *id, struct owner_record *ret, struct error *err);

/* Writes the record of a mapping whose client at `address` holds the managed lock; replaces a stale one. */
int owner_write(const struct place *p, const char *id, const struct owner_self *self, const char *mapping,
                const char *address, struct error *err);

/* The cookie of the record. -ENAMETOOLONG. */
int owner_cookie(const struct owner_self *self, const char *mapping, const char *address,
                 char cookie[static LOCK_TEXT_MAX], struct error *err);

/* Removes the record that was read, whose client has been fenced. Not there any more: success. */
int owner_forget(const struct place *p, const char *id, const struct owner_record *r, struct error *err);

/* Removes this host's and instance's record, whichever client of ours wrote it. Somebody else's stays. */
int owner_remove(const struct place *p, const char *id, const struct owner_self *self, struct error *err);

/* A held rbdvol.ctl: lapses by itself 30 s after the last renewal. */
struct ctl {
    bool held;
    char id[IMAGE_ID_LEN + 1];
    char cookie[LOCK_TEXT_MAX];
    moment renewed;
};

/* For who takes and drops it as a part of something larger. new: one that is not held yet, as of now, with a
 * cookie of its own, which this daemon knows for its own until it is dropped, or forgotten. forget: it is not
 * held (any more). */
void ctl_new(const char *id, const struct owner_self *self, struct ctl *ret);
void ctl_forget(struct ctl *c);

/* Takes the mutex, waiting until the deadline while another host, or another thread, has it. One that an
 * earlier daemon of this machine, host name and instance left is taken over at once (two such daemons cannot
 * run).
 * -EBUSY: names the host that has it. */
int ctl_take(const struct place *p, const char *id, const struct owner_self *self, moment deadline,
             struct ctl *ret, struct error *err);

/* Who has the mutex now? 1: *ret is filled (but for its address); 0: nobody, or one that is no rbdvol. */
int ctl_holder(const struct place *p, const char *id, struct owner_record *ret, struct error *err);

/* Before each step that changes something: still ours? Renews it when a third of its time is over.
 * -ESTALE: it lapsed, and another host may be at work. */
int ctl_check(const struct place *p, struct ctl *c, struct error *err);

/* Lets it go; best effort, since it lapses anyway. */
void ctl_drop(const struct place *p, struct ctl *c);
