/* SPDX-License-Identifier: MIT */
#include "ceph/monmap.h"
#include "ceph/secret.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fakes/calls.h"

int monmap_read(const struct place *p, struct monmap *ret, struct error *err)
{
    (void)p;
    int rc = fake_call("monmap_read", "", err);
    if (rc < 0)
        return rc;
    *ret = (struct monmap){ .fsid = "00000000-0000-4000-8000-000000000001", .v1 = strdup("192.0.2.2:6789") };
    return 0;
}

void monmap_done(struct monmap *m)
{
    free(m->v2);
    free(m->v1);
}

void monmap_forget(void)
{
    (void)fake_call("monmap_forget", "", NULL);
}

int64_t monmap_pool_id(const struct place *p)
{
    (void)p;
    return 1;
}

int secret_read(const struct place *p, const char *user, struct secret *ret, struct error *err)
{
    (void)p;
    *ret = (struct secret){ .len = 0 };
    return fake_call("secret_read", user, err);
}

void secret_done(struct secret *s)
{
    (void)s;
}
