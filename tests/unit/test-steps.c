/* SPDX-License-Identifier: MIT */
/* Callers and steps that meet at a bad moment: who leaves, what cannot be written down, what is still open.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "cmocka-headers.h"
#include "fakes/engine.h"
#include "volume/stale.h"

#define ID   "0123456789abcdef"
#define HOST "{\"version\":1,\"fstype\":\"xfs\",\"sharing\":\"host\"}"

static void mounts(struct fixture *f, const char *id)
{
    struct error err;
    if (fixture_mount(f, "db", id, &err) < 0)
        fail_msg("%s", err.msg);
    fixture_settle(f);
}

static void gone(struct fixture *f)
{
    fixture_settle(f);
    assert_true(fixture_forgotten(f, "db"));
    assert_int_equal(fake_mount_count() + fake_mapping_count() + fake_device_count(), 0);
    assert_null(fake_image_lock(fake_image_find("rbd", "db"), "rbd_lock"));
    assert_null(fake_image_lock(fake_image_find("rbd", "db"), "rbdvol"));
}

static void unmounts(struct fixture *f)
{
    struct error err;
    assert_int_equal(fixture_unmount(f, "db", ID, &err), 0);
    gone(f);
}

/* ---- callers ---- */

static int mount_as(struct fixture *f, const char *id, const struct caller *caller, struct error *err)
{
    char mountpoint[PATH_MAX];
    struct grant *grant = NULL;
    int rc = mount_volume(f->engine, "db", id, caller, clock_in_ms(10000), mountpoint, &grant, err);
    if (rc == 0)
        mount_sent(f->engine, grant, true);
    return rc;
}

static bool always(void *arg)
{
    (void)arg;
    return true;
}

static void who_left_before_the_answer_holds_nothing(void **state)
{
    struct fixture *f = *state;
    struct error err;
    const struct caller caller = { .left = always };
    fake_image_set(&fake_volume_add(NULL, "db")->spec, HOST);
    mounts(f, "one");
    assert_int_equal(mount_as(f, "two", &caller, &err), -ECANCELED);
    assert_non_null(strstr(err.msg, "the caller left before it could be answered"));
    assert_int_equal(fixture_holders(f, "db"), 1);
    assert_int_equal(fixture_rung(f, "db"), RUNG_MOUNTED);
    assert_int_equal(fixture_unmount(f, "db", "one", &err), 0);
    gone(f);
}

static void what_cannot_be_written_down_is_not_promised(void **state)
{
    struct fixture *f = *state;
    struct error err;
    char path[PATH_MAX];
    fake_volume_add(NULL, "db");
    (void)snprintf(path, sizeof path, "%s/volumes/rbd+db.json.tmp", f->settings.state_dir);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(fixture_mount(f, "db", ID, &err), -EEXIST);
    assert_non_null(strstr(err.msg, "cannot write down in the state-dir that it is mounted"));
    gone(f);
    assert_int_equal(rmdir(path), 0);
    mounts(f, ID);
    unmounts(f);
}

/* docker cp, while the container of a caller that is gone still runs. */
static void one_more_mount_of_a_running_container_counts(void **state)
{
    struct fixture *f = *state;
    struct error err;
    const struct caller first = { .pid = 100 }, second = { .pid = 101 };
    fake_volume_add(NULL, "db");
    fake_process_add(100, 5);
    fake_process_add(101, 6);
    assert_int_equal(mount_as(f, ID, &first, &err), 0);
    fake_process_end(100);
    fake_mounted_elsewhere("pid 4711 (sh)");
    assert_int_equal(mount_as(f, ID, &second, &err), 0);
    struct volume *v = fixture_volume(f, "db");
    pthread_mutex_lock(&v->lock);
    const struct holder *h = holders_find(&v->holders, ID);
    assert_int_equal(h->count, 2);
    assert_int_equal(h->peer, 100); /* stale as soon as the container has ended */
    assert_true(h->peer_start == 5);
    pthread_mutex_unlock(&v->lock);
    registry_release(&f->engine->registry, v);
    fake_mounted_elsewhere(NULL);
    assert_int_equal(fixture_unmount(f, "db", ID, &err), 0);
    assert_int_equal(fixture_holders(f, "db"), 1);
    unmounts(f);
}

