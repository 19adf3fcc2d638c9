/* SPDX-License-Identifier: MIT */
#include "volume/mapping.h"

#include <stdio.h>

#include "base/cleanup.h"
#include "ceph/monmap.h"
#include "ceph/secret.h"

int mapping_choose(const struct volumes *e, const struct volume *v, const struct mapper **ret, char *why,
                   size_t size, struct error *err)
{
    const struct mapper_image image = { .name = &v->name, .id = v->image_id, .features = v->facts.features };
    return mapper_choose(e->settings->mapper, &image, ret, why, size, err);
}

int mapping_make(struct volumes *e, const struct volume *v, const struct place *p,
                 const struct mapper *mapper, moment deadline, struct mapping *ret, struct error *err)
{
    char mountpoint[PATH_MAX];
    struct mapper_image image = { .name = &v->name,
                                  .id = v->image_id,
                                  .features = v->facts.features,
                                  .mountpoint = engine_mountpoint(e, &v->name, mountpoint) };
    if (!mapper->needs_cluster)
        return mapper->map(&e->mapper_host, &image, deadline, ret, err);
    auto_monmap struct monmap mons = { 0 };
    auto_secret struct secret key = { .len = 0 };
    int rc = monmap_read(p, &mons, err);
    if (rc == 0)
        rc = secret_read(p, e->settings->user, &key, err);
    if (rc < 0)
        return rc;
    struct mapper_cluster cluster = { .pool_id = monmap_pool_id(p),
                                      .v2 = mons.v2 ? mons.v2 : "",
                                      .v1 = mons.v1 ? mons.v1 : "",
                                      .key = key.bytes,
                                      .key_len = key.len };
    (void)snprintf(cluster.fsid, sizeof cluster.fsid, "%s", mons.fsid);
    image.cluster = &cluster;
    return mapper->map(&e->mapper_host, &image, deadline, ret, err);
}
