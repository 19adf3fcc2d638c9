/* SPDX-License-Identifier: MIT */
/* Mapping by the kernel's own rbd driver: one write to sysfs, and what it shows there. No `rbd` command, no
 * udev. The kernel's client takes the managed lock (`exclusive`), holds it until the mapping goes, and
 * answers the pings of those who look whether it lives. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/identity.h"
#include "base/log.h"
#include "host/blockstat.h"
#include "host/krbd.h"
#include "host/mapping-record.h"
#include "host/procs.h"

#define KIND     "krbd"
#define MARGIN_S 5     /* the kernel gives up waiting for a lock before we give up waiting for it */
#define BUSY_MS  5000  /* who opens a device that was just unmounted (udev's blkid) closes it by then */
#define UNDO_MS  10000 /* to take away what appeared too late */
#define END_MS   2000  /* for a child that was killed to leave the kernel */
#define PAUSE_MS 50
#define LATER_MS 1000
#define NODE_MS  2000

static int krbd_probe(const struct mapper_image *image, struct error *err)
{
    return krbd_check(KRBD_SYSFS, image ? image->name : NULL, image ? image->features : 0, err);
}

/* Kernels before 3.16 have only the one without "single_major". */
static void file_path(const char *verb, char path[static PATH_MAX])
{
    (void)snprintf(path, PATH_MAX, KRBD_SYSFS "/%s_single_major", verb);
    if (access(path, F_OK) < 0)
        (void)snprintf(path, PATH_MAX, KRBD_SYSFS "/%s", verb);
}

static int find_recorded(const struct mapping_record *r, struct krbd_device *ret)
{
    return krbd_find(KRBD_SYSFS, r->fsid, r->pool_id, r->name.ns, r->image_id, ret);
}

/* What is not known to be gone may be there. Never -ENODEV or -ENOENT. */
static int cannot_look(const char *image, int rc, struct error *err)
{
    return error_set(err, -EAGAIN, "cannot look whether the kernel has '%s' mapped: %s", image,
                     error_text(rc));
}

/* ---- down */

/* Until the device is gone from sysfs. */
static int wait_removed(unsigned number, moment deadline, struct error *err)
{
    struct krbd_device d;
    while (krbd_read(KRBD_SYSFS, number, &d) != -ENODEV) {
        if (clock_left_ms(deadline) == 0)
            return error_set(err, -ETIMEDOUT, "the kernel is still taking /dev/rbd%u away", number);
        clock_pause_ms(PAUSE_MS);
    }
    return 0;
}

static int remove_once(const char *mapping, unsigned number, bool force, moment deadline, struct error *err)
{
    char path[PATH_MAX], text[32];
    file_path("remove", path);
    (void)snprintf(text, sizeof text, "%u%s", number, force ? " force" : "");
    const struct krbd_write w = { .mapping = mapping, .file = path, .text = text };
    int rc = krbd_write(&w, deadline, err);
    if (rc == -ENOENT)
        return 0;
    if (rc == -EINPROGRESS || rc == -EALREADY) /* an earlier attempt, which we left in the kernel */
        return wait_removed(number, deadline, err);
    return rc;
}

/* 0: gone. -EBUSY: open all the time. force: also what is open, whose I/O fails; only for what is fenced. */
static int device_remove(const char *mapping, unsigned number, bool force, moment deadline, struct error *err)
{
    moment patience = clock_in_ms(BUSY_MS);
    for (;;) {
        int rc = remove_once(mapping, number, false, deadline, err);
        if (rc == -EBUSY && force)
            rc = remove_once(mapping, number, true, deadline, err);
        if (rc != -EBUSY)
            return rc < 0 ? error_prefix(err, "cannot unmap /dev/rbd%u", number) : 0;
        if (clock_left_ms(patience) == 0 || clock_left_ms(deadline) == 0)
            return error_set(err, -EBUSY, "/dev/rbd%u is still open", number);
        clock_pause_ms(PAUSE_MS);
    }
}

/* Ends the child that maps, if it still does: 0, or -ETIMEDOUT: it does not leave the kernel, or nobody knows
 * (*pid is 0). */
static int writer_end(const char *mapping, moment deadline, pid_t *pid)
{
    for (int rc; (rc = krbd_writer(mapping, pid)) != 0; clock_pause_ms(PAUSE_MS)) {
        if (rc == 1)
            (void)kill(*pid, SIGKILL);
        if (clock_left_ms(deadline) == 0)
            return -ETIMEDOUT;
    }
    return 0;
}

