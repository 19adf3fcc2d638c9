/* SPDX-License-Identifier: MIT */
/* What the collector clears away, what it leaves, and clones beside it. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "ceph/pending.h"
#include "cmocka-headers.h"
#include "fakes/engine.h"
#include "volume/collector.h"
#include "volume/create.h"

#define HOUR 3600
#define TEMP "rbdvol.new.00ff"

/* ---- an image that a Create which was taken back has left ---- */

static struct fake_image *taken_back_half(void)
{
    struct fake_image *i = fake_volume_add(NULL, TEMP);
    fake_image_set(&i->making, "{\"final\":\"" TEMP "\",\"temp\":\"db\",\"since\":1700000000}");
    return i;
}

static void an_image_with_its_first_name_again_goes_to_the_trash(void **state)
{
    struct fixture *f = *state;
    struct fake_image *i = taken_back_half();
    (void)snprintf(i->listed, sizeof i->listed, "db"); /* only the first of three writes has landed */
    (void)snprintf(i->objects[0], sizeof i->objects[0], "db");
    (void)snprintf(i->objects[1], sizeof i->objects[1], TEMP);
    collector_run(f->engine);
    assert_int_equal(fake_image_count(), 1); /* not by that name: a look at "db" settles it */
    (void)snprintf(i->listed, sizeof i->listed, TEMP);
    (void)snprintf(i->objects[0], sizeof i->objects[0], TEMP);
    i->objects[1][0] = '\0';
    fake_fail("image_finish_rename", -ETIMEDOUT, 1);
    collector_run(f->engine);
    assert_int_equal(fake_image_count(), 1);
    collector_run(f->engine);
    assert_int_equal(fake_image_count(), 0);
    assert_int_equal(fake_trash_count(), 1); /* it never deletes */
}

/* librbd lists an image, and writes rbd_id.NAME a moment after. */
static void a_name_that_is_only_listed_is_left_for_an_hour(void **state)
{
    struct fixture *f = *state;
    struct fake_image *i = fake_image_add(NULL, TEMP);
    i->headerless = true;
    i->objects[0][0] = '\0';
    collector_run(f->engine);
    fake_clustertime_ahead(HOUR - 1);
    collector_run(f->engine);
    fixture_expect_trace("");
    fake_clustertime_ahead(HOUR + 1);
    collector_run(f->engine);
    fixture_expect_trace("drop_name rbdvol.new.*");
    fake_clustertime_ahead(0);
}

static void *one_round(void *arg)
{
    const struct fixture *f = arg;
    collector_run(f->engine);
    return NULL;
}

/* A Create writes rbd_id.NAME between the look at it and the look at the header. */
static void what_is_just_being_made_is_asked_for_again(void **state)
{
    struct fixture *f = *state;
    pthread_t thread;
    struct fake_image *i = fake_image_add(NULL, TEMP);
    char own[sizeof i->objects[0]];
    fake_lock();
    i->created = time(NULL);
    memcpy(own, i->objects[0], sizeof own);
    i->objects[0][0] = '\0';
    fake_unlock();
    fake_hold("image_read_header");
    assert_int_equal(pthread_create(&thread, NULL, one_round, f), 0);
    fake_wait_held("image_read_header", 1);
    fake_lock();
    memcpy(i->objects[0], own, sizeof own);
    fake_unlock();
    unsigned before = fake_count("image_find");
    fake_go("image_read_header");
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(fake_count("image_find"), before + 1);
    fixture_expect_trace("");
    assert_int_equal(fake_image_count(), 1);
}

static void what_it_cannot_ask_about_it_leaves(void **state)
{
    static const char *const steps[] = { "image_list",     "image_find " TEMP, "image_read_header", "lock",
                                         "imagefill_open", "image_trash",      "pending_each" };
    struct fixture *f = *state;
    taken_back_half();
    for (size_t n = 0; n < sizeof steps / sizeof *steps; n++) {
        fake_fail(steps[n], -ETIMEDOUT, 1);
        if (n + 1 < sizeof steps / sizeof *steps) {
            collector_run(f->engine);
            assert_int_equal(fake_image_count(), 1);
            assert_int_equal(fake_trash_count(), 0);
        }
        fake_fail(steps[n], 0, 0);
    }
    collector_run(f->engine);
    assert_int_equal(fake_trash_count(), 1);
}

