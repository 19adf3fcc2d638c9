/* SPDX-License-Identifier: MIT */
#include "ceph/checkup.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ceph/namespaces.h"

#define OBJECT "rbdvol.doctor"

/* With any other value than this, volumes would not be safe. */
static const struct {
    const char *option, *safe;
} dangerous[] = {
    { "rbd_blocklist_expire_seconds", "0" },
    { "rbd_blocklist_on_break_lock", "true" },
    { "rados_osd_op_timeout", "0" },
    { "rados_mon_op_timeout", "0" },
};

int checkup_conf(const struct connection_options *opts,
                 void (*found)(void *arg, const char *option, const char *value), void *arg,
                 struct error *err)
{
    rados_t rados;
    char value[64];
    int rc = rados_create2(&rados, opts->cluster, "client.doctor", 0);
    if (rc < 0)
        return error_set(err, rc, "cannot set up a Ceph client: %s", error_text(rc));
    rc = rados_conf_read_file(rados, opts->conf);
    if (rc < 0)
        (void)error_set(err, rc == -ENOENT ? -ENODEV : rc, "cannot read %s: %s", opts->conf, error_text(rc));
    for (size_t i = 0; rc == 0 && i < sizeof dangerous / sizeof *dangerous; i++)
        if (rados_conf_get(rados, dangerous[i].option, value, sizeof value) == 0 &&
            strcmp(value, dangerous[i].safe) != 0 &&
            strtod(value, NULL) + 0.0 != strtod(dangerous[i].safe, NULL))
            found(arg, dangerous[i].option, value);
    rados_shutdown(rados);
    return rc < 0 ? err->code : 0;
}

static int denied(int rc, const char *pool, const char *what, struct error *err)
{
    if (rc == -EPERM || rc == -EACCES)
        return error_set(err, -EPERM, "the key may not %s in pool '%s'", what, pool);
    return error_set(err, rc == -ENOENT ? -ENODEV : rc, "cannot %s in pool '%s': %s", what, pool,
                     error_text(rc));
}

static int try_all(rados_ioctx_t io, const char *pool, struct error *err)
{
    uint64_t size;
    time_t mtime;
    int rc = rados_stat(io, "rbd_directory", &size, &mtime);
    if (rc < 0 && rc != -ENOENT)
        return denied(rc, pool, "read", err);
    rc = rados_write_full(io, OBJECT, "", 0);
    if (rc < 0)
        return denied(rc, pool, "write", err);
    rc = rados_lock_exclusive(io, OBJECT, "doctor", "doctor", "", NULL, 0);
    if (rc == 0 || rc == -EBUSY || rc == -EEXIST)
        rc = 0;
    int removed = rados_remove(io, OBJECT);
    if (rc < 0)
        return denied(rc, pool, "take locks", err);
    return removed < 0 && removed != -ENOENT ? denied(removed, pool, "remove", err) : 0;
}

int checkup_pool(rados_t rados, const char *pool, const char *ns, struct error *err)
{
    rados_ioctx_t io;
    int rc = rados_ioctx_create(rados, pool, &io);
    if (rc == -ENOENT)
        return error_set(err, -ENODEV, "there is no pool '%s'", pool);
    if (rc < 0)
        return denied(rc, pool, "open anything", err);
    rados_ioctx_set_namespace(io, ns);
    rc = try_all(io, pool, err);
    rados_ioctx_destroy(io);
    return rc;
}

static bool may_read(rados_ioctx_t io, const char *ns)
{
    uint64_t size;
    time_t mtime;
    rados_ioctx_set_namespace(io, ns);
    int rc = rados_stat(io, "rbd_directory", &size, &mtime);
    return rc == 0 || rc == -ENOENT;
}

struct look {
    rados_ioctx_t io;
    void (*found)(void *arg, const char *ns, bool open);
    void *arg;
};

static void look(void *arg, const char *ns)
{
    const struct look *l = arg;
    l->found(l->arg, ns, may_read(l->io, ns));
}

int checkup_namespaces(rados_t rados, const char *pool, void (*found)(void *arg, const char *ns, bool open),
                       void *arg, struct error *err)
{
    struct look l = { .found = found, .arg = arg };
    int rc = rados_ioctx_create(rados, pool, &l.io);
    if (rc < 0)
        return denied(rc, pool, "open anything", err);
    rc = namespaces_list(l.io, look, &l);
    rados_ioctx_destroy(l.io);
    return rc < 0 && rc != -EPERM ? denied(rc, pool, "list the namespaces", err) : 0;
}
