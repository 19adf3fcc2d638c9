/* SPDX-License-Identifier: MIT */
/* Who has an image: the lock on it, the owner record beside it, and the watch of the lock's client, looked at
 * without taking or leaving anything. */
#pragma once

#include "volume/engine.h"

enum owner_kind {
    OWNER_NONE,    /* the image's lock is free */
    OWNER_BY_HAND, /* an advisory lock: `rbd lock add`, another plugin */
    OWNER_SELF,    /* a client of this host and instance: a mapping, or an earlier daemon */
    OWNER_HOST,    /* another rbdvol's mapping */
    OWNER_CLIENT,  /* some other client's managed lock: qemu, krbd by hand, `rbd bench` */
};

struct ownership {
    enum owner_kind kind;
    struct lock_holder holder;  /* of the image's lock; empty for OWNER_NONE */
    struct owner_record record; /* of OWNER_SELF (mapping "": an earlier daemon) and OWNER_HOST */
    bool watches;               /* the lock's client has a watch: for a managed lock, no watch proves death */
    struct owner_record former; /* of a client that has no lock (any more); address "": there is none */
    bool former_watches;
};

/* Never takes or changes anything. 0, or could not ask. -ENOENT: the image is gone. */
int ownership_look(struct volumes *e, const struct place *p, const char *id, struct ownership *ret,
                   struct error *err);

/* The same owner, with the same lock? */
bool ownership_same(const struct ownership *a, const struct ownership *b);

#define OWNERSHIP_TEXT_MAX 320

/* "host web1 (rbdvol instance rbd, client.4122 at 10.0.0.1:0/123, since 2026-11-21T08:00:00Z)". Returns buf.
 */
const char *ownership_text(const struct ownership *o, char buf[static OWNERSHIP_TEXT_MAX]);
