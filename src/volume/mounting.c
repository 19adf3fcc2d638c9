/* SPDX-License-Identifier: MIT */
#include "volume/mounting.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "host/mountinfo.h"
#include "host/procs.h"
#include "volume/drive.h"
#include "volume/lookup.h"
#include "volume/stale.h"
#include "volume/statefile.h"

#define LOOK_MS 250 /* how often a waiting request looks whether its caller is still there */

struct grant {
    struct volume *volume;
    char id[HOLDER_ID_MAX + 1];
};

/* Waits for a change, a moment at most, and for nothing when the deadline is over: then false. With the lock
 * held. */
static bool wait_a_moment(struct volume *v, moment deadline)
{
    moment slice = clock_in_ms(LOOK_MS);
    struct timespec until = clock_spec(slice < deadline ? slice : deadline);
    (void)pthread_cond_timedwait(&v->changed, &v->lock, &until);
    return clock_left_ms(deadline) > 0;
}

static int out_of_time(const struct volume *v, struct error *err)
{
    char doing[80];
    if (!v->busy && v->trouble.code < 0)
        return error_set(err, -EBUSY, "%s; rbdvol keeps trying", v->trouble.msg);
    return error_set(err, -EBUSY, "rbdvol is %s; try again", volume_doing(v, doing, sizeof doing));
}

/* May this ID hold it, too? Whether it may be shared is known once the image has been looked at: with a
 * holder before us who is still being served, that is waited for. With the lock held. */
static int admit(struct volume *v, const char *id, moment deadline, struct error *err)
{
    while (v->holders.n > 0 && !holders_find(&v->holders, id) && v->rung < RUNG_CLAIMED && !v->lost &&
           (v->busy || v->trouble.code == 0)) /* not busy yet: that one is between his holder and its drive */
        if (!wait_a_moment(v, deadline))
            return out_of_time(v, err);
    return holders_admit(&v->holders, id, v->known && v->facts.sharing == SHARING_HOST, err);
}

/* lives_on: the container of a caller that is gone still runs. Then this is one more for it (docker cp), and
 * the caller that is gone stays on record: should Docker never unmount, which it does not under live-restore,
 * the holder is stale as soon as the container has ended. With the lock held. */
static void add_holder(struct volumes *e, struct volume *v, const char *id, pid_t pid, bool lives_on)
{
    uint64_t start = 0;
    const struct holder *was = holders_find(&v->holders, id);
    bool gone = was && was->peer != 0 && !procs_alive(was->peer, was->peer_start);
    if (gone && lives_on) {
        pid = was->peer;
        start = was->peer_start;
    } else if (pid == 0 || procs_start_time(pid, &start) < 0) {
        pid = 0;
    }
    holders_add(&v->holders, id, pid, start, gone && !lives_on);
    statefile_save(e, v);
}

static bool caller_left(const struct caller *c)
{
    return c->left && c->left(c->arg);
}

/* After a climb that failed: until what it had begun has been undone, so that "failed" means that nothing is
 * left. */
static void wait_for_descent(struct volume *v, moment deadline)
{
    while (v->busy && v->rung < RUNG_MOUNTED && wait_a_moment(v, deadline))
        ;
}

/* With the lock held, the holder added. 0: mounted. */
static int wait_until_mounted(struct volume *v, const char *id, unsigned failures,
                              const struct caller *caller, moment deadline, struct error *err)
{
    for (;;) {
        if (v->failures != failures) {
            *err = v->failure;
            wait_for_descent(v, deadline);
            return err->code;
        }
        if (!holders_find(&v->holders, id)) /* without one it would be taken down under the caller */
            return error_set(err, -ECANCELED, "unmounted by another request with the same mount ID");
        if (v->rung == RUNG_MOUNTED && v->busy == NULL && !v->lost)
            return 0;
        if (v->lost && v->busy == NULL && v->trouble.code < 0) { /* what is left of it does not go */
            *err = v->trouble;
            return err->code;
        }
        if (caller_left(caller))
            return error_set(err, -ECANCELED, "the caller left before the volume was mounted");
        if (!wait_a_moment(v, deadline))
            return out_of_time(v, err);
    }
}

