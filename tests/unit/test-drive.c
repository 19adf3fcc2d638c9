/* SPDX-License-Identifier: MIT */
/* Holders that come and go, at the same time, too early and too late. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cmocka-headers.h"
#include "fakes/engine.h"
#include "volume/query.h"

#define THREADS 16

static const char spec_host[] = "{\"version\":1,\"fstype\":\"xfs\",\"sharing\":\"host\"}";

/* ---- who may hold it ---- */

static void an_exclusive_volume_goes_to_one_of_many_at_once(void **state)
{
    struct fixture *f = *state;
    struct parallel p[THREADS];
    char ids[THREADS][16];
    unsigned won = 0;
    size_t winner = 0;
    fake_volume_add(NULL, "db");
    for (size_t i = 0; i < THREADS; i++) {
        (void)snprintf(ids[i], sizeof ids[i], "id-%02zu", i);
        fixture_begin(&p[i], f, false, "db", ids[i]);
    }
    for (size_t i = 0; i < THREADS; i++)
        if (fixture_end(&p[i]) == 0) {
            won++;
            winner = i;
        }
    assert_int_equal(won, 1);
    for (size_t i = 0; i < THREADS; i++)
        if (i != winner && (p[i].rc != -EBUSY || !strstr(p[i].err.msg, ids[winner])))
            fail_msg("%s: %d %s; %s has it", ids[i], p[i].rc, p[i].err.msg, ids[winner]);
    assert_int_equal(fake_traced("map db"), 1);
    assert_int_equal(fixture_holders(f, "db"), 1);
}

static void a_shared_volume_goes_to_all_of_many_with_one_mapping(void **state)
{
    struct fixture *f = *state;
    struct parallel p[THREADS];
    struct error err;
    char ids[THREADS][16];
    fake_image_set(&fake_volume_add(NULL, "db")->spec, spec_host);
    for (size_t i = 0; i < THREADS; i++) {
        (void)snprintf(ids[i], sizeof ids[i], "id-%02zu", i);
        fixture_begin(&p[i], f, false, "db", ids[i]);
    }
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(fixture_end(&p[i]), 0);
    assert_int_equal(fixture_holders(f, "db"), THREADS);
    assert_int_equal(fake_traced("mount db"), 1);
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(fake_traced("umount db"), 0);
        assert_int_equal(fixture_unmount(f, "db", ids[i], &err), 0);
    }
    assert_int_equal(fake_traced("umount db"), 1);
    fixture_expect_down(f, "db");
}

static void mounts_and_unmounts_at_once_leave_nothing(void **state)
{
    struct fixture *f = *state;
    struct parallel p[THREADS];
    struct error err;
    char ids[THREADS][16];
    fake_image_set(&fake_volume_add(NULL, "db")->spec, spec_host);
    for (unsigned round = 0; round < 5; round++) {
        for (size_t i = 0; i < THREADS; i++) {
            (void)snprintf(ids[i], sizeof ids[i], "id-%02zu", i);
            fixture_begin(&p[i], f, i % 2, "db", ids[i - i % 2]);
        }
        for (size_t i = 0; i < THREADS; i++)
            (void)fixture_end(&p[i]); /* an Unmount that overtakes its Mount is fair */
        for (size_t i = 0; i < THREADS; i += 2)
            assert_int_equal(fixture_unmount(f, "db", ids[i], &err), 0);
        fixture_expect_down(f, "db");
        assert_int_equal(fake_mapping_count(), 0);
        assert_int_equal(fake_mount_count(), 0);
    }
}

static void the_same_id_is_counted(void **state)
{
    struct fixture *f = *state;
    struct error err;
    fake_volume_add(NULL, "db");
    assert_int_equal(fixture_mount(f, "db", "one", &err), 0);
    assert_int_equal(fixture_mount(f, "rbd/db", "one", &err), 0); /* docker cp */
    assert_int_equal(fixture_unmount(f, "db@1024", "one", &err), 0);
    assert_int_equal(fixture_rung(f, "db"), RUNG_MOUNTED);
    assert_int_equal(fixture_mount(f, "db", "two", &err), -EBUSY);
    assert_non_null(strstr(err.msg, "mount ID one"));
    assert_int_equal(fixture_unmount(f, "db", "two", &err), 0); /* never had it */
    assert_int_equal(fixture_rung(f, "db"), RUNG_MOUNTED);
    assert_int_equal(fixture_unmount(f, "db", "one", &err), 0);
    fixture_expect_down(f, "db");
    assert_int_equal(fixture_unmount(f, "db", "one", &err), 0);
    assert_int_equal(fixture_unmount(f, "never-was", "one", &err), 0);
    assert_int_equal(fake_count("map"), 1);
}

