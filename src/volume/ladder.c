/* SPDX-License-Identifier: MIT */
#include "volume/ladder.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "ceph/blocklist.h"
#include "ceph/imageclaim.h"
#include "host/mountinfo.h"
#include "host/procs.h"
#include "volume/claim.h"
#include "volume/content.h"
#include "volume/lookup.h"
#include "volume/lost.h"
#include "volume/mapping.h"
#include "volume/resize.h"
#include "volume/statefile.h"
#include "volume/watch.h"

#define MAP_MS    25000 /* within the 30 s that rbdvol.ctl lasts */
#define ATTACH_MS 30000
#define ANY_SIZE  4096
#define LONG_MS                                                                                              \
    (24 * 3600000L) /* fsck, log replay, an unmount with gigabytes dirty: not killed at anybody's budget */
#define CLOSED_MS 5000
#define FENCE_MS  10000
#define UNMAP_MS  60000
#define GONE_MS   10000

static void arrive(struct volumes *e, struct volume *v, enum rung rung)
{
    LOCK_SCOPE(&v->lock);
    v->rung = rung;
    statefile_save(e, v);
    pthread_cond_broadcast(&v->changed);
}

static int up_claim(struct volumes *e, struct volume *v, struct error *err)
{
    auto_place struct place p = PLACE_NONE;
    volume_says(v, "looking at");
    const struct mapper *mapper;
    char why[sizeof err->msg];
    int rc = mapping_choose_any(e->settings, &mapper, why, sizeof why, err);
    if (rc == 0)
        rc = engine_place(e, &v->name, &p, err);
    if (rc < 0)
        return rc;
    mapping_start_early(e, v, mapper); /* most of a mapping is its process's start: that goes on meanwhile */
    rc = claim_take(e, v, &p, err);
    if (rc == 0)
        arrive(e, v, RUNG_CLAIMED);
    else
        mapping_drop_early(v);
    return rc;
}

/* The name must still mean this image: another host may have trashed or renamed it between our look and our
 * lock. search has asked for that. */
static int check_name(const struct volume *v, const struct place *p, struct image_search *search,
                      struct error *err)
{
    char id[IMAGE_ID_LEN + 1];
    int rc = image_search_end(search, id, err);
    if (rc == -EUCLEAN)
        rc = lookup_image(p, v->name.image, id, err);
    if (rc == -ENOENT || (rc == 0 && strcmp(id, v->image_id) != 0))
        return error_set(err, -ENOENT,
                         "the image was renamed, trashed or replaced by another client just now");
    return rc;
}

/* What a mapping that was just made lacks yet: says whose it is, and looks whether it still is what it was
 * taken for. Together, since neither waits for the other: a record that should not be there goes with the
 * mapping. rbdvol.ctl goes with the record. */
static int settle(struct volumes *e, struct volume *v, const struct place *p, struct error *err)
{
    struct error of_name;
    struct image_search *search = image_search_begin(p, v->name.image);
    int rc = mapping_complete(p, v, err);
    if (rc == 0 && !v->mapping.ro) /* of a snapshot its watch tells, and there is no record */
        rc = imageclaim_settle(p, v->image_id, &e->self, v->mapping.id, v->mapping.address, &v->ctl, err);
    int name_rc = check_name(v, p, search, &of_name);
    if (name_rc < 0) {
        *err = of_name;
        return name_rc;
    }
    if (rc < 0)
        return rc;
    ctl_drop(p, &v->ctl); /* the managed lock and the record say it now */
    v->unsettled = false;
    return 0;
}

/* Looking what is on it needs neither its record nor its name, and takes as long as both. */
static int look_ahead(struct volume *v, struct error *err)
{
    int rc = v->device ? 0 : device_start(&v->device, err);
    if (rc == 0)
        device_probe_ahead(v->device, mapping_blocks(&v->mapping), clock_in_ms(ATTACH_MS));
    return rc;
}

static void detach(struct volume *v)
{
    device_end(v->device);
    v->device = NULL;
}

static int up_map(struct volumes *e, struct volume *v, struct error *err)
{
    struct mapping m = { .control = -1 };
    const struct mapper *mapper;
    char why[sizeof err->msg];
    auto_place struct place p = PLACE_NONE;
    volume_says(v, "mapping");
    int rc = engine_wait_recovered(e, clock_in_ms(ATTACH_MS), err);
    if (rc == 0)
        rc = engine_place(e, &v->name, &p, err);
    if (rc == 0)
        rc = ctl_check(&p, &v->ctl, err);
    if (rc == 0)
        rc = mapping_choose(e, v, &mapper, why, sizeof why, err);
    if (rc == 0)
        rc = mapping_make(e, v, &p, mapper, clock_in_ms(MAP_MS), &m, err);
    mapping_drop_early(v);
    if (rc < 0)
        return rc;
    {
        LOCK_SCOPE(&v->lock);
        v->mapping = m;
        watch_add(e, v);
        (void)snprintf(v->facts.mapper, sizeof v->facts.mapper, "%s", m.mapper ? m.mapper->name : "");
        (void)snprintf(v->facts.mapper_why, sizeof v->facts.mapper_why, "%s", why);
    }
    v->unsettled = v->unopened = true;
    arrive(e, v, RUNG_MAPPED); /* from here on descending unmaps, whatever is missing yet */
    rc = look_ahead(v, err);
    if (rc == 0)
        rc = settle(e, v, &p, err);
    if (rc < 0)
        detach(v);
    return rc;
}

