/* SPDX-License-Identifier: MIT */
#include "mapper/image.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ceph/imagehandle.h"
#include "ceph/luks.h"

#define CONFIG_OPTIONS_MAX 256

static const char *full_name(const struct image_options *o, char buf[static 400])
{
    (void)snprintf(buf, 400, "%s/%s%s%s", o->pool, o->ns, *o->ns ? "/" : "", o->name);
    return buf;
}

static int pool_open(struct image *im, struct error *err)
{
    int rc = rados_ioctx_create(im->rados, im->opts->pool, &im->pool);
    if (rc == -ENOENT)
        return error_set(err, -ENODEV, "there is no pool '%s'", im->opts->pool);
    if (rc < 0)
        return error_set(err, rc, "cannot open pool '%s': %s", im->opts->pool, error_text(rc));
    im->in_pool = true;
    rados_ioctx_set_namespace(im->pool, im->opts->ns);
    return 0;
}

static int rbd_open_it(struct image *im, struct error *err)
{
    const struct image_options *o = im->opts;
    char full[400], id[128];
    int rc = o->ro ? rbd_open_read_only(im->pool, o->name, &im->rbd, NULL)
                   : rbd_open(im->pool, o->name, &im->rbd, NULL);
    if (rc == -ENOENT)
        return error_set(err, rc, "there is no image '%s'", full_name(o, full));
    if (rc < 0)
        return error_set(err, rc, "cannot open image '%s': %s", full_name(o, full), error_text(rc));
    im->opened = true;
    rc = rbd_get_id(im->rbd, id, sizeof id);
    if (rc < 0)
        return error_set(err, rc, "cannot ask image '%s' for its id: %s", full_name(o, full), error_text(rc));
    if (strcmp(id, o->id) != 0)
        return error_set(err, -ESTALE, "'%s' is another image by now (id %s, not %s)", full_name(o, full), id,
                         o->id);
    uint64_t size;
    rc = rbd_get_size(im->rbd, &size);
    if (rc < 0)
        return error_set(err, rc, "cannot ask image '%s' for its size: %s", full_name(o, full),
                         error_text(rc));
    atomic_store(&im->size, size);
    return 0;
}

/* A setting stored on the image (or the pool) wins over rados_conf_set: a cache that acks writes after
 * fencing, or an expiry that makes every break fail, would come in by that door. */
static int setting_check(const struct image_options *o, const rbd_config_option_t *c, struct error *err)
{
    char full[400];
    if (c->source == RBD_CONFIG_SOURCE_CONFIG)
        return 0;
    if (strncmp(c->name, "rbd_cache", 9) != 0 && strncmp(c->name, "rbd_blocklist", 13) != 0 &&
        strncmp(c->name, "rbd_blacklist", 13) != 0)
        return 0;
    (void)full_name(o, full);
    if (c->source == RBD_CONFIG_SOURCE_POOL)
        return error_set(err, -EINVAL,
                         "pool '%s' overrides %s, which is not safe for '%s': `rbd config pool remove %s %s`",
                         o->pool, c->name, full, o->pool, c->name);
    return error_set(err, -EINVAL,
                     "image '%s' overrides %s, which is not safe: `rbd image-meta remove %s conf_%s`", full,
                     c->name, full, c->name);
}

static int settings_check(struct image *im, struct error *err)
{
    char full[400];
    int n = CONFIG_OPTIONS_MAX;
    rbd_config_option_t *options = calloc(CONFIG_OPTIONS_MAX, sizeof *options);
    if (!options)
        return error_set(err, -ENOMEM, "out of memory");
    int rc = rbd_config_image_list(im->rbd, options, &n);
    if (rc < 0) {
        free(options);
        return error_set(err, rc, "cannot read the settings of image '%s': %s", full_name(im->opts, full),
                         error_text(rc));
    }
    for (int i = 0; i < n && rc == 0; i++)
        rc = setting_check(im->opts, &options[i], err);
    rbd_config_image_list_cleanup(options, n);
    free(options);
    return rc;
}

