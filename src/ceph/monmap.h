/* SPDX-License-Identifier: MIT */
/* What a client that is not librados must be told to reach the cluster as this one: the kernel's. */
#pragma once

#include "ceph/cluster.h"

struct monmap {
    char fsid[40];
    /* The monitors' addresses, "10.0.0.1:3300,[fd00::1]:3300": of the messenger's version 2 and 1. NULL: not
     * all monitors have one. */
    char *v2, *v1;
};
#define auto_monmap CLEANUP(monmap_done)

/* What the monitors are, not what ceph.conf named once: asked of them, or not more than ten minutes ago over
 * the same connection. Who uses it needs one of them, and is told by it of the others. */
int monmap_read(const struct place *p, struct monmap *ret, struct error *err);
void monmap_done(struct monmap *m);

/* It was of no use: the next monmap_read() asks. */
void monmap_forget(void);

/* Reads `mon dump` as JSON. -EPROTO. */
int monmap_parse(const char *json, size_t len, struct monmap *ret, struct error *err);

/* A pool's number, by which the kernel names it. */
int64_t monmap_pool_id(const struct place *p);
