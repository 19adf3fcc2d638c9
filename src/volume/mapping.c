/* SPDX-License-Identifier: MIT */
#include "volume/mapping.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "ceph/imagelock.h"
#include "ceph/monmap.h"
#include "ceph/secret.h"
#include "host/loop.h"
#include "volume/engine.h"

/* *key_file is the caller's. */
static struct mapper_image image_of(const struct volumes *e, const struct volume *v,
                                    char key_file[static PATH_MAX])
{
    const struct spec *s = &v->spec;
    struct mapper_image image = {
        .name = &v->name, .id = v->image_id, .features = v->facts.features, .ro = s->snapshot
    };
    if (s->qos_iops || s->qos_bps)
        image.not_krbd = "the volume limits its I/O (qos-iops, qos-bps), which the kernel's driver cannot";
    if (s->encrypt[0]) {
        image.not_krbd = image.not_nbd =
            "the volume is encrypted, which only fuse is told the passphrase for";
        image.key_file = engine_key_file(e, s, key_file);
    }
    if (s->snapshot)
        image.not_krbd = image.not_nbd =
            "a snapshot may be mounted on many hosts, which only fuse leaves a trace of in the cluster";
    return image;
}

const char *mapping_blocks(const struct mapping *m)
{
    return m->file[0] ? m->file : m->device;
}

bool mapping_file(const struct volumes *e, const struct volume *v, char file[static PATH_MAX])
{
    return v->mapping.id[0] && snprintf(file, PATH_MAX, "%s/%s.img", e->run_dir, v->mapping.id) < PATH_MAX;
}

bool mapping_has_loop(const struct volumes *e, struct volume *v)
{
    char file[PATH_MAX];
    return mapping_file(e, v, file) && loop_named(file, &v->node) == 1;
}

static struct mapper_wish wish_of(const struct settings *s, const char *by_volume)
{
    return (struct mapper_wish){ .name = by_volume[0] ? by_volume : s->mapper,
                                 .fails_by_itself = s->io_stuck_action == STUCK_ERROR };
}

int mapping_choose(const struct volumes *e, const struct volume *v, const struct mapper **ret, char *why,
                   size_t size, struct error *err)
{
    char key_file[PATH_MAX];
    const struct mapper_image image = image_of(e, v, key_file);
    const struct mapper_wish wish = wish_of(e->settings, v->spec.mapper);
    return mapper_choose(&wish, &image, ret, why, size, err);
}

int mapping_choose_any(const struct settings *s, const struct mapper **ret, char *why, size_t size,
                       struct error *err)
{
    const struct mapper_wish wish = wish_of(s, "");
    return mapper_choose(&wish, NULL, ret, why, size, err);
}

/* Where the mapper cannot tell its client's address: nobody had the lock before, and now somebody does. */
static int fill_address(const struct place *p, const char *image_id, struct mapping *m, struct error *err)
{
    struct lock_holder h;
    bool managed = false;
    if (m->address[0] || m->ro)
        return 0;
    int rc = imagelock_image_holder(p, image_id, &h, &managed, err);
    if (rc == 0 || (rc == 1 && !managed))
        return error_set(err, -EIO, "%s has mapped it, but does not hold its lock", m->mapper->name);
    if (rc == 1)
        memcpy(m->address, h.address, sizeof m->address);
    return rc < 0 ? rc : 0;
}

int mapping_reattach(struct volumes *e, const struct volume *v, struct mapping *m, moment deadline,
                     struct error *err)
{
    char mountpoint[PATH_MAX], key_file[PATH_MAX];
    struct mapper_image image = image_of(e, v, key_file);
    image.mountpoint = engine_mountpoint(e, &v->name, mountpoint);
    return m->mapper->reattach(&e->mapper_host, &image, m, deadline, err);
}

int mapping_complete(const struct place *p, struct volume *v, struct error *err)
{
    struct mapping m = v->mapping;
    int rc = fill_address(p, v->image_id, &m, err);
    LOCK_SCOPE(&v->lock);
    memcpy(v->mapping.address, m.address, sizeof m.address);
    return rc;
}

void mapping_start_early(struct volumes *e, struct volume *v, const struct mapper *mapper)
{
    const struct spec *s = &v->spec; /* as it was when the volume was used last, if it was */
    if (!mapper->start_early || (s->mapper[0] && strcmp(s->mapper, mapper->name) != 0))
        return;
    mapping_drop_early(v);
    mapper->start_early(&e->mapper_host, &v->early);
    v->early.mapper = mapper;
}

void mapping_drop_early(struct volume *v)
{
    if (v->early.mapper)
        v->early.mapper->drop_early(&v->early);
    v->early.mapper = NULL;
}

int mapping_make(struct volumes *e, struct volume *v, const struct place *p, const struct mapper *mapper,
                 moment deadline, struct mapping *ret, struct error *err)
{
    char mountpoint[PATH_MAX], key_file[PATH_MAX];
    struct mapper_image image = image_of(e, v, key_file);
    image.mountpoint = engine_mountpoint(e, &v->name, mountpoint);
    image.early = v->early.mapper == mapper ? &v->early : NULL;
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
    rc = mapper->map(&e->mapper_host, &image, deadline, ret, err);
    if (rc < 0)
        monmap_forget();
    return rc;
}
