/* SPDX-License-Identifier: MIT */
/* Fencing: the cluster's blocklist of client instances, whose I/O no OSD takes any more. */
#pragma once

#include <stdbool.h>

#include "ceph/cluster.h"

/* Is this the exact address of one client instance, ip:port/nonce with a nonce that is not 0? An address
 * without one would fence every client of that host (seen with 16.2.15). */
bool blocklist_address_ok(const char *address);

/* Fences the client instance at `address` for 30 days, reads the entry back, and waits until this connection
 * has the OSD map with it: what it does from then on, every OSD does after it has the map, too. For 30 days,
 * since a write that was queued at the fenced client lands when the entry expires before it is sent (Ceph's
 * default is an hour). Bounded by the deadline, after which it may or may not be fenced. -EBUSY: somebody's
 * shorter entry is there, which Ceph does not lengthen: until when, and the way out; -EPERM: the key's
 * capabilities do not allow it; -EINVAL: not an exact address. */
int blocklist_add(const struct place *p, const char *address, moment deadline, struct error *err);

/* May this connection's key do that? Asks the monitors without changing anything: 0, -EPERM, or could not
 * ask. */
int blocklist_permitted(rados_t rados, struct error *err);
