/* SPDX-License-Identifier: MIT */
/* What Remove does, and all it refuses to. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "cmocka-headers.h"
#include "fakes/engine.h"
#include "volume/former.h"
#include "volume/query.h"
#include "volume/remove.h"

#define ANON  "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define STEPS 32

static int take_away(struct fixture *f, const char *name, struct error *err)
{
    *err = (struct error){ 0 };
    return remove_volume(f->engine, name, false, clock_in_ms(10000), err);
}

static void refuses(struct fixture *f, int code, const char *words)
{
    struct error err;
    int rc = take_away(f, "db", &err);
    if (rc != code || !strstr(err.msg, words) || !strstr(err.msg, "cannot remove 'rbd/db'"))
        fail_msg("%d %s", rc, err.msg);
    assert_non_null(fake_image_find("rbd", "db"));
    assert_int_equal(fake_trash_count(), 0);
}

static void a_volume_goes_to_the_trash_and_can_be_removed_again(void **state)
{
    struct fixture *f = *state;
    struct error err;
    fake_volume_add(NULL, "db");
    fake_volume_add(NULL, ANON);
    assert_int_equal(take_away(f, "db@1024", &err), 0);
    fixture_expect_trace("lock db rbdvol.ctl, trash db keep_s=604800, unlock  rbdvol.ctl, forget db");
    assert_int_equal(take_away(f, "db", &err), 0); /* Docker's and Mesos' retries */
    fixture_expect_trace("");
    assert_int_equal(take_away(f, ANON, &err), 0);
    auto_free char *trace = fake_trace();
    assert_non_null(strstr(trace, "keep_s=3600,"));
    fixture_settle(f);
    assert_true(fixture_forgotten(f, "db"));
}

static void what_was_not_answered_in_time_says_so_and_is_taken_back(void **state)
{
    struct fixture *f = *state;
    struct error err;
    fake_volume_add(NULL, "db");
    fake_fail("image_trash", -ETIMEDOUT, 1);
    refuses(f, -ETIMEDOUT, "should it be removed when it does, that is taken back");
    fixture_settle(f);
    assert_non_null(fake_image_find("rbd", "db"));
    /* it was done, and nothing answers for a while */
    fake_fail_late("image_trash", -ETIMEDOUT);
    fake_fail("image_untrash", -ETIMEDOUT, 2);
    assert_int_equal(take_away(f, "db", &err), -ETIMEDOUT);
    fake_wait_count("image_untrash", 4);
    fixture_settle(f);
    assert_non_null(fake_image_find("rbd", "db"));
    assert_int_equal(fake_trash_count(), 0);
    assert_true(fixture_forgotten(f, "db"));
}

/* Who asks again need not wait for that, and has what was asked for. */
static void a_removal_that_is_asked_for_again_is_done(void **state)
{
    struct fixture *f = *state;
    struct error err;
    fake_volume_add(NULL, "db");
    fake_fail_late("image_trash", -ETIMEDOUT);
    fake_fail("image_untrash", -ETIMEDOUT, 1);
    assert_int_equal(take_away(f, "db", &err), -ETIMEDOUT);
    assert_int_equal(take_away(f, "db", &err), 0);
    fixture_settle(f);
    assert_null(fake_image_find("rbd", "db"));
    assert_int_equal(fake_trash_count(), 1);
    assert_true(fixture_forgotten(f, "db"));
}

static void delete_goes_through_the_trash(void **state)
{
    struct fixture *f = *state;
    struct error err;
    fake_volume_add(NULL, "db");
    assert_int_equal(remove_volume(f->engine, "db", true, clock_in_ms(10000), &err), 0);
    fixture_wait_purged(f);
    fixture_expect_trace("lock db rbdvol.ctl, trash db keep_s=0, unlock  rbdvol.ctl, forget db, purge");
    f->settings.remove = REMOVE_DELETE;
    struct fake_image *i = fake_volume_add(NULL, "db");
    i->snapshots = true;
    refuses(f, -EBUSY, "it has snapshots");
    i->snapshots = false;
    assert_int_equal(take_away(f, "db", &err), 0);
    fixture_wait_purged(f);
    assert_int_equal(fake_image_count() + fake_trash_count(), 0);
    f->settings.remove = REMOVE_TRASH;
    fake_volume_add(NULL, "db")->snapshots = true;
    assert_int_equal(take_away(f, "db", &err), 0);
}

