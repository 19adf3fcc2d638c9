/* SPDX-License-Identifier: MIT */
#include "ceph/blocklist.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/job.h"
#include "base/text.h"
#include "ceph/clustertime.h"
#include "ceph/moncommand.h"

#define FENCE_S     (30u * 24 * 3600)
#define FENCE_MIN_S (7L * 24 * 3600) /* of an entry that is read back, by the monitors' clock */
#define CAPS_HINT                                                                                            \
    "give it `mon 'profile rbd'`: `ceph auth caps` with that and all of its other caps (`ceph auth get`), "  \
    "which it replaces"

bool blocklist_address_ok(const char *address)
{
    uint32_t nonce;
    const char *slash = strrchr(address, '/');
    if (!slash || slash == address || text_parse_u32(slash + 1, UINT32_MAX, &nonce) < 0 || nonce == 0)
        return false;
    const char *colon = memrchr(address, ':', (size_t)(slash - address));
    return colon && colon > address && slash - colon > 1 &&
           strspn(colon + 1, "0123456789") == (size_t)(slash - colon - 1) && strpbrk(address, " ,\"") == NULL;
}

/* When the entry for this address ends, by the monitors' list; 0: it is not there. */
static time_t entry_until(const json_t *list, const char *address)
{
    size_t i;
    json_t *entry;
    json_array_foreach(list, i, entry)
    {
        const char *addr = json_string_value(json_object_get(entry, "addr"));
        const char *until = json_string_value(json_object_get(entry, "until"));
        if (!addr || !until || strcmp(addr, address) != 0)
            continue;
        return clustertime_parse(until);
    }
    return 0;
}

static int read_back(const struct place *p, const char *address, struct error *err)
{
    json_auto_t *list = NULL;
    int rc = moncommand(rados_ioctx_get_cluster(p->io),
                        "{\"prefix\":\"osd blocklist ls\",\"format\":\"json\"}", &list);
    if (rc < 0)
        return place_error(p, rc, err, "cannot read the cluster's blocklist");
    time_t until = entry_until(list, address), now;
    struct error ignored;
    if (clustertime(p, &now, &ignored) < 0)
        now = time(NULL);
    if (until - now >= FENCE_MIN_S)
        return 0;
    if (until == 0)
        return error_set(err, -EIO, "the cluster did not keep client %s on its blocklist", address);
    char when[32];
    clock_rfc3339(until, when, sizeof when);
    return error_set(
        err, -EBUSY,
        "client %s was put on the cluster's blocklist by somebody else, until %s: too short to be "
        "safe, and Ceph lengthens no entry; try again then, or after `ceph osd blocklist rm %s`, so that a "
        "lasting one is made first",
        address, when, address);
}

struct fencing {
    struct place place;
    char address[80];
};

static int fence(void *arg, struct error *err)
{
    struct fencing *f = arg;
    char address[sizeof f->address];
    (void)snprintf(address, sizeof address, "%s", f->address);
    rados_t rados = rados_ioctx_get_cluster(f->place.io);
    int rc = rados_blocklist_add(rados, address, FENCE_S);
    if (rc == -EACCES || rc == -EPERM)
        return error_set(err, -EPERM,
                         "cannot fence client %s: the cephx key may not blocklist clients; " CAPS_HINT,
                         address);
    if (rc < 0)
        return place_error(&f->place, rc, err, "cannot fence client %s", address);
    rc = read_back(&f->place, address, err);
    if (rc < 0)
        return rc;
    rc = rados_wait_for_latest_osdmap(rados);
    return rc < 0 ? place_error(&f->place, rc, err, "cannot fence client %s", address) : 0;
}

static void fencing_free(void *arg)
{
    struct fencing *f = arg;
    place_done(&f->place);
    free(f);
}

int blocklist_add(const struct place *p, const char *address, moment deadline, struct error *err)
{
    if (!blocklist_address_ok(address))
        return error_set(err, -EINVAL, "cannot fence '%s': it is not the address of one client", address);
    struct fencing *f = calloc(1, sizeof *f);
    if (!f)
        abort();
    f->place = place_again(p);
    (void)snprintf(f->address, sizeof f->address, "%s", address);
    /* rados_wait_for_latest_osdmap is bounded by nothing */
    int rc = job_run(fence, fencing_free, f, deadline, err);
    return rc == -EINPROGRESS
               ? error_set(err, -ETIMEDOUT, "cannot fence client %s: the monitors do not answer", address)
               : rc;
}

int blocklist_permitted(rados_t rados, struct error *err)
{
    /* The capability is looked at before the address, which is none, but of the form that `profile rbd`
     * allows. */
    int rc =
        moncommand(rados, "{\"prefix\":\"osd blocklist\",\"blocklistop\":\"add\",\"addr\":\"none/1\"}", NULL);
    if (rc == -EINVAL)
        return 0;
    if (rc == -EACCES || rc == -EPERM)
        return error_set(err, -EPERM,
                         "the cephx key may not blocklist clients, so a volume of a dead host cannot be "
                         "taken over; " CAPS_HINT);
    return error_set(err, rc < 0 ? rc : -EPROTO,
                     "cannot tell whether the cephx key may blocklist clients: %s",
                     rc < 0 ? error_text(rc) : "an unexpected answer");
}
