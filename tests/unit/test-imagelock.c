/* SPDX-License-Identifier: MIT */
/* Locks on header objects: what librados says of them, and each of its errors. librados is here, in a few
 * lines: what it is asked, and what it answers. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ceph/imagelock.h"
#include "cmocka-headers.h"

static const struct place place;

/* What the next calls answer, and what the last ones were asked. */
static struct {
    ssize_t lockers;
    int broken;
    const char *tag, *client, *cookie, *address;
    char asked[256];
    unsigned breaks;
} cluster;

static void put(char *to, size_t *len, const char *text)
{
    assert_true(strlen(text) < *len);
    *len = text[0] ? strlen(text) + 1 : 0; /* as librados does: an empty text has no NUL either */
    memcpy(to, text, *len);
}

ssize_t rados_list_lockers(rados_ioctx_t io, const char *o, const char *name, int *exclusive, char *tag,
                           size_t *tag_len, char *clients, size_t *clients_len, char *cookies,
                           size_t *cookies_len, char *addrs, size_t *addrs_len)
{
    (void)io;
    (void)snprintf(cluster.asked, sizeof cluster.asked, "%s %s", o, name);
    if (cluster.lockers <= 0)
        return cluster.lockers;
    *exclusive = 1;
    put(tag, tag_len, cluster.tag);
    put(clients, clients_len, cluster.client);
    put(cookies, cookies_len, cluster.cookie);
    put(addrs, addrs_len, cluster.address);
    return cluster.lockers;
}

int rados_break_lock(rados_ioctx_t io, const char *o, const char *name, const char *client,
                     const char *cookie)
{
    (void)io;
    cluster.breaks++;
    (void)snprintf(cluster.asked, sizeof cluster.asked, "%s %s %s %s", o, name, client, cookie);
    return cluster.broken;
}

const char *image_header_object(const char *id, char buf[static IMAGE_ID_LEN + 16])
{
    (void)snprintf(buf, IMAGE_ID_LEN + 16, "rbd_header.%s", id);
    return buf;
}

int place_error(const struct place *p, int rc, struct error *err, const char *fmt, ...)
{
    char text[sizeof err->msg];
    va_list ap;
    assert_ptr_equal(p, &place);
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return error_set(err, rc, "%s", text);
}

static void answer(const char *tag, const char *address)
{
    cluster.lockers = 1;
    cluster.tag = tag;
    cluster.client = "client.4122";
    cluster.cookie = "auto 94012";
    cluster.address = address;
}

static int reset(void **state)
{
    (void)state;
    memset(&cluster, 0, sizeof cluster);
    return 0;
}

static void the_holder_is_told_without_the_protocol_of_its_address(void **state)
{
    (void)state;
    static const char *const said[] = { "v1:10.0.0.1:0/77", "v2:10.0.0.1:0/77", "10.0.0.1:0/77" };
    for (size_t i = 0; i < sizeof said / sizeof *said; i++) {
        struct lock_holder h;
        struct error err;
        answer("internal", said[i]);
        assert_int_equal(imagelock_holder(&place, "12ab", "rbdvol", &h, &err), 1);
        assert_string_equal(cluster.asked, "rbd_header.12ab rbdvol");
        assert_string_equal(h.client, "client.4122");
        assert_string_equal(h.cookie, "auto 94012");
        assert_string_equal(h.tag, "internal");
        assert_string_equal(h.address, "10.0.0.1:0/77");
    }
}

static void only_the_managed_lock_has_the_managed_tag(void **state)
{
    (void)state;
    struct lock_holder h;
    struct error err;
    bool managed = false;
    answer("internal", "v1:10.0.0.1:0/77");
    assert_int_equal(imagelock_image_holder(&place, "12ab", &h, &managed, &err), 1);
    assert_true(managed);
    assert_string_equal(cluster.asked, "rbd_header.12ab rbd_lock");
    answer("", "v1:10.0.0.1:0/77");
    assert_int_equal(imagelock_image_holder(&place, "12ab", &h, &managed, &err), 1);
    assert_false(managed);
    assert_string_equal(h.tag, "");
    answer("some plugin's", "v1:10.0.0.1:0/77");
    managed = true;
    assert_int_equal(imagelock_image_holder(&place, "12ab", &h, &managed, &err), 1);
    assert_false(managed);
}