static void the_policy_rename_keeps_the_image_under_a_free_name(void **state)
{
    struct fixture *f = *state;
    struct error err;
    f->settings.remove = REMOVE_RENAME;
    fake_volume_add(NULL, "db");
    fake_volume_add(NULL, "zz_db");
    assert_int_equal(take_away(f, "db", &err), 0);
    assert_null(fake_image_find("rbd", "db"));
    const struct fake_image *i = fake_image_find("rbd", "zz_db.1");
    assert_non_null(i);
    assert_null(i->making);
    assert_int_equal(fake_trash_count(), 0);
    /* cut off in the middle: whoever looks at the name next finishes it */
    for (unsigned writes = 1; writes < 3; writes++) {
        fake_volume_add(NULL, "other");
        fake_rename_stops_after(writes, -ETIMEDOUT);
        assert_int_equal(take_away(f, "other", &err), -ETIMEDOUT);
        assert_int_equal(take_away(f, "other", &err), 0);
        assert_null(fake_image_find("rbd", "other"));
        i = fake_image_find("rbd", writes == 1 ? "zz_other" : "zz_other.1");
        assert_non_null(i);
        assert_string_equal(i->objects[0], i->listed);
        assert_string_equal(i->objects[1], "");
        assert_int_equal(fake_trash_count(), 0);
    }
    /* cut off before anything of it was written: it is a volume still */
    fake_volume_add(NULL, "other");
    fake_rename_stops_after(0, -ETIMEDOUT);
    assert_int_equal(take_away(f, "other", &err), -ETIMEDOUT);
    assert_int_equal(fixture_mount(f, "other", "one", &err), 0);
    assert_int_equal(fixture_unmount(f, "other", "one", &err), 0);
    assert_int_equal(take_away(f, "other", &err), 0);
    assert_non_null(fake_image_find("rbd", "zz_other.2"));
    /* by hand for good, whatever the policy */
    fake_volume_add(NULL, "db");
    assert_int_equal(remove_volume(f->engine, "db", true, clock_in_ms(10000), &err), 0);
    assert_null(fake_image_find("rbd", "db"));
    assert_null(fake_image_find("rbd", "zz_db.2"));
}

/* Get and Mount say the same of it. */
/* Not for want of time: that would be taken back. */
static void a_rename_that_was_cut_off_is_finished_by_a_look(void **state)
{
    struct fixture *f = *state;
    struct error err;
    json_t *j;
    f->settings.remove = REMOVE_RENAME;
    for (unsigned writes = 1; writes < 3; writes++) {
        fake_volume_add(NULL, "db");
        fake_rename_stops_after(writes, -EIO);
        assert_int_equal(take_away(f, "db", &err), -EIO);
        assert_int_equal(query_get(f->engine, "db", &j, &err), -ENOENT);
        assert_int_equal(fixture_mount(f, "db", "one", &err), -ENOENT);
        const char *name = writes == 1 ? "zz_db" : "zz_db.1";
        assert_non_null(fake_image_find("rbd", name));
        assert_int_equal(query_get(f->engine, name, &j, &err), 0);
        json_decref(j);
    }
    fake_volume_add(NULL, "db");
    fake_rename_stops_after(0, -EIO); /* it was not begun */
    assert_int_equal(take_away(f, "db", &err), -EIO);
    assert_int_equal(query_get(f->engine, "db", &j, &err), 0);
    json_decref(j);
}

static void the_policy_ignore_leaves_it(void **state)
{
    struct fixture *f = *state;
    struct error err;
    f->settings.remove = REMOVE_IGNORE;
    fake_volume_add(NULL, "db");
    assert_int_equal(take_away(f, "db", &err), 0);
    assert_non_null(fake_image_find("rbd", "db"));
    fixture_expect_trace("");
}

/* A volume whose spec says what is to be done when it is removed. */
static void volume_with(const char *policy)
{
    char text[80];
    (void)snprintf(text, sizeof text, "{\"version\":1,\"fstype\":\"xfs\",\"remove\":\"%s\"}", policy);
    fake_image_set(&fake_volume_add(NULL, "db")->spec, text);
}