/* Only the first time there is surely no loop device on its file: who asked for one may have been killed. */
static int attach(struct volume *v, uint32_t block_size, struct error *err)
{
    bool first = v->unopened;
    v->unopened = false;
    return (first ? device_attach_first : device_attach)(v->device, mapping_blocks(&v->mapping), block_size,
                                                         v->mapping.ro, clock_in_ms(ATTACH_MS), &v->node,
                                                         err);
}

/* A device that the mapper makes could be taken away, and its number given to another image, as long as
 * nobody holds it: so that comes first, and then the look whose it is, before anything is written to it. Its
 * block size is what it is. A loop device needs a block size, and is made on a file that is nobody else's. */
static int hold(struct volumes *e, struct volume *v, const struct place *p, struct device_probe *found,
                struct error *err)
{
    const struct mapper *mapper = v->mapping.mapper;
    int rc = content_look(v, found, err);
    if (rc == 0 && mapper->verify)
        rc = attach(v, ANY_SIZE, err);
    if (rc == 0 && mapper->verify)
        rc = mapper->verify(&v->mapping, &v->node, err);
    if (rc == 0)
        rc = content_prepare(e, v, p, found, err);
    volume_says(v, "checking");
    if (rc == 0 && !mapper->verify)
        rc = attach(v, found->block_size, err);
    return rc;
}

static int up_check(struct volumes *e, struct volume *v, struct error *err)
{
    struct device_probe found;
    auto_place struct place p = PLACE_NONE;
    volume_says(v, "checking");
    int rc = engine_place(e, &v->name, &p, err);
    if (rc == 0 && v->unsettled) /* turned round on its way down, where it had come half mapped from */
        rc = settle(e, v, &p, err);
    if (rc == 0 && !v->device)
        rc = device_start(&v->device, err);
    if (rc == 0)
        rc = hold(e, v, &p, &found, err);
    if (rc == 0)
        rc = content_check(v, &p, &found, err);
    if (rc == 0)
        rc = content_renew(e, v, &p, err);
    if (rc < 0) {
        detach(v);
        return rc;
    }
    {
        LOCK_SCOPE(&v->lock);
        memcpy(v->facts.device, v->node.path, sizeof v->facts.device);
    }
    arrive(e, v, RUNG_CHECKED);
    return 0;
}

/* The first Mount's own steps; `fresh` goes only once they are done and verified. */
static int freshen(struct volumes *e, struct volume *v, const char *mountpoint, struct error *err)
{
    auto_place struct place p = PLACE_NONE;
    struct spec *s = &v->spec;
    if (!s->fresh || s->ro)
        return 0;
    int rc = device_fresh(v->device, mountpoint, s->uid, s->gid, s->mode, clock_in_ms(ATTACH_MS), err);
    if (rc == 0)
        rc = engine_place(e, &v->name, &p, err);
    if (rc < 0)
        return rc;
    s->fresh = false;
    rc = content_save_spec(v, &p, err);
    if (rc < 0)
        s->fresh = true;
    return rc;
}

static int up_mount(struct volumes *e, struct volume *v, struct error *err)
{
    char mountpoint[PATH_MAX], words[SPEC_WORDS_MAX + 1], full[IMAGE_NAME_MAX + 1];
    volume_says(v, "mounting");
    struct device_mount m = { .mountpoint = engine_mountpoint(e, &v->name, mountpoint),
                              .fstype = v->spec.fstype,
                              .options = spec_mount_words(&v->spec, e->settings->mount_options, words),
                              .volume = image_name_full(&v->name, full) };
    int rc = device_mount(v->device, &m, clock_in_ms(LONG_MS), err);
    if (rc == 0)
        rc = freshen(e, v, mountpoint, err);
    if (rc == -EEXIST) /* somebody else's mount was there before us, and stays */
        return rc;
    if (rc == 0 && !v->spec.ro && !v->full)
        resize_at_mount(v, v->device, mountpoint);
    if (rc < 0) {
        struct error also;
        if (device_umount(v->device, mountpoint, &v->node, false, clock_in_ms(ATTACH_MS), &also) < 0)
            arrive(e, v, RUNG_MOUNTED); /* it may be there: descending looks */
        return rc;
    }
    detach(v); /* the mount keeps the device now */
    arrive(e, v, RUNG_MOUNTED);
    return 0;
}

