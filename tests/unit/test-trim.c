/* SPDX-License-Identifier: MIT */
/* `rbdvol trim`: piece after piece, and only while the volume is mounted here. */
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "cmocka-headers.h"
#include "fakes/engine.h"
#include "volume/trim.h"

#define GIB (1ULL << 30)

static int trim(struct fixture *f, json_int_t *bytes, struct error *err)
{
    json_auto_t *told = NULL;
    *err = (struct error){ 0 };
    fake_trace_clear();
    int rc = trim_volume(f->engine, "db", clock_in_ms(10000), &told, err);
    *bytes = json_integer_value(json_object_get(told, "Trimmed"));
    return rc;
}

static void a_mounted_volume_is_trimmed_in_pieces(void **state)
{
    struct fixture *f = *state;
    struct error err;
    json_int_t bytes;
    fake_volume_add(NULL, "db")->size = 9 * GIB;
    assert_int_equal(fixture_mount(f, "db", "one", &err), 0);
    assert_int_equal(trim(f, &bytes, &err), 0);
    fixture_expect_trace("device_start, trim 0, trim 4294967296, trim 8589934592, device_end");
    assert_true(bytes == 3LL * 4294967296);
    /* the file system may be smaller than its image: not in the first piece */
    fake_fail("trim", -ERANGE, 1);
    assert_int_equal(trim(f, &bytes, &err), -ERANGE);
    assert_int_equal(fixture_unmount(f, "db", "one", &err), 0);
}

static void what_is_not_mounted_here_is_refused(void **state)
{
    struct fixture *f = *state;
    struct error err;
    json_int_t bytes;
    assert_int_equal(trim(f, &bytes, &err), -ENOENT);
    fake_volume_add(NULL, "db");
    assert_int_equal(trim(f, &bytes, &err), -EBUSY);
    assert_non_null(strstr(err.msg, "it is not mounted on this host"));
    assert_int_equal(fake_device_count(), 0);
}

static void a_device_that_does_not_want_to_know_says_so(void **state)
{
    struct fixture *f = *state;
    struct error err;
    json_int_t bytes;
    fake_volume_add(NULL, "db");
    assert_int_equal(fixture_mount(f, "db", "one", &err), 0);
    fake_fail("trim", -EOPNOTSUPP, 1);
    assert_int_equal(trim(f, &bytes, &err), -EOPNOTSUPP);
    assert_int_equal(trim(f, &bytes, &err), 0);
    assert_int_equal(fixture_unmount(f, "db", "one", &err), 0);
    fixture_settle(f);
    assert_int_equal(fake_device_count(), 0);
}

static void who_wants_to_unmount_waits_for_one_piece_only(void **state)
{
    struct fixture *f = *state;
    struct error err;
    struct parallel p;
    json_int_t bytes;
    fake_volume_add(NULL, "db")->size = 9 * GIB;
    assert_int_equal(fixture_mount(f, "db", "one", &err), 0);
    json_auto_t *told = NULL;
    fake_hold("trim");
    int rc = trim_volume(f->engine, "db", clock_in_ms(50), &told, &err);
    assert_int_equal(rc, -EINPROGRESS); /* it goes on */
    fake_wait_held("trim", 1);
    fixture_begin(&p, f, true, "db", "one");
    fixture_wait_holders(f, "db", 0);
    fake_go("trim");
    assert_int_equal(fixture_end(&p), 0);
    fixture_settle(f);
    assert_int_equal(fake_mount_count(), 0);
    assert_int_equal(trim(f, &bytes, &err), -EBUSY);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, fixture_test_setup, fixture_test_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_mounted_volume_is_trimmed_in_pieces),
        TEST(what_is_not_mounted_here_is_refused),
        TEST(a_device_that_does_not_want_to_know_says_so),
        TEST(who_wants_to_unmount_waits_for_one_piece_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
