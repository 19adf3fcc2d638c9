/* SPDX-License-Identifier: MIT */
/* What `rbdvol doctor` asks of a cluster: is the configuration sound, may the key do all that is needed? */
#pragma once

#include <rados/librados.h>
#include <stdbool.h>

#include "ceph/connection.h"

/* Calls found() for each option of ceph.conf that would be dangerous if we did not override it. 0, or why the
 * file cannot be read. */
int checkup_conf(const struct connection_options *opts,
                 void (*found)(void *arg, const char *option, const char *value), void *arg,
                 struct error *err);

/* Reads and writes in the pool and namespace as volumes need it: an object rbdvol.doctor comes and goes.
 * -ENODEV: there is no such pool; -EPERM: the key may not. Unbounded while the monitors hang: run it in a
 * job. */
int checkup_pool(rados_t rados, const char *pool, const char *ns, struct error *err);

/* Calls found() for each namespace that was made in the pool: may the key read it? A key for one namespace
 * alone sees none. As unbounded as the last. */
int checkup_namespaces(rados_t rados, const char *pool, void (*found)(void *arg, const char *ns, bool open),
                       void *arg, struct error *err);