static int features_check(struct image *im, struct error *err)
{
    char full[400];
    uint64_t features;
    int rc = rbd_get_features(im->rbd, &features);
    if (rc < 0)
        return error_set(err, rc, "cannot ask image '%s' for its features: %s", full_name(im->opts, full),
                         error_text(rc));
    if (!(features & RBD_FEATURE_EXCLUSIVE_LOCK))
        return error_set(err, -EINVAL,
                         "image '%s' has no exclusive-lock feature, without which nothing keeps a second "
                         "host from writing it: "
                         "`rbd feature enable %s exclusive-lock`",
                         full_name(im->opts, full), full);
    return 0;
}

static int lock_take(struct image *im, struct error *err)
{
    char full[400];
    (void)full_name(im->opts, full);
    /* An owner before us may have been fenced a moment ago: with the map that says so, every OSD that takes
     * our I/O has turned the other's away first. Unbounded, like the lock: our parent has the deadline. */
    int rc = rados_wait_for_latest_osdmap(im->rados);
    if (rc < 0)
        return error_set(err, rc, "cannot get the cluster's present map: %s", error_text(rc));
    rc = imagehandle_lock(im->rbd, err);
    if (rc < 0)
        return error_prefix(err, "image '%s'", full);
    int ours = 0;
    rc = rbd_is_exclusive_lock_owner(im->rbd, &ours);
    if (rc < 0 || !ours)
        return error_set(err, rc < 0 ? rc : -EIO, "image '%s' was locked, but the lock is not ours: %s", full,
                         rc < 0 ? error_text(rc) : "somebody broke it");
    return 0;
}

/* What is within is as large as the image without its header. */
static int decrypt(struct image *im, struct error *err)
{
    char full[400];
    uint64_t size;
    if (!im->opts->key->len)
        return 0;
    int rc = luks_load(im->rbd, im->opts->key, err);
    passphrase_done(im->opts->key);
    if (rc < 0)
        return error_prefix(err, "image '%s'", full_name(im->opts, full));
    rc = rbd_get_size(im->rbd, &size);
    if (rc < 0)
        return error_set(err, rc, "cannot ask image '%s' for its size: %s", full_name(im->opts, full),
                         error_text(rc));
    atomic_store(&im->size, size);
    return 0;
}

static int start(struct image *im, struct error *err)
{
    int rc =
        im->opts->connected ? 0 : connection_start(im->rados, &im->opts->connection, CONNECTION_DATA, err);
    if (rc < 0)
        return rc; /* and the handle is gone */
    im->connected = true;
    rc = connection_address(im->rados, im->address, sizeof im->address, err);
    if (rc == 0)
        rc = pool_open(im, err);
    if (rc == 0)
        rc = rbd_open_it(im, err);
    if (rc == 0)
        rc = settings_check(im, err);
    if (rc == 0 && !im->opts->ro)
        rc = features_check(im, err);
    if (rc == 0 && !im->opts->ro)
        rc = lock_take(im, err);
    if (rc == 0)
        rc = decrypt(im, err);
    if (rc == 0 && im->opts->ro)
        rc = presence_start(&im->presence, im->pool, im->opts->id, err);
    return rc;
}

void image_cancel(struct image *im)
{
    presence_end(&im->presence);
    if (im->opened)
        (void)rbd_close(im->rbd);
    if (im->in_pool)
        rados_ioctx_destroy(im->pool);
    if (im->connected)
        rados_shutdown(im->rados);
    im->opened = im->in_pool = im->connected = false;
}

int image_start(struct image *im, const struct image_options *opts, rados_t rados, struct state *state,
                struct error *err)
{
    im->opts = opts;
    im->state = state;
    im->rados = rados;
    int rc = start(im, err);
    if (rc == 0)
        return 0;
    image_cancel(im);
    return rc;
}

static void declare_lost(struct image *im, int rc)
{
    if (rc == -ESHUTDOWN)
        state_lost(im->state, "the cluster has fenced its client (%s)", im->address);
    else
        state_lost(im->state, "the lock of the image is no longer held by this client (%s)", im->address);
}

/* What goes back through the kernel to a file system. */
static int io_error(int rc)
{
    return rc == -ENOSPC || rc == -EDQUOT ? -ENOSPC : -EIO;
}

