/* SPDX-License-Identifier: MIT */
/* A rename that meets another one, or a removal: which names the image has after it. librados is here, in a
 * few lines: one image, what its two names' objects and the pool's directory say. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "ceph/answer.h"
#include "ceph/clustertime.h"
#include "ceph/encoding.h"
#include "ceph/image.h"
#include "cmocka-headers.h"

#define ID "12ab"

static const struct place place;

static struct {
    char listed[64];      /* "": it is not in the directory */
    int renamed;          /* what the directory says when it is told the new name */
    char objects[2][256]; /* rbd_id objects of this image; "": none */
    bool creates;         /* the write that is being put together */
    char value[64];       /* of the read that is asked for */
} cluster;

static char *object_find(const char *object)
{
    for (size_t i = 0; i < 2; i++)
        if (strcmp(cluster.objects[i], object) == 0)
            return cluster.objects[i];
    return NULL;
}

rados_write_op_t rados_create_write_op(void)
{
    cluster.creates = false;
    return &cluster;
}

void rados_release_write_op(rados_write_op_t op)
{
    (void)op;
}

void rados_write_op_create(rados_write_op_t op, int exclusive, const char *category)
{
    (void)op;
    (void)category;
    cluster.creates = exclusive == LIBRADOS_CREATE_EXCLUSIVE;
}

void rados_write_op_write_full(rados_write_op_t op, const char *data, size_t len)
{
    char id[16];
    (void)op;
    assert_int_equal(encoding_decode(data, len, id, sizeof id), 0);
    assert_string_equal(id, ID);
}

void rados_write_op_cmpext(rados_write_op_t op, const char *data, size_t len, uint64_t off, int *prval)
{
    (void)off;
    (void)prval;
    rados_write_op_write_full(op, data, len);
}

void rados_write_op_remove(rados_write_op_t op)
{
    (void)op;
}

int rados_write_op_operate(rados_write_op_t op, rados_ioctx_t io, const char *oid, time_t *mtime, int flags)
{
    char *there = object_find(oid);
    (void)op;
    (void)io;
    (void)mtime;
    (void)flags;
    if (cluster.creates) {
        char *room = object_find("");
        assert_non_null(room);
        (void)snprintf(room, sizeof cluster.objects[0], "%s", oid);
        return 0;
    }
    if (there)
        there[0] = '\0';
    return there ? 0 : -ENOENT;
}

int rados_exec(rados_ioctx_t io, const char *oid, const char *cls, const char *method, const char *in,
               size_t in_len, char *buf, size_t out_len)
{
    (void)io;
    (void)oid;
    (void)cls;
    (void)in;
    (void)in_len;
    (void)buf;
    (void)out_len;
    assert_string_equal(method, "dir_rename_image");
    return cluster.renamed;
}

rados_read_op_t rados_create_read_op(void)
{
    return &cluster;
}

void rados_release_read_op(rados_read_op_t op)
{
    (void)op;
}

void rados_read_op_omap_get_vals_by_keys2(rados_read_op_t op, char const *const *keys, size_t num_keys,
                                          const size_t *key_lens, rados_omap_iter_t *iter, int *prval)
{
    (void)op;
    (void)num_keys;
    (void)key_lens;
    assert_string_equal(keys[0], "id_" ID);
    *iter = &cluster;
    *prval = 0;
}

int rados_aio_read_op_operate(rados_read_op_t op, rados_ioctx_t io, rados_completion_t c, const char *oid,
                              int flags)
{
    (void)op;
    (void)io;
    (void)c;
    (void)oid;
    (void)flags;
    return 0;
}

int rados_omap_get_next2(rados_omap_iter_t iter, char **key, char **val, size_t *key_len, size_t *val_len)
{
    (void)iter;
    *key = cluster.listed[0] ? cluster.listed : NULL;
    *key_len = 0;
    *val_len = encoding_encode(cluster.value, cluster.listed);
    *val = cluster.value;
    return 0;
}

void rados_omap_get_end(rados_omap_iter_t iter)
{
    (void)iter;
}

void answer_expect(struct answer *a)
{
    *a = (struct answer){ 0 };
}

int answer_take(struct answer *a)
{
    return a->sent;
}

int place_check_pool(const struct place *p, struct error *err)
{
    (void)p;
    (void)err;
    return 0;
}

int place_error(const struct place *p, int rc, struct error *err, const char *fmt, ...)
{
    char text[sizeof err->msg];
    va_list ap;
    (void)p;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return error_set(err, rc, "%s", text);
}

int clustertime(const struct place *p, time_t *ret, struct error *err)
{
    (void)p;
    (void)ret;
    return error_set(err, -EPROTO, "nobody asks for that here");
}

/* The image is "db", and the directory has heard something else by now. */
static int rename_when(int renamed, const char *listed, struct error *err)
{
    memset(&cluster, 0, sizeof cluster);
    cluster.renamed = renamed;
    (void)snprintf(cluster.listed, sizeof cluster.listed, "%s", listed);
    (void)snprintf(cluster.objects[0], sizeof cluster.objects[0], "rbd_id.db");
    return image_rename(&place, "db", "zz_db.1", ID, err);
}

static void a_rename_takes_the_old_name_away(void **state)
{
    (void)state;
    struct error err;
    assert_int_equal(rename_when(0, "zz_db.1", &err), 0);
    assert_null(object_find("rbd_id.db"));
    assert_non_null(object_find("rbd_id.zz_db.1"));
}

static void one_that_somebody_helped_with_is_done(void **state)
{
    (void)state;
    struct error err;
    static const int codes[] = { -ENOENT, -ESTALE };
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        assert_int_equal(rename_when(codes[i], "zz_db.1", &err), 0);
        assert_null(object_find("rbd_id.db"));
        assert_non_null(object_find("rbd_id.zz_db.1"));
    }
}

/* In the trash, or under a name that another host gave it: a second name would be one to delete it by. */
static void an_image_that_went_elsewhere_gets_no_second_name(void **state)
{
    (void)state;
    struct error err;
    static const int codes[] = { -ENOENT, -ESTALE };
    static const char *const names[] = { "", "zz_db" };
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(rename_when(codes[i / 2], names[i % 2], &err), -ENOENT);
        assert_null(object_find("rbd_id.zz_db.1"));
        assert_non_null(strstr(err.msg, "was removed or renamed by another client"));
    }
}

static void a_name_that_is_taken_is_given_back(void **state)
{
    (void)state;
    struct error err;
    assert_int_equal(rename_when(-EEXIST, "db", &err), -EEXIST);
    assert_null(object_find("rbd_id.zz_db.1"));
    assert_non_null(object_find("rbd_id.db"));
}

/* What is not known stays as it is: it is looked at again. */
static void without_an_answer_both_names_stay(void **state)
{
    (void)state;
    struct error err;
    assert_int_equal(rename_when(-ETIMEDOUT, "db", &err), -ETIMEDOUT);
    assert_non_null(object_find("rbd_id.zz_db.1"));
    assert_non_null(object_find("rbd_id.db"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_rename_takes_the_old_name_away),
        cmocka_unit_test(one_that_somebody_helped_with_is_done),
        cmocka_unit_test(an_image_that_went_elsewhere_gets_no_second_name),
        cmocka_unit_test(a_name_that_is_taken_is_given_back),
        cmocka_unit_test(without_an_answer_both_names_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