/* What was in flight when the volume was lost is not to keep anybody waiting, nor to land any more. What this
 * host cannot end, the cluster does: once fenced, the client's I/O fails. */
static void fail_lost(struct volumes *e, struct volume *v)
{
    auto_place struct place p = PLACE_NONE;
    struct error err = { 0 };
    struct mapping *m = &v->mapping;
    int rc = 0;
    if (m->mapper->fail) {
        rc = m->mapper->fail(m, &err);
    } else if (!m->fenced && blocklist_address_ok(m->address)) {
        rc = engine_place(e, &v->name, &p, &err);
        if (rc == 0)
            rc = blocklist_add(&p, m->address, clock_in_ms(FENCE_MS), &err);
        m->fenced = rc == 0;
    }
    if (rc < 0)
        log_warning("the I/O of a lost volume may go on: %s", err.msg);
}

static int down_umount(struct volumes *e, struct volume *v, struct error *err)
{
    char mountpoint[PATH_MAX], who[160];
    bool lost = v->lost; /* then whoever still uses it keeps what is dead, and the mountpoint is free */
    volume_says(v, "unmounting");
    engine_mountpoint(e, &v->name, mountpoint);
    if (lost)
        fail_lost(e, v);
    int rc = v->device ? 0 : device_start(&v->device, err);
    if (rc == 0)
        rc = device_umount(v->device, mountpoint, &v->node, lost, clock_in_ms(LONG_MS), err);
    if (rc < 0) {
        detach(v);
        if (rc == -EBUSY && procs_pinning(v->node.major, v->node.minor, mountpoint, who, sizeof who) == 1)
            return error_set(err, rc, "%s still uses %s", who, mountpoint);
        return rc;
    }
    /* Not RUNG_CHECKED: who unmounts a volume that was mounted all the time has nothing attached, and with
     * the mount the loop device may have gone. */
    detach(v);
    arrive(e, v, RUNG_MAPPED);
    return 0;
}

static int down_check(struct volumes *e, struct volume *v, struct error *err)
{
    (void)err;
    detach(v);
    arrive(e, v, RUNG_MAPPED);
    return 0;
}

/* The device of a mapping: the loop device that is on its file, or its own, or else what the state file
 * says. */
static bool look_for_device(struct volumes *e, struct volume *v)
{
    struct stat st;
    if (mapping_has_loop(e, v))
        return true;
    const char *device = v->mapping.device[0] ? v->mapping.device : v->facts.device;
    if (!device[0] || stat(device, &st) < 0 || !S_ISBLK(st.st_mode))
        return false;
    (void)snprintf(v->node.path, sizeof v->node.path, "%s", device);
    v->node.major = major(st.st_rdev);
    v->node.minor = minor(st.st_rdev);
    return true;
}

bool ladder_find_mount(struct volumes *e, struct volume *v)
{
    char mountpoint[PATH_MAX];
    struct error ignored;
    if (!look_for_device(e, v))
        return false;
    struct mount_entry *m = malloc(sizeof *m); /* large: three paths */
    if (!m)
        abort();
    bool found = mountinfo_pile(engine_mountpoint(e, &v->name, mountpoint), v->node.major, v->node.minor,
                                v->node.path, m, &ignored) > MOUNTINFO_NOWHERE;
    free(m);
    if (found)
        v->rung = RUNG_MOUNTED;
    return found;
}

/* Still open: by whom? 0: it is mounted after all, by a helper that outlived the daemon which had asked it
 * to, and is now on that rung. */
static int explain_busy(struct volumes *e, struct volume *v, struct error *err)
{
    char who[160];
    {
        LOCK_SCOPE(&v->lock);
        if (ladder_find_mount(e, v))
            return 0;
    }
    if (procs_mounted_elsewhere(v->node.major, v->node.minor, NULL, who, sizeof who) == 1)
        return error_set(err, -EBUSY,
                         "still mounted in the mount namespace of %s; the lock is kept until that ends", who);
    if (procs_pinning(v->node.major, v->node.minor, NULL, who, sizeof who) == 1)
        return error_set(err, -EBUSY, "%s still uses it; the lock is kept until that ends", who);
    return err->code;
}

/* Who watches over it is not to take its end for a loss: on success that is so until the mapping is
 * forgotten. On a copy: the watch looks at the volume's own at any time, with the lock. */