/* ---- what clones have left ---- */

static int make_clone(struct fixture *f, const char *name, const char *opts, struct error *err)
{
    json_auto_t *j = json_loads(opts, 0, NULL);
    *err = (struct error){ 0 };
    return create_volume(f->engine, name, j, clock_in_ms(10000), err);
}

static void begun(struct fixture *f, const char *key)
{
    struct error err;
    auto_place struct place p = PLACE_NONE;
    const struct image_name name = { .pool = "rbd", .image = "db" };
    assert_int_equal(engine_place(f->engine, &name, &p, &err), 0);
    assert_int_equal(pending_add(&p, key, &err), 0);
    fake_pending_age(2 * HOUR);
}

static void keys_that_make_no_sense_go_and_touch_nothing(void **state)
{
    struct fixture *f = *state;
    char key[PENDING_KEY_MAX + 1];
    struct fake_image *i = fake_volume_add(NULL, "db");
    (void)snprintf(i->snaps[0], sizeof i->snaps[0], "mon");
    begun(f, "snap onlyone");
    (void)snprintf(key, sizeof key, "snap %s mon host9/m/rbd", i->id); /* a user's */
    begun(f, key);
    begun(f, "snap ffff rbdvol.new.0123456789ab host9/m/rbd"); /* of an image that is gone */
    begun(f, "other x y");
    collector_run(f->engine);
    assert_int_equal(fake_pending_count(), 1); /* not of our kind */
    assert_string_equal(i->snaps[0], "mon");
}

static void a_snapshot_that_cannot_be_removed_now_is_removed_later(void **state)
{
    static const char *const steps[] = { "image_name_of", "image_change_free", "pending_remove", "lock" };
    struct fixture *f = *state;
    char key[PENDING_KEY_MAX + 1];
    struct fake_image *i = fake_volume_add(NULL, "db");
    (void)snprintf(i->snaps[0], sizeof i->snaps[0], "rbdvol.new.0123456789ab");
    (void)snprintf(key, sizeof key, "snap %s %s host9/m/rbd", i->id, i->snaps[0]);
    begun(f, key);
    for (size_t n = 0; n < sizeof steps / sizeof *steps; n++) {
        fake_fail(steps[n], -ETIMEDOUT, 1);
        collector_run(f->engine);
        assert_int_equal(fake_pending_count(), 1);
        fake_fail(steps[n], 0, 0);
    }
    collector_run(f->engine);
    assert_int_equal(fake_pending_count(), 0);
    assert_string_equal(i->snaps[0], "");
}

/* The host that has the volume sees to it. */
static void what_is_in_use_elsewhere_is_left_to_its_host(void **state)
{
    struct fixture *f = *state;
    char key[PENDING_KEY_MAX + 1];
    struct fake_image *i = fake_volume_add(NULL, "db");
    (void)snprintf(i->snaps[0], sizeof i->snaps[0], "rbdvol.new.0123456789ab");
    fake_image_lock_set(i, "rbd_lock", "auto 7", "internal", "192.0.2.9:0/77");
    fake_image_lock_set(i, "rbdvol", "host9/m/b/rbd/abc/192.0.2.9:0/77", "", "192.0.2.9:0/76");
    fake_image_watch(i, "192.0.2.9:0/77", true);
    (void)snprintf(key, sizeof key, "snap %s %s host9/m/rbd", i->id, i->snaps[0]);
    begun(f, key);
    collector_run(f->engine);
    assert_int_equal(fake_pending_count(), 1);
    assert_true(i->snaps[0][0]);
    assert_false(fake_is_fenced("192.0.2.9:0/77"));
}

struct other {
    struct fixture *fixture;
    int rc;
    struct error err;
};

static void *clone_other(void *arg)
{
    struct other *o = arg;
    o->rc = make_clone(o->fixture, "copy", "{\"from\":\"db\"}", &o->err);
    return NULL;
}