static void many_mounts_without_an_id_end_with_one_unmount(void **state)
{
    struct fixture *f = *state;
    struct error err;
    fake_volume_add(NULL, "db");
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(fixture_mount(f, "db", "", &err), 0);
    assert_int_equal(fixture_mount(f, "db", "one", &err), -EBUSY);
    assert_non_null(strstr(err.msg, "without a mount ID"));
    assert_int_equal(fixture_unmount(f, "db", "", &err), 0);
    fixture_expect_down(f, "db");
}

/* ---- answers that do not arrive ---- */

static int mount_with(struct fixture *f, const char *id, const struct caller *caller, int64_t ms,
                      struct grant **grant, struct error *err)
{
    char mountpoint[PATH_MAX];
    return mount_volume(f->engine, "db", id, caller, clock_in_ms(ms), mountpoint, grant, err);
}

static void an_answer_that_does_not_arrive_is_taken_back(void **state)
{
    struct fixture *f = *state;
    struct error err;
    struct grant *grant;
    const struct caller caller = { 0 };
    fake_volume_add(NULL, "db");
    assert_int_equal(mount_with(f, "one", &caller, 10000, &grant, &err), 0);
    mount_sent(f->engine, grant, false);
    fixture_expect_down(f, "db");
    /* beside one that did arrive */
    assert_int_equal(fixture_mount(f, "db", "one", &err), 0);
    assert_int_equal(mount_with(f, "one", &caller, 10000, &grant, &err), 0);
    mount_sent(f->engine, grant, false);
    fixture_settle(f);
    assert_int_equal(fixture_rung(f, "db"), RUNG_MOUNTED);
    assert_int_equal(fixture_unmount(f, "db", "one", &err), 0);
    fixture_expect_down(f, "db");
}

static void an_answer_without_an_id_that_does_not_arrive_leaves_what_was_granted_before(void **state)
{
    struct fixture *f = *state;
    struct error err;
    struct grant *first, *second;
    const struct caller caller = { 0 };
    fake_volume_add(NULL, "db");
    assert_int_equal(fixture_mount(f, "db", "", &err), 0);
    assert_int_equal(mount_with(f, "", &caller, 10000, &second, &err), 0);
    mount_sent(f->engine, second, false);
    fixture_settle(f);
    assert_int_equal(fixture_rung(f, "db"), RUNG_MOUNTED);
    assert_int_equal(fixture_unmount(f, "db", "", &err), 0);
    fixture_expect_down(f, "db");
    /* the other way round: the first answer is lost, the second arrives */
    assert_int_equal(mount_with(f, "", &caller, 10000, &first, &err), 0);
    assert_int_equal(mount_with(f, "", &caller, 10000, &second, &err), 0);
    mount_sent(f->engine, second, true);
    mount_sent(f->engine, first, false);
    fixture_settle(f);
    assert_int_equal(fixture_rung(f, "db"), RUNG_MOUNTED);
    assert_int_equal(fixture_unmount(f, "db", "", &err), 0);
    fixture_expect_down(f, "db");
}

static bool has_left(void *arg)
{
    return *(bool *)arg;
}

struct leaver {
    pthread_t thread;
    struct fixture *fixture;
    const char *id;
    bool *left;
    int rc;
    struct error err;
};

static void *leave(void *arg)
{
    struct leaver *l = arg;
    struct grant *grant;
    const struct caller caller = { .left = has_left, .arg = l->left };
    l->rc = mount_with(l->fixture, l->id, &caller, 10000, &grant, &l->err);
    return NULL;
}

