/* SPDX-License-Identifier: MIT */
#include "ceph/imageadmin.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "ceph/clustertime.h"
#include "ceph/encoding.h"
#include "ceph/imagehandle.h"

#define TRASHED            "rbdvol.trashed"
#define TRASHED_TIME       "{\"version\":1,\"time\":" /* how the mark begins */
#define TRASHED_UNTIL      ",\"until\":"
#define TRASHED_MAX_S      300 /* from the mark to the move, by one host's clock */
#define TRASH_PAGE         256
#define SOON_S             60
#define TRASH_SPEC_VERSION 2
#define TRASH_SPEC_MIN     27 /* bytes, with an empty name */
#define TRASH_NORMAL       0  /* cls::rbd::TRASH_IMAGE_STATE_NORMAL, ... */
#define TRASH_MOVING       1
#define TRASH_REMOVING     2

static const struct {
    const char *name;
    uint64_t bit;
} features[] = {
    { "layering", RBD_FEATURE_LAYERING },         { "exclusive-lock", RBD_FEATURE_EXCLUSIVE_LOCK },
    { "object-map", RBD_FEATURE_OBJECT_MAP },     { "fast-diff", RBD_FEATURE_FAST_DIFF },
    { "deep-flatten", RBD_FEATURE_DEEP_FLATTEN },
};
#define NFEATURES (sizeof features / sizeof *features)

int image_parse_features(const char *text, uint64_t *ret, struct error *err)
{
    uint64_t bits = 0;
    for (const char *p = text; *p;) {
        size_t n = strcspn(p, "+"), i = 0;
        while (i < NFEATURES && (strlen(features[i].name) != n || strncmp(features[i].name, p, n) != 0))
            i++;
        if (i == NFEATURES)
            return error_set(
                err, -EINVAL,
                "features: '%.*s' is not one of layering, exclusive-lock, object-map, fast-diff, "
                "deep-flatten (joined by '+')",
                (int)(n > 40 ? 40 : n), p);
        bits |= features[i].bit;
        p += n + (p[n] == '+');
    }
    if (!(bits & RBD_FEATURE_EXCLUSIVE_LOCK))
        return error_set(err, -EINVAL,
                         "features: exclusive-lock must be among them: it is what keeps a second writer out");
    if ((bits & RBD_FEATURE_FAST_DIFF) && !(bits & RBD_FEATURE_OBJECT_MAP))
        return error_set(err, -EINVAL, "features: fast-diff needs object-map, too");
    *ret = bits;
    return 0;
}

const char *image_feature_names(uint64_t bits, char *buf, size_t size)
{
    size_t at = 0;
    buf[0] = '\0';
    for (size_t i = 0; i < NFEATURES && at < size; i++)
        if (bits & features[i].bit)
            at += (size_t)snprintf(buf + at, size - at, "%s%s", at ? "+" : "", features[i].name);
    return buf;
}

int image_create(const struct place *p, const char *name, const struct image_layout *layout,
                 struct error *err)
{
    rbd_image_options_t opts;
    rbd_image_options_create(&opts);
    int rc = rbd_image_options_set_uint64(opts, RBD_IMAGE_OPTION_FORMAT, 2);
    if (rc == 0)
        rc = imagehandle_layout(layout, opts);
    if (rc == 0)
        rc = rbd_create4(p->io, name, layout->size, opts);
    rbd_image_options_destroy(opts);
    if (rc == -ENOENT && layout->data_pool[0])
        return error_set(err, -EINVAL, "data-pool: pool '%s' does not exist", layout->data_pool);
    return rc < 0 ? place_error(p, rc, err, "cannot create the image") : 0;
}

