/* SPDX-License-Identifier: MIT */
/* Where no thread can be started: who waits is told so, and what is to be done is done later. */
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "cmocka-headers.h"
#include "fakes/engine.h"
#include "volume/remove.h"
#include "volume/resize.h"

#define ID "0123456789abcdef"

static void a_mount_without_a_thread_is_refused_and_forgotten(void **state)
{
    struct fixture *f = *state;
    struct error err;
    struct fake_image *i = fake_volume_add(NULL, "db");
    fake_fail("thread", -EAGAIN, 1);
    assert_int_equal(fixture_mount(f, "db", ID, &err), -EAGAIN);
    assert_non_null(strstr(err.msg, "cannot mount 'rbd/db': cannot start a thread to work on the volume"));
    fixture_settle(f);
    assert_int_equal(fixture_holders(f, "db"), 0);
    assert_null(fake_image_lock(i, "rbd_lock"));
    fixture_expect_trace("");
    assert_int_equal(fixture_mount(f, "db", ID, &err), 0);
    assert_int_equal(fixture_unmount(f, "db", ID, &err), 0);
    assert_true(fixture_forgotten(f, "db"));
}

static void an_unmount_without_a_thread_is_done_later(void **state)
{
    struct fixture *f = *state;
    struct error err;
    fake_volume_add(NULL, "db");
    assert_int_equal(fixture_mount(f, "db", ID, &err), 0);
    fixture_settle(f);
    fake_calls_reset();
    fake_fail("thread", -EAGAIN, 1);
    assert_int_equal(fixture_unmount(f, "db", ID, &err), -EAGAIN);
    assert_non_null(strstr(err.msg, "cannot unmount 'rbd/db': cannot start a thread"));
    assert_int_equal(fixture_holders(f, "db"), 0);
    fake_wait_count("unmap", 1); /* by itself */
    fixture_settle(f);
    assert_true(fixture_forgotten(f, "db"));
    assert_int_equal(fake_mount_count(), 0);
}

static void a_task_without_a_thread_changes_nothing(void **state)
{
    struct fixture *f = *state;
    struct error err;
    json_auto_t *told = NULL;
    const struct fake_image *i = fake_volume_add(NULL, "db");
    fake_fail("thread", -EAGAIN, 1);
    assert_int_equal(resize_volume(f->engine, "db", "2G", clock_in_ms(10000), &told, &err), -EAGAIN);
    assert_non_null(strstr(err.msg, "cannot resize 'rbd/db': cannot start a thread"));
    assert_null(told);
    assert_true(i->size == 1ULL << 30);
    fixture_expect_trace("");
}

static void an_engine_without_a_thread_does_not_start(void **state)
{
    struct fixture *f = *state;
    static const char *const words[] = { "cannot watch over the mappings", "cannot start a thread" };
    fixture_stop(f);
    for (unsigned i = 0; i < 2; i++) {
        struct volumes *e = NULL;
        struct error err;
        fake_fail_after("thread", i, -EAGAIN, 1);
        assert_int_equal(volumes_start(&f->settings, &e, &err), -EAGAIN);
        assert_non_null(strstr(err.msg, words[i]));
        assert_null(e);
    }
    fixture_start(f);
}

/* Not a day later. */
static void a_collector_without_a_thread_comes_again_soon(void **state)
{
    struct fixture *f = *state;
    fixture_stop(f);
    fake_calls_reset();
    fake_fail_after("thread", 2, -EAGAIN, 1);
    fixture_start(f); /* waits for the collector's round */
    assert_int_equal(fake_count("thread"), 4);
}

static void a_deletion_without_a_thread_is_the_collectors(void **state)
{
    struct fixture *f = *state;
    struct error err;
    fake_volume_add(NULL, "db");
    fake_calls_reset();
    fake_fail_after("thread", 1, -EAGAIN, 1); /* the first is the removal's own */
    if (remove_volume(f->engine, "db", true, clock_in_ms(10000), &err) < 0)
        fail_msg("%s", err.msg);
    assert_int_equal(fake_count("image_purge"), 0);
    fake_wait_count("image_purge_own", f->settings.npools);
    fixture_wait_purged(f);
}

static void check_owners_now(struct fixture *f)
{
    pthread_mutex_lock(&f->engine->lock);
    f->engine->check_owners_at = 0;
    pthread_mutex_unlock(&f->engine->lock);
}

static void a_look_at_the_locks_without_a_thread_is_had_later(void **state)
{
    struct fixture *f = *state;
    struct error err;
    fake_mapper_kernel();
    fake_volume_add(NULL, "db");
    assert_int_equal(fixture_mount(f, "db", ID, &err), 0);
    fixture_settle(f);
    fake_calls_reset();
    fake_fail("thread", -EAGAIN, 1);
    check_owners_now(f);
    fake_wait_count("thread", 1);
    check_owners_now(f);
    fake_wait_count("imagelock_holder", 1);
    assert_int_equal(fixture_unmount(f, "db", ID, &err), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_test_setup, fixture_test_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_mount_without_a_thread_is_refused_and_forgotten),
        TEST(an_unmount_without_a_thread_is_done_later),
        TEST(a_task_without_a_thread_changes_nothing),
        TEST(an_engine_without_a_thread_does_not_start),
        TEST(a_collector_without_a_thread_comes_again_soon),
        TEST(a_deletion_without_a_thread_is_the_collectors),
        TEST(a_look_at_the_locks_without_a_thread_is_had_later),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
