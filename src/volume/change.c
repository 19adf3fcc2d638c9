/* SPDX-License-Identifier: MIT */
#include "volume/change.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "ceph/imagechange.h"
#include "volume/takeover.h"

#define CHANGE_MS 120000 /* of the mapping's client; it goes on for as long as the cluster takes */

int change_check(struct volume *v, const char *id, struct error *err)
{
    LOCK_SCOPE(&v->lock);
    if (v->lost)
        return error_set(err, -EIO, "its mapping on this host is lost; stop its container first");
    if (v->rung == RUNG_DETACHED && v->holders.n == 0)
        return 0;
    if (v->rung != RUNG_MOUNTED)
        return error_set(err, -EBUSY, "it is neither mounted nor free on this host%s%s; try again",
                         v->trouble.code ? ": " : "", v->trouble.code ? v->trouble.msg : "");
    if (strcmp(v->image_id, id) != 0)
        return error_set(err, -EBUSY, "the image that is mounted here has another name by now");
    if (!v->mapping.mapper->change)
        return error_set(err, -EBUSY,
                         "it is mapped by %s, which lets nobody change the image meanwhile; stop its "
                         "container, or use mapper=fuse",
                         v->mapping.mapper->name);
    return 1;
}

/* Nobody on this host has it; elsewhere, that is to be seen. */
static int change_free(struct volumes *e, struct volume *v, const struct place *p, const char *id,
                       const struct image_change *change, struct error *err)
{
    struct ctl ctl = { 0 };
    int rc = takeover_run(e, p, &v->name, id, NULL, NULL, &ctl, err);
    if (rc == -EBUSY) {
        struct error why = *err;
        return error_set(err, rc, "%s; do this on the host that uses it, or when nobody does", why.msg);
    }
    if (rc == 0)
        rc = ctl_check(p, &ctl, err);
    if (rc == 0)
        rc = image_change_free(p, id, change, err);
    ctl_drop(p, &ctl);
    return rc;
}

int change_run(struct volumes *e, struct volume *v, const struct place *p, const char *id,
               const struct image_change *change, struct error *err)
{
    int rc = change_check(v, id, err);
    if (rc == 1)
        return v->mapping.mapper->change(&v->mapping, change, clock_in_ms(CHANGE_MS), err);
    return rc < 0 ? rc : change_free(e, v, p, id, change, err);
}