static int unmap(struct volumes *e, struct volume *v, struct error *err)
{
    struct mapping m = v->mapping;
    {
        LOCK_SCOPE(&v->lock);
        v->unmapping = true;
    }
    int rc = m.mapper->unmap(&e->mapper_host, &m, clock_in_ms(UNMAP_MS), err);
    if (rc == 0 || rc == -EIO)
        v->leaving = m;
    LOCK_SCOPE(&v->lock);
    v->mapping.control = m.control;
    v->mapping.going = m.going;
    v->unmapping = rc == 0 || rc == -EIO;
    return rc;
}

/* It ends while the record is removed: an Unmount is over when both are. */
static void see_off(struct volume *v)
{
    const struct mapping *m = &v->leaving;
    if (m->mapper && m->mapper->await_end && m->mapper->await_end(m, clock_in_ms(GONE_MS)) < 0)
        log_warning("the mapper does not end, though it has nothing left to do and may be killed "
                    "pool=%s image=%s pid=%d",
                    v->name.pool, v->name.image, (int)m->pid);
    v->leaving = (struct mapping){ .mapper = NULL };
}

static int down_unmap(struct volumes *e, struct volume *v, struct error *err)
{
    volume_says(v, "unmapping");
    v->unopened = false;
    detach(v); /* it may be looking what is on the image */
    const struct mapper *mapper = v->mapping.mapper;
    bool lost = v->lost, ended = false; /* without releasing */
    {
        LOCK_SCOPE(&v->lock);
        if (v->redo && ladder_find_mount(e, v))
            return 0;
    }
    if (lost)
        fail_lost(e, v);
    int rc = mapper->wait_closed ? mapper->wait_closed(&v->mapping, clock_in_ms(CLOSED_MS), err) : 0;
    /* Nobody can write any more, but the file system lives as long as its last user, and none of the same
     * uuid can be mounted beside it. */
    if (rc == 0 && lost)
        rc = lost_check_unused(e, v, clock_in_ms(CLOSED_MS), err);
    if (rc < 0 && lost)
        return rc;
    if (rc == 0) {
        rc = unmap(e, v, err);
        ended = rc == -EIO;
    }
    if (rc == -EBUSY)
        return explain_busy(e, v, err);
    if (rc < 0 && !ended)
        return rc;
    /* Its lock is where it was: fencing is the next taker's. Of a lost one that was said. */
    if (ended && !lost)
        log_error("unmapped without releasing the lock pool=%s image=%s: %s", v->name.pool, v->name.image,
                  err->msg);
    {
        LOCK_SCOPE(&v->lock);
        v->mapping = (struct mapping){ .control = -1 };
        v->unsettled = false;
        v->facts.device[0] = v->facts.mapper[0] = v->facts.mapper_why[0] = '\0';
        v->unmapping = false;
        v->stuck_since = 0;
    }
    arrive(e, v, RUNG_CLAIMED);
    return 0;
}

static int down_claim(struct volumes *e, struct volume *v, struct error *err)
{
    auto_place struct place p = PLACE_NONE;
    volume_says(v, "releasing");
    mapping_drop_early(v);
    int rc = engine_place(e, &v->name, &p, err);
    if (rc == 0)
        rc = claim_drop(e, v, &p, err);
    else if (rc == -ENODEV) /* the pool was deleted, and all that was to be released with it */
        rc = claim_forget(v);
    see_off(v);
    if (rc == 0)
        arrive(e, v, RUNG_DETACHED);
    return rc;
}

typedef int rung_fn(struct volumes *e, struct volume *v, struct error *err);

static const struct {
    const char *up_name;
    rung_fn *up;
    const char *down_name;
    rung_fn *down;
} ladder[] = {
    [RUNG_CLAIMED] = { "mount", up_claim, "release", down_claim },
    [RUNG_MAPPED] = { "map", up_map, "unmap", down_unmap },
    [RUNG_CHECKED] = { "mount", up_check, "detach", down_check },
    [RUNG_MOUNTED] = { "mount", up_mount, "unmount", down_umount },
};

int ladder_up(struct volumes *e, struct volume *v, struct error *err)
{
    enum rung to = v->rung + 1;
    /* Turned round on its way down, when rbdvol.ctl had been dropped long before: claimed anew. */
    if (v->rung == RUNG_CLAIMED && !v->ctl.held)
        to = RUNG_CLAIMED;
    int rc = ladder[to].up(e, v, err);
    char full[IMAGE_NAME_MAX + 1];
    return rc < 0 ? error_prefix(err, "cannot %s '%s'", ladder[to].up_name, image_name_full(&v->name, full))
                  : 0;
}

int ladder_down(struct volumes *e, struct volume *v, struct error *err)
{
    enum rung from = v->rung;
    int rc = ladder[from].down(e, v, err);
    char full[IMAGE_NAME_MAX + 1];
    return rc < 0
               ? error_prefix(err, "cannot %s '%s'", ladder[from].down_name, image_name_full(&v->name, full))
               : 0;
}