static void a_volumes_own_policy_comes_before_the_hosts(void **state)
{
    struct fixture *f = *state;
    struct error err;
    volume_with("delete");
    assert_int_equal(take_away(f, "db", &err), 0);
    fixture_wait_purged(f);
    assert_int_equal(fake_image_count() + fake_trash_count(), 0);
    volume_with("rename");
    assert_int_equal(take_away(f, "db", &err), 0);
    assert_non_null(fake_image_find("rbd", "zz_db"));
    f->settings.remove = REMOVE_DELETE;
    volume_with("trash");
    assert_int_equal(take_away(f, "db", &err), 0);
    assert_int_equal(fake_trash_count(), 1);
    volume_with("ignore");
    assert_int_equal(fixture_mount(f, "db", "one", &err), 0);
    assert_int_equal(take_away(f, "db", &err), 0); /* as with the host's, whoever uses it */
    assert_int_equal(fixture_unmount(f, "db", "one", &err), 0);
    assert_int_equal(take_away(f, "db", &err), 0);
    assert_non_null(fake_image_find("rbd", "db"));
    assert_int_equal(remove_volume(f->engine, "db", true, clock_in_ms(10000), &err), 0);
    assert_null(fake_image_find("rbd", "db"));
    fixture_wait_purged(f);
    f->settings.remove = REMOVE_IGNORE;
    volume_with("trash");
    assert_int_equal(take_away(f, "db", &err), 0);
    assert_int_equal(fake_trash_count(), 2);
}

static void a_policy_that_cannot_be_read_does_not_delete_for_good(void **state)
{
    struct fixture *f = *state;
    struct error err;
    f->settings.remove = REMOVE_DELETE;
    volume_with("burn");
    assert_int_equal(take_away(f, "db", &err), 0);
    assert_int_equal(fake_trash_count(), 1);
    f->settings.remove = REMOVE_IGNORE; /* and what cannot be asked is not known to be ignored */
    volume_with("trash");
    fake_fail("image_get_meta", -ETIMEDOUT, 1);
    assert_int_equal(take_away(f, "db", &err), -ETIMEDOUT);
}

static void a_volume_in_use_is_refused_and_says_by_whom(void **state)
{
    struct fixture *f = *state;
    struct error err;
    struct fake_image *i = fake_volume_add(NULL, "db");
    fake_process_add(77, 1);
    assert_int_equal(fixture_mount(f, "db", "0123456789abcdef", &err), 0);
    refuses(f, -EBUSY, "in use on this host by mount ID 0123456789ab");
    assert_int_equal(fixture_unmount(f, "db", "0123456789abcdef", &err), 0);
    assert_int_equal(fixture_mount(f, "db", "", &err), 0);
    refuses(f, -EBUSY, "in use on this host by a caller without ID");
    fake_pin("pid 4711 (bash)");
    assert_int_equal(fixture_unmount(f, "db", "", &err), -EBUSY);
    refuses(f, -EBUSY, "pid 4711 (bash) still uses");
    /* what left the gate has tried it once more: an Unmount that joins that has its answer */
    fixture_settle(f);
    fake_pin(NULL);
    assert_int_equal(fixture_unmount(f, "db", "", &err), 0);
    fixture_settle(f);
    /* elsewhere */
    fake_image_watch(i, "192.0.2.9:0/5", true);
    refuses(f, -EBUSY, "opened by another client at 192.0.2.9:0/5");
    fake_image_lock_set(i, "rbd_lock", "auto 7", "internal", "192.0.2.9:0/5");
    fake_image_lock_set(i, "rbdvol", "host9/m/b/rbd/abc/192.0.2.9:0/5", "", "192.0.2.9:0/4");
    refuses(f, -EBUSY, "in use on host host9");
    i->deaf = true;
    f->settings.takeover = TAKEOVER_SILENT; /* for who needs its data, not for who throws it away */
    refuses(f, -EBUSY, "whose watch has not lapsed yet");
    f->settings.takeover = TAKEOVER_NEVER;
    fake_image_watch(i, "192.0.2.9:0/5", false);
    refuses(f, -EBUSY, "takeover=never");
}

static void a_volume_of_a_dead_host_is_removed(void **state)
{
    struct fixture *f = *state;
    struct error err;
    struct fake_image *i = fake_volume_add(NULL, "db");
    fake_image_lock_set(i, "rbd_lock", "auto 7", "internal", "192.0.2.9:0/5");
    fake_image_lock_set(i, "rbdvol", "host9/m/b/rbd/abc/192.0.2.9:0/5", "", "192.0.2.9:0/4");
    assert_int_equal(take_away(f, "db", &err), 0);
    assert_true(fake_is_fenced("192.0.2.9:0/5"));
    assert_int_equal(fake_trash_count(), 1);
}