static void a_caller_that_leaves_while_it_climbs_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    bool left = true; /* looked at only while waiting */
    struct leaver l = { .fixture = f, .id = "one", .left = &left };
    fake_volume_add(NULL, "db");
    fake_hold("map");
    assert_int_equal(pthread_create(&l.thread, NULL, leave, &l), 0);
    pthread_join(l.thread, NULL); /* while the step is still at it */
    assert_int_equal(l.rc, -ECANCELED);
    assert_int_equal(fixture_holders(f, "db"), 0);
    fake_go("map");
    fixture_expect_down(f, "db");
}

static void a_caller_without_an_id_that_leaves_does_not_take_the_next_one_along(void **state)
{
    struct fixture *f = *state;
    bool left = true;
    struct error err;
    struct parallel p;
    struct leaver l = { .fixture = f, .id = "", .left = &left };
    fake_volume_add(NULL, "db");
    fake_hold("map");
    fixture_begin(&p, f, false, "db", ""); /* Mesos tries again what it gave up */
    fake_wait_held("map", 1);
    assert_int_equal(pthread_create(&l.thread, NULL, leave, &l), 0);
    pthread_join(l.thread, NULL);
    assert_int_equal(l.rc, -ECANCELED);
    fake_go("map");
    assert_int_equal(fixture_end(&p), 0);
    fixture_settle(f);
    assert_int_equal(fixture_rung(f, "db"), RUNG_MOUNTED);
    assert_int_equal(fixture_holders(f, "db"), 1);
    assert_int_equal(fixture_unmount(f, "db", "", &err), 0);
    fixture_expect_down(f, "db");
}

static void an_unmount_that_overtakes_its_mount_does_not_leave_it_without_a_holder(void **state)
{
    struct fixture *f = *state;
    struct parallel p, u;
    fake_volume_add(NULL, "db");
    fake_hold("map");
    fixture_begin(&p, f, false, "db", "one");
    fake_wait_held("map", 1);
    fixture_begin(&u, f, true, "db", "one");
    fixture_wait_holders(f, "db", 0);
    fake_go("map");
    assert_int_equal(fixture_end(&u), 0);
    assert_int_equal(fixture_end(&p), -ECANCELED);
    fixture_expect_down(f, "db");
}

/* ---- time ---- */

static void a_slow_step_is_told_and_the_next_call_joins_it(void **state)
{
    struct fixture *f = *state;
    struct error err;
    struct grant *grant;
    const struct caller caller = { 0 };
    struct parallel p;
    fake_volume_add(NULL, "db");
    fake_hold("check");
    for (int64_t ms = 20; fake_count("check") == 0;
         ms *= 2) { /* a busy machine may need longer to come there */
        assert_int_equal(mount_with(f, "one", &caller, ms, &grant, &err), -EBUSY);
        assert_non_null(strstr(err.msg, "rbdvol is "));
        assert_int_equal(fixture_holders(f, "db"), 0);
    }
    fake_wait_held("check", 1);
    const unsigned maps = fake_traced("map db"); /* one that found no time for it was undone */
    assert_int_equal(mount_with(f, "one", &caller, 20, &grant, &err), -EBUSY);
    assert_non_null(strstr(err.msg, "rbdvol is checking it for "));
    assert_non_null(strstr(err.msg, " s; try again"));
    fixture_begin(&p, f, false, "db", "one");
    fixture_wait_holders(f, "db", 1);
    fake_go("check");
    assert_int_equal(fixture_end(&p), 0);
    assert_int_equal(fake_traced("map db"), maps);
}

static void a_slow_volume_delays_no_other(void **state)
{
    struct fixture *f = *state;
    struct error err;
    struct parallel p;
    json_t *list;
    fake_volume_add(NULL, "slow");
    fake_volume_add(NULL, "db");
    fake_hold("mount slow");
    fixture_begin(&p, f, false, "slow", "one");
    fake_wait_held("mount slow", 1);
    assert_int_equal(fixture_mount(f, "db", "two", &err), 0);
    assert_int_equal(query_get(f->engine, "slow", &list, &err), 0); /* Get waits for no gate */
    json_decref(list);
    assert_int_equal(query_list(f->engine, &list, &err), 0);
    assert_int_equal(json_array_size(list), 2);
    json_decref(list);
    json_decref(query_status(f->engine));
    assert_int_equal(fixture_unmount(f, "db", "two", &err), 0);
    fake_go("mount slow");
    assert_int_equal(fixture_end(&p), 0);
}