/* Takes away what a write has made, or may still make. 0: nothing is there, nor the record. */
static int undo(const char *run_dir, const struct mapping_record *r, moment deadline, struct error *err)
{
    struct krbd_device d;
    pid_t pid;
    if (writer_end(r->mapping, deadline, &pid) < 0)
        return pid ? error_set(
                         err, -EBUSY,
                         "an earlier attempt to map '%s' hangs in the kernel (pid %d); it is taken back "
                         "when the kernel lets go of it",
                         r->name.image, (int)pid)
                   : error_set(err, -EBUSY,
                               "an earlier attempt to map '%s' may hang in the kernel: a helper rbdvol-device"
                               " does not show what it is at (does its cgroup have memory left?); it is "
                               "tried again",
                               r->name.image);
    int rc = find_recorded(r, &d);
    if (rc < 0)
        return cannot_look(r->name.image, rc, err);
    if (rc == 1)
        rc = device_remove(r->mapping, d.number, false, deadline, err);
    if (rc == 0)
        mapping_record_remove(run_dir, KIND, r->mapping);
    return rc;
}

struct later {
    char run_dir[PATH_MAX];
    struct mapping_record record;
};

static void *undo_later(void *arg)
{
    struct later *l = arg;
    struct mapping_record still;
    struct error err;
    /* The record goes when another Mount of the volume was quicker. */
    while (mapping_record_read(l->run_dir, KIND, l->record.mapping, &still, &err) != 0 &&
           undo(l->run_dir, &l->record, clock_in_ms(UNDO_MS), &err) < 0)
        clock_pause_ms(LATER_MS);
    free(l);
    return NULL;
}

/* What cannot be undone now is undone as soon as it can. Left alone it would hold the lock, and keep the
 * volume from every other host. */
static void undo_surely(const char *run_dir, const struct mapping_record *r)
{
    struct error err;
    pthread_t thread;
    if (undo(run_dir, r, clock_in_ms(END_MS), &err) == 0)
        return;
    log_warning("taking a mapping back later pool=%s image=%s mapping=%s: %s", r->name.pool, r->name.image,
                r->mapping, err.msg);
    struct later *l = calloc(1, sizeof *l);
    if (!l)
        abort();
    (void)snprintf(l->run_dir, sizeof l->run_dir, "%s", run_dir);
    l->record = *r;
    if (pthread_create(&thread, NULL, undo_later, l) == 0)
        pthread_detach(thread);
    else
        free(l); /* the record stays: the next Mount, or the next start, does it */
}

/* ---- up */

struct leftover {
    const struct mapper_image *image;
    struct mapping_record record;
    bool found;
};

static bool is_leftover(void *arg, const struct mapping_record *r)
{
    struct leftover *l = arg;
    const struct mapper_cluster *c = l->image->cluster;
    if (strcmp(r->image_id, l->image->id) != 0 || strcmp(r->fsid, c->fsid) != 0 || r->pool_id != c->pool_id ||
        strcmp(r->name.ns, l->image->name->ns) != 0)
        return false;
    l->record = *r;
    l->found = true;
    return true;
}

/* A mapping of this image that is here already: ours goes, another's stays. */
static int clear_leftover(const struct mapper_host *host, const struct mapper_image *image, moment deadline,
                          struct error *err)
{
    struct leftover l = { .image = image };
    struct krbd_device d;
    const struct mapper_cluster *c = image->cluster;
    int rc = mapping_record_each(host->run_dir, KIND, is_leftover, &l, err);
    if (rc == 0 && l.found)
        rc = undo(host->run_dir, &l.record, deadline, err);
    if (rc < 0)
        return rc;
    rc = krbd_find(KRBD_SYSFS, c->fsid, c->pool_id, image->name->ns, image->id, &d);
    if (rc < 0)
        return cannot_look(image->name->image, rc, err);
    if (rc == 1)
        return error_set(err, -EBUSY,
                         "mapped on this host already as /dev/rbd%u, not by this rbdvol; `rbd unmap "
                         "/dev/rbd%u` takes it away",
                         d.number, d.number);
    return 0;
}

/* What the kernel's word means. Never -ENOENT, which is the cluster's word for an image that does not exist.
 */
static int explain(int rc, struct error *err)
{
    switch (rc) {
    case -EROFS:
        return error_set(err, -EBUSY, "another client has its lock, and does not let go of it");
    case -ENOENT:
        return error_set(err, -ENODEV, "the kernel does not find its pool or image");
    case -EPERM:
    case -EACCES:
        return error_set(err, -EPERM, "the cluster or the kernel refused it: %s", error_text(rc));
    case -ETIMEDOUT:
        return error_set(err, rc, "no monitor answered, or its lock was not to be had, in time");
    case -ESHUTDOWN:
        return error_set(err, -ENOTCONN, "this host is on the cluster's blocklist");
    case -ENXIO:
    case -EINVAL:
        return error_set(err, rc, "the kernel cannot map it (%s): the kernel's log has the reason",
                         error_text(rc));
    default:
        return rc;
    }
}