int image_trash(const struct place *p, const char *name, const char *id, const char *host, uint64_t delay_s,
                struct error *err)
{
    char mark[200];
    time_t now;
    int rc = clustertime(p, &now, err);
    if (rc < 0)
        return rc;
    (void)snprintf(mark, sizeof mark,
                   TRASHED_TIME "%" PRId64 ",\"host\":\"%.64s\"" TRASHED_UNTIL "%" PRIu64 "}",
                   (int64_t)time(NULL), host, (uint64_t)now + delay_s);
    rc = image_set_meta(p, id, TRASHED, mark, err);
    if (rc < 0)
        return rc;
    rc = rbd_trash_move(p->io, name, delay_s);
    /* after a time-out it may be moved yet, and is to be purged then; what has not that name any more may be
     * in the trash already, by another of us */
    if (rc == -ENOENT && place_check_pool(p, err) == 0)
        return error_set(err, rc, "there is no image '%s' any more", name);
    if (rc < 0 && rc != -ETIMEDOUT && rc != -ENOENT) {
        struct error ignored;
        (void)image_set_meta(p, id, TRASHED, NULL, &ignored);
    }
    if (rc == -EBUSY)
        return error_set(err, rc, "image '%s' is in use by another client", name);
    if (rc == -EROFS)
        return error_set(err, -EBUSY, "image '%s' is locked by another client", name);
    return rc < 0 ? place_error(p, rc, err, "cannot move image '%s' to the trash", name) : 0;
}

/* Does the pool's directory list it? A removal puts the image into the trash first and takes its names away
 * last; one that was cut off in between was reported as failed, and whoever has the volume may go on to use
 * it. 1 yes, 0 no. */
static int is_named(const struct place *p, const char *id, struct error *err)
{
    char name[256];
    int rc = image_name_of(p, id, name, sizeof name, err);
    return rc == 0 ? 1 : rc == -ENOENT ? 0 : rc;
}

/* The last of a move's writes, where it was cut off before that (cls_rbd: trash_state_set, which leaves what
 * is in another state): until then librbd neither deletes the image nor gives it back. 0: it is wholly there.
 */
static int end_move(const struct place *p, const char *id)
{
    char in[IMAGE_ID_LEN + 16], out[16];
    size_t len = encoding_encode(in, id);
    in[len++] = TRASH_NORMAL;
    in[len++] = TRASH_MOVING;
    return rados_exec(p->io, "rbd_trash", "rbd", "trash_state_set", in, len, out, sizeof out);
}

static int purge(const struct place *p, const char *id, bool early, struct error *err)
{
    int rc = is_named(p, id, err);
    if (rc < 0)
        return rc;
    if (rc == 1)
        return error_set(
            err, -EBUSY,
            "image id %s is in the trash, but has its name all the same: its removal was cut off; "
            "remove it again, or mount it, which takes it out of the trash",
            id);
    rc = rbd_trash_remove(p->io, id, early);
    if (rc == -EUCLEAN && end_move(p, id) == 0)
        rc = rbd_trash_remove(p->io, id, early);
    return rc < 0 && rc != -ENOENT ? place_error(p, rc, err, "cannot delete image id %s from the trash", id)
                                   : 0;
}

int image_purge(const struct place *p, const char *id, struct error *err)
{
    return purge(p, id, false, err);
}

/* Was this mark set for the move that happened then? It stays on an image that is restored, and whoever moves
 * that to the trash again may want it back. */
static bool is_of_move(const char *mark, time_t moved)
{
    if (strncmp(mark, TRASHED_TIME, strlen(TRASHED_TIME)) != 0)
        return false;
    int64_t marked = strtoll(mark + strlen(TRASHED_TIME), NULL, 10);
    return moved >= marked - 1 && moved - marked <= TRASHED_MAX_S;
}

/* Has somebody begun to delete it? As cls_rbd writes it: cls::rbd::TrashImageSpec, whose last byte is the
 * state (version 2; librbd shows it to nobody). */
static bool is_being_deleted(const struct place *p, const char *id)
{
    char key[IMAGE_ID_LEN + 8], *found_key, *value;
    (void)snprintf(key, sizeof key, "id_%s", id);
    const char *keys[] = { key };
    size_t lens[] = { strlen(key) }, key_len, len;
    rados_omap_iter_t found = NULL;
    int result = 0;
    bool being = false;
    rados_read_op_t op = rados_create_read_op();
    rados_read_op_omap_get_vals_by_keys2(op, keys, 1, lens, &found, &result);
    int rc = rados_read_op_operate(op, p->io, "rbd_trash", 0);
    rados_release_read_op(op);
    if (rc == 0 && result == 0 && rados_omap_get_next2(found, &found_key, &value, &key_len, &len) == 0 &&
        found_key)
        being = len > TRASH_SPEC_MIN && value[0] == TRASH_SPEC_VERSION && value[len - 1] == TRASH_REMOVING;
    if (found)
        rados_omap_get_end(found);
    return being;
}

