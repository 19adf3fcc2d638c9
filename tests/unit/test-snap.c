/* SPDX-License-Identifier: MIT */
/* Snapshots: what is frozen is thawed whatever fails, and a rollback that was cut off is finished. */
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "cmocka-headers.h"
#include "fakes/engine.h"
#include "volume/snap.h"

#define ID    "0123456789abcdef"
#define OWNER "192.0.2.9:0/77"

typedef int snap_fn(struct volumes *e, const char *name, const char *snap, moment deadline, json_t **ret,
                    struct error *err);

static int ask(struct fixture *f, snap_fn *what, struct error *err)
{
    json_auto_t *told = NULL;
    *err = (struct error){ 0 };
    fake_trace_clear();
    return what(f->engine, "db", "mon", clock_in_ms(10000), &told, err);
}

static void refuses(struct fixture *f, snap_fn *what, int code, const char *words)
{
    struct error err;
    int rc = ask(f, what, &err);
    if (rc != code || !strstr(err.msg, words))
        fail_msg("%d %s", rc, err.msg);
}

static struct fake_image *mounted(struct fixture *f)
{
    struct error err;
    struct fake_image *i = fake_volume_add(NULL, "db");
    assert_int_equal(fixture_mount(f, "db", ID, &err), 0);
    fake_trace_clear();
    return i;
}

static bool is_frozen(struct fixture *f)
{
    struct volume *v = fixture_volume(f, "db");
    pthread_mutex_lock(&v->lock);
    bool frozen = v->facts.frozen;
    pthread_mutex_unlock(&v->lock);
    registry_release(&f->engine->registry, v);
    return frozen;
}

static void a_mounted_volume_is_frozen_for_that_moment(void **state)
{
    struct fixture *f = *state;
    struct error err;
    mounted(f);
    assert_int_equal(ask(f, snap_create, &err), 0);
    fixture_expect_trace("device_start, freeze, snap db@mon, thaw, device_end");
    assert_false(is_frozen(f));
    assert_int_equal(ask(f, snap_remove, &err), 0);
    fixture_expect_trace("unsnap db@mon");
    fixture_unmount(f, "db", ID, &err);
}

static void an_answer_that_was_lost_is_looked_for(void **state)
{
    struct fixture *f = *state;
    struct error err;
    const struct fake_image *i = mounted(f);
    fake_fail_late("change", -EIO); /* the mapper made it, and ended before it said so */
    assert_int_equal(ask(f, snap_create, &err), 0);
    fixture_expect_trace("device_start, freeze, snap db@mon, thaw, device_end");
    assert_string_equal(i->snaps[0], "mon");
    fake_fail("change", -EIO, 1); /* one that was there before is none that we have made */
    refuses(f, snap_create, -EEXIST, "already");
    assert_int_equal(ask(f, snap_remove, &err), -EIO);
    assert_int_equal(ask(f, snap_remove, &err), 0);
    fixture_unmount(f, "db", ID, &err);
}

static void a_snapshot_is_not_ours_when_the_lock_is_not(void **state)
{
    struct fixture *f = *state;
    struct fake_image *i = mounted(f);
    fake_fail_late("change", -EIO);
    fake_image_lock_set(i, "rbd_lock", "auto 7", "internal", OWNER);
    refuses(f, snap_create, -EIO, "");
    fixture_stop(f);
}

static void what_was_frozen_is_thawed_whatever_fails(void **state)
{
    struct fixture *f = *state;
    struct error err;
    mounted(f);
    fake_fail("change", -EIO, 1);
    refuses(f, snap_create, -EIO, "cannot make a snapshot");
    fixture_expect_trace("device_start, freeze, thaw, device_end");
    fake_fail("freeze", -ETIMEDOUT, 1); /* it may come to its end later */
    refuses(f, snap_create, -ETIMEDOUT, "");
    fixture_expect_trace("device_start, device_end, device_start, unfreeze, device_end");
    fake_fail("freeze", -EBUSY, 1); /* somebody else's */
    refuses(f, snap_create, -EBUSY, "");
    fixture_expect_trace("device_start, device_end");
    fake_fail("thaw", -ETIMEDOUT, 1); /* it was thawed too early */
    refuses(f, snap_create, -ETIMEDOUT, "while the file system stood still");
    fixture_expect_trace("device_start, freeze, snap db@mon, device_end, device_start, unfreeze, device_end, "
                         "unsnap db@mon");
    fake_fail("thaw", -EIO, 1); /* its helper is gone */
    fake_fail("unfreeze", -EIO, 2);
    refuses(f, snap_create, -EIO, "");
    assert_false(is_frozen(f));
    fixture_unmount(f, "db", ID, &err);
}