static void what_a_daemon_that_was_killed_left_does_not_stand_in_the_way(void **state)
{
    struct fixture *f = *state;
    struct error err;
    struct fake_image *i = fake_volume_add(NULL, "db");
    former_add(f->engine, "192.0.2.1:0/8");
    former_add(f->engine, "192.0.2.1:0/9"); /* the present one */
    fake_image_watch(i, "192.0.2.1:0/8", true);
    i->deaf = true;
    assert_int_equal(take_away(f, "db", &err), 0);
    assert_true(fake_is_fenced("192.0.2.1:0/8"));
    assert_false(fake_is_fenced("192.0.2.1:0/9"));
}

static void an_image_that_is_not_ours_is_refused(void **state)
{
    struct fixture *f = *state;
    fake_image_add(NULL, "db");
    refuses(f, -EPERM, "neither made nor ever mounted by rbdvol");
    fixture_expect_trace("");
}

static void an_interrupted_removal_is_finished(void **state)
{
    struct fixture *f = *state;
    struct error err;
    struct fake_image *i = fake_volume_add(NULL, "db");
    i->headerless = true;
    i->name_age = 9;
    refuses(f, -EBUSY, "another client is making it"); /* `rbd create` makes the header last */
    i->name_age = 10;
    assert_int_equal(take_away(f, "db", &err), 0);
    fixture_expect_trace("drop_name db, forget db");
    assert_int_equal(fake_image_count() + fake_trash_count(), 0);
    /* of the names one is gone, too */
    i = fake_volume_add(NULL, "db");
    i->headerless = true;
    i->objects[0][0] = '\0';
    assert_int_equal(take_away(f, "db", &err), 0);
    fixture_expect_trace("drop_name db, forget db");
    i = fake_volume_add(NULL, "db");
    i->headerless = true;
    i->name_age = 10;
    i->listed[0] = '\0';
    assert_int_equal(take_away(f, "db", &err), 0);
    fixture_expect_trace("drop_name db, forget db");
    /* half of a name, and an image behind it */
    i = fake_volume_add(NULL, "db");
    i->name_age = 10;
    i->objects[0][0] = '\0';
    refuses(f, -EUCLEAN, "half made or half removed");
    fixture_expect_trace("");
}

static void an_image_that_goes_while_we_look_is_gone(void **state)
{
    struct fixture *f = *state;
    struct error err;
    fake_volume_add(NULL, "db");
    fake_fail("image_read_header", -ENOENT, 1);
    assert_int_equal(take_away(f, "db", &err), -EBUSY); /* its name is there, and young */
    fake_fail("image_read_header", -ENOENT, 1);
    fake_fail("image_name_age", -ETIMEDOUT, 1);
    refuses(f, -ETIMEDOUT, "");
    fixture_expect_trace("");
}

static void a_user_that_comes_between_our_looks_is_left_alone(void **state)
{
    struct fixture *f = *state;
    struct fake_image *i = fake_volume_add(NULL, "db");
    fake_fail("image_watcher", -ETIMEDOUT, 1); /* the look with rbdvol.ctl held */
    refuses(f, -ETIMEDOUT, "injected");
    fixture_expect_trace("lock db rbdvol.ctl, unlock db rbdvol.ctl");
    assert_null(fake_image_lock(i, "rbdvol.ctl"));
}

static void what_cannot_be_asked_is_not_removed(void **state)
{
    struct fixture *f = *state;
    struct error err;
    fake_volume_add(NULL, "db");
    fake_cluster_set(FAKE_CLUSTER_DOWN);
    refuses(f, -ENOTCONN, "unreachable");
    fake_cluster_set(FAKE_CLUSTER_UP);
    unsigned n;
    for (n = 1; n < STEPS; n++) {
        fake_fail_nth(n, -EIO, false);
        int rc = take_away(f, "db", &err);
        if (!fake_nth_failed())
            break;
        if (rc != -EIO || !fake_image_find("rbd", "db"))
            fail_msg("failure at %s: %d %s", fake_failed_call(), rc, err.msg);
        assert_null(fake_image_lock(fake_image_find("rbd", "db"), "rbdvol.ctl"));
    }
    assert_in_range(n, 8, STEPS - 1);
    fake_mend();
    assert_int_equal(take_away(f, "other/db", &err), -ENODEV); /* a missing pool is no missing volume */
    assert_int_equal(take_away(f, "../db", &err), -EINVAL);
}