/* Refused, but the one who has it has lost it. With the lock held. */
static void say_lost(const struct volume *v, struct error *err)
{
    if (v->trouble.code < 0) {
        *err = v->trouble; /* says who still has it, and that it is dead */
        return;
    }
    const char *id = v->holders.n > 0 ? v->holders.all[0].id : "";
    if (id[0])
        (void)error_set(err, err->code,
                        "the volume was lost on this host (%s), and mount ID %.12s, who had it, gives way a "
                        "minute after its Mount: try again then, or restart its container",
                        v->loss.why, id);
}

/* Becomes a holder, if those who are there allow it; the stale among them do not count. */
static int join(struct volumes *e, struct volume *v, const char *id, const struct caller *caller,
                moment deadline, unsigned *failures, struct error *err)
{
    for (bool again = false;; again = true) {
        bool lives_on = stale_lives_on(e, v, id, deadline);
        pthread_mutex_lock(&v->lock);
        int rc = admit(v, id, deadline, err);
        if (rc == 0) {
            *failures = v->failures;
            add_holder(e, v, id, caller->pid, lives_on);
        }
        if (rc < 0 && v->lost)
            say_lost(v, err);
        pthread_mutex_unlock(&v->lock);
        if (rc == 0 || again || stale_drop(e, v) == 0)
            return rc;
    }
}

/* Before the answer: a container that runs must be remembered, or a restart would take the volume from under
 * it. With the lock held. */
static int promise(struct volumes *e, struct volume *v, const char *id, struct error *err)
{
    holders_confirm(&v->holders, id);
    int rc = statefile_save(e, v);
    if (rc == 0)
        return 0;
    holders_undelivered(&v->holders, id);
    return error_set(
        err, rc == -ENOENT ? -EIO : rc,
        "cannot write down in the state-dir that it is mounted, and a restart would forget it: %s",
        error_text(rc));
}

/* What was mounted long ago may have been unmounted, or mounted over, by hand since: who is given the path
 * then writes to something else. 0: it is there; 1: it was not, and is to be mounted again. With the lock
 * held. */
static int look_at_mount(struct volumes *e, struct volume *v, struct error *err)
{
    char path[PATH_MAX];
    struct mount_entry over;
    int rc = mountinfo_pile(engine_mountpoint(e, &v->name, path), v->node.major, v->node.minor, v->node.path,
                            &over, err);
    if (rc == MOUNTINFO_COVERED)
        return error_set(err, -EBUSY, "%s (%s) was mounted over it at %s: unmount that first", over.source,
                         over.fstype, path);
    if (rc != MOUNTINFO_NOWHERE)
        return rc < 0 ? rc : 0;
    log_warning("it was unmounted, and not by rbdvol, and is mounted again pool=%s image=%s", v->name.pool,
                v->name.image);
    v->rung = RUNG_MAPPED;
    return 1;
}

/* With the lock held, which it lets go of meanwhile. 0: it is mounted, and seen to be. */
static int wait_until_there(struct volumes *e, struct volume *v, const char *id, unsigned failures,
                            const struct caller *caller, moment deadline, struct error *err)
{
    for (;;) {
        int rc = wait_until_mounted(v, id, failures, caller, deadline, err);
        if (rc == 0)
            rc = look_at_mount(e, v, err);
        if (rc <= 0)
            return rc;
        pthread_mutex_unlock(&v->lock);
        drive_kick(e, v);
        pthread_mutex_lock(&v->lock);
    }
}

static int mount_known(struct volumes *e, struct volume *v, const char *id, const struct caller *caller,
                       moment deadline, struct error *err)
{
    unsigned failures = 0;
    int rc = join(e, v, id, caller, deadline, &failures, err);
    drive_kick(e, v); /* also when refused: an Unmount may have come while the gate was taken to look */
    if (rc < 0)
        return rc;
    {
        LOCK_SCOPE(&v->lock);
        rc = wait_until_there(e, v, id, failures, caller, deadline, err);
        if (rc == 0 && caller_left(caller))
            rc = error_set(err, -ECANCELED, "the caller left before it could be answered");
        if (rc == 0)
            rc = promise(e, v, id, err);
        else if (v->failures == failures)
            holders_retract(&v->holders, id);
        if (rc < 0)
            statefile_save(e, v);
    }
    if (rc < 0)
        drive_kick(e, v);
    return rc;
}

