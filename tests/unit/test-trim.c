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
    int rc = trim_volume(f->engine, "db", "", clock_in_ms(10000), &told, err);
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
    assert_int_equal(trim_volume(f->engine, "db", "", clock_in_ms(50), &told, &err), 0);
    assert_string_equal(json_string_value(json_object_get(told, "Going")), "1");
    fake_wait_held("trim", 1);
    fixture_begin(&p, f, true, "db", "one");
    fixture_wait_holders(f, "db", 0);
    fake_go("trim");
    assert_int_equal(fixture_end(&p), 0);
    fixture_settle(f);
    assert_int_equal(fake_mount_count(), 0);
    assert_int_equal(trim(f, &bytes, &err), -EBUSY);
}

/* Asked for once more, whether by who asked for it or by another, while it goes on and when it is done. */
static void one_at_a_time_for_whoever_asks(void **state)
{
    struct fixture *f = *state;
    struct error err;
    json_int_t bytes;
    fake_volume_add(NULL, "db")->size = 2 * GIB;
    assert_int_equal(fixture_mount(f, "db", "one", &err), 0);
    fake_trace_clear();
    fake_hold("trim");
    for (int i = 0; i < 3; i++) {
        json_auto_t *told = NULL;
        assert_int_equal(trim_volume(f->engine, "db", i < 2 ? "" : "1", clock_in_ms(50), &told, &err), 0);
        assert_string_equal(json_string_value(json_object_get(told, "Going")), "1");
        assert_null(json_object_get(told, "Trimmed"));
    }
    fake_wait_held("trim", 1);
    fake_go("trim");
    json_auto_t *told = NULL, *again = NULL;
    assert_int_equal(trim_volume(f->engine, "db", "1", clock_in_ms(10000), &told, &err), 0);
    assert_int_equal(trim_volume(f->engine, "db", "1", clock_in_ms(10000), &again, &err), 0);
    assert_true(json_integer_value(json_object_get(told, "Trimmed")) == 4294967296);
    assert_true(json_equal(told, again));
    fixture_expect_trace("device_start, trim 0, device_end");
    assert_int_equal(trim(f, &bytes, &err), 0);
    fixture_expect_trace("device_start, trim 0, device_end");
    assert_int_equal(fixture_unmount(f, "db", "one", &err), 0);
}

static void what_it_ended_with_is_told_to_who_asks_again(void **state)
{
    struct fixture *f = *state;
    struct error err;
    fake_volume_add(NULL, "db");
    assert_int_equal(fixture_mount(f, "db", "one", &err), 0);
    json_auto_t *told = NULL;
    fake_fail("trim", -EOPNOTSUPP, 1);
    fake_hold("trim");
    assert_int_equal(trim_volume(f->engine, "db", "", clock_in_ms(50), &told, &err), 0);
    assert_non_null(json_object_get(told, "Going"));
    fake_wait_held("trim", 1);
    fake_go("trim");
    assert_int_equal(trim_volume(f->engine, "db", "1", clock_in_ms(10000), &told, &err), -EOPNOTSUPP);
    assert_non_null(strstr(err.msg, "cannot trim 'rbd/db'"));
    assert_int_equal(fixture_unmount(f, "db", "one", &err), 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, fixture_test_setup, fixture_test_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_mounted_volume_is_trimmed_in_pieces),
        TEST(what_is_not_mounted_here_is_refused),
        TEST(a_device_that_does_not_want_to_know_says_so),
        TEST(who_wants_to_unmount_waits_for_one_piece_only),
        TEST(one_at_a_time_for_whoever_asks),
        TEST(what_it_ended_with_is_told_to_who_asks_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