/* Was it we who put this there? Then the mark also tells until when it is kept, by the monitors' clock: the
 * trash goes by that of who put it there. (Earlier versions did not write that.) 1 yes, 0 no. */
static int is_ours(const struct place *p, const char *id, time_t deleted, time_t *until, struct error *err)
{
    auto_free char *mark = NULL;
    int rc = image_get_meta(p, id, TRASHED, &mark, err);
    if (rc <= 0 || !is_of_move(mark, deleted))
        return rc < 0 ? rc : 0;
    const char *kept = strstr(mark, TRASHED_UNTIL);
    if (kept)
        *until = (time_t)strtoll(kept + strlen(TRASHED_UNTIL), NULL, 10);
    return 1;
}

/* All entries of the trash; the caller cleans and frees them. */
static int trash_list(const struct place *p, rbd_trash_image_info_t **ret, size_t *n, struct error *err)
{
    size_t max = TRASH_PAGE;
    rbd_trash_image_info_t *entries = NULL;
    int rc;
    do {
        free(entries);
        entries = calloc(max, sizeof *entries);
        if (!entries)
            return error_set(err, -ENOMEM, "out of memory");
        rc = rbd_trash_list(p->io, entries, &max);
    } while (rc == -ERANGE);
    if (rc < 0) {
        free(entries);
        return place_error(p, rc, err, "cannot list the trash");
    }
    *ret = entries;
    *n = max;
    return 0;
}

/* The header goes last; after it, there is only the entry in the trash, and nothing to tell whose it was. */
static bool has_header(const struct place *p, const char *id)
{
    char object[IMAGE_ID_LEN + 16];
    uint64_t size;
    time_t changed;
    return rados_stat(p->io, image_header_object(id, object), &size, &changed) != -ENOENT;
}

int image_trashed_each(const struct place *p, void (*visit)(void *arg, const struct image_trashed *one),
                       void *arg, struct error *err)
{
    size_t n = 0;
    struct error unread;
    auto_free rbd_trash_image_info_t *all = NULL;
    int rc = trash_list(p, &all, &n, err);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < n; i++) {
        struct image_trashed one = { .moved = all[i].deletion_time, .until = all[i].deferment_end_time };
        if (all[i].source != RBD_TRASH_IMAGE_SOURCE_USER || strlen(all[i].id) > IMAGE_ID_LEN)
            continue;
        one.deleting = is_being_deleted(p, all[i].id);
        /* one that cannot be asked about does not stop the others */
        if (is_ours(p, all[i].id, all[i].deletion_time, &one.until, &unread) != 1 &&
            !(one.deleting && !has_header(p, all[i].id)))
            continue;
        (void)snprintf(one.id, sizeof one.id, "%s", all[i].id);
        (void)snprintf(one.name, sizeof one.name, "%s", all[i].name);
        visit(arg, &one);
    }
    rbd_trash_list_cleanup(all, n);
    return 0;
}

/* Those whose time is over. */
struct overdue {
    const struct place *place;
    time_t now; /* by the monitors, who are asked only when there is something of ours */
    int rc;     /* of asking them */
    struct error err;
    struct image_trashed *all;
    size_t n;
    unsigned soon;
};

static void note_overdue(void *arg, const struct image_trashed *one)
{
    struct overdue *o = arg;
    if (!o->now && !o->rc)
        o->rc = clustertime(o->place, &o->now, &o->err);
    if (o->rc < 0)
        return;
    if (!one->deleting && one->until >= o->now) { /* in whole seconds: a fraction of one may be missing */
        o->soon += one->until < o->now + SOON_S;
        return;
    }
    o->all = reallocarray(o->all, o->n + 1, sizeof *o->all);
    if (!o->all)
        abort();
    o->all[o->n++] = *one;
}

int image_purge_own(const struct place *p, unsigned *left, struct error *err)
{
    struct overdue o = { .place = p };
    int first = image_trashed_each(p, note_overdue, &o, err);
    if (first == 0 && o.rc < 0) {
        first = o.rc;
        *err = o.err;
    }
    for (size_t i = 0; i < o.n; i++) {
        struct error one;
        int rc = purge(p, o.all[i].id, true, &one); /* librbd looks at this host's clock */
        if (rc == 0) {
            log_notice("purged image=%s id=%s from the trash", o.all[i].name, o.all[i].id);
        } else {
            o.soon++;
            if (first < 0)
                continue;
            first = rc;
            *err = one;
        }
    }
    free(o.all);
    if (left)
        *left = o.soon;
    return first;
}