int mount_volume(struct volumes *e, const char *text, const char *id, const struct caller *caller,
                 moment deadline, char mountpoint[static PATH_MAX], struct grant **grant, struct error *err)
{
    struct volume_name name;
    struct image_name image;
    char full[IMAGE_NAME_MAX + 1];
    moment begin = clock_now();
    int rc = holders_check_id(id, err);
    if (rc == 0)
        rc = name_parse(e->settings, text, &name, err);
    if (rc == 0 && !lookup_held(e, &name, id, &image))
        rc = lookup_name(e, &name, &image, err);
    if (rc < 0)
        return error_prefix(err, "cannot mount '%.100s'", text);
    struct volume *v = registry_get(&e->registry, &image);
    rc = mount_known(e, v, id, caller, deadline, err);
    image_name_full(&image, full);
    if (rc < 0) {
        registry_release(&e->registry, v);
        return strstr(err->msg, full) ? rc : error_prefix(err, "cannot mount '%s'", full);
    }
    log_info("mounted volume=%s id=%.12s peer=%d ms=%lld", full, id[0] ? id : "-", (int)caller->pid,
             (long long)clock_since_ms(begin));
    engine_mountpoint(e, &image, mountpoint);
    struct grant *g = calloc(1, sizeof *g);
    if (!g)
        abort();
    g->volume = v;
    memcpy(g->id, id, strlen(id) + 1);
    *grant = g;
    return 0;
}

void mount_sent(struct volumes *e, struct grant *g, bool delivered)
{
    struct volume *v = g->volume;
    {
        LOCK_SCOPE(&v->lock);
        if (!delivered)
            holders_undelivered(&v->holders, g->id);
        if (!delivered || holders_delivered(&v->holders, g->id))
            statefile_save(e, v);
    }
    if (!delivered) {
        log_notice("rolled back a mount whose answer could not be delivered pool=%s image=%s id=%.12s",
                   v->name.pool, v->name.image, g->id);
        drive_kick(e, v);
    }
    registry_release(&e->registry, v);
    free(g);
}

/* With the lock held: until it is down, or what keeps it is known. */
static int wait_until_down(struct volume *v, moment deadline, struct error *err)
{
    for (;;) {
        if (v->holders.n > 0 || drive_settled(v))
            return 0;
        if (!v->busy && v->trouble.code < 0) {
            *err = v->trouble;
            return err->code;
        }
        if (!wait_a_moment(v, deadline))
            return out_of_time(v, err);
    }
}

int unmount_volume(struct volumes *e, const char *text, const char *id, moment deadline, struct error *err)
{
    struct volume_name name;
    struct image_name image;
    char full[IMAGE_NAME_MAX + 1];
    moment begin = clock_now();
    int rc = holders_check_id(id, err);
    if (rc == 0)
        rc = name_parse(e->settings, text, &name, err);
    if (rc < 0)
        return error_prefix(err, "cannot unmount '%.100s'", text);
    if (!lookup_held(e, &name, id, &image))
        lookup_local(e, &name, &image); /* never asks the cluster: what is not here is unmounted */
    struct volume *v = registry_find(&e->registry, &image);
    if (!v)
        return 0;
    bool known, last;
    {
        LOCK_SCOPE(&v->lock);
        known = holders_release(&v->holders, id) || holders_release(&v->holders, HOLDER_UNKNOWN);
        last = v->holders.n == 0;
        statefile_save(e, v);
        pthread_cond_broadcast(&v->changed);
    }
    drive_kick(e, v);
    if (last) {
        LOCK_SCOPE(&v->lock);
        rc = wait_until_down(v, deadline, err);
    }
    registry_release(&e->registry, v);
    image_name_full(&image, full);
    if (known)
        log_info("unmounted volume=%s id=%.12s last=%s ms=%lld", full, id[0] ? id : "-", last ? "yes" : "no",
                 (long long)clock_since_ms(begin));
    if (rc < 0 && !strstr(err->msg, full))
        return error_prefix(err, "cannot unmount '%s'", full);
    return rc;
}