static void what_cannot_be_thawed_is_remembered(void **state)
{
    struct fixture *f = *state;
    struct error err;
    mounted(f);
    fake_fail("thaw", -EIO, 1);
    fake_fail("unfreeze", -EIO, 3);
    refuses(f, snap_create, -EIO, "");
    assert_true(is_frozen(f));
    fixture_stop(f);
    fake_trace_clear();
    fixture_start(f);
    fixture_settle(f);
    auto_free char *trace = fake_trace();
    assert_non_null(strstr(trace, "unfreeze"));
    assert_false(is_frozen(f));
    fixture_unmount(f, "db", ID, &err);
}

static void a_volume_at_rest_needs_no_freeze(void **state)
{
    struct fixture *f = *state;
    struct error err;
    fake_volume_add(NULL, "db");
    assert_int_equal(ask(f, snap_create, &err), 0);
    fixture_expect_trace("lock db rbdvol.ctl, snap db@mon, unlock db rbdvol.ctl");
}

static void elsewhere_it_is_not_ours_to_change(void **state)
{
    struct fixture *f = *state;
    struct fake_image *i = fake_volume_add(NULL, "db");
    fake_image_lock_set(i, "rbd_lock", "auto 7", "internal", OWNER);
    fake_image_lock_set(i, "rbdvol", "host9/m/b/rbd/abc/" OWNER, "", "192.0.2.9:0/76");
    fake_image_watch(i, OWNER, true);
    refuses(f, snap_create, -EBUSY, "host9");
    refuses(f, snap_remove, -EBUSY, "host9");
    refuses(f, snap_rollback, -EBUSY, "host9");
    fixture_expect_trace("");
    assert_false(fake_is_fenced(OWNER));
}

static void a_rollback_is_marked_until_it_is_whole(void **state)
{
    struct fixture *f = *state;
    struct error err;
    struct fake_image *i = fake_volume_add(NULL, "db");
    refuses(f, snap_rollback, -ENODEV, "no snapshot 'mon'");
    assert_null(i->rolling);
    assert_int_equal(ask(f, snap_create, &err), 0);
    assert_int_equal(ask(f, snap_rollback, &err), 0);
    assert_null(i->rolling);
    fake_fail("image_change_free", -EBUSY, 1); /* not begun */
    refuses(f, snap_rollback, -EBUSY, "");
    assert_null(i->rolling);
    fake_fail("image_change_free", -ETIMEDOUT, 1);
    refuses(f, snap_rollback, -ETIMEDOUT, "the next mount goes on with it");
    assert_string_equal(i->rolling, "mon");
    refuses(f, snap_create, -EBUSY, "was cut off");
    refuses(f, snap_remove, -EBUSY, "was cut off");
    fake_trace_clear();
    assert_int_equal(fixture_mount(f, "db", ID, &err), 0);
    auto_free char *trace = fake_trace();
    const char *back = strstr(trace, "rollback db@mon"), *map = strstr(trace, "map db");
    assert_true(back && map && back < map);
    assert_null(i->rolling);
    refuses(f, snap_rollback, -EBUSY, "stop its container");
    fixture_unmount(f, "db", ID, &err);
}

/* ---- what cannot be changed now ---- */

