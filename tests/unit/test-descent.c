/* SPDX-License-Identifier: MIT */
/* Ways down that fail, or that somebody turns round. */
#include <errno.h>
#include <string.h>

#include "cmocka-headers.h"
#include "fakes/engine.h"

static bool is_on_rung(const struct volume *v, unsigned rung)
{
    return v->rung == rung && !v->busy;
}

/* Until the keeper has brought it to this rung; the retry is due at once. */
static void wait_for_rung(struct fixture *f, const char *image, enum rung rung)
{
    fixture_retry_now(f, image);
    fixture_wait(f, image, is_on_rung, rung);
    fixture_settle(f);
}

static void an_unmount_that_finds_it_busy_names_who_and_ends_by_itself(void **state)
{
    struct fixture *f = *state;
    struct error err;
    fake_volume_add(NULL, "db");
    assert_int_equal(fixture_mount(f, "db", "one", &err), 0);
    fake_pin("pid 4711 (bash) with an open file");
    assert_int_equal(fixture_unmount(f, "db", "one", &err), -EBUSY);
    assert_non_null(strstr(err.msg, "cannot unmount 'rbd/db': pid 4711 (bash) with an open file still uses"));
    assert_int_equal(fixture_holders(f, "db"), 0);
    assert_int_equal(fixture_rung(f, "db"), RUNG_MOUNTED);
    assert_non_null(fake_image_lock(fake_image_find("rbd", "db"), "rbd_lock"));
    fake_pin(NULL);
    wait_for_rung(f, "db", RUNG_DETACHED);
    fixture_expect_down(f, "db");
}

static void a_mount_that_lives_on_in_another_namespace_keeps_the_lock(void **state)
{
    struct fixture *f = *state;
    struct error err;
    fake_volume_add(NULL, "db");
    assert_int_equal(fixture_mount(f, "db", "one", &err), 0);
    fake_mounted_elsewhere("pid 99 (containerd-shim)");
    assert_int_equal(fixture_unmount(f, "db", "one", &err), -EBUSY);
    assert_non_null(strstr(err.msg, "in the mount namespace of pid 99 (containerd-shim); the lock is kept"));
    assert_int_equal(fixture_rung(f, "db"), RUNG_MAPPED);
    assert_non_null(fake_image_lock(fake_image_find("rbd", "db"), "rbd_lock"));
    fake_mounted_elsewhere(NULL);
    wait_for_rung(f, "db", RUNG_DETACHED);
    fixture_expect_down(f, "db");
}

static void a_descent_that_keeps_failing_waits_longer_each_time(void **state)
{
    struct fixture *f = *state;
    struct error err;
    fake_volume_add(NULL, "db");
    assert_int_equal(fixture_mount(f, "db", "one", &err), 0);
    fake_pin("pid 4711 (bash)");
    assert_int_equal(fixture_unmount(f, "db", "one", &err), -EBUSY);
    struct volume *v = fixture_volume(f, "db");
    for (unsigned i = 0; i < 12; i++) {
        assert_int_equal(fixture_unmount(f, "db", "one", &err), -EBUSY);
        fixture_settle(f);
    }
    pthread_mutex_lock(&v->lock);
    int left = clock_left_ms(v->retry_at);
    pthread_mutex_unlock(&v->lock);
    registry_release(&f->engine->registry, v);
    assert_in_range(left, 25000, 30000);
}

static void expect_no_trouble(struct fixture *f, const char *image)
{
    struct volume *v = fixture_volume(f, image);
    pthread_mutex_lock(&v->lock);
    if (v->trouble.code || v->retries || v->retry_at)
        fail_msg("still in trouble (%u tries): %s", v->retries, v->trouble.msg);
    pthread_mutex_unlock(&v->lock);
    registry_release(&f->engine->registry, v);
}

static void a_mount_after_an_unmount_that_failed_has_the_volume_without_its_trouble(void **state)
{
    struct fixture *f = *state;
    struct error err;
    fake_volume_add(NULL, "db");
    assert_int_equal(fixture_mount(f, "db", "one", &err), 0);
    fake_pin("pid 4711 (bash)");
    assert_int_equal(fixture_unmount(f, "db", "one", &err), -EBUSY);
    fixture_settle(f);
    assert_int_equal(fixture_mount(f, "db", "two", &err), 0);
    fixture_settle(f);
    expect_no_trouble(f, "db");
}

static void a_mount_during_a_descent_turns_it_round(void **state)
{
    struct fixture *f = *state;
    struct parallel up, down;
    struct error err;
    fake_volume_add(NULL, "db");
    assert_int_equal(fixture_mount(f, "db", "one", &err), 0);
    fixture_settle(f);
    fake_trace_clear();
    fake_hold("umount");
    fixture_begin(&down, f, true, "db", "one");
    fake_wait_held("umount", 1);
    fixture_begin(&up, f, false, "db", "two");
    fixture_wait_holders(f, "db", 1);
    fake_go("umount");
    assert_int_equal(fixture_end(&down), 0);
    assert_int_equal(fixture_end(&up), 0);
    fixture_settle(f);
    fixture_expect_trace("device_start, umount db, device_end, device_start, attach 4096, "
                         "mount db xfs noatime,nodev,nosuid, device_end");
}