static void a_clone_that_is_being_made_keeps_its_snapshot(void **state)
{
    struct fixture *f = *state;
    struct other o = { .fixture = f };
    pthread_t thread;
    const struct fake_image *i = fake_volume_add(NULL, "db");
    fake_hold("image_clone");
    assert_int_equal(pthread_create(&thread, NULL, clone_other, &o), 0);
    fake_wait_held("image_clone", 1);
    assert_int_equal(fake_pending_count(), 1);
    collector_run(f->engine);
    assert_int_equal(fake_pending_count(), 1);
    assert_true(i->snaps[0][0]);
    fake_go("image_clone");
    pthread_join(thread, NULL);
    if (o.rc < 0)
        fail_msg("%s", o.err.msg);
    assert_int_equal(fake_pending_count(), 0);
    assert_string_equal(i->snaps[0], "");
}

/* ---- what a clone is made with ---- */

static void what_is_asked_for_comes_before_what_its_source_has(void **state)
{
    struct fixture *f = *state;
    struct error err;
    struct fake_image *i = fake_volume_add(NULL, "db");
    fake_image_set(&i->spec, "{\"version\":1,\"fstype\":\"xfs\",\"mapper\":\"krbd\",\"uid\":70,"
                             "\"mount-options\":\"noexec\",\"remove\":\"delete\"}");
    if (make_clone(f, "copy",
                   "{\"from\":\"db\",\"mount-options\":\"discard\",\"sharing\":\"host\",\"mapper\":\"fuse\","
                   "\"qos-iops\":\"500\",\"qos-bps\":\"1M\"}",
                   &err) < 0)
        fail_msg("%s", err.msg);
    const char *spec = fake_image_find("rbd", "copy")->spec;
    static const char *const words[] = { "noatime+nodev+nosuid+discard", "\"sharing\":\"host\"",
                                         "\"mapper\":\"fuse\"",          "\"qos-iops\":500",
                                         "\"qos-bps\":1048576",          "\"uid\":70" };
    for (size_t n = 0; n < sizeof words / sizeof *words; n++)
        if (!strstr(spec, words[n]))
            fail_msg("%s lacks %s", spec, words[n]);
    assert_null(strstr(spec, "delete")); /* that is about the source's data */
    assert_null(strstr(spec, "noexec"));
}

static void words_that_its_file_system_does_not_know_are_refused(void **state)
{
    struct fixture *f = *state;
    struct error err;
    struct fake_image *i = fake_volume_add(NULL, "db");
    fake_image_set(&i->spec, "{\"version\":1,\"fstype\":\"ext4\"}");
    assert_int_equal(make_clone(f, "copy", "{\"from\":\"db\",\"mount-options\":\"inode64\"}", &err), -EINVAL);
    assert_non_null(strstr(err.msg, "option mount-options"));
    fake_image_set(&i->spec, "{\"version\":9}");
    assert_int_equal(make_clone(f, "copy", "{\"from\":\"db\"}", &err), -EPROTONOSUPPORT);
    assert_int_equal(fake_image_count(), 1);
    assert_int_equal(fake_pending_count(), 0);
}

/* -ENOENT would say that the clone is not there. */
static void a_source_that_goes_while_we_look_is_said_to_be_gone(void **state)
{
    struct fixture *f = *state;
    struct other o = { .fixture = f };
    pthread_t thread;
    struct fake_image *i = fake_volume_add(NULL, "db");
    fake_hold("image_read_header");
    assert_int_equal(pthread_create(&thread, NULL, clone_other, &o), 0);
    fake_wait_held("image_read_header", 1);
    i->used = false;
    fake_go("image_read_header");
    pthread_join(thread, NULL);
    assert_int_equal(o.rc, -ENODEV);
    assert_non_null(strstr(o.err.msg, "option from: image 'rbd/db' is gone"));
    assert_int_equal(fake_image_count(), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_test_setup, fixture_test_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_image_with_its_first_name_again_goes_to_the_trash),
        TEST(a_name_that_is_only_listed_is_left_for_an_hour),
        TEST(what_is_just_being_made_is_asked_for_again),
        TEST(what_it_cannot_ask_about_it_leaves),
        TEST(keys_that_make_no_sense_go_and_touch_nothing),
        TEST(a_snapshot_that_cannot_be_removed_now_is_removed_later),
        TEST(what_is_in_use_elsewhere_is_left_to_its_host),
        TEST(a_clone_that_is_being_made_keeps_its_snapshot),
        TEST(what_is_asked_for_comes_before_what_its_source_has),
        TEST(words_that_its_file_system_does_not_know_are_refused),
        TEST(a_source_that_goes_while_we_look_is_said_to_be_gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