static void what_is_no_name_is_refused(void **state)
{
    struct fixture *f = *state;
    static const char *const names[] = { "", "a b", ".a", "a/b", "a@b", "\n" };
    fake_volume_add(NULL, "db");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct error err = { 0 };
        json_auto_t *told = NULL;
        assert_int_equal(snap_create(f->engine, "db", names[i], clock_in_ms(10000), &told, &err), -EINVAL);
        assert_non_null(strstr(err.msg, "cannot make a snapshot of 'db': "));
        assert_non_null(strstr(err.msg, "is no name of a snapshot"));
        assert_int_equal(snap_rollback(f->engine, "db", names[i], clock_in_ms(10000), &told, &err), -EINVAL);
    }
    fixture_expect_trace("");
}

static void a_volume_that_is_not_there_is_said_not_to_be(void **state)
{
    struct fixture *f = *state;
    struct error err;
    json_auto_t *told = NULL;
    refuses(f, snap_create, -ENOENT, "cannot make a snapshot of 'rbd/db'");
    refuses(f, snap_remove, -ENOENT, "cannot remove a snapshot of 'rbd/db'");
    refuses(f, snap_rollback, -ENOENT, "cannot roll back 'rbd/db'");
    assert_int_equal(snap_create(f->engine, "a//b", "mon", clock_in_ms(10000), &told, &err), -EINVAL);
    assert_non_null(strstr(err.msg, "cannot make a snapshot of 'a//b'"));
}

static void a_mapper_that_lets_nobody_change_it_is_named(void **state)
{
    struct fixture *f = *state;
    struct error err;
    fake_mapper_kernel();
    mounted(f);
    refuses(f, snap_create, -EBUSY, "it is mapped by kernel, which lets nobody change the image meanwhile");
    fixture_expect_trace("");
    fixture_unmount(f, "db", ID, &err);
}

static void what_has_another_name_by_now_is_left_alone(void **state)
{
    struct fixture *f = *state;
    struct error err;
    struct fake_image *i = mounted(f);
    fake_lock();
    (void)snprintf(i->listed, sizeof i->listed, "other");
    (void)snprintf(i->objects[0], sizeof i->objects[0], "other");
    fake_unlock();
    const struct fake_image *new = fake_volume_add(NULL, "db");
    refuses(f, snap_create, -EBUSY, "has another name by now");
    fixture_expect_trace("");
    assert_string_equal(i->snaps[0], "");
    assert_string_equal(new->snaps[0], "");
    fixture_unmount(f, "db", ID, &err);
}

static bool is_lost(const struct volume *v, unsigned n)
{
    (void)n;
    return v->lost && !v->busy && v->rung == RUNG_DETACHED;
}

static void what_is_lost_is_not_changed(void **state)
{
    struct fixture *f = *state;
    struct error err;
    const struct mapping_health fenced = { .state = MAPPING_LOST, .why = "fenced" };
    mounted(f);
    fake_mapping_health("db", &fenced);
    fixture_wait(f, "db", is_lost, 0);
    refuses(f, snap_create, -EIO, "its mapping on this host is lost; stop its container first");
    refuses(f, snap_rollback, -EIO, "its mapping on this host is lost");
    fixture_unmount(f, "db", ID, &err);
}

static void what_is_half_down_is_not_changed(void **state)
{
    struct fixture *f = *state;
    struct error err;
    mounted(f);
    fake_fail("wait_closed", -EBUSY, FAKE_FOREVER);
    assert_int_equal(fixture_unmount(f, "db", ID, &err), -EBUSY);
    fixture_settle(f);
    refuses(f, snap_create, -EBUSY, "it is neither mounted nor free on this host: ");
    assert_null(strchr(fake_image_find("rbd", "db")->snaps[0], 'm'));
    fake_fail("wait_closed", 0, 0);
    fixture_retry_now(f, "db");
    fake_wait_count("unmap", 1);
    fixture_settle(f);
}

/* ---- what fails in the middle ---- */