int image_restore(const struct place *p, const char *id, const char *name, struct error *err)
{
    struct error ignored;
    int rc = rbd_trash_restore(p->io, id, name);
    if ((rc == -EUCLEAN || rc == -EBUSY) && end_move(p, id) == 0)
        rc = rbd_trash_restore(p->io, id, name);
    if (rc == -EEXIST)
        return error_set(err, rc, "there is an image '%s'", name);
    if (rc == -ENOENT)
        return error_set(err, -ENODEV, "image id %s is not in the trash any more", id);
    if (rc < 0)
        return place_error(p, rc, err, "cannot restore image id %s", id);
    (void)image_set_meta(p, id, TRASHED, NULL, &ignored); /* harmless where it stays: its time tells */
    return 0;
}

struct half {
    const struct place *place;
    void (*visit)(void *arg, const struct image_trashed *one);
    void *arg;
};

static void visit_half(void *arg, const struct image_trashed *one)
{
    const struct half *h = arg;
    struct error ignored;
    if (is_named(h->place, one->id, &ignored) == 1)
        h->visit(h->arg, one);
}

int image_half_trashed_each(const struct place *p, void (*visit)(void *arg, const struct image_trashed *one),
                            void *arg, struct error *err)
{
    struct half h = { p, visit, arg };
    return image_trashed_each(p, visit_half, &h, err);
}

/* Is it in the trash by our doing? 1 yes, 0 no. */
static int is_trashed(const struct place *p, const char *id, struct error *err)
{
    rbd_trash_image_info_t info;
    time_t until;
    int rc = rbd_trash_get(p->io, id, &info);
    if (rc == -ENOENT)
        return 0;
    if (rc < 0)
        return place_error(p, rc, err, "cannot look for image id %s in the trash", id);
    rc = info.source == RBD_TRASH_IMAGE_SOURCE_USER ? is_ours(p, id, info.deletion_time, &until, err) : 0;
    rbd_trash_get_cleanup(&info);
    return rc;
}

int image_untrash(const struct place *p, const char *id, const char *name, struct error *err)
{
    struct error ignored;
    int rc = is_trashed(p, id, err);
    if (rc == 0)
        (void)image_set_meta(p, id, TRASHED, NULL, &ignored);
    if (rc <= 0)
        return rc;
    rc = image_restore(p, id, name, err);
    return rc == -ENODEV ? 0 : rc < 0 ? rc : 1;
}

int image_purge_now(const struct place *p, const char *id, struct error *err)
{
    int rc = purge(p, id, true, err);
    return rc == -EBUSY || rc == -ENOTEMPTY
               ? error_set(err, -EBUSY, "image id %s has snapshots, or clones that need it", id)
               : rc;
}

/* Calls match() with each watcher's address until it returns true: 1 it did, 0 it never did. */
static int each_watcher(const struct place *p, const char *id, bool (*match)(void *arg, const char *addr),
                        void *arg, struct error *err)
{
    rbd_image_t image;
    rbd_image_watcher_t watchers[IMAGE_WATCHERS_MAX];
    size_t max = IMAGE_WATCHERS_MAX;
    int rc = imagehandle_open(p, id, true, &image, err); /* read-only: leaves no watch itself */
    if (rc < 0)
        return rc;
    rc = rbd_watchers_list(image, watchers, &max);
    int found = 0;
    for (size_t i = 0; rc == 0 && i < max && !found; i++)
        found = match(arg, watchers[i].addr);
    if (rc == 0)
        rbd_watchers_list_cleanup(watchers, max);
    (void)rbd_close(image);
    return rc < 0 ? place_error(p, rc, err, "cannot list the watchers of image id %s", id) : found;
}

struct first_watcher {
    char *addr;
    size_t size;
};

static bool take_first(void *arg, const char *addr)
{
    struct first_watcher *first = arg;
    (void)snprintf(first->addr, first->size, "%s", addr);
    return true;
}