static int seconds_left(moment deadline)
{
    int s = clock_left_ms(deadline) / 1000 - MARGIN_S;
    return s > MARGIN_S ? s : MARGIN_S;
}

static int add_by(const struct mapper_host *host, const struct mapper_image *image, const char *mapping,
                  enum krbd_protocol protocol, moment deadline, struct error *err)
{
    char path[PATH_MAX], text[KRBD_LINE_MAX], key_name[300];
    const struct mapper_cluster *c = image->cluster;
    const struct krbd_line line = { .user = host->user,
                                    .image = image,
                                    .lock_timeout = seconds_left(deadline),
                                    .mount_timeout = (int)((host->connect_ms + 999) / 1000),
                                    .map_options = host->map_options,
                                    .protocol = protocol };
    int rc = krbd_line_make(&line, text, err);
    if (rc < 0)
        return rc;
    file_path("add", path);
    (void)snprintf(key_name, sizeof key_name, "client.%s", host->user);
    const struct krbd_write w = { .mapping = mapping,
                                  .file = path,
                                  .text = text,
                                  .key_name = c->key_len ? key_name : NULL,
                                  .key = c->key,
                                  .key_len = c->key_len };
    return krbd_write(&w, deadline, err);
}

/* By the messenger's version 2, which kernels before 5.11 refuse (-EINVAL, before they do anything), and
 * older clusters do not speak; else by version 1. */
static int add(const struct mapper_host *host, const struct mapper_image *image, const char *mapping,
               moment deadline, struct error *err)
{
    struct error old;
    int rc = add_by(host, image, mapping, KRBD_V2, deadline, err);
    if (rc == -EPROTONOSUPPORT || (rc == -EINVAL && image->cluster->v1[0])) {
        rc = add_by(host, image, mapping, KRBD_V1, deadline, &old);
        if (rc < 0 && rc != -EPROTONOSUPPORT)
            *err = old;
        else if (rc < 0)
            rc = err->code;
    }
    return rc < 0 ? explain(rc, err) : 0;
}

/* The node comes with devtmpfs, at once; where /dev is something else, nobody makes it. */
static int wait_node(const char *path, struct error *err)
{
    moment deadline = clock_in_ms(NODE_MS);
    while (access(path, F_OK) < 0) {
        if (clock_left_ms(deadline) == 0)
            return error_set(err, -ENODEV,
                             "the kernel has mapped it as %s, but there is no such node: /dev must be the "
                             "host's devtmpfs",
                             path);
        clock_pause_ms(PAUSE_MS);
    }
    return 0;
}

static void mapping_fill(struct mapping *m, const struct mapping_record *r, const struct krbd_device *d)
{
    *m = (struct mapping){ .mapper = &mapper_krbd, .name = r->name, .ro = r->ro, .control = -1 };
    memcpy(m->id, r->mapping, sizeof m->id);
    memcpy(m->image_id, r->image_id, sizeof m->image_id);
    memcpy(m->address, d->address, sizeof m->address);
    (void)snprintf(m->device, sizeof m->device, "/dev/rbd%u", d->number);
}

static int map_recorded(const struct mapper_host *host, const struct mapper_image *image,
                        const struct mapping_record *r, moment deadline, struct mapping *ret,
                        struct error *err)
{
    struct krbd_device d;
    int rc = add(host, image, r->mapping, deadline, err);
    if (rc < 0)
        return rc;
    if (find_recorded(r, &d) != 1)
        return error_set(err, -EIO, "the kernel says that it is mapped, and does not show it");
    mapping_fill(ret, r, &d);
    return wait_node(ret->device, err);
}

static int krbd_map(const struct mapper_host *host, const struct mapper_image *image, moment deadline,
                    struct mapping *ret, struct error *err)
{
    const struct mapper_cluster *c = image->cluster;
    struct mapping_record r = { .name = *image->name, .pool_id = c->pool_id, .ro = image->ro };
    identity_stamped_id(r.mapping);
    (void)snprintf(r.image_id, sizeof r.image_id, "%s", image->id);
    (void)snprintf(r.fsid, sizeof r.fsid, "%s", c->fsid);
    int rc = clear_leftover(host, image, deadline, err);
    if (rc == 0)
        rc = mapping_record_write(host->run_dir, KIND, &r, err);
    if (rc < 0)
        return rc;
    rc = map_recorded(host, image, &r, deadline, ret, err);
    if (rc < 0)
        undo_surely(host->run_dir, &r);
    return rc;
}

/* ---- what is there */

static unsigned number_of(const struct mapping *m)
{
    unsigned n = 0;
    (void)sscanf(m->device, "/dev/rbd%u", &n);
    return n;
}

/* Is it in the kernel? Its client's address, ip:port/nonce, is no other mapping's. 1: yes; 0: no; negative:
 * could not look. */
