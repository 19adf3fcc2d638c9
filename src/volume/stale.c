/* SPDX-License-Identifier: MIT */
#include "volume/stale.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "host/procs.h"
#include "volume/drive.h"
#include "volume/lookup.h"
#include "volume/lost.h"
#include "volume/recover.h"
#include "volume/statefile.h"

#define OLD_S       600
#define RECOVERY_MS 10000
#define OLD_LOST_S  60 /* from Docker's Mount until its container has what was mounted, and some more */

/* Whose place it is to say that nobody uses the device. */
enum verdict { UNUSED, USED, UNKNOWN };

/* Looks through all mount namespaces: with the gate, since the device's number must not change meanwhile. */
static enum verdict look(struct volumes *e, struct volume *v, char *who, size_t size)
{
    char mountpoint[PATH_MAX];
    struct error err;
    if (v->lost && v->rung < RUNG_MAPPED)
        return UNUSED;
    if (v->lost && v->rung == RUNG_MAPPED) {
        int pinned = lost_check_unused(e, v, clock_now(), &err);
        (void)snprintf(who, size, "%s", pinned < 0 ? "a process that has the lost mount" : "");
        return pinned < 0 ? USED : UNUSED;
    }
    if (v->rung != RUNG_MOUNTED)
        return UNKNOWN;
    (void)engine_mountpoint(e, &v->name, mountpoint);
    /* Who is not known need be no container. */
    int rc = holders_find(&v->holders, HOLDER_UNKNOWN)
                 ? procs_pinning(v->node.major, v->node.minor, mountpoint, who, size)
                 : procs_mounted_elsewhere(v->node.major, v->node.minor, mountpoint, who, size);
    return rc == 0 ? UNUSED : rc == 1 ? USED : UNKNOWN;
}

static bool caller_gone(const struct holder *h)
{
    return h->peer != 0 && !procs_alive(h->peer, h->peer_start);
}

/* Who holds a lost volume had it before: that is over, whether Docker says so or not (a managed plugin that
 * was ended by force took its mounts along, and Docker's Unmounts found nobody). With the lock held. */
static bool is_stale(const struct volume *v, const struct holder *h)
{
    if (h->id[0] == '\0' || h->pending)
        return false;
    if (strcmp(h->id, HOLDER_UNKNOWN) == 0)
        return true;
    return caller_gone(h) || clock_boot_s() - h->begun > (v->lost ? OLD_LOST_S : OLD_S);
}

/* With the lock held. */
static void drop(struct volumes *e, struct volume *v, const char *id, const char *why)
{
    char name[HOLDER_ID_MAX + 1];
    (void)snprintf(name, sizeof name, "%s", id);
    while (holders_release(&v->holders, name))
        ;
    statefile_save(e, v);
    log_notice("dropped a holder pool=%s image=%s id=%.12s: %s", v->name.pool, v->name.image,
               name[0] ? name : "-", why);
}

static unsigned drop_stale(struct volumes *e, struct volume *v)
{
    unsigned dropped = 0;
    LOCK_SCOPE(&v->lock);
    for (size_t i = v->holders.n; i-- > 0;)
        if (is_stale(v, &v->holders.all[i])) {
            drop(e, v, v->holders.all[i].id, "no container has the volume mounted");
            dropped++;
        }
    return dropped;
}

unsigned stale_drop(struct volumes *e, struct volume *v)
{
    char who[160];
    struct error busy;
    /* A gate that is taken means that somebody works on the volume: then no holder is judged. After a start
     * it is taken for a moment, until it has been looked what there is. */
    moment until = recover_is_at(v) ? clock_in_ms(RECOVERY_MS) : clock_now();
    if (volume_gate_enter(v, "looking at", until, &busy) < 0)
        return 0;
    unsigned dropped = look(e, v, who, sizeof who) == UNUSED ? drop_stale(e, v) : 0;
    volume_gate_leave(v);
    return dropped;
}

bool stale_lives_on(struct volumes *e, struct volume *v, const char *id, moment deadline)
{
    char who[160];
    struct error busy;
    {
        LOCK_SCOPE(&v->lock);
        const struct holder *h = holders_find(&v->holders, id);
        if (!h || id[0] == '\0' || !caller_gone(h))
            return false;
    }
    if (volume_gate_enter(v, "looking at", deadline, &busy) < 0)
        return false;
    enum verdict verdict = look(e, v, who, sizeof who);
    volume_gate_leave(v);
    return verdict == USED;
}

/* With the lock held. */
static int release_one(struct volumes *e, struct volume *v, const char *id, bool force, enum verdict verdict,
                       const char *who, struct error *err)
{
    const struct holder *h = holders_find(&v->holders, id);
    if (!h)
        return error_set(err, -ENOENT, "not held on this host by %s",
                         id[0] ? "that ID" : "a caller without an ID");
    if (!force && id[0] == '\0')
        return error_set(
            err, -EBUSY,
            "whether a caller without an ID is done with it cannot be told: add --force if it is");
    if (!force && verdict == USED)
        return error_set(err, -EBUSY,
                         "it is mounted in the mount namespace of %s: add --force to release it all the same",
                         who);
    if (!force && !is_stale(v, h))
        return error_set(err, -EBUSY,
                         "its caller (pid %d) is alive and it is younger than %s: add --force to release "
                         "it all the same",
                         (int)h->peer, v->lost ? "a minute" : "ten minutes");
    drop(e, v, id, force ? "released by hand, by force" : "released by hand");
    return 1;
}

static int release_known(struct volumes *e, struct volume *v, const char *id, bool force, moment deadline,
                         unsigned *dropped, json_t **left, struct error *err)
{
    char who[160] = "";
    int rc = volume_gate_enter(v, "looking at", deadline, err);
    if (rc < 0)
        return rc;
    enum verdict verdict = look(e, v, who, sizeof who);
    if (!id) {
        *dropped = verdict == UNUSED ? drop_stale(e, v) : 0;
    } else {
        LOCK_SCOPE(&v->lock);
        rc = release_one(e, v, id, force, verdict, who, err);
        *dropped = rc == 1;
    }
    {
        LOCK_SCOPE(&v->lock);
        *left = holders_json(&v->holders, false);
    }
    drive_gate_leave(e, v);
    return rc < 0 ? rc : 0;
}

int release_holder(struct volumes *e, const char *text, const char *id, bool force, moment deadline,
                   unsigned *dropped, json_t **left, struct error *err)
{
    struct volume_name name;
    struct image_name image;
    char full[IMAGE_NAME_MAX + 1];
    int rc = name_parse(e->settings, text, &name, err);
    if (rc < 0)
        return rc;
    if (!id || !lookup_held(e, &name, id, &image))
        lookup_local(e, &name, &image);
    struct volume *v = registry_find(&e->registry, &image);
    if (!v)
        return error_set(err, -ENOENT, "cannot release '%s': nobody holds it on this host",
                         image_name_full(&image, full));
    *left = NULL;
    rc = release_known(e, v, id, force, deadline, dropped, left, err);
    registry_release(&e->registry, v);
    if (rc < 0) {
        json_decref(*left);
        return error_prefix(err, "cannot release '%s'", image_name_full(&image, full));
    }
    return 0;
}
