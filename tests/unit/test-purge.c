/* SPDX-License-Identifier: MIT */
/* What is removed for good is deleted when its caller has long been answered. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "cmocka-headers.h"
#include "fakes/engine.h"
#include "volume/create.h"
#include "volume/engine.h"
#include "volume/remove.h"

#define AT_ONCE 4 /* so many are deleted beside each other */

/* The collector has had its first round, which would purge what is counted here. */
static int setup(void **state)
{
    int rc = fixture_test_setup(state);
    const struct fixture *f = *state;
    for (bool over = false; rc == 0 && !over; clock_pause_ms(1)) {
        LOCK_SCOPE(&f->engine->lock);
        over = clock_left_ms(f->engine->collect_at) > 0 && f->engine->driving == 0;
    }
    return rc;
}

static void take_away(struct fixture *f, const char *name)
{
    struct error err;
    if (remove_volume(f->engine, name, true, clock_in_ms(5000), &err) < 0)
        fail_msg("%s", err.msg);
}

static void add_and_take_away(struct fixture *f, unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "db%u", i);
        fake_volume_add(NULL, name);
        take_away(f, name);
    }
}

static void who_removes_does_not_wait_and_the_name_is_free(void **state)
{
    struct fixture *f = *state;
    struct error err;
    fake_hold("image_purge");
    fake_volume_add(NULL, "db");
    take_away(f, "db");
    fake_wait_held("image_purge", 1);
    assert_int_equal(fake_trash_count(), 1);
    assert_int_equal(create_volume(f->engine, "db", NULL, clock_in_ms(5000), &err), 0);
    fake_go("image_purge");
    fixture_wait_purged(f);
    assert_int_equal(fake_trash_count(), 0);
    assert_non_null(fake_image_find("rbd", "db"));
}

static void one_does_not_wait_for_another_but_not_all_at_once(void **state)
{
    struct fixture *f = *state;
    fake_hold("image_purge");
    for (unsigned i = 0; i < AT_ONCE; i++) {
        add_and_take_away(f, i, i + 1);
        fake_wait_held("image_purge", i + 1);
    }
    add_and_take_away(f, AT_ONCE, AT_ONCE + 3);
    assert_int_equal(fake_count("image_purge"), AT_ONCE);
    assert_int_equal(fake_trash_count(), AT_ONCE + 3);
    fake_go("image_purge");
    fixture_wait_purged(f);
    assert_int_equal(fake_trash_count(), 0);
}

static void what_fails_is_the_collectors(void **state)
{
    struct fixture *f = *state;
    fake_fail("image_purge", -ETIMEDOUT, 1);
    unsigned before = fake_count("image_purge_own");
    add_and_take_away(f, 0, 1);
    fixture_wait_purged(f);
    assert_int_equal(fake_trash_count(), 1);
    fake_wait_count("image_purge_own", before + f->settings.npools);
}

/* A round that ends says that the next is due tomorrow; somebody may have asked for one meanwhile. */
static void a_collector_that_is_asked_for_during_its_round_comes_again(void **state)
{
    struct fixture *f = *state;
    unsigned before = fake_count("image_purge_own");
    fake_hold("image_purge_own");
    engine_collect_soon(f->engine);
    fake_wait_held("image_purge_own", 1);
    engine_collect_soon(f->engine);
    fake_go("image_purge_own");
    fake_wait_count("image_purge_own", before + 2 * f->settings.npools);
}

/* They stay in the trash, where the next daemon finds them. */
static void a_daemon_that_stops_begins_no_more(void **state)
{
    struct fixture *f = *state;
    fake_hold("image_purge");
    add_and_take_away(f, 0, AT_ONCE + 3);
    fake_wait_held("image_purge", AT_ONCE);
    {
        LOCK_SCOPE(&f->engine->lock);
        f->engine->stopping = true; /* what comes first when it is told to stop */
    }
    fake_go("image_purge");
    fixture_wait_purged(f);
    assert_int_equal(fake_trash_count(), 3);
    assert_int_equal(fake_count("image_purge"), AT_ONCE);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, fixture_test_teardown)
    const struct CMUnitTest tests[] = {
        TEST(who_removes_does_not_wait_and_the_name_is_free),
        TEST(one_does_not_wait_for_another_but_not_all_at_once),
        TEST(what_fails_is_the_collectors),
        TEST(a_collector_that_is_asked_for_during_its_round_comes_again),
        TEST(a_daemon_that_stops_begins_no_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