static void a_caller_that_waits_for_admission_gives_up_in_time(void **state)
{
    struct fixture *f = *state;
    struct error err;
    struct grant *grant;
    const struct caller caller = { 0 };
    struct parallel p;
    fake_volume_add(NULL, "db");
    fake_hold("image_find");
    fixture_begin(&p, f, false, "db", "one");
    fake_wait_held("image_find", 1);
    assert_int_equal(mount_with(f, "two", &caller, 20, &grant, &err), -EBUSY);
    assert_non_null(strstr(err.msg, "rbdvol is looking at it for 0 s; try again"));
    fake_go("image_find");
    assert_int_equal(fixture_end(&p), 0);
}

/* ---- what somebody else does to the mount ---- */

static void what_was_unmounted_by_hand_is_mounted_again_for_the_next(void **state)
{
    struct fixture *f = *state;
    struct error err;
    struct fake_image *i = fake_volume_add(NULL, "db");
    fake_image_set(&i->spec, spec_host);
    assert_int_equal(fixture_mount(f, "db", "one", &err), 0);
    assert_true(fake_mount_drop(fixture_mountpoint(f, "db")));
    fake_trace_clear();
    assert_int_equal(fixture_mount(f, "db", "two", &err), 0);
    assert_true(fake_mounted(fixture_mountpoint(f, "db")));
    assert_int_equal(fake_traced("map db"), 0);
    assert_int_equal(fixture_holders(f, "db"), 2);
    assert_int_equal(fixture_unmount(f, "db", "one", &err), 0);
    assert_int_equal(fixture_unmount(f, "db", "two", &err), 0);
    fixture_expect_down(f, "db");
}

static void what_was_mounted_over_is_handed_to_nobody(void **state)
{
    struct fixture *f = *state;
    struct error err;
    fake_volume_add(NULL, "db");
    assert_int_equal(fixture_mount(f, "db", "one", &err), 0);
    fake_mount_over(fixture_mountpoint(f, "db"), "foreign");
    assert_int_equal(fixture_mount(f, "db", "one", &err), -EBUSY);
    assert_non_null(strstr(err.msg, "foreign (tmpfs) was mounted over it"));
    assert_int_equal(fixture_holders(f, "db"), 1);
    fake_mount_over(fixture_mountpoint(f, "db"), NULL);
    assert_int_equal(fixture_mount(f, "db", "one", &err), 0);
    assert_int_equal(fixture_unmount(f, "db", "one", &err), 0);
    assert_int_equal(fixture_unmount(f, "db", "one", &err), 0);
    fixture_expect_down(f, "db");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, fixture_test_setup, fixture_test_teardown)
    const struct CMUnitTest tests[] = {
        TEST(an_exclusive_volume_goes_to_one_of_many_at_once),
        TEST(a_shared_volume_goes_to_all_of_many_with_one_mapping),
        TEST(mounts_and_unmounts_at_once_leave_nothing),
        TEST(the_same_id_is_counted),
        TEST(many_mounts_without_an_id_end_with_one_unmount),
        TEST(an_answer_that_does_not_arrive_is_taken_back),
        TEST(an_answer_without_an_id_that_does_not_arrive_leaves_what_was_granted_before),
        TEST(a_caller_that_leaves_while_it_climbs_leaves_nothing),
        TEST(a_caller_without_an_id_that_leaves_does_not_take_the_next_one_along),
        TEST(an_unmount_that_overtakes_its_mount_does_not_leave_it_without_a_holder),
        TEST(a_slow_step_is_told_and_the_next_call_joins_it),
        TEST(a_slow_volume_delays_no_other),
        TEST(a_caller_that_waits_for_admission_gives_up_in_time),
        TEST(what_was_unmounted_by_hand_is_mounted_again_for_the_next),
        TEST(what_was_mounted_over_is_handed_to_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
