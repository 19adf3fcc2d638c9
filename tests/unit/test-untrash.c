/* SPDX-License-Identifier: MIT */
/* A removal that was cut off is taken back, and what cannot be read is not taken for somebody else's. librbd
 * and the image's metadata are here, in a few lines. */
#include <errno.h>
#include <rbd/librbd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ceph/clustertime.h"
#include "ceph/imageadmin.h"
#include "ceph/imagehandle.h"
#include "cmocka-headers.h"

#define ID    "12ab"
#define MOVED 1700000000
#define MARK  "{\"version\":1,\"time\":1700000000,\"host\":\"host1\"}"

static const struct place place;

static struct {
    bool in_trash;
    const char *mark; /* NULL: none */
    int get_meta;     /* what the next read of it fails with */
    unsigned restores;
} cluster;

int rbd_trash_get(rados_ioctx_t io, const char *id, rbd_trash_image_info_t *info)
{
    (void)io;
    assert_string_equal(id, ID);
    *info = (rbd_trash_image_info_t){ .source = RBD_TRASH_IMAGE_SOURCE_USER, .deletion_time = MOVED };
    return cluster.in_trash ? 0 : -ENOENT;
}

void rbd_trash_get_cleanup(rbd_trash_image_info_t *info)
{
    (void)info;
}

int rbd_trash_restore(rados_ioctx_t io, const char *id, const char *name)
{
    (void)io;
    (void)id;
    assert_string_equal(name, "db");
    cluster.restores++;
    cluster.in_trash = false;
    return 0;
}

int image_get_meta(const struct place *p, const char *id, const char *key, char **ret, struct error *err)
{
    int rc = cluster.get_meta;
    (void)p;
    (void)id;
    assert_string_equal(key, "rbdvol.trashed");
    cluster.get_meta = 0;
    if (rc < 0)
        return error_set(err, rc, "cannot read metadata");
    *ret = cluster.mark ? strdup(cluster.mark) : NULL;
    return cluster.mark != NULL;
}

int image_set_meta(const struct place *p, const char *id, const char *key, const char *value,
                   struct error *err)
{
    (void)p;
    (void)id;
    (void)err;
    assert_string_equal(key, "rbdvol.trashed");
    cluster.mark = value;
    return 0;
}

int place_error(const struct place *p, int rc, struct error *err, const char *fmt, ...)
{
    (void)p;
    return error_set(err, rc, "%s", fmt);
}

/* ---- what nobody asks for here ---- */

int place_check_pool(const struct place *p, struct error *err)
{
    (void)p;
    return error_set(err, -EPROTO, "not here");
}

int clustertime(const struct place *p, time_t *ret, struct error *err)
{
    (void)ret;
    return place_check_pool(p, err);
}

int image_name_of(const struct place *p, const char *id, char *name, size_t size, struct error *err)
{
    (void)id;
    (void)name;
    (void)size;
    return place_check_pool(p, err);
}

const char *image_header_object(const char *id, char buf[static IMAGE_ID_LEN + 16])
{
    (void)snprintf(buf, IMAGE_ID_LEN + 16, "rbd_header.%s", id);
    return buf;
}

int imagehandle_open(const struct place *p, const char *id, bool read_only, rbd_image_t *ret,
                     struct error *err)
{
    (void)id;
    (void)read_only;
    (void)ret;
    return place_check_pool(p, err);
}

int imagehandle_layout(const struct image_layout *layout, rbd_image_options_t opts)
{
    (void)layout;
    (void)opts;
    return -EPROTO;
}

/* ---- */

static int reset(void **state)
{
    (void)state;
    memset(&cluster, 0, sizeof cluster);
    cluster.in_trash = true;
    cluster.mark = MARK;
    return 0;
}

static void what_is_ours_leaves_the_trash_and_loses_its_mark(void **state)
{
    (void)state;
    struct error err;
    assert_int_equal(image_untrash(&place, ID, "db", &err), 1);
    assert_int_equal(cluster.restores, 1);
    assert_null(cluster.mark);
}

/* The mark of a move of long ago, or none. */
static void what_somebody_else_put_there_stays(void **state)
{
    static const char *const marks[] = { NULL, "{\"version\":1,\"time\":1600000000}" };
    for (size_t i = 0; i < 2; i++) {
        struct error err;
        reset(state);
        cluster.mark = marks[i];
        assert_int_equal(image_untrash(&place, ID, "db", &err), 0);
        assert_int_equal(cluster.restores, 0);
        assert_true(cluster.in_trash);
        assert_null(cluster.mark);
    }
}

static void what_cannot_be_read_keeps_its_mark(void **state)
{
    (void)state;
    struct error err;
    cluster.get_meta = -ETIMEDOUT;
    assert_int_equal(image_untrash(&place, ID, "db", &err), -ETIMEDOUT);
    assert_string_equal(err.msg, "cannot read metadata");
    assert_non_null(cluster.mark);
    assert_int_equal(cluster.restores, 0);
    assert_int_equal(image_untrash(&place, ID, "db", &err), 1); /* later */
}

static void what_is_in_no_trash_loses_its_mark(void **state)
{
    (void)state;
    struct error err;
    cluster.in_trash = false;
    assert_int_equal(image_untrash(&place, ID, "db", &err), 0);
    assert_null(cluster.mark);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(what_is_ours_leaves_the_trash_and_loses_its_mark, reset),
        cmocka_unit_test_setup(what_somebody_else_put_there_stays, reset),
        cmocka_unit_test_setup(what_cannot_be_read_keeps_its_mark, reset),
        cmocka_unit_test_setup(what_is_in_no_trash_loses_its_mark, reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
