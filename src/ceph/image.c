/* SPDX-License-Identifier: MIT */
#include "ceph/image.h"

#include <endian.h>
#include <errno.h>
#include <rbd/librbd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "ceph/answer.h"
#include "ceph/clustertime.h"
#include "ceph/encoding.h"
#include "ceph/imageheader.h"

#define DIRECTORY  "rbd_directory"
#define NAME_BYTES 512
#define ID_BYTES   256
#define LIST_PAGE  1024
#define ERRNO_MAX  4095 /* -4095 - OFFSET: what librados compares differs there (rados_write_op_cmpext) */

const char *image_header_object(const char *id, char buf[static IMAGE_ID_LEN + 16])
{
    (void)snprintf(buf, IMAGE_ID_LEN + 16, "rbd_header.%s", id);
    return buf;
}

/* librados says -ENOENT for an object that is not there, and for any object of a pool that is not there: then
 * nothing is known of the image. */
static bool pool_is_gone(const struct place *p, int rc, struct error *err)
{
    return rc == -ENOENT && place_check_pool(p, err) < 0;
}

/* librbd makes ids of hexadecimal digits. What is not even made of letters and digits, others wrote, and it
 * would become a part of names, arguments and messages. */
static bool is_id(const char *text)
{
    size_t n = strspn(text, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ");
    return n > 0 && text[n] == '\0';
}

/* What rbd_id.NAME holds, of which n bytes (or an error) were read. */
static int take_id(const struct place *p, const char *name, const char *data, int n,
                   char id[static IMAGE_ID_LEN + 1], struct error *err)
{
    if (pool_is_gone(p, n, err))
        return err->code;
    if (n == -ENOENT)
        return error_set(err, -ENOENT, "no image '%s'", name);
    if (n < 0)
        return place_error(p, n, err, "cannot look up image '%s'", name);
    if (encoding_decode(data, (size_t)n, id, IMAGE_ID_LEN + 1) < 0 || !is_id(id))
        return error_set(err, -EUCLEAN, "image '%s': its object rbd_id.%s cannot be read", name, name);
    return 0;
}

int image_id_object(const struct place *p, const char *name, char id[static IMAGE_ID_LEN + 1],
                    struct error *err)
{
    char object[NAME_BYTES], data[ID_BYTES];
    (void)snprintf(object, sizeof object, "rbd_id.%s", name);
    return take_id(p, name, data, rados_read(p->io, object, data, sizeof data, 0), id, err);
}

/* One key of the pool's directory, being asked for. */
struct directory_read {
    rados_read_op_t op;
    rados_omap_iter_t iter;
    int inner;
    char key[NAME_BYTES];
};

static void directory_read_begin(const struct place *p, struct directory_read *r, struct answer *a)
{
    const char *keys[] = { r->key };
    size_t lens[] = { strlen(r->key) };
    r->op = rados_create_read_op();
    r->iter = NULL;
    r->inner = 0;
    rados_read_op_omap_get_vals_by_keys2(r->op, keys, 1, lens, &r->iter, &r->inner);
    answer_expect(a);
    a->sent = rados_aio_read_op_operate(r->op, p->io, a->c, DIRECTORY, 0);
}

/* 0, -ENOENT (no directory or no such key), or could not ask. */
static int directory_read_end(const struct place *p, struct directory_read *r, struct answer *a, char *value,
                              size_t size, struct error *err)
{
    int rc = answer_take(a);
    if (rc == 0)
        rc = r->inner;
    char *k = NULL, *v = NULL;
    size_t klen, vlen;
    if (rc == 0 && (rados_omap_get_next2(r->iter, &k, &v, &klen, &vlen) < 0 || !k))
        rc = -ENOENT;
    if (rc == 0)
        rc = encoding_decode(v, vlen, value, size);
    if (r->iter)
        rados_omap_get_end(r->iter);
    rados_release_read_op(r->op);
    if (pool_is_gone(p, rc, err))
        return err->code;
    if (rc == -ENOENT)
        return error_set(err, rc, "not in the pool's directory");
    if (rc == -EUCLEAN)
        return error_set(err, rc, "the pool's directory cannot be read at '%s'", r->key);
    return rc < 0 ? place_error(p, rc, err, "cannot read the pool's directory") : 0;
}

int image_name_of(const struct place *p, const char *id, char *name, size_t size, struct error *err)
{
    struct directory_read r = { 0 };
    struct answer a;
    (void)snprintf(r.key, sizeof r.key, "id_%s", id);
    directory_read_begin(p, &r, &a);
    return directory_read_end(p, &r, &a, name, size, err);
}

struct image_search {
    const struct place *place;
    const char *name;
    struct directory_read directory;
    struct answer directory_answer, id_answer;
    char data[ID_BYTES];
};

struct image_search *image_search_begin(const struct place *p, const char *name)
{
    char object[NAME_BYTES];
    struct image_search *s = malloc(sizeof *s);
    if (!s)
        abort();
    s->place = p;
    s->name = name;
    (void)snprintf(s->directory.key, sizeof s->directory.key, "name_%s", name);
    directory_read_begin(p, &s->directory, &s->directory_answer);
    (void)snprintf(object, sizeof object, "rbd_id.%s", name);
    answer_expect(&s->id_answer);
    s->id_answer.sent = rados_aio_read(p->io, object, s->id_answer.c, s->data, sizeof s->data, 0);
    return s;
}

/* What the two say together. by_name: `own`, or why there is none. */
static int agree(const char *name, int in_directory, const char *listed, int by_name, const char *own,
                 char id[static IMAGE_ID_LEN + 1], struct error *err)
{
    if (in_directory == -ENOENT && by_name == -ENOENT)
        return error_set(err, -ENOENT, "no image '%s'", name);
    if (in_directory < 0 || by_name < 0 || strcmp(listed, own) != 0) {
        const char *one = in_directory < 0 ? own : by_name < 0 ? listed : "";
        (void)snprintf(id, IMAGE_ID_LEN + 1, "%s", one);
        return error_set(err, -EUCLEAN,
                         "image '%s' is half made or half removed: an operation on it was interrupted%s",
                         name, by_name < 0 ? "; `rbd rm` finishes a removal" : "");
    }
    memcpy(id, own, IMAGE_ID_LEN + 1);
    return 0;
}

int image_search_end(struct image_search *search, char id[static IMAGE_ID_LEN + 1], struct error *err)
{
    auto_free struct image_search *s = search;
    char listed[IMAGE_ID_LEN + 1] = "", own[IMAGE_ID_LEN + 1] = "";
    struct error why;
    int n = answer_take(&s->id_answer);
    int in_directory =
        directory_read_end(s->place, &s->directory, &s->directory_answer, listed, sizeof listed, err);
    if (in_directory == 0 && !is_id(listed))
        in_directory = error_set(err, -EUCLEAN, "the pool's directory cannot be read at '%s'", s->name);
    if (in_directory < 0 && in_directory != -ENOENT)
        return in_directory;
    int by_name = take_id(s->place, s->name, s->data, n, own, &why);
    if (by_name < 0 && by_name != -ENOENT) {
        *err = why;
        return by_name;
    }
    return agree(s->name, in_directory, listed, by_name, own, id, err);
}

int image_find(const struct place *p, const char *name, char id[static IMAGE_ID_LEN + 1], struct error *err)
{
    return image_search_end(image_search_begin(p, name), id, err);
}

/* It is not listed under the name that it was to lose: has it the other by now? -ENOENT: neither, so it was
 * removed or renamed by somebody else meanwhile. */
static int check_listed(const struct place *p, const char *name, const char *id, struct error *err)
{
    char listed[256];
    int rc = image_name_of(p, id, listed, sizeof listed, err);
    if (rc == -ENOENT || (rc == 0 && strcmp(listed, name) != 0))
        return error_set(err, -ENOENT, "image id %s was removed or renamed by another client", id);
    return rc;
}

/* The second write: the pool's directory. -EEXIST: it lists another image under this name. -ENOENT: it lists
 * this one under neither. */
static int directory_rename(const struct place *p, const char *from, const char *to, const char *id,
                            struct error *err)
{
    char in[3 * NAME_BYTES], out[16];
    size_t len = encoding_encode(in, from);
    len += encoding_encode(in + len, to);
    len += encoding_encode(in + len, id);
    int rc = rados_exec(p->io, DIRECTORY, "rbd", "dir_rename_image", in, len, out, sizeof out);
    if (rc == -EEXIST)
        return error_set(err, rc, "the pool's directory lists another image '%s'", to);
    /* Whoever began the rename, or finishes it as we do, may have done it meanwhile. */
    if (rc == -ENOENT || rc == -ESTALE)
        return check_listed(p, to, id, err);
    return rc < 0 ? place_error(p, rc, err, "cannot rename image '%s' to '%s'", from, to) : 0;
}

/* Removes rbd_id.NAME if it still names this image, in one step: who takes the name meanwhile keeps it. */
static int id_object_remove(const struct place *p, const char *name, const char *id, struct error *err)
{
    char object[NAME_BYTES], data[IMAGE_ID_LEN + 8];
    (void)snprintf(object, sizeof object, "rbd_id.%s", name);
    rados_write_op_t op = rados_create_write_op();
    rados_write_op_cmpext(op, data, encoding_encode(data, id), 0, NULL);
    rados_write_op_remove(op);
    int rc = rados_write_op_operate(op, p->io, object, NULL, 0);
    rados_release_write_op(op);
    if (pool_is_gone(p, rc, err))
        return err->code;
    bool others = rc <= -ERRNO_MAX;
    return rc < 0 && rc != -ENOENT && !others ? place_error(p, rc, err, "cannot remove %s", object) : 0;
}

/* The first write: rbd_id.NAME, made by exactly one. Ours already is success: a write that timed out may have
 * landed. */
static int id_object_claim(const struct place *p, const char *name, const char *id, struct error *err)
{
    char object[NAME_BYTES], data[IMAGE_ID_LEN + 8], there[IMAGE_ID_LEN + 1];
    (void)snprintf(object, sizeof object, "rbd_id.%s", name);
    size_t len = encoding_encode(data, id);
    rados_write_op_t op = rados_create_write_op();
    rados_write_op_create(op, LIBRADOS_CREATE_EXCLUSIVE, NULL);
    rados_write_op_write_full(op, data, len);
    int rc = rados_write_op_operate(op, p->io, object, NULL, 0);
    rados_release_write_op(op);
    if (rc != -EEXIST)
        return rc < 0 ? place_error(p, rc, err, "cannot take the name '%s'", name) : 0;
    if (image_id_object(p, name, there, err) == 0 && strcmp(there, id) == 0)
        return 0;
    return error_set(err, -EEXIST, "there is an image '%s' already", name);
}

int image_rename(const struct place *p, const char *from, const char *to, const char *id, struct error *err)
{
    struct error also;
    int rc = id_object_claim(p, to, id, err);
    if (rc < 0)
        return rc;
    rc = directory_rename(p, from, to, id, err);
    if (rc == -EEXIST || rc == -ENOENT)
        (void)id_object_remove(p, to, id, &also);
    return rc < 0 ? rc : id_object_remove(p, from, id, err);
}

int image_finish_rename(const struct place *p, const char *temp, const char *name, const char *id,
                        struct error *err)
{
    char listed[256];
    int rc = image_name_of(p, id, listed, sizeof listed, err);
    if (rc < 0)
        return rc;
    if (strcmp(listed, temp) == 0)
        rc = directory_rename(p, temp, name, id, err);
    else if (strcmp(listed, name) != 0)
        return error_set(err, -EUCLEAN, "image id %s is listed as '%s', not as '%s'", id, listed, name);
    return rc < 0 ? rc : id_object_remove(p, temp, id, err);
}

int image_name_age(const struct place *p, const char *name, int64_t *ret, struct error *err)
{
    char object[NAME_BYTES];
    uint64_t size;
    time_t written, now;
    (void)snprintf(object, sizeof object, "rbd_id.%s", name);
    int rc = rados_stat(p->io, object, &size, &written);
    if (pool_is_gone(p, rc, err))
        return err->code;
    if (rc == -ENOENT)
        return error_set(err, rc, "no image '%s'", name);
    if (rc < 0)
        return place_error(p, rc, err, "cannot look at %s", object);
    rc = clustertime(p, &now, err);
    *ret = rc < 0 ? 0 : now - written;
    return rc;
}

int image_drop_name(const struct place *p, const char *name, const char *id, struct error *err)
{
    char in[2 * NAME_BYTES], out[16];
    int rc = id_object_claim(p, name, id, err);
    if (rc == 0)
        rc = id_object_remove(p, name, id, err);
    if (rc < 0)
        return rc;
    size_t len = encoding_encode(in, name);
    len += encoding_encode(in + len, id);
    rc = rados_exec(p->io, DIRECTORY, "rbd", "dir_remove_image", in, len, out, sizeof out);
    if (rc < 0 && rc != -ENOENT && rc != -ESTALE) /* it is not listed, or as another image */
        return place_error(p, rc, err, "cannot take image '%s' out of the pool's directory", name);
    return 0;
}

int image_data_pool(const struct place *p, const char *id, char *pool, size_t size, struct error *err)
{
    char object[IMAGE_ID_LEN + 16];
    int64_t number = -1; /* none */
    int rc = rados_exec(p->io, image_header_object(id, object), "rbd", "get_data_pool", NULL, 0,
                        (char *)&number, sizeof number);
    if (pool_is_gone(p, rc, err))
        return err->code;
    if (rc == -ENOENT)
        return error_set(err, rc, "image id %s is gone", id);
    number = (int64_t)le64toh((uint64_t)number);
    pool[0] = '\0';
    if (rc >= 0 && number >= 0)
        rc = rados_pool_reverse_lookup(rados_ioctx_get_cluster(p->io), number, pool, size);
    return rc < 0 ? place_error(p, rc, err, "cannot read the data pool of image id %s", id) : 0;
}

int image_set_meta(const struct place *p, const char *id, const char *key, const char *value,
                   struct error *err)
{
    char object[IMAGE_ID_LEN + 16], full[NAME_BYTES];
    (void)snprintf(full, sizeof full, IMAGE_META_KEY "%s", key);
    const char *keys[] = { full }, *values[] = { value };
    size_t klens[] = { strlen(full) }, vlens[] = { value ? strlen(value) : 0 };
    rados_write_op_t op = rados_create_write_op();
    rados_write_op_assert_exists(op);
    if (value)
        rados_write_op_omap_set2(op, keys, values, klens, vlens, 1);
    else
        rados_write_op_omap_rm_keys2(op, keys, klens, 1);
    int rc = rados_write_op_operate(op, p->io, image_header_object(id, object), NULL, 0);
    rados_release_write_op(op);
    if (pool_is_gone(p, rc, err))
        return err->code;
    if (rc == -ENOENT)
        return error_set(err, rc, "image id %s is gone", id);
    return rc < 0 ? place_error(p, rc, err, "cannot write metadata %s of image id %s", key, id) : 0;
}

int image_swap_meta(const struct place *p, const char *id, const char *key, const char *from, const char *to,
                    struct error *err)
{
    char object[IMAGE_ID_LEN + 16], full[NAME_BYTES];
    (void)snprintf(full, sizeof full, IMAGE_META_KEY "%s", key);
    const char *keys[] = { full }, *values[] = { to };
    size_t klens[] = { strlen(full) }, vlens[] = { to ? strlen(to) : 0 };
    int differs = 0;
    rados_write_op_t op = rados_create_write_op();
    rados_write_op_omap_cmp2(op, full, LIBRADOS_CMPXATTR_OP_EQ, from, strlen(full), strlen(from), &differs);
    if (to)
        rados_write_op_omap_set2(op, keys, values, klens, vlens, 1);
    else
        rados_write_op_omap_rm_keys2(op, keys, klens, 1);
    int rc = rados_write_op_operate(op, p->io, image_header_object(id, object), NULL, 0);
    rados_release_write_op(op);
    if (rc == -ECANCELED || rc == -ENOENT)
        return pool_is_gone(p, rc, err) ? err->code : 0;
    return rc < 0 ? place_error(p, rc, err, "cannot write metadata %s of image id %s", key, id) : 1;
}

int image_get_meta(const struct place *p, const char *id, const char *key, char **ret, struct error *err)
{
    char object[IMAGE_ID_LEN + 16], full[NAME_BYTES], *found_key, *value;
    (void)snprintf(full, sizeof full, IMAGE_META_KEY "%s", key);
    const char *keys[] = { full };
    size_t lens[] = { strlen(full) }, key_len, len;
    rados_omap_iter_t found = NULL;
    int result = 0, got = 0;
    rados_read_op_t op = rados_create_read_op();
    rados_read_op_omap_get_vals_by_keys2(op, keys, 1, lens, &found, &result);
    int rc = rados_read_op_operate(op, p->io, image_header_object(id, object), 0);
    rados_release_read_op(op);
    if (rc == 0 && result == 0 && found &&
        rados_omap_get_next2(found, &found_key, &value, &key_len, &len) == 0 && found_key &&
        len <= IMAGE_META_MAX && (len == 0 || !memchr(value, '\0', len))) {
        *ret = header_text(value, len);
        got = 1;
    }
    if (found)
        rados_omap_get_end(found);
    if (rc < 0 && rc != -ENOENT)
        return place_error(p, rc, err, "cannot read metadata %s of image id %s", key, id);
    return got;
}

int image_list(const struct place *p, void (*visit)(void *arg, const char *name, const char *id), void *arg,
               struct error *err)
{
    size_t max = LIST_PAGE;
    auto_free rbd_image_spec_t *images = NULL;
    int rc;
    do {
        free(images);
        images = calloc(max, sizeof *images);
        if (!images)
            return error_set(err, -ENOMEM, "out of memory");
        rc = rbd_list2(p->io, images, &max); /* -ERANGE sets max to what is needed */
    } while (rc == -ERANGE);
    if (rc < 0)
        return place_error(p, rc, err, "cannot list the images");
    if (max == 0 && pool_is_gone(p, -ENOENT, err)) /* for librbd no directory is an empty one */
        return err->code;
    for (size_t i = 0; i < max; i++)
        visit(arg, images[i].name, images[i].id);
    rbd_image_spec_list_cleanup(images, max);
    return 0;
}
