/* SPDX-License-Identifier: MIT */
/* What was cut off, or reported as failed, and is taken back: by whom, and when it is let be. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "cmocka-headers.h"
#include "fakes/engine.h"
#include "volume/collector.h"
#include "volume/create.h"
#include "volume/remove.h"
#include "volume/reversal.h"

#define ID "0123456789abcdef"

/* ---- a removal that was cut off ---- */

/* In the trash, and of its two names one is left. */
static struct fake_image *half_removed(bool listed)
{
    struct fake_image *i = fake_volume_add(NULL, "db");
    i->half_trashed = true;
    if (listed)
        i->objects[0][0] = '\0';
    else
        i->listed[0] = '\0';
    return i;
}

static void a_create_takes_a_removal_back_that_was_cut_off(void **state)
{
    struct fixture *f = *state;
    struct error err;
    const struct fake_image *i = half_removed(true);
    assert_int_equal(create_volume(f->engine, "db", NULL, clock_in_ms(10000), &err), 0);
    fixture_expect_trace("lock db rbdvol.ctl, untrash db, unlock db rbdvol.ctl");
    assert_false(i->half_trashed);
    assert_int_equal(fake_image_count(), 1);
}

static void a_mount_does_too(void **state)
{
    struct fixture *f = *state;
    struct error err;
    const struct fake_image *i = half_removed(true);
    assert_int_equal(fixture_mount(f, "db", ID, &err), 0);
    assert_false(i->half_trashed);
    assert_int_equal(fixture_unmount(f, "db", ID, &err), 0);
}

static void a_removal_that_is_asked_for_again_is_whole(void **state)
{
    struct fixture *f = *state;
    struct error err;
    half_removed(true);
    assert_int_equal(remove_volume(f->engine, "db", false, clock_in_ms(10000), &err), 0);
    assert_null(fake_image_find("rbd", "db"));
    assert_int_equal(fake_trash_count(), 1);
}

static void the_collector_takes_back_what_nobody_came_for(void **state)
{
    struct fixture *f = *state;
    const struct fake_image *i = half_removed(true);
    fake_fail("image_untrash", -ETIMEDOUT, 1);
    collector_run(f->engine);
    assert_true(i->half_trashed);
    collector_run(f->engine);
    assert_false(i->half_trashed);
    assert_string_equal(i->objects[0], "db");
}

/* Who has the control lock is at it. */
static void a_removal_that_is_under_way_is_left_alone(void **state)
{
    struct fixture *f = *state;
    struct fake_image *i = half_removed(true);
    fake_image_lock_set(i, "rbdvol.ctl", "host9/m/b/rbd/abc/-", "", "192.0.2.9:0/1");
    struct error err;
    auto_place struct place p = PLACE_NONE;
    const struct image_name name = { .pool = "rbd", .image = "db" };
    assert_int_equal(engine_place(f->engine, &name, &p, &err), 0);
    assert_int_equal(reversal_of_half_removed(f->engine, &p, "db", &err), -EBUSY);
    assert_true(i->half_trashed);
    fixture_expect_trace("");
}

static void without_its_place_in_the_directory_it_came_to_its_end(void **state)
{
    struct fixture *f = *state;
    const struct fake_image *i = half_removed(false);
    struct error err = { 0 };
    auto_place struct place p = PLACE_NONE;
    const struct image_name name = { .pool = "rbd", .image = "db" };
    assert_int_equal(engine_place(f->engine, &name, &p, &err), 0);
    assert_int_equal(reversal_of_half_removed(f->engine, &p, "db", &err), 0);
    assert_true(i->half_trashed);
    fake_fail("image_find", -ETIMEDOUT, 1);
    assert_int_equal(reversal_of_half_removed(f->engine, &p, "db", &err), -ETIMEDOUT);
}

static void *remove_it(void *arg)
{
    struct error err;
    const struct fixture *f = arg;
    return remove_volume(f->engine, "db", false, clock_in_ms(10000), &err) == 0 ? arg : NULL;
}

static void *mount_it(void *arg)
{
    struct error err;
    return fixture_mount(arg, "db", ID, &err) == -ENOENT ? arg : NULL;
}

/* Its removal had but begun when we looked, and is done when who was at it lets go of rbdvol.ctl. */
static void a_removal_that_ends_meanwhile_leaves_nothing_to_use(void **state)
{
    struct fixture *f = *state;
    static void *(*const ways[])(void *) = { remove_it, mount_it };
    for (size_t n = 0; n < 2; n++) {
        pthread_t thread;
        void *right;
        struct fake_image *i = fake_volume_add(NULL, "db");
        fake_lock();
        i->half_trashed = true;
        fake_unlock();
        fake_hold("lock");
        assert_int_equal(pthread_create(&thread, NULL, ways[n], f), 0);
        fake_wait_held("lock", 1);
        fake_lock();
        i->half_trashed = false;
        i->trashed = true;
        i->listed[0] = i->objects[0][0] = '\0';
        fake_unlock();
        fake_go("lock");
        assert_int_equal(pthread_join(thread, &right), 0);
        assert_non_null(right);
        fixture_settle(f);
        auto_free char *trace = fake_trace();
        assert_null(strstr(trace, "trash"));
        assert_int_equal(fake_trash_count(), n + 1);
    }
}

/* ---- what is owed ---- */

#define TEMP "rbdvol.new.00ff"

static const struct making made = { .final = "db", .temp = TEMP };

static struct fake_image *marked(const char *final, const char *temp, const char *listed)
{
    char text[256];
    struct fake_image *i = fake_volume_add(NULL, listed);
    (void)snprintf(text, sizeof text, "{\"version\":1,\"final\":\"%s\",\"temp\":\"%s\",\"since\":1700000000}",
                   final, temp);
    fake_image_set(&i->making, text);
    return i;
}