static void an_unmount_that_takes_long_is_told_and_goes_on(void **state)
{
    struct fixture *f = *state;
    struct error err;
    fake_volume_add(NULL, "db");
    mounts(f, ID);
    fake_hold("umount");
    assert_int_equal(unmount_volume(f->engine, "db", ID, clock_in_ms(100), &err), -EBUSY);
    assert_non_null(strstr(err.msg, "cannot unmount 'rbd/db': rbdvol is unmounting it for"));
    fake_go("umount");
    fake_wait_count("unmap", 1);
    gone(f);
}

/* ---- release ---- */

static int release(struct fixture *f, const char *id, bool force, unsigned *dropped, struct error *err)
{
    json_t *left = NULL;
    *err = (struct error){ 0 };
    int rc = release_holder(f->engine, "db", id, force, clock_in_ms(5000), dropped, &left, err);
    if (rc == 0)
        json_decref(left);
    return rc;
}

static void a_living_holder_goes_by_force_alone(void **state)
{
    struct fixture *f = *state;
    struct error err;
    unsigned dropped = 9;
    const struct caller caller = { .pid = 100 };
    fake_volume_add(NULL, "db");
    fake_process_add(100, 5);
    assert_int_equal(mount_as(f, ID, &caller, &err), 0);
    assert_int_equal(release(f, NULL, false, &dropped, &err), 0);
    assert_int_equal(dropped, 0);
    assert_int_equal(release(f, ID, false, &dropped, &err), -EBUSY);
    assert_non_null(strstr(err.msg, "its caller (pid 100) is alive and it is younger than ten minutes"));
    assert_int_equal(release(f, "other", false, &dropped, &err), -ENOENT);
    assert_non_null(strstr(err.msg, "not held on this host by that ID"));
    assert_int_equal(fixture_holders(f, "db"), 1);
    assert_int_equal(release(f, ID, true, &dropped, &err), 0);
    assert_int_equal(dropped, 1);
    gone(f);
}

static void without_an_id_nobody_can_tell_when_it_ends(void **state)
{
    struct fixture *f = *state;
    struct error err;
    unsigned dropped = 9;
    fake_volume_add(NULL, "db");
    mounts(f, "");
    assert_int_equal(release(f, "", false, &dropped, &err), -EBUSY);
    assert_non_null(strstr(err.msg, "whether a caller without an ID is done with it cannot be told"));
    assert_int_equal(release(f, "", true, &dropped, &err), 0);
    gone(f);
    assert_int_equal(release(f, "", true, &dropped, &err), -ENOENT);
    assert_non_null(strstr(err.msg, "cannot release 'rbd/db': nobody holds it on this host"));
}

static void whose_caller_is_gone_is_dropped_without_being_named(void **state)
{
    struct fixture *f = *state;
    struct error err;
    unsigned dropped = 9;
    const struct caller caller = { .pid = 100 };
    fake_volume_add(NULL, "db");
    fake_process_add(100, 5);
    assert_int_equal(mount_as(f, ID, &caller, &err), 0);
    fake_process_end(100);
    fake_mounted_elsewhere("pid 4711 (sh)"); /* its container runs on */
    assert_int_equal(release(f, NULL, false, &dropped, &err), 0);
    assert_int_equal(dropped, 0);
    assert_int_equal(release(f, ID, false, &dropped, &err), -EBUSY);
    assert_non_null(strstr(err.msg, "it is mounted in the mount namespace of pid 4711 (sh)"));
    fake_mounted_elsewhere(NULL);
    assert_int_equal(release(f, NULL, false, &dropped, &err), 0);
    assert_int_equal(dropped, 1);
    gone(f);
}

/* ---- steps ---- */

static void a_rename_that_is_being_finished_is_waited_out(void **state)
{
    struct fixture *f = *state;
    fake_volume_add(NULL, "db");
    mounts(f, ID);
    unsigned looks = fake_count("image_find");
    unmounts(f);
    fake_calls_reset();
    fake_fail_after("image_find", looks - 1, -EUCLEAN, 1); /* the last look, once it is locked */
    mounts(f, ID);
    assert_int_equal(fake_count("image_find"), looks + 1);
    unmounts(f);
}