static void a_snapshot_that_came_too_late_and_stays_is_no_success(void **state)
{
    struct fixture *f = *state;
    struct error err;
    const struct fake_image *i = mounted(f);
    fake_fail("thaw", -ETIMEDOUT, 1);
    fake_fail_after("change", 1, -EIO, 1);
    refuses(f, snap_create, -ETIMEDOUT, "was not made while the file system stood still");
    assert_string_equal(i->snaps[0], "mon");
    assert_false(is_frozen(f));
    fixture_unmount(f, "db", ID, &err);
}

static void wherever_it_fails_the_file_system_moves_again(void **state)
{
    struct fixture *f = *state;
    struct error err;
    unsigned n;
    struct fake_image *i = mounted(f);
    for (n = 1; n < 40; n++) {
        fake_fail_nth(n, -EIO, false);
        int rc = ask(f, snap_create, &err);
        bool failed = fake_nth_failed();
        fake_mend();
        auto_free char *trace = fake_trace();
        if (is_frozen(f) ||
            (strstr(trace, ", freeze") && !strstr(trace, "thaw") && !strstr(trace, "unfreeze")))
            fail_msg("after a failure at %s: %s", fake_failed_call(), trace);
        if (rc == 0 && !i->snaps[0][0])
            fail_msg("after a failure at %s there is no snapshot", fake_failed_call());
        i->snaps[0][0] = '\0';
        i->snapshots = false;
        if (!failed)
            break;
    }
    assert_in_range(n, 6, 39);
    assert_int_equal(fixture_unmount(f, "db", ID, &err), 0);
}

/* The image is a mixture until one comes to its end. */
static void one_that_is_refused_leaves_the_mark_of_another_that_was_cut_off(void **state)
{
    struct fixture *f = *state;
    struct error err;
    static const int codes[] = { -EBUSY, -EOPNOTSUPP, -ENODEV };
    struct fake_image *i = fake_volume_add(NULL, "db");
    assert_int_equal(ask(f, snap_create, &err), 0); /* mon */
    for (size_t n = 0; n < sizeof codes / sizeof *codes; n++) {
        fake_image_set(&i->rolling, "sun");
        fake_fail("image_change_free", codes[n], 1);
        refuses(f, snap_rollback, codes[n], "");
        assert_non_null(i->rolling);
        assert_string_equal(i->rolling, "sun");
    }
    fake_fail("image_get_meta rbdvol.rolling", -ETIMEDOUT, 1);
    refuses(f, snap_rollback, -ETIMEDOUT, "");
    assert_string_equal(i->rolling, "sun");
    fake_fail("image_change_free", -ETIMEDOUT, 1); /* now it is a mixture of both */
    refuses(f, snap_rollback, -ETIMEDOUT, "the next mount goes on with it");
    assert_string_equal(i->rolling, "mon");
    assert_int_equal(ask(f, snap_rollback, &err), 0);
    assert_null(i->rolling);
}

static void a_rollback_that_cannot_be_finished_keeps_the_volume_down(void **state)
{
    struct fixture *f = *state;
    struct error err;
    struct fake_image *i = fake_volume_add(NULL, "db");
    assert_int_equal(ask(f, snap_create, &err), 0);
    fake_image_set(&i->rolling, "mon");
    static const char *const steps[] = { "image_change_free", "image_set_meta rbdvol.rolling" };
    for (size_t n = 0; n < 2; n++) {
        fake_fail(steps[n], -ETIMEDOUT, 1);
        assert_int_equal(fixture_mount(f, "db", ID, &err), -ETIMEDOUT);
        assert_non_null(strstr(err.msg, "a rollback to 'mon' was cut off, and cannot be finished"));
        fixture_settle(f);
        assert_string_equal(i->rolling, "mon");
        assert_int_equal(fake_mapping_count(), 0);
        assert_null(fake_image_lock(i, "rbd_lock"));
    }
    assert_int_equal(fixture_mount(f, "db", ID, &err), 0);
    assert_null(i->rolling);
    fixture_unmount(f, "db", ID, &err);
}

