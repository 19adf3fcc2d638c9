/* SPDX-License-Identifier: MIT */
#include "ceph/namespaces.h"

#include <errno.h>
#include <rbd/librbd.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define FIRST_GUESS 4096 /* bytes */

int namespaces_each(const struct place *p, void (*visit)(void *arg, const char *ns), void *arg,
                    struct error *err)
{
    size_t size = FIRST_GUESS;
    auto_free char *names = NULL; /* each ends with its NUL */
    int rc;
    do {
        free(names);
        names = malloc(size);
        if (!names)
            return error_set(err, -ENOMEM, "out of memory");
        rc = rbd_namespace_list(p->io, names, &size); /* -ERANGE sets size to what is needed */
    } while (rc == -ERANGE);
    if (rc == -ENOENT)
        return 0;
    if (rc < 0)
        return place_error(p, rc, err, "cannot list the namespaces");
    for (const char *ns = names; ns < names + size; ns += strlen(ns) + 1)
        visit(arg, ns);
    return 0;
}
