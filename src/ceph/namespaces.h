/* SPDX-License-Identifier: MIT */
/* The RADOS namespaces that `rbd namespace create` has made in a pool. */
#pragma once

#include "ceph/cluster.h"

/* Calls visit() with each of them; the default one, which every pool has, is not among them. p is in the
 * default namespace, where librbd keeps the list. A key that is limited to a namespace may not read it:
 * -EPERM. */
int namespaces_each(const struct place *p, void (*visit)(void *arg, const char *ns), void *arg,
                    struct error *err);

/* The same below a place, for who has none (doctor): librados' code. */
int namespaces_list(rados_ioctx_t io, void (*visit)(void *arg, const char *ns), void *arg);
