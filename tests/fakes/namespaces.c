/* SPDX-License-Identifier: MIT */
#include "ceph/namespaces.h"

#include <string.h>

#include "fakes/calls.h"
#include "fakes/world.h"

int namespaces_each(const struct place *p, void (*visit)(void *arg, const char *ns), void *arg,
                    struct error *err)
{
    int rc = fake_call("namespaces_each", fake_pool_of(p)->name, err);
    fake_lock();
    for (size_t i = 0; rc == 0 && i < FAKE_POOLS_MAX; i++)
        if (fake_pools[i].used && fake_pools[i].ns[0] &&
            strcmp(fake_pools[i].name, fake_pool_of(p)->name) == 0)
            visit(arg, fake_pools[i].ns);
    fake_unlock();
    return rc;
}
