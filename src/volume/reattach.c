/* SPDX-License-Identifier: MIT */
#include "volume/reattach.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "volume/lookup.h"
#include "volume/mapping.h"
#include "volume/takeover.h"

#define CTL_WAIT_MS 10000
#define ATTACH_MS   20000  /* within the 30 s that rbdvol.ctl lasts */
#define PATIENCE_MS 270000 /* the kernel fails what has waited for 300 s */

/* Whatever else had the image since has fenced and broken that lock: what is on the image is no longer what
 * this host's file system knows. */
static int check_ours(const struct volume *v, const struct ownership *o, struct error *err)
{
    const struct mapping *m = &v->mapping;
    if (o->kind == OWNER_SELF && strcmp(o->record.mapping, m->id) == 0 &&
        strcmp(o->record.address, o->holder.address) == 0 &&
        (!m->address[0] || strcmp(m->address, o->holder.address) == 0))
        return 0;
    return error_set(err, -ESTALE, "its lock was not its own any more");
}

/* Takes the lock away from the client that ended, which can write no more then. */
static int take(struct volumes *e, const struct volume *v, const struct place *p, struct ctl *ctl,
                struct error *err)
{
    struct ownership o;
    char id[IMAGE_ID_LEN + 1];
    int rc = takeover_await(e, p, &v->name, v->image_id, NULL, NULL, &o, err);
    if (rc == 0)
        rc = check_ours(v, &o, err);
    if (rc == 0)
        rc = ctl_take(p, v->image_id, &e->self, clock_in_ms(CTL_WAIT_MS), ctl, err);
    if (rc == 0)
        rc = lookup_image(p, v->name.image, id, err); /* rbd-nbd goes by the name */
    if (rc == 0 && strcmp(id, v->image_id) != 0)
        rc = error_set(err, -ESTALE, "another image has its name now");
    return rc < 0 ? rc : takeover_take(e, p, &v->name, v->image_id, &o, "its process has ended", ctl, err);
}

static int attach(struct volumes *e, struct volume *v, const struct place *p, struct ctl *ctl,
                  struct error *err)
{
    struct mapping m = v->mapping;
    int rc = ctl_check(p, ctl, err);
    if (rc == 0)
        rc = mapping_reattach(e, v, &m, clock_in_ms(ATTACH_MS), err);
    if (rc < 0)
        return rc;
    {
        LOCK_SCOPE(&v->lock);
        v->mapping = m;
    }
    rc = mapping_complete(p, v, err);
    return rc < 0 ? rc : owner_write(p, v->image_id, &e->self, m.id, v->mapping.address, err);
}

/* Could the cluster not be asked, or does it say no? */
static bool is_no(int rc)
{
    return rc == -EBUSY || rc == -ENOENT || rc == -ESTALE || rc == -EPERM;
}

int reattach_run(struct volumes *e, struct volume *v, struct error *err)
{
    char full[IMAGE_NAME_MAX + 1];
    auto_place struct place p = PLACE_NONE;
    struct ctl ctl = { 0 };
    moment since = v->orphaned;
    volume_says(v, "attaching again");
    int rc = engine_place(e, &v->name, &p, err);
    if (rc == 0)
        rc = take(e, v, &p, &ctl, err);
    if (rc < 0 && !is_no(rc) && clock_since_ms(since) < PATIENCE_MS)
        rc = err->code = -EAGAIN;
    if (rc == 0) {
        rc = attach(e, v, &p, &ctl, err);
        if (rc < 0)
            rc = err->code = -EIO; /* the lock that told whose it is has been broken */
    }
    ctl_drop(&p, &ctl);
    image_name_full(&v->name, full);
    if (rc == 0)
        log_notice("attached again volume=%s device=%s pid=%d ms=%lld: its mapping process had ended", full,
                   v->mapping.device, (int)v->mapping.pid, (long long)clock_since_ms(since));
    return rc;
}