static void a_mark_that_cannot_be_set_or_taken_away_is_no_success(void **state)
{
    struct fixture *f = *state;
    struct error err;
    const struct fake_image *i = fake_volume_add(NULL, "db");
    assert_int_equal(ask(f, snap_create, &err), 0);
    fake_fail("image_set_meta", -ETIMEDOUT, 1); /* before the first byte */
    refuses(f, snap_rollback, -ETIMEDOUT, "cannot roll back 'rbd/db'");
    fixture_expect_trace("lock db rbdvol.ctl, unlock db rbdvol.ctl");
    fake_fail_after("image_set_meta", 1, -ETIMEDOUT, 1); /* after the last */
    refuses(f, snap_rollback, -ETIMEDOUT, "cannot roll back 'rbd/db'");
    assert_string_equal(i->rolling, "mon");
    assert_int_equal(ask(f, snap_rollback, &err), 0);
    assert_null(i->rolling);
}

/* ---- ls ---- */

static void they_are_listed_with_size_and_time(void **state)
{
    struct fixture *f = *state;
    struct error err;
    json_auto_t *told = NULL;
    struct fake_image *i = fake_volume_add(NULL, "db");
    (void)snprintf(i->snaps[0], sizeof i->snaps[0], "mon");
    (void)snprintf(i->snaps[2], sizeof i->snaps[2], "tue");
    assert_int_equal(snap_list(f->engine, "db", clock_in_ms(10000), &told, &err), 0);
    const json_t *all = json_object_get(told, "Snapshots"), *tue = json_array_get(all, 1);
    assert_int_equal(json_array_size(all), 2);
    assert_string_equal(json_string_value(json_object_get(tue, "Name")), "tue");
    assert_string_equal(json_string_value(json_object_get(tue, "Created")), "2023-11-14T22:13:20Z");
    assert_int_equal(json_integer_value(json_object_get(tue, "Size")), 1 << 30);
}

static void who_cannot_list_them_says_so(void **state)
{
    struct fixture *f = *state;
    static const char *const looks[] = { "cluster_place", "image_find", "image_snaps" };
    struct error err;
    json_t *told = NULL;
    assert_int_equal(snap_list(f->engine, "db", clock_in_ms(10000), &told, &err), -ENOENT);
    assert_int_equal(snap_list(f->engine, "a//b", clock_in_ms(10000), &told, &err), -EINVAL);
    fake_volume_add(NULL, "db");
    for (size_t i = 0; i < 3; i++) {
        fake_fail(looks[i], -ETIMEDOUT, 1);
        assert_int_equal(snap_list(f->engine, "db", clock_in_ms(10000), &told, &err), -ETIMEDOUT);
        assert_non_null(strstr(err.msg, "cannot list the snapshots of 'db'"));
    }
    assert_null(told);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_test_setup, fixture_test_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_mounted_volume_is_frozen_for_that_moment),
        TEST(what_was_frozen_is_thawed_whatever_fails),
        TEST(an_answer_that_was_lost_is_looked_for),
        TEST(a_snapshot_is_not_ours_when_the_lock_is_not),
        TEST(what_cannot_be_thawed_is_remembered),
        TEST(a_volume_at_rest_needs_no_freeze),
        TEST(elsewhere_it_is_not_ours_to_change),
        TEST(a_rollback_is_marked_until_it_is_whole),
        TEST(what_is_no_name_is_refused),
        TEST(a_volume_that_is_not_there_is_said_not_to_be),
        TEST(a_mapper_that_lets_nobody_change_it_is_named),
        TEST(what_has_another_name_by_now_is_left_alone),
        TEST(what_is_lost_is_not_changed),
        TEST(what_is_half_down_is_not_changed),
        TEST(a_snapshot_that_came_too_late_and_stays_is_no_success),
        TEST(wherever_it_fails_the_file_system_moves_again),
        TEST(one_that_is_refused_leaves_the_mark_of_another_that_was_cut_off),
        TEST(a_rollback_that_cannot_be_finished_keeps_the_volume_down),
        TEST(a_mark_that_cannot_be_set_or_taken_away_is_no_success),
        TEST(they_are_listed_with_size_and_time),
        TEST(who_cannot_list_them_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