/* Somebody wants the volume while it is being unmapped, which fails like this; and is served at once, though
 * it has failed for long and the next try was far away. */
static void mounts_while_unmap_fails(struct fixture *f, int code)
{
    struct parallel up, down;
    struct error err;
    fake_volume_add(NULL, "db");
    assert_int_equal(fixture_mount(f, "db", "one", &err), 0);
    fake_hold("unmap");
    fake_fail("unmap", code, 2);
    fixture_begin(&down, f, true, "db", "one");
    fake_wait_held("unmap", 1);
    struct volume *v = fixture_volume(f, "db");
    pthread_mutex_lock(&v->lock);
    v->retries = 20;
    pthread_mutex_unlock(&v->lock);
    registry_release(&f->engine->registry, v);
    fixture_begin(&up, f, false, "db", "two");
    fixture_wait_holders(f, "db", 1);
    fake_go("unmap");
    if (fixture_end(&up) != 0)
        fail_msg("%s", up.err.msg);
    (void)fixture_end(&down);
    fixture_settle(f);
    assert_int_equal(fixture_rung(f, "db"), RUNG_MOUNTED);
    expect_no_trouble(f, "db");
}

static void a_mount_during_a_descent_that_fails_does_not_wait_for_the_retry(void **state)
{
    mounts_while_unmap_fails(*state, -EBUSY);
    assert_int_equal(fake_traced("map db"), 1);
}

/* Its file is unmounted then, or its device gone: what is looked at below it is nothing. */
static void what_was_told_to_end_is_mapped_anew_for_the_next(void **state)
{
    mounts_while_unmap_fails(*state, -ETIMEDOUT);
    assert_int_equal(fake_traced("unmap db"), 1);
    assert_int_equal(fake_traced("map db"), 3); /* "unmap" has one, too */
}

/* The end that it was told to come to is no loss, whenever it comes. */
static void what_was_told_to_end_is_not_lost_by_that(void **state)
{
    struct fixture *f = *state;
    struct error err;
    fake_mapper_control();
    fake_volume_add(NULL, "db");
    assert_int_equal(fixture_mount(f, "db", "one", &err), 0);
    fake_fail("unmap", -ETIMEDOUT, FAKE_FOREVER);
    assert_int_equal(fixture_unmount(f, "db", "one", &err), -ETIMEDOUT);
    fake_calls_reset();
    fake_hold("unmap");
    fake_fail("unmap", -ETIMEDOUT, 1);
    fake_mapping_kill("db");
    fixture_retry_now(f, "db");
    fake_wait_held("unmap", 1);
    struct volume *v = fixture_volume(f, "db");
    pthread_mutex_lock(&v->lock);
    bool lost = v->lost;
    pthread_mutex_unlock(&v->lock);
    registry_release(&f->engine->registry, v);
    fake_go("unmap");
    assert_false(lost);
    wait_for_rung(f, "db", RUNG_DETACHED);
    fixture_expect_down(f, "db");
}

/* Its owner record could not be written, nor could it be unmapped then: whoever comes goes on from there. */
static void mounts_after_half_a_mount(struct fixture *f, int code)
{
    struct parallel first, next;
    struct error err;
    struct fake_image *i = fake_volume_add(NULL, "db");
    fake_fail("lock rbdvol", -ETIMEDOUT, 1);
    fake_fail("unmap", code, 1);
    fake_hold("unmap");
    fixture_begin(&first, f, false, "db", "one");
    fake_wait_held("unmap", 1);
    fixture_begin(&next, f, false, "db", "two");
    fixture_wait_holders(f, "db", 1);
    fake_go("unmap");
    assert_int_equal(fixture_end(&first), -ETIMEDOUT);
    assert_int_equal(fixture_end(&next), 0);
    assert_non_null(fake_image_lock(i, "rbdvol"));
    assert_null(fake_image_lock(i, "rbdvol.ctl"));
    assert_int_equal(fixture_unmount(f, "db", "two", &err), 0);
    fixture_expect_down(f, "db");
}

static void a_mapping_that_was_not_finished_is_before_it_is_mounted(void **state)
{
    mounts_after_half_a_mount(*state, -EBUSY);
}

static void a_mapping_that_was_not_finished_and_told_to_end_is_made_anew(void **state)
{
    mounts_after_half_a_mount(*state, -ETIMEDOUT);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_test_setup, fixture_test_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_unmount_that_finds_it_busy_names_who_and_ends_by_itself),
        TEST(a_mount_that_lives_on_in_another_namespace_keeps_the_lock),
        TEST(a_descent_that_keeps_failing_waits_longer_each_time),
        TEST(a_mount_after_an_unmount_that_failed_has_the_volume_without_its_trouble),
        TEST(a_mount_during_a_descent_turns_it_round),
        TEST(a_mount_during_a_descent_that_fails_does_not_wait_for_the_retry),
        TEST(what_was_told_to_end_is_mapped_anew_for_the_next),
        TEST(what_was_told_to_end_is_not_lost_by_that),
        TEST(a_mapping_that_was_not_finished_is_before_it_is_mounted),
        TEST(a_mapping_that_was_not_finished_and_told_to_end_is_made_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
