/* SPDX-License-Identifier: MIT */
#include "ceph/namespaces.h"

#include <errno.h>
#include <rbd/librbd.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define FIRST_GUESS 4096 /* bytes */

int namespaces_list(rados_ioctx_t io, void (*visit)(void *arg, const char *ns), void *arg)
{
    size_t size = FIRST_GUESS;
    auto_free char *names = NULL; /* each ends with its NUL */
    int rc;
    do {
        free(names);
        names = malloc(size);
        if (!names)
            return -ENOMEM;
        rc = rbd_namespace_list(io, names, &size); /* -ERANGE sets size to what is needed */
    } while (rc == -ERANGE);
    for (const char *ns = names; rc >= 0 && ns < names + size; ns += strlen(ns) + 1)
        visit(arg, ns);
    return rc == -ENOENT || rc > 0 ? 0 : rc;
}

int namespaces_each(const struct place *p, void (*visit)(void *arg, const char *ns), void *arg,
                    struct error *err)
{
    int rc = namespaces_list(p->io, visit, arg);
    return rc < 0 ? place_error(p, rc, err, "cannot list the namespaces") : 0;
}
