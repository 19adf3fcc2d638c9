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

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_test_setup, fixture_test_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_mounted_volume_is_frozen_for_that_moment), TEST(what_was_frozen_is_thawed_whatever_fails),
        TEST(an_answer_that_was_lost_is_looked_for),      TEST(a_snapshot_is_not_ours_when_the_lock_is_not),
        TEST(what_cannot_be_thawed_is_remembered),        TEST(a_volume_at_rest_needs_no_freeze),
        TEST(elsewhere_it_is_not_ours_to_change),         TEST(a_rollback_is_marked_until_it_is_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
