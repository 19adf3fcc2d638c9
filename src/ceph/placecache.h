/* SPDX-License-Identifier: MIT */
/* One connection and its ioctxs, reference counted: what cluster.c lends. */
#pragma once

#include <rados/librados.h>
#include <stdbool.h>

#include "base/clock.h"
#include "base/error.h"

struct cluster_link;

/* Takes the connection over; one reference. */
struct cluster_link *link_new(rados_t rados);
struct cluster_link *link_ref(struct cluster_link *link);

/* The last one destroys the ioctxs and shuts the connection down. */
void link_unref(struct cluster_link *link);

/* This connection has been blocklisted: it is not to be lent again. */
void link_condemn(struct cluster_link *link);
bool link_condemned(const struct cluster_link *link);

/* The ioctx of this pool and namespace, kept for as long as the link; errors as cluster_place(). */
int link_ioctx(struct cluster_link *link, const char *pool, const char *ns, moment deadline,
               rados_ioctx_t *ret, struct error *err);

/* The pool of this ioctx has been deleted: the next link_ioctx() opens the one that has its name then. The
 * ioctx itself stays for who has it. Returns -ENODEV and says which pool it is. */
int link_forget(struct cluster_link *link, rados_ioctx_t io, struct error *err);
