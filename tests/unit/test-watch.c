/* SPDX-License-Identifier: MIT */
/* Mappings are listened to, asked, or looked at; what they say of themselves, and their silence. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "cmocka-headers.h"
#include "fakes/engine.h"

static bool is_lost(const struct volume *v, unsigned n)
{
    (void)n;
    return v->lost && !v->busy && v->rung == RUNG_DETACHED;
}

static bool is_connected(const struct volume *v, unsigned n)
{
    (void)n;
    return v->mapping.control >= 0;
}

static bool is_stuck(const struct volume *v, unsigned wanted)
{
    return (v->stuck_since != 0) == wanted;
}

static void mounted(struct fixture *f)
{
    struct error err;
    if (!fake_image_find("rbd", "db"))
        fake_volume_add(NULL, "db");
    if (fixture_mount(f, "db", "one", &err) < 0)
        fail_msg("%s", err.msg);
    fixture_settle(f);
    fake_calls_reset();
}

static void unmounted(struct fixture *f)
{
    struct error err;
    assert_int_equal(fixture_unmount(f, "db", "one", &err), 0);
    assert_true(fixture_forgotten(f, "db"));
    assert_int_equal(fake_mapping_count(), 0);
}

static void expect_why(struct fixture *f, const char *words)
{
    struct volume *v = fixture_volume(f, "db");
    assert_non_null(v);
    pthread_mutex_lock(&v->lock);
    bool said = strstr(v->loss.why, words) != NULL;
    pthread_mutex_unlock(&v->lock);
    registry_release(&f->engine->registry, v);
    assert_true(said);
}

static bool is_well(struct fixture *f)
{
    struct volume *v = fixture_volume(f, "db");
    assert_non_null(v);
    pthread_mutex_lock(&v->lock);
    bool well = !v->lost && !v->stuck_since && v->rung == RUNG_MOUNTED;
    pthread_mutex_unlock(&v->lock);
    registry_release(&f->engine->registry, v);
    return well;
}

static void a_loss_is_heard_without_a_question(void **state)
{
    struct fixture *f = *state;
    const struct mapping_health why = { .state = MAPPING_LOST, .why = "the cluster has fenced this client" },
                                plain = { .state = MAPPING_LOST };
    fake_mapper_control();
    mounted(f);
    fake_mapping_health("db", &why);
    fixture_wait(f, "db", is_lost, 0);
    expect_why(f, "the cluster has fenced this client");
    unmounted(f);
    fake_image_lock(fake_image_find("rbd", "db"), "rbd_lock")->held = false;
    mounted(f);
    fake_mapping_health("db", &plain);
    fixture_wait(f, "db", is_lost, 0);
    expect_why(f, "its lock is no longer held");
    unmounted(f);
}

static void a_process_that_hangs_up_has_ended(void **state)
{
    struct fixture *f = *state;
    const struct mapping_health gone = { .state = MAPPING_GONE };
    fake_mapper_control();
    mounted(f);
    fake_mapping_kill("db");
    fixture_wait(f, "db", is_lost, 0);
    expect_why(f, "its mapping process has ended");
    unmounted(f);
    fake_image_lock(fake_image_find("rbd", "db"), "rbd_lock")->held = false;
    mounted(f);
    fake_mapping_health("db", &gone);
    fixture_wait(f, "db", is_lost, 0);
    expect_why(f, "its mapping process has ended");
    unmounted(f);
}

static void one_without_a_connection_is_connected_to_as_soon_as_it_can_be(void **state)
{
    struct fixture *f = *state;
    const struct mapping_health why = { .state = MAPPING_LOST, .why = "the cluster has fenced this client" };
    struct error err;
    fake_mapper_unconnected();
    fake_fail("connect", -EAGAIN, 3);
    fake_volume_add(NULL, "db");
    assert_int_equal(fixture_mount(f, "db", "one", &err), 0);
    fixture_settle(f);
    fake_wait_count("connect", 4);
    fixture_wait(f, "db", is_connected, 0);
    assert_true(is_well(f));
    fake_mapping_health("db", &why);
    fixture_wait(f, "db", is_lost, 0);
    expect_why(f, "the cluster has fenced this client");
    unmounted(f);
}

/* A stopped one can be as stuck as its I/O, and does not say so. */
static void a_question_without_an_answer_is_stuck_io(void **state)
{
    struct fixture *f = *state;
    const struct mapping_health ready = { .state = MAPPING_READY, .opens = 1 };
    f->settings.io_stuck_ms = 400;
    fake_mapper_control();
    mounted(f);
    fixture_wait(f, "db", is_stuck, 1);
    assert_true(fake_count("ask") <= 1); /* asked once, before or after the calls were counted anew */
    fake_mapping_health("db", &ready);
    fixture_wait(f, "db", is_stuck, 0);
    fixture_wait(f, "db", is_stuck, 1); /* by the next one */
    assert_true(fake_count("ask") >= 1);
    unmounted(f);
}

static void a_question_that_cannot_be_sent_is_none(void **state)
{
    struct fixture *f = *state;
    f->settings.io_stuck_ms = 400;
    fake_mapper_control();
    fake_fail("ask", -EPIPE, FAKE_FOREVER);
    fake_volume_add(NULL, "db");
    struct error err;
    assert_int_equal(fixture_mount(f, "db", "one", &err), 0);
    fake_wait_count("ask", 3);
    assert_true(is_well(f));
    unmounted(f);
}