static void io_ended(struct image_io *io, int rc)
{
    struct image *im = io->image;
    if (rc == -ESHUTDOWN || (rc == -EROFS && io->op != IMAGE_READ && !im->opts->ro))
        declare_lost(im, rc);
    state_io_end(im->state, &io->track, rc < 0 && io->op != IMAGE_READ);
    io->done(io, rc < 0 ? io_error(rc) : 0);
}

static void on_complete(rbd_completion_t c, void *arg)
{
    struct image_io *io = arg;
    ssize_t rc = rbd_aio_get_return_value(c);
    rbd_aio_release(c);
    /* Somebody shrank the image: what is not there is zeros, and not what the buffer held before. */
    if (io->op == IMAGE_READ && rc >= 0 && (uint64_t)rc < io->length)
        memset(io->data + rc, 0, io->length - (uint64_t)rc);
    io_ended(io, rc < 0 ? (int)rc : 0);
}

static int submit(struct image *im, struct image_io *io, rbd_completion_t c)
{
    switch (io->op) {
    case IMAGE_READ:
        return rbd_aio_read(im->rbd, io->offset, io->length, io->data, c);
    case IMAGE_WRITE:
        return rbd_aio_write(im->rbd, io->offset, io->length, io->data, c);
    case IMAGE_FLUSH:
        return rbd_aio_flush(im->rbd, c);
    case IMAGE_ZERO:
        /* Never rbd_aio_discard, which leaves ranges alone that are smaller than
         * rbd_discard_granularity_bytes: a file system zeroes blocks by punching holes (loop sends
         * WRITE_ZEROES so) and must then read zeros. This frees whole objects just the same. Nor thick
         * provisioning: no space in a pool is ever promised to an image. */
        return rbd_aio_write_zeroes(im->rbd, io->offset, io->length, c, 0, 0);
    }
    return -EINVAL;
}

void image_submit(struct image *im, struct image_io *io)
{
    rbd_completion_t c;
    io->image = im;
    int rc = state_io_begin(im->state, &io->track);
    if (rc < 0) {
        io->done(io, rc);
        return;
    }
    rc = rbd_aio_create_completion(io, on_complete, &c);
    if (rc < 0) {
        io_ended(io, rc);
        return;
    }
    rc = submit(im, io, c);
    if (rc < 0) { /* on_complete is not called then */
        rbd_aio_release(c);
        io_ended(io, rc);
    }
}

void image_check_owner(struct image *im)
{
    int ours = 0, rc = rbd_is_exclusive_lock_owner(im->rbd, &ours);
    /* Other errors say nothing about the lock. */
    if (rc == -ESHUTDOWN || (rc == 0 && !ours))
        declare_lost(im, rc);
}

void image_check_presence(struct image *im)
{
    presence_renew(&im->presence);
}

void image_check_size(struct image *im)
{
    uint64_t size;
    if (rbd_get_size(im->rbd, &size) == 0 && size > atomic_load(&im->size))
        atomic_store(&im->size, size);
}

int image_finish(struct image *im, struct error *err)
{
    struct state_view v;
    state_view(im->state, &v);
    if (v.phase != STATE_LOST)
        state_wait_quiet(im->state);
    if (v.phase != STATE_LOST && !im->opts->ro) {
        int rc = rbd_flush(im->rbd);
        if (rc < 0)
            state_unclean(im->state);
        if (rc == -ESHUTDOWN || rc == -EROFS)
            declare_lost(im, rc);
    }
    state_view(im->state, &v);
    if (v.phase == STATE_LOST)
        return error_set(err, -EIO, "%s; the lock was not released", v.why.msg);
    if (v.unclean)
        return error_set(
            err, -EIO,
            "a write to the image failed; its lock was left in place so that the next host fences "
            "this client before it uses the image");
    presence_end(&im->presence);
    int rc = rbd_close(im->rbd);
    if (rc < 0)
        return error_set(err, -EIO, "cannot release the lock: %s; it was left for fencing", error_text(rc));
    return 0;
}
