/* SPDX-License-Identifier: MIT */
#include "ceph/imageheader.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define METAS_MAX 1024

char *header_text(const char *data, size_t len)
{
    char *text = strndup(len ? data : "", len);
    if (!text)
        abort();
    return text;
}

/* The metadata that we look at. */
static void take_meta(struct image_header *h, const char *key, const char *value, size_t len)
{
    static const char *const dangers[] = { "conf_rbd_cache", "conf_rbd_blocklist", "conf_rbd_blacklist" };
    char **slot = strcmp(key, "rbdvol.spec") == 0      ? &h->spec
                  : strcmp(key, "rbdvol.making") == 0  ? &h->making
                  : strcmp(key, "rbdvol.rolling") == 0 ? &h->rolling
                                                       : NULL;
    if (slot) { /* one that is too long is there all the same, and cannot be used */
        free(*slot);
        *slot = header_text(value, len <= IMAGE_META_MAX ? len : 0);
    }
    h->growing |= strcmp(key, "rbdvol.growing") == 0;
    h->trashed |= strcmp(key, "rbdvol.trashed") == 0;
    for (size_t i = 0; i < sizeof dangers / sizeof *dangers && !h->danger; i++)
        if (strncmp(key, dangers[i], strlen(dangers[i])) == 0)
            h->danger = header_text(key, strlen(key));
}

static void take_metas(struct image_header *h, rados_omap_iter_t iter)
{
    char *k, *v;
    size_t klen, vlen;
    while (rados_omap_get_next2(iter, &k, &v, &klen, &vlen) == 0 && k) {
        auto_free char *key = header_text(k, klen);
        if (strncmp(key, IMAGE_META_KEY, strlen(IMAGE_META_KEY)) == 0)
            take_meta(h, key + strlen(IMAGE_META_KEY), v, vlen);
    }
}

/* Methods of the OSD's rbd class, stable since image format 2 (src/cls/rbd/cls_rbd.cc). */
void header_read_add(rados_read_op_t op, struct header_read *r)
{
    struct {
        uint64_t snap; /* CEPH_NOSNAP: the image itself */
        uint8_t read_only;
    } __attribute__((packed)) in = { htole64((uint64_t)-2), 1 };
    *r = (struct header_read){ .size_rc = -EIO, .features_rc = -EIO, .stamp_rc = -EIO, .meta_rc = -EIO };
    rados_read_op_exec_user_buf(op, "rbd", "get_size", (char *)&in.snap, sizeof in.snap, r->size_out,
                                sizeof r->size_out, &r->size_len, &r->size_rc);
    rados_read_op_exec_user_buf(op, "rbd", "get_features", (char *)&in, sizeof in, r->features_out,
                                sizeof r->features_out, &r->features_len, &r->features_rc);
    rados_read_op_exec_user_buf(op, "rbd", "get_create_timestamp", NULL, 0, r->stamp_out, sizeof r->stamp_out,
                                &r->stamp_len, &r->stamp_rc);
    rados_read_op_set_flags(op, LIBRADOS_OP_FLAG_FAILOK); /* images of very old clusters have no time stamp */
    rados_read_op_omap_get_vals2(op, "", IMAGE_META_KEY, METAS_MAX, &r->iter, &r->more, &r->meta_rc);
}

static int take(const struct header_read *r, struct image_header *h)
{
    uint32_t sec = 0;
    if (r->size_rc < 0 || r->features_rc < 0 || r->meta_rc < 0)
        return r->size_rc < 0 ? r->size_rc : r->features_rc < 0 ? r->features_rc : r->meta_rc;
    if (r->size_len < 9 || r->features_len < 8)
        return -EUCLEAN;
    memcpy(&h->size, r->size_out + 1, sizeof h->size);
    memcpy(&h->features, r->features_out, sizeof h->features);
    h->order = (uint8_t)r->size_out[0];
    h->size = le64toh(h->size);
    h->features = le64toh(h->features);
    if (r->stamp_rc == 0 && r->stamp_len >= sizeof sec)
        memcpy(&sec, r->stamp_out, sizeof sec);
    h->created = (time_t)le32toh(sec);
    take_metas(h, r->iter);
    return 0;
}

int header_read_take(struct header_read *r, int rc, const struct place *p, const char *id,
                     struct image_header *ret, struct error *err)
{
    struct image_header h = { 0 };
    if (rc == 0)
        rc = take(r, &h);
    if (r->iter)
        rados_omap_get_end(r->iter);
    if (rc == -ENOENT && place_check_pool(p, err) < 0)
        return err->code;
    if (rc == -ENOENT)
        return error_set(err, rc, "image id %s is gone", id);
    if (rc < 0)
        return place_error(p, rc, err, "cannot read the header of image id %s", id);
    *ret = h;
    return 0;
}

int image_read_header(const struct place *p, const char *id, struct image_header *ret, struct error *err)
{
    char object[IMAGE_ID_LEN + 16];
    struct header_read r;
    rados_read_op_t op = rados_create_read_op();
    header_read_add(op, &r);
    int rc = rados_read_op_operate(op, p->io, image_header_object(id, object), 0);
    rados_release_read_op(op);
    return header_read_take(&r, rc, p, id, ret, err);
}

void image_header_done(struct image_header *h)
{
    free(h->spec);
    free(h->making);
    free(h->rolling);
    free(h->danger);
    *h = (struct image_header){ 0 };
}