int image_watcher(const struct place *p, const char *id, char *addr, size_t size, struct error *err)
{
    struct first_watcher first = { addr, size };
    return each_watcher(p, id, take_first, &first, err);
}

static bool take_each(void *arg, const char *addr)
{
    struct image_watchers *all = arg;
    (void)snprintf(all->addresses[all->n++], sizeof all->addresses[0], "%s", addr);
    return all->n == IMAGE_WATCHERS_MAX;
}

int image_watchers(const struct place *p, const char *id, struct image_watchers *ret, struct error *err)
{
    ret->n = 0;
    int rc = each_watcher(p, id, take_each, ret, err);
    return rc < 0 ? rc : 0;
}

static bool same_address(void *arg, const char *addr)
{
    return strcmp(arg, addr) == 0;
}

int image_watched_by(const struct place *p, const char *id, const char *address, struct error *err)
{
    return each_watcher(p, id, same_address, (void *)(uintptr_t)address, err);
}

int image_add_exclusive_lock(const struct place *p, const char *id, struct error *err)
{
    rbd_image_t image;
    int rc = rbd_open_by_id(p->io, id, &image, NULL);
    if (rc < 0)
        return place_error(p, rc, err, "cannot open image id %s", id);
    rc = rbd_update_features(image, RBD_FEATURE_EXCLUSIVE_LOCK, 1);
    (void)rbd_close(image);
    return rc < 0 ? place_error(p, rc, err, "cannot add the feature exclusive-lock to image id %s", id) : 0;
}

static int stop_at_first(uint64_t offset, size_t len, int exists, void *arg)
{
    (void)len;
    (void)exists;
    *(uint64_t *)arg = offset;
    return -ECANCELED;
}

/* 1 it has some, 0 none, or could not ask. */
static int any_snapshot(const struct place *p, rbd_image_t image, struct error *err)
{
    rbd_snap_info_t snaps[1];
    int max = 1;
    int rc = rbd_snap_list(image, snaps, &max);
    if (rc > 0)
        rbd_snap_list_end(snaps);
    if (rc == -ERANGE)
        return 1;
    return rc < 0 ? place_error(p, rc, err, "cannot list the image's snapshots") : rc > 0;
}

int image_has_snapshots(const struct place *p, const char *id, struct error *err)
{
    rbd_image_t image;
    int rc = rbd_open_by_id_read_only(p->io, id, &image, NULL);
    if (rc < 0)
        return place_error(p, rc, err, "cannot open image id %s", id);
    rc = any_snapshot(p, image, err);
    (void)rbd_close(image);
    return rc;
}

/* Why an open image is not blank. */
static int blank_reason(const struct place *p, rbd_image_t image, struct error *err)
{
    rbd_linked_image_spec_t parent;
    rbd_snap_spec_t parent_snap;
    rbd_image_info_t info;
    uint64_t offset = 0;
    int rc = rbd_get_parent(image, &parent, &parent_snap);
    if (rc == 0) {
        rbd_linked_image_spec_cleanup(&parent);
        rbd_snap_spec_cleanup(&parent_snap);
        return error_set(err, -ENOTEMPTY, "it is a clone");
    }
    if (rc != -ENOENT)
        return place_error(p, rc, err, "cannot look for the image's parent");
    rc = any_snapshot(p, image, err);
    if (rc != 0)
        return rc < 0 ? rc : error_set(err, -ENOTEMPTY, "it has snapshots");
    rc = rbd_stat(image, &info, sizeof info);
    if (rc == 0) /* whole_object: any data object counts, whatever it holds */
        rc = rbd_diff_iterate2(image, NULL, 0, info.size, 1, 1, stop_at_first, &offset);
    if (rc == -ECANCELED)
        return error_set(err, -ENOTEMPTY, "it has data at offset %" PRIu64, offset);
    return rc < 0 ? place_error(p, rc, err, "cannot look for data in the image") : 0;
}

int image_check_blank(const struct place *p, const char *id, struct error *err)
{
    rbd_image_t image;
    int rc = rbd_open_by_id_read_only(p->io, id, &image, NULL);
    if (rc < 0)
        return place_error(p, rc, err, "cannot open image id %s", id);
    rc = blank_reason(p, image, err);
    (void)rbd_close(image);
    return rc;
}