static int is_there(const struct mapping *m, struct krbd_device *d)
{
    int rc = m->device[0] ? krbd_read(KRBD_SYSFS, number_of(m), d) : -ENODEV;
    if (rc < 0)
        return rc == -ENODEV ? 0 : rc;
    return strcmp(d->image_id, m->image_id) == 0 && (!m->address[0] || strcmp(d->address, m->address) == 0);
}

static int krbd_verify(const struct mapping *m, const struct device_node *node, struct error *err)
{
    struct krbd_device d;
    if (is_there(m, &d) == 1 && d.major == node->major && d.minor == node->minor)
        return 0;
    return error_set(err, -ENODEV, "%s is not the mapping of '%s' any more", node->path, m->name.image);
}

static int krbd_unmap(const struct mapper_host *host, struct mapping *m, moment deadline, struct error *err)
{
    struct krbd_device d;
    int rc = is_there(m, &d);
    if (rc < 0)
        return cannot_look(m->name.image, rc, err);
    if (rc == 1)
        rc = device_remove(m->id, d.number, m->fenced, deadline, err);
    m->going =
        m->going || rc == 0 || rc == -ETIMEDOUT; /* the kernel may be at it still, and opens it no more */
    if (rc == -EIO) /* of who writes to the kernel: the mapping has not ended by that */
        rc = err->code = -EAGAIN;
    if (rc == 0)
        mapping_record_remove(host->run_dir, KIND, m->id);
    return rc;
}

static int krbd_health(struct mapping *m, struct mapping_health *ret, struct error *err)
{
    struct krbd_device d;
    *ret = (struct mapping_health){ .state = MAPPING_GONE };
    int rc = is_there(m, &d);
    if (rc <= 0)
        return rc < 0 ? cannot_look(m->name.image, rc, err) : 0;
    /* A client that was fenced looks like any other from here: its I/O fails. The lock's owner tells. */
    ret->state = MAPPING_READY;
    ret->opens = 1;
    blockstat_fill(m->device, ret);
    return 0;
}

struct search {
    const struct mapper_host *host;
    bool (*found)(void *arg, const struct mapping *m);
    void *arg;
    int unseen; /* why one could not be looked for */
};

static bool search_record(void *arg, const struct mapping_record *r)
{
    struct search *s = arg;
    struct krbd_device d;
    struct mapping m;
    pid_t pid = 0;
    bool ended = writer_end(r->mapping, clock_in_ms(END_MS), &pid) == 0;
    int there = find_recorded(r, &d);
    if (there < 0) {
        s->unseen = there;
    } else if (there == 1 && (ended || !pid)) {
        /* Any helper that does not show what it is at might be its writer, and is as a rule not: the device
         * is there, and may be mounted. A Mount looks again. */
        mapping_fill(&m, r, &d);
        (void)s->found(s->arg, &m); /* who refuses says so */
    } else {
        undo_surely(s->host->run_dir, r);
    }
    return false;
}

static int krbd_look(const struct mapper_host *host, bool (*found)(void *arg, const struct mapping *m),
                     void *arg, struct error *err)
{
    struct search s = { .host = host, .found = found, .arg = arg };
    struct error also;
    int rc = mapping_record_sweep(host->run_dir, KIND, err);
    int each = mapping_record_each(host->run_dir, KIND, search_record, &s, rc < 0 ? &also : err);
    if (rc == 0 && each == 0 && s.unseen < 0)
        return error_set(err, s.unseen, "cannot look for mappings of krbd: %s", error_text(s.unseen));
    return rc < 0 ? rc : each;
}

static int krbd_find_one(const struct mapper_host *host, const char *id, struct mapping *ret)
{
    struct mapping_record r;
    struct krbd_device d;
    struct error ignored;
    if (mapping_record_read(host->run_dir, KIND, id, &r, &ignored) != 1 || find_recorded(&r, &d) != 1)
        return 0;
    mapping_fill(ret, &r, &d);
    return 1;
}

static bool krbd_alive(const struct mapper_host *host, const char *id)
{
    struct mapping_record r;
    struct krbd_device d;
    struct error ignored;
    if (krbd_writer(id, NULL) != 0)
        return true;
    int rc = mapping_record_read(host->run_dir, KIND, id, &r, &ignored);
    return rc == 1 ? find_recorded(&r, &d) != 0 : rc < 0; /* nor could it be said that it is not */
}

const struct mapper mapper_krbd = {
    .name = KIND,
    .needs_cluster = true,
    .probe = krbd_probe,
    .map = krbd_map,
    .verify = krbd_verify,
    .unmap = krbd_unmap,
    .health = krbd_health,
    .alive = krbd_alive,
    .find = krbd_look,
    .find_one = krbd_find_one,
};
