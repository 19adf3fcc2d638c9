/* SPDX-License-Identifier: MIT */
/* What others do with a volume, and with its name, while its removal waits for rbdvol.ctl. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "cmocka-headers.h"
#include "fakes/engine.h"
#include "volume/remove.h"

static int take_away(struct fixture *f, const char *name, struct error *err)
{
    *err = (struct error){ 0 };
    return remove_volume(f->engine, name, false, clock_in_ms(10000), err);
}

struct waiting {
    struct fixture *fixture;
    pthread_t thread;
    int rc;
    struct error err;
};

static void *wait_for_ctl(void *arg)
{
    struct waiting *w = arg;
    w->rc = take_away(w->fixture, "db", &w->err);
    return NULL;
}

static void waiting_begin(struct waiting *w, struct fixture *f)
{
    *w = (struct waiting){ .fixture = f };
    fake_hold("lock");
    assert_int_equal(pthread_create(&w->thread, NULL, wait_for_ctl, w), 0);
    fake_wait_held("lock", 1);
}

static int waiting_end(struct waiting *w)
{
    fake_go("lock");
    assert_int_equal(pthread_join(w->thread, NULL), 0);
    return w->rc;
}

static void what_another_host_removed_meanwhile_is_gone(void **state)
{
    struct fixture *f = *state;
    struct waiting w;
    static const enum remove_policy policies[] = { REMOVE_TRASH, REMOVE_DELETE, REMOVE_RENAME };
    for (size_t n = 0; n < sizeof policies / sizeof *policies; n++) {
        struct fake_image *i = fake_volume_add(NULL, "db");
        f->settings.remove = policies[n];
        waiting_begin(&w, f);
        fake_lock();
        i->trashed = true;
        i->moved = time(NULL);
        i->listed[0] = i->objects[0][0] = '\0';
        fake_unlock();
        if (waiting_end(&w) != 0)
            fail_msg("%d %s", w.rc, w.err.msg);
        fixture_expect_trace("lock  rbdvol.ctl, unlock  rbdvol.ctl");
        assert_null(fake_image_lock(i, "rbdvol.ctl"));
    }
    assert_int_equal(fake_trash_count(), 3);
}

/* It has the image open then, and locked. */
static void what_another_host_is_deleting_meanwhile_is_gone(void **state)
{
    struct fixture *f = *state;
    struct waiting w;
    struct fake_image *i = fake_volume_add(NULL, "db");
    waiting_begin(&w, f);
    fake_lock();
    i->trashed = true;
    i->listed[0] = i->objects[0][0] = '\0';
    fake_image_lock_set(i, "rbd_lock", "auto 7", "internal", "192.0.2.9:0/5");
    fake_image_watch(i, "192.0.2.9:0/5", true);
    fake_unlock();
    if (waiting_end(&w) != 0)
        fail_msg("%d %s", w.rc, w.err.msg);
    assert_false(fake_is_fenced("192.0.2.9:0/5"));
    assert_null(fake_image_lock(i, "rbdvol.ctl"));
}

static void who_has_its_name_meanwhile_is_left_alone(void **state)
{
    struct fixture *f = *state;
    struct waiting w;
    static const enum remove_policy policies[] = { REMOVE_TRASH, REMOVE_DELETE, REMOVE_RENAME };
    struct fake_image *i = fake_volume_add(NULL, "db");
    for (size_t n = 0; n < sizeof policies / sizeof *policies; n++) {
        f->settings.remove = policies[n];
        waiting_begin(&w, f);
        fake_lock();
        (void)snprintf(i->listed, sizeof i->listed, "moved.%zu", n);
        memcpy(i->objects[0], i->listed, sizeof i->objects[0]);
        fake_unlock();
        i = fake_volume_add(NULL, "db");
        assert_int_equal(waiting_end(&w), -EAGAIN);
        assert_non_null(strstr(w.err.msg, "has just replaced image 'db': try again"));
        assert_ptr_equal(fake_image_find("rbd", "db"), i);
        assert_null(i->making);
    }
    assert_int_equal(fake_trash_count(), 0);
}

/* A host whose rbdvol.ctl has lapsed, or another program, takes it away in the last moment. */
static void what_goes_under_our_hands_is_gone(void **state)
{
    struct fixture *f = *state;
    struct error err;
    fake_volume_add(NULL, "db");
    fake_fail("image_trash", -ENOENT, 1);
    assert_int_equal(take_away(f, "db", &err), -ENOENT); /* it has its name */
    fake_calls_reset();
    assert_int_equal(take_away(f, "db", &err), 0);
    unsigned looks = fake_count("image_find");
    fake_volume_add(NULL, "db");
    fake_fail("image_trash", -ENOENT, 1);
    fake_fail_after("image_find", looks, -ENOENT, 1);
    assert_int_equal(take_away(f, "db", &err), 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, fixture_test_setup, fixture_test_teardown)
    const struct CMUnitTest tests[] = {
        TEST(what_another_host_removed_meanwhile_is_gone),
        TEST(what_another_host_is_deleting_meanwhile_is_gone),
        TEST(who_has_its_name_meanwhile_is_left_alone),
        TEST(what_goes_under_our_hands_is_gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