static void a_mount_that_fails_and_does_not_go_is_taken_down_later(void **state)
{
    struct fixture *f = *state;
    struct error err;
    fake_image_set(&fake_volume_add(NULL, "db")->spec, "{\"version\":1,\"fstype\":\"xfs\",\"fresh\":true}");
    fake_fail("fresh", -EIO, 1);
    fake_fail("umount", -EIO, 1);
    assert_int_equal(fixture_mount(f, "db", ID, &err), -EIO);
    assert_non_null(strstr(err.msg, "injected failure of fresh"));
    fake_wait_count("umount", 2);
    gone(f);
}

static void what_is_open_still_keeps_the_lock_and_is_named(void **state)
{
    struct fixture *f = *state;
    struct parallel p;
    fake_volume_add(NULL, "db");
    mounts(f, ID);
    fake_fail("wait_closed", -EBUSY, 1);
    fake_hold("wait_closed");
    fixture_begin(&p, f, true, "db", ID);
    fake_wait_held("wait_closed", 1);
    fake_pin("pid 4711 (fio)");
    fake_go("wait_closed");
    assert_int_equal(fixture_end(&p), -EBUSY);
    assert_non_null(strstr(p.err.msg, "pid 4711 (fio) still uses it; the lock is kept until that ends"));
    assert_non_null(fake_image_lock(fake_image_find("rbd", "db"), "rbd_lock"));
    fake_pin(NULL);
    fixture_retry_now(f, "db");
    fake_wait_count("unmap", 1);
    gone(f);
}

/* The helper of an earlier daemon mounted it after the next had looked. */
static void what_is_mounted_behind_our_back_is_not_unmapped(void **state)
{
    struct fixture *f = *state;
    struct error err;
    fake_volume_add(NULL, "db");
    mounts(f, ID);
    fixture_stop(f);
    assert_true(fake_mount_drop(fixture_mountpoint(f, "db")));
    fake_calls_reset();
    fake_hold("mapper_find");
    assert_int_equal(volumes_start(&f->settings, &f->engine, &err), 0);
    fake_wait_held("mapper_find", 1);
    fake_mount_add(fixture_mountpoint(f, "db"), "db");
    fake_go("mapper_find");
    fake_wait_count("image_purge_own", 1); /* later than that */
    fixture_settle(f);
    assert_int_equal(fixture_rung(f, "db"), RUNG_MOUNTED);
    assert_true(fake_mounted(fixture_mountpoint(f, "db")));
    fixture_expect_trace("");
    unmounts(f);
}

/* On its way down it had let go of the control lock long before. */
static void who_comes_when_all_but_the_record_is_gone_claims_anew(void **state)
{
    struct fixture *f = *state;
    struct parallel up, down;
    struct error err;
    fake_volume_add(NULL, "db");
    mounts(f, "one");
    fake_fail("break", -EIO, 1);
    fake_hold("break");
    fixture_begin(&down, f, true, "db", "one");
    fake_wait_held("break", 1);
    fixture_begin(&up, f, false, "db", "two");
    fixture_wait_holders(f, "db", 1);
    fake_trace_clear();
    fake_go("break");
    assert_int_equal(fixture_end(&up), 0);
    (void)fixture_end(&down);
    fixture_settle(f);
    auto_free char *trace = fake_trace();
    const char *ctl = strstr(trace, "lock db rbdvol.ctl"), *map = strstr(trace, "map db");
    assert_true(ctl && map && ctl < map);
    assert_int_equal(fixture_unmount(f, "db", "two", &err), 0);
    gone(f);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_test_setup, fixture_test_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(who_left_before_the_answer_holds_nothing),
        TEST(what_cannot_be_written_down_is_not_promised),
        TEST(one_more_mount_of_a_running_container_counts),
        TEST(an_unmount_that_takes_long_is_told_and_goes_on),
        TEST(a_living_holder_goes_by_force_alone),
        TEST(without_an_id_nobody_can_tell_when_it_ends),
        TEST(whose_caller_is_gone_is_dropped_without_being_named),
        TEST(a_rename_that_is_being_finished_is_waited_out),
        TEST(a_mount_that_fails_and_does_not_go_is_taken_down_later),
        TEST(what_is_open_still_keeps_the_lock_and_is_named),
        TEST(what_is_mounted_behind_our_back_is_not_unmapped),
        TEST(who_comes_when_all_but_the_record_is_gone_claims_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