static void a_name_in_two_pools_is_refused(void **state)
{
    struct fixture *f = *state;
    struct error err;
    struct fake_pool *ssd = fake_pool_add("ssd", "");
    fixture_stop(f);
    f->settings.npools = 2;
    (void)snprintf(f->settings.pools[1], sizeof f->settings.pools[1], "ssd");
    fixture_start(f);
    fake_volume_add(NULL, "db");
    fake_volume_add(ssd, "db");
    assert_int_equal(take_away(f, "db", &err), -EEXIST);
    assert_non_null(strstr(err.msg, "write 'rbd/db' or 'ssd/db'"));
    assert_int_equal(take_away(f, "ssd/db", &err), 0);
    assert_int_equal(take_away(f, "db", &err), 0);
    assert_int_equal(take_away(f, "db", &err), 0);
    assert_int_equal(fake_image_count(), 0);
}

static void a_remove_waits_for_the_gate_and_not_for_ever(void **state)
{
    struct fixture *f = *state;
    struct error err;
    struct parallel p;
    fake_volume_add(NULL, "db");
    fake_hold("map");
    fixture_begin(&p, f, false, "db", "one");
    fake_wait_held("map", 1);
    int rc = remove_volume(f->engine, "db", false, clock_in_ms(20), &err);
    assert_true(rc == -EBUSY || rc == -EINPROGRESS);
    assert_non_null(strstr(err.msg, "try again"));
    fake_go("map");
    assert_int_equal(fixture_end(&p), 0);
    assert_non_null(fake_image_find("rbd", "db"));
}

/* ---- who had it, and is gone ---- */

static void a_stale_holder_gives_way_and_the_volume_is_taken_down_first(void **state)
{
    struct fixture *f = *state;
    struct error err;
    char mountpoint[PATH_MAX];
    struct grant *grant = NULL;
    const struct caller caller = { .pid = 100 };
    fake_volume_add(NULL, "db");
    fake_process_add(100, 5);
    assert_int_equal(
        mount_volume(f->engine, "db", "one", &caller, clock_in_ms(10000), mountpoint, &grant, &err), 0);
    mount_sent(f->engine, grant, true);
    refuses(f, -EBUSY, "");
    fake_process_end(100);
    fake_mounted_elsewhere("pid 4711 (sh)"); /* its container runs on */
    refuses(f, -EBUSY, "");
    fake_mounted_elsewhere(NULL);
    fake_trace_clear();
    if (take_away(f, "db", &err) < 0)
        fail_msg("%s", err.msg);
    auto_free char *trace = fake_trace();
    const char *umount = strstr(trace, "umount db"), *trash = strstr(trace, "trash db");
    assert_true(umount && trash && umount < trash);
}

static void no_name_is_looked_for_endlessly(void **state)
{
    struct fixture *f = *state;
    struct error err;
    f->settings.remove = REMOVE_RENAME;
    fake_volume_add(NULL, "db");
    fake_fail("image_find zz_db", -ETIMEDOUT, 1);
    refuses(f, -ETIMEDOUT, "");
    fake_calls_reset();
    assert_int_equal(take_away(f, "db", &err), 0);
    unsigned looks = fake_count("image_find");
    fake_volume_add(NULL, "db");
    fake_fail_after("image_find", looks - 1, -EUCLEAN, FAKE_FOREVER); /* but for those of the volume itself */
    refuses(f, -EEXIST, "there are 1000 images zz_db already");
    fake_fail("image_find", 0, 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, fixture_test_setup, fixture_test_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_volume_goes_to_the_trash_and_can_be_removed_again),
        TEST(what_was_not_answered_in_time_says_so_and_is_taken_back),
        TEST(a_removal_that_is_asked_for_again_is_done),
        TEST(delete_goes_through_the_trash),
        TEST(a_stale_holder_gives_way_and_the_volume_is_taken_down_first),
        TEST(no_name_is_looked_for_endlessly),
        TEST(the_policy_rename_keeps_the_image_under_a_free_name),
        TEST(a_rename_that_was_cut_off_is_finished_by_a_look),
        TEST(the_policy_ignore_leaves_it),
        TEST(a_volumes_own_policy_comes_before_the_hosts),
        TEST(a_policy_that_cannot_be_read_does_not_delete_for_good),
        TEST(a_volume_in_use_is_refused_and_says_by_whom),
        TEST(a_volume_of_a_dead_host_is_removed),
        TEST(what_a_daemon_that_was_killed_left_does_not_stand_in_the_way),
        TEST(an_image_that_is_not_ours_is_refused),
        TEST(an_interrupted_removal_is_finished),
        TEST(an_image_that_goes_while_we_look_is_gone),
        TEST(a_user_that_comes_between_our_looks_is_left_alone),
        TEST(what_cannot_be_asked_is_not_removed),
        TEST(a_name_in_two_pools_is_refused),
        TEST(a_remove_waits_for_the_gate_and_not_for_ever),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