/* The kernel counts how much was answered. */
static void a_count_that_does_not_grow_is_stuck_io(void **state)
{
    struct fixture *f = *state;
    struct mapping_health h = { .state = MAPPING_READY, .opens = 1, .inflight = 2, .counted = true };
    f->settings.io_stuck_ms = 400;
    fake_mapper_kernel();
    mounted(f);
    fake_mapping_health("db", &h);
    fixture_wait(f, "db", is_stuck, 1);
    h.answered = 7;
    fake_mapping_health("db", &h);
    fixture_wait(f, "db", is_stuck, 0);
    fixture_wait(f, "db", is_stuck, 1);
    h.inflight = 0; /* nothing waits */
    fake_mapping_health("db", &h);
    fixture_wait(f, "db", is_stuck, 0);
    unmounted(f);
}

static void what_cannot_be_failed_is_not_lost(void **state)
{
    struct fixture *f = *state;
    struct mapping_health h = { .state = MAPPING_READY, .opens = 1, .inflight = 3, .stalled_ms = 121000 };
    f->settings.io_stuck_action = STUCK_ERROR;
    mounted(f);
    fake_fail("fail", -EIO, FAKE_FOREVER);
    fake_mapping_health("db", &h);
    fake_wait_count("fail", 1);
    fixture_wait(f, "db", is_stuck, 1);
    assert_int_equal(fake_mapping_count(), 1);
    h.inflight = 0;
    h.stalled_ms = 0;
    fake_mapping_health("db", &h);
    fixture_wait(f, "db", is_stuck, 0);
    assert_true(is_well(f));
    unmounted(f);
}

static bool is_lost_now(const struct volume *v, unsigned unused)
{
    (void)unused;
    return v->lost;
}

/* It may take half a minute each; and who is at such a volume may wait for the very I/O. */
static void while_stuck_volumes_are_failed_others_are_heard(void **state)
{
    static const char *const stuck[] = { "slow1", "slow2" };
    struct fixture *f = *state;
    struct error err;
    const struct mapping_health h = { .state = MAPPING_READY, .inflight = 3, .stalled_ms = 121000 },
                                gone = { .state = MAPPING_LOST };
    f->settings.io_stuck_action = STUCK_ERROR;
    fake_mapper_control();
    for (size_t i = 0; i < 2; i++) {
        fake_volume_add(NULL, stuck[i]);
        assert_int_equal(fixture_mount(f, stuck[i], "one", &err), 0);
    }
    mounted(f);
    fake_hold("fail");
    for (size_t i = 0; i < 2; i++)
        fake_mapping_health(stuck[i], &h);
    fake_wait_held("fail", 2); /* one does not wait for the other */
    fake_mapping_health("db", &gone);
    fixture_wait(f, "db", is_lost_now, 0);
    fake_go("fail");
    for (size_t i = 0; i < 2; i++) {
        fixture_wait(f, stuck[i], is_lost, 0);
        assert_int_equal(fixture_unmount(f, stuck[i], "one", &err), 0);
    }
    fixture_wait(f, "db", is_lost, 0);
    unmounted(f);
}

/* Where the host cannot end it, the cluster does. */
static void without_a_way_to_fail_it_its_client_is_fenced(void **state)
{
    struct fixture *f = *state;
    const struct mapping_health h = {
        .state = MAPPING_READY, .opens = 1, .inflight = 3, .stalled_ms = 121000
    };
    f->settings.io_stuck_action = STUCK_ERROR;
    fake_mapper_kernel();
    mounted(f);
    fake_fail("blocklist_add", -EPERM, 1); /* then again */
    fake_mapping_health("db", &h);
    fixture_wait(f, "db", is_lost, 0);
    expect_why(f, "so its client is fenced (io-stuck-action=error)");
    assert_true(fake_is_fenced("192.0.2.1:0/1001"));
    assert_int_equal(fake_count("blocklist_add"), 2);
    unmounted(f);
}

static void a_device_that_is_not_the_mappings_is_not_mounted(void **state)
{
    struct fixture *f = *state;
    struct error err;
    fake_mapper_kernel();
    fake_volume_add(NULL, "db");
    fake_fail("verify", -ENODEV, 1);
    assert_int_equal(fixture_mount(f, "db", "one", &err), -ENODEV);
    fixture_settle(f);
    assert_int_equal(fake_mapping_count() + fake_mount_count() + fake_device_count(), 0);
    assert_int_equal(fake_count("mount"), 0);
    assert_int_equal(fixture_mount(f, "db", "one", &err), 0);
    unmounted(f);
}

static void a_device_that_is_not_the_mappings_is_not_formatted(void **state)
{
    struct fixture *f = *state;
    struct error err;
    fake_mapper_kernel();
    struct fake_image *i = fake_image_add(NULL, "db");
    i->content = (struct device_probe){ .found = PROBE_EMPTY, .block_size = 4096 };
    fake_fail("verify", -ENODEV, 1);
    assert_int_equal(fixture_mount(f, "db", "one", &err), -ENODEV);
    fixture_settle(f);
    assert_int_equal(fake_count("format"), 0);
    assert_int_equal(fake_mapping_count() + fake_mount_count() + fake_device_count(), 0);
    assert_int_equal(fixture_mount(f, "db", "one", &err), 0);
    assert_int_equal(fake_count("format"), 1);
    unmounted(f);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_test_setup, fixture_test_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_loss_is_heard_without_a_question),
        TEST(a_process_that_hangs_up_has_ended),
        TEST(one_without_a_connection_is_connected_to_as_soon_as_it_can_be),
        TEST(a_question_without_an_answer_is_stuck_io),
        TEST(a_question_that_cannot_be_sent_is_none),
        TEST(a_count_that_does_not_grow_is_stuck_io),
        TEST(what_cannot_be_failed_is_not_lost),
        TEST(while_stuck_volumes_are_failed_others_are_heard),
        TEST(without_a_way_to_fail_it_its_client_is_fenced),
        TEST(a_device_that_is_not_the_mappings_is_not_mounted),
        TEST(a_device_that_is_not_the_mappings_is_not_formatted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