static void a_free_lock_and_a_missing_object_have_no_holder(void **state)
{
    (void)state;
    static const ssize_t none[] = { 0, -ENOENT };
    for (size_t i = 0; i < 2; i++) {
        struct lock_holder h = { .client = "as before" };
        struct error err = { 0 };
        bool managed = true;
        cluster.lockers = none[i];
        assert_int_equal(imagelock_holder(&place, "12ab", "rbdvol", &h, &err), 0);
        assert_int_equal(imagelock_image_holder(&place, "12ab", &h, &managed, &err), 0);
        assert_string_equal(h.client, "as before");
        assert_true(managed);
        assert_int_equal(err.code, 0);
    }
}

/* Never taken for a free lock. ERANGE: so many share it that the answer has no room. */
static void who_cannot_ask_says_so(void **state)
{
    (void)state;
    static const int codes[] = { -ETIMEDOUT, -EPERM, -ERANGE, -ESHUTDOWN, -EBADMSG };
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        struct lock_holder h = { .client = "as before" };
        struct error err = { 0 };
        bool managed = true;
        cluster.lockers = codes[i];
        assert_int_equal(imagelock_holder(&place, "12ab", "rbdvol", &h, &err), codes[i]);
        assert_string_equal(err.msg, "cannot look at lock rbdvol of image id 12ab");
        assert_int_equal(imagelock_image_holder(&place, "12ab", &h, &managed, &err), codes[i]);
        assert_string_equal(err.msg, "cannot look at lock rbd_lock of image id 12ab");
        assert_string_equal(h.client, "as before");
        assert_true(managed);
    }
}

static const struct lock_holder holder = { .client = "client.4122", .cookie = "auto 94012" };

static void a_lock_is_broken_by_its_client_and_cookie(void **state)
{
    (void)state;
    struct error err;
    assert_int_equal(imagelock_break(&place, "12ab", "rbdvol.ctl", &holder, &err), 0);
    assert_string_equal(cluster.asked, "rbd_header.12ab rbdvol.ctl client.4122 auto 94012");
    assert_int_equal(imagelock_break_fenced(&place, "12ab", &holder, &err), 0);
    assert_string_equal(cluster.asked, "rbd_header.12ab rbd_lock client.4122 auto 94012");
    assert_int_equal(cluster.breaks, 2);
}

static void the_images_own_lock_is_not_broken_without_a_fence(void **state)
{
    (void)state;
    struct error err;
    assert_int_equal(imagelock_break(&place, "12ab", "rbd_lock", &holder, &err), -EINVAL);
    assert_non_null(strstr(err.msg, "never broken without fencing"));
    assert_int_equal(cluster.breaks, 0);
}

static void what_somebody_else_broke_before_is_broken(void **state)
{
    (void)state;
    struct error err;
    cluster.broken = -ENOENT;
    assert_int_equal(imagelock_break(&place, "12ab", "rbdvol", &holder, &err), 0);
    assert_int_equal(imagelock_break_fenced(&place, "12ab", &holder, &err), 0);
}

static void who_cannot_break_says_so(void **state)
{
    (void)state;
    static const int codes[] = { -ETIMEDOUT, -EPERM, -ESHUTDOWN, -EINVAL };
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        struct error err;
        cluster.broken = codes[i];
        assert_int_equal(imagelock_break(&place, "12ab", "rbdvol", &holder, &err), codes[i]);
        assert_string_equal(err.msg, "cannot take lock rbdvol of image id 12ab from client.4122");
        assert_int_equal(imagelock_break_fenced(&place, "12ab", &holder, &err), codes[i]);
        assert_string_equal(err.msg, "cannot take lock rbd_lock of image id 12ab from client.4122");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(the_holder_is_told_without_the_protocol_of_its_address, reset),
        cmocka_unit_test_setup(only_the_managed_lock_has_the_managed_tag, reset),
        cmocka_unit_test_setup(a_free_lock_and_a_missing_object_have_no_holder, reset),
        cmocka_unit_test_setup(who_cannot_ask_says_so, reset),
        cmocka_unit_test_setup(a_lock_is_broken_by_its_client_and_cookie, reset),
        cmocka_unit_test_setup(the_images_own_lock_is_not_broken_without_a_fence, reset),
        cmocka_unit_test_setup(what_somebody_else_broke_before_is_broken, reset),
        cmocka_unit_test_setup(who_cannot_break_says_so, reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