static int take_back(struct fixture *f, const struct fake_image *i, struct error *err)
{
    const struct image_name name = { .pool = "rbd", .image = "db" };
    struct volume *v = registry_get(&f->engine->registry, &name);
    *err = (struct error){ 0 };
    if (v->owed.what == OWED_NOTHING)
        reversal_owe_create(v, i->id, &made);
    assert_int_equal(volume_gate_enter(v, "testing", clock_in_ms(10000), err), 0);
    int rc = reversal_run(f->engine, v, err);
    bool owed = v->owed.what != OWED_NOTHING;
    volume_gate_leave(v);
    registry_release(&f->engine->registry, v);
    assert_int_equal(owed, rc < 0);
    return rc;
}

static void a_create_that_landed_goes(void **state)
{
    struct fixture *f = *state;
    struct error err;
    assert_int_equal(take_back(f, marked("db", TEMP, "db"), &err), 0);
    assert_int_equal(fake_image_count() + fake_trash_count(), 0);
}

static void one_that_was_being_taken_back_goes_on(void **state)
{
    struct fixture *f = *state;
    struct error err;
    assert_int_equal(take_back(f, marked(TEMP, "db", "db"), &err), 0);
    assert_int_equal(fake_image_count() + fake_trash_count(), 0);
}

static void what_is_not_there_or_somebody_elses_is_let_be(void **state)
{
    struct fixture *f = *state;
    struct error err;
    struct fake_image *i = marked("db", TEMP, "db");
    fake_image_set(&i->making, NULL); /* found and used: the mark is gone */
    assert_int_equal(take_back(f, i, &err), 0);
    fake_image_set(&i->making, "{\"final\":\"db\",\"temp\":\"rbdvol.new.77\"}");
    assert_int_equal(take_back(f, i, &err), 0);
    fake_image_set(&i->making, "{\"final\":\"other\",\"temp\":\"" TEMP "\"}");
    assert_int_equal(take_back(f, i, &err), 0);
    i->headerless = true;
    assert_int_equal(take_back(f, i, &err), 0);
    fixture_expect_trace("");
    assert_int_equal(fake_trash_count(), 0);
}

static void what_left_the_directory_has_no_name_to_go_back_to(void **state)
{
    struct fixture *f = *state;
    struct error err;
    struct fake_image *i = marked("db", TEMP, "db");
    i->listed[0] = '\0';
    assert_int_equal(take_back(f, i, &err), 0);
    assert_int_equal(fake_trash_count(), 0);
}

static void what_cannot_be_asked_is_owed(void **state)
{
    static const char *const steps[] = { "cluster_place", "image_read_header", "image_swap_meta",
                                         "image_name_of", "image_rename",      "image_trash" };
    struct fixture *f = *state;
    struct error err;
    const struct fake_image *i = marked("db", TEMP, "db");
    for (size_t n = 0; n < sizeof steps / sizeof *steps; n++) {
        fake_fail(steps[n], -ETIMEDOUT, 1);
        if (take_back(f, i, &err) != -ETIMEDOUT)
            fail_msg("a failure of %s was no failure", steps[n]);
        fake_fail(steps[n], 0, 0);
    }
    assert_int_equal(take_back(f, i, &err), 0);
    assert_int_equal(fake_image_count() + fake_trash_count(), 0);
}

/* It is left to the collector, and nobody waits for it any longer. */
static void what_is_refused_again_and_again_is_given_up(void **state)
{
    struct fixture *f = *state;
    struct error err;
    const struct fake_image *i = marked("db", TEMP, "db");
    unsigned n = 0;
    fake_fail("image_read_header", -EPERM, FAKE_FOREVER);
    while (take_back(f, i, &err) == -EPERM)
        assert_in_range(++n, 1, 30);
    assert_int_equal(n, 19);
    fake_fail("image_read_header", 0, 0);
    assert_non_null(fake_image_find("rbd", "db"));
    fixture_expect_trace("");
}

/* A Mount that comes in between waits for it, and is told when it fails. */
static void who_waits_for_the_volume_fails_with_it(void **state)
{
    struct fixture *f = *state;
    struct error err;
    const struct image_name name = { .pool = "rbd", .image = "db" };
    const struct fake_image *i = marked("db", TEMP, "db");
    struct volume *v = registry_get(&f->engine->registry, &name);
    reversal_owe_create(v, i->id, &made);
    fake_fail("image_read_header", -EPERM, 1);
    assert_int_equal(fixture_mount(f, "db", ID, &err), -EPERM);
    assert_int_equal(fake_count("map"), 0);
    fixture_retry_now(f, "db");
    fake_wait_count("image_purge", 1);
    fixture_settle(f);
    assert_int_equal(fixture_mount(f, "db", ID, &err), -ENOENT);
    registry_release(&f->engine->registry, v);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_test_setup, fixture_test_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_create_takes_a_removal_back_that_was_cut_off),
        TEST(a_mount_does_too),
        TEST(a_removal_that_is_asked_for_again_is_whole),
        TEST(the_collector_takes_back_what_nobody_came_for),
        TEST(a_removal_that_is_under_way_is_left_alone),
        TEST(without_its_place_in_the_directory_it_came_to_its_end),
        TEST(a_removal_that_ends_meanwhile_leaves_nothing_to_use),
        TEST(a_create_that_landed_goes),
        TEST(one_that_was_being_taken_back_goes_on),
        TEST(what_is_not_there_or_somebody_elses_is_let_be),
        TEST(what_left_the_directory_has_no_name_to_go_back_to),
        TEST(what_cannot_be_asked_is_owed),
        TEST(what_is_refused_again_and_again_is_given_up),
        TEST(who_waits_for_the_volume_fails_with_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
