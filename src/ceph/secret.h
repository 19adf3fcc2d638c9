/* SPDX-License-Identifier: MIT */
/* A user's cephx key, for a client that is not librados. Never logged, never part of a message; wiped after
 * use. */
#pragma once

#include "ceph/cluster.h"

#define SECRET_MAX 128 /* bytes; a cephx key of today has 28 */

struct secret {
    unsigned char bytes[SECRET_MAX]; /* as the kernel takes it: what base64 stands for */
    size_t len;                      /* 0: this client needs no key (auth_client_required = none) */
};
#define auto_secret CLEANUP(secret_done)

/* The key of client.USER from where this connection has it: `key`, `keyfile` or the first readable one of
 * `keyring` in ceph.conf. -ENODEV: none there; names where it looked. */
int secret_read(const struct place *p, const char *user, struct secret *ret, struct error *err);
void secret_done(struct secret *s);

/* The key in a keyring's text: 1 found, 0 not. */
int secret_parse(const char *keyring, const char *user, struct secret *ret);
