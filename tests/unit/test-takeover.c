/* SPDX-License-Identifier: MIT */
/* Who may be taken from, who never, and in which order. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "cmocka-headers.h"
#include "fakes/engine.h"
#include "volume/former.h"
#include "volume/remove.h"
#include "volume/takeover.h"

#define ID    "0123456789abcdef"
#define OWNER "192.0.2.9:0/77"

/* Another host's volume: locked by its mapper, with its record. */
static struct fake_image *owned(const char *record, bool watches)
{
    char cookie[200];
    struct fake_image *i = fake_volume_add(NULL, "db");
    fake_image_lock_set(i, "rbd_lock", "auto 7", "internal", OWNER);
    (void)snprintf(cookie, sizeof cookie, "%s/" OWNER, record);
    fake_image_lock_set(i, "rbdvol", cookie, "", "192.0.2.9:0/76");
    if (watches)
        fake_image_watch(i, OWNER, true);
    return i;
}

static void refuses(struct fixture *f, const char *words)
{
    struct error err = { 0 };
    fake_trace_clear();
    int rc = fixture_mount(f, "db", ID, &err);
    if (rc != -EBUSY || !strstr(err.msg, words))
        fail_msg("%d %s", rc, err.msg);
    fixture_expect_trace("");
    assert_false(fake_is_fenced(OWNER));
}

static void takes(struct fixture *f)
{
    struct error err = { 0 };
    fake_trace_clear();
    int rc = fixture_mount(f, "db", ID, &err);
    if (rc < 0)
        fail_msg("%d %s", rc, err.msg);
    auto_free char *trace = fake_trace();
    const char *fence = strstr(trace, "fence " OWNER), *broken = strstr(trace, "break db rbd_lock");
    const char *map = strstr(trace, "map db");
    assert_non_null(fence);
    assert_non_null(broken);
    assert_non_null(map);
    assert_true(fence < broken && broken < map);
    assert_null(strstr(fence + 1, "fence"));
}

static void a_living_owner_is_never_taken_from(void **state)
{
    struct fixture *f = *state;
    owned("host9/m/b/rbd/abc", true);
    static const enum takeover all[] = { TAKEOVER_DEAD, TAKEOVER_SILENT, TAKEOVER_NEVER };
    for (size_t i = 0; i < 3; i++) {
        f->settings.takeover = all[i];
        refuses(f, "in use on host host9 (rbdvol instance rbd");
    }
}

static void an_owner_that_cannot_let_go_tells_why(void **state)
{
    struct fixture *f = *state;
    struct fake_image *i = owned("host9/m/b/rbd/abc", true);
    fake_image_set(&i->hindrance,
                   "{\"address\":\"" OWNER "\",\"since\":1700000000,\"what\":\"pid 7 (sh) uses it\"}");
    refuses(f, ": pid 7 (sh) uses it");
    fake_image_set(&i->hindrance, "{\"address\":\"192.0.2.9:0/5\",\"since\":1700000000,\"what\":\"of old\"}");
    struct error err;
    assert_int_equal(fixture_mount(f, "db", ID, &err), -EBUSY);
    assert_null(strstr(err.msg, "of old"));
}

static void what_keeps_a_volume_here_is_told_and_taken_back(void **state)
{
    struct fixture *f = *state;
    struct error err;
    struct fake_image *i = fake_volume_add(NULL, "db");
    assert_int_equal(fixture_mount(f, "db", ID, &err), 0);
    fake_pin("pid 4711 (bash)");
    assert_int_equal(fixture_unmount(f, "db", ID, &err), -EBUSY);
    assert_null(i->hindrance);
    fake_wait_count("image_set_meta", 1);
    fixture_settle(f);
    assert_non_null(i->hindrance);
    assert_non_null(strstr(i->hindrance, "pid 4711 (bash)"));
    fake_pin(NULL);
    fixture_retry_now(f, "db");
    fake_wait_count("image_set_meta", 2);
    fixture_settle(f);
    assert_null(i->hindrance);
}

static void the_dead_owner_is_fenced_before_its_lock_is_broken(void **state)
{
    struct fixture *f = *state;
    owned("host9/m/b/rbd/abc", false);
    takes(f);
}

static void with_takeover_never_only_a_person_decides(void **state)
{
    struct fixture *f = *state;
    struct fake_image *i = owned("host9/m/b/rbd/abc", false);
    f->settings.takeover = TAKEOVER_NEVER;
    refuses(f, "which is dead or cut off; `rbdvol unlock` takes it away");
    fake_image_watch(i, OWNER, true);
    i->deaf = true;
    refuses(f, "does not answer; `rbdvol unlock` takes it away");
}

static void a_silent_owner_is_fenced_only_where_the_operator_chose_so(void **state)
{
    struct fixture *f = *state;
    owned("host9/m/b/rbd/abc", true)->deaf = true;
    f->settings.takeover = TAKEOVER_SILENT;
    takes(f);
}

/* Without `silent`, the end of its watch is waited for. */
static void a_silent_owner_s_watch_is_waited_for(void **state)
{
    struct fixture *f = *state;
    struct parallel p;
    struct fake_image *i = owned("host9/m/b/rbd/abc", true);
    i->deaf = true;
    fixture_begin(&p, f, false, "db", ID);
    fake_wait_count("ping", 5);
    assert_false(fake_is_fenced(OWNER));
    fake_watches_end(OWNER);
    assert_int_equal(fixture_end(&p), 0);
    assert_true(fake_is_fenced(OWNER));
}

static void a_silent_owner_that_answers_after_all_is_left_alone(void **state)
{
    struct fixture *f = *state;
    struct parallel p;
    struct fake_image *i = owned("host9/m/b/rbd/abc", true);
    i->deaf = true;
    fixture_begin(&p, f, false, "db", ID);
    fake_wait_count("ping", 3);
    fake_lock();
    i->deaf = false;
    fake_unlock();
    assert_int_equal(fixture_end(&p), -EBUSY);
    assert_non_null(strstr(p.err.msg, "in use on host host9"));
    assert_false(fake_is_fenced(OWNER));
}

/* In a slow cluster silence proves nothing. */
static void a_slow_cluster_makes_nobody_silent(void **state)
{
    struct fixture *f = *state;
    struct parallel p;
    struct fake_image *i = owned("host9/m/b/rbd/abc", true);
    i->slow = i->deaf = true;
    f->settings.takeover = TAKEOVER_SILENT;
    fixture_begin(&p, f, false, "db", ID);
    fake_wait_count("ping", 5);
    assert_false(fake_is_fenced(OWNER));
    fake_lock();
    i->slow = i->deaf = false;
    fake_unlock();
    assert_int_equal(fixture_end(&p), -EBUSY);
}

static void nobody_waits_for_a_watch_that_nobody_needs_any_more(void **state)
{
    struct fixture *f = *state;
    struct parallel p;
    struct error err;
    owned("host9/m/b/rbd/abc", true)->deaf = true;
    fixture_begin(&p, f, false, "db", ID);
    fake_wait_count("ping", 2);
    assert_int_equal(fixture_unmount(f, "db", ID, &err), 0);
    assert_int_not_equal(fixture_end(&p), 0);
    fixture_settle(f);
    assert_int_equal(fixture_rung(f, "db"), RUNG_DETACHED);
    assert_false(fake_is_fenced(OWNER));
}

/* "HOST/MACHINE/BOOT/INSTANCE/MAPPING" of the engine's own. */
static const char *own(struct fixture *f, const char *boot, const char *host, const char *mapping)
{
    static _Thread_local char text[256];
    const struct volumes *e = f->engine;
    (void)snprintf(text, sizeof text, "%s/%s/%s/%s/%s", host ? host : e->host.host, e->host.machine_id,
                   boot ? boot : e->host.boot_id, e->self.instance, mapping);
    return text;
}

static void what_this_host_had_before_it_rebooted_is_taken_at_once(void **state)
{
    struct fixture *f = *state;
    owned(own(f, "0f5c1d5e-boot", NULL, "abc"), true)->deaf = true;
    takes(f);
}

/* Two machines made from one template, with one machine id. */
static void a_cloned_machine_id_is_not_this_host(void **state)
{
    struct fixture *f = *state;
    struct fake_image *i = owned(own(f, "0f5c1d5e-boot", "twin", "abc"), true);
    refuses(f, "this host's own earlier mapping");
    i->deaf = true;
    struct parallel p;
    fixture_begin(&p, f, false, "db", ID);
    fake_wait_count("ping", 4);
    assert_false(fake_is_fenced(OWNER));
    fake_watches_end(OWNER);
    assert_int_equal(fixture_end(&p), 0);
}

static void an_own_mapping_that_answers_is_alive_whatever_we_think(void **state)
{
    struct fixture *f = *state;
    owned(own(f, NULL, NULL, "abc"), true);
    refuses(f, "this host's own earlier mapping");
}

static void an_own_mapping_whose_process_is_gone_is_taken_at_once(void **state)
{
    struct fixture *f = *state;
    owned(own(f, NULL, NULL, "abc"), true)->deaf = true;
    takes(f);
}

static void an_own_mapping_whose_process_is_stopped_is_not_gone(void **state)
{
    struct fixture *f = *state;
    struct mapping m;
    struct parallel p;
    struct error err;
    fake_volume_add(NULL, "other");
    assert_int_equal(fixture_mount(f, "other", ID, &err), 0);
    assert_true(fake_mapping_find("other", &m));
    owned(own(f, NULL, NULL, m.id), true)->deaf = true;
    fixture_begin(&p, f, false, "db", ID);
    fake_wait_count("ping", 4);
    assert_false(fake_is_fenced(OWNER));
    fake_watches_end(OWNER);
    assert_int_equal(fixture_end(&p), 0);
}

static void who_signs_its_lock_between_two_looks_is_no_stranger(void **state)
{
    struct fixture *f = *state;
    struct parallel p;
    struct fake_image *i = fake_volume_add(NULL, "db");
    fake_image_lock_set(i, "rbd_lock", "auto 7", "internal", OWNER);
    fake_image_watch(i, OWNER, true);
    fake_hold("imagelock_holder rbdvol.ctl");
    fixture_begin(&p, f, false, "db", ID);
    fake_wait_held("imagelock_holder rbdvol.ctl", 1);
    fake_image_lock_set(i, "rbdvol", "host9/m/b/rbd/abc/" OWNER, "", "192.0.2.9:0/76");
    fake_go("imagelock_holder rbdvol.ctl");
    assert_int_equal(fixture_end(&p), -EBUSY);
    assert_non_null(strstr(p.err.msg, "in use on host host9"));
}

static void a_client_without_a_record_is_waited_for_however_silent(void **state)
{
    struct fixture *f = *state;
    struct parallel p;
    struct fake_image *i = fake_volume_add(NULL, "db");
    fake_image_lock_set(i, "rbd_lock", "auto 7", "internal", OWNER);
    fake_image_watch(i, OWNER, true);
    f->settings.takeover = TAKEOVER_SILENT;
    refuses(f, "which is no rbdvol");
    i->deaf = true;
    fixture_begin(&p, f, false, "db", ID);
    fake_wait_count("ping", 4);
    assert_false(fake_is_fenced(OWNER));
    fake_watches_end(OWNER);
    assert_int_equal(fixture_end(&p), 0);
    assert_true(fake_is_fenced(OWNER));
}

/* An administrator took its lock away (`rbd lock rm`), which fences for an hour: it may have writes on their
 * way for longer. */
static struct fake_image *unlocked(const char *record)
{
    struct fake_image *i = owned(record, false);
    fake_image_lock(i, "rbd_lock")->held = false;
    return i;
}

static void whose_lock_was_taken_away_is_fenced_before_anybody_writes(void **state)
{
    struct fixture *f = *state;
    struct error err = { 0 };
    struct fake_image *i = unlocked("host9/m/b/rbd/abc");
    fake_trace_clear();
    if (fixture_mount(f, "db", ID, &err) < 0)
        fail_msg("%s", err.msg);
    auto_free char *trace = fake_trace();
    const char *fence = strstr(trace, "fence " OWNER), *forgotten = strstr(trace, "break db rbdvol"),
               *map = strstr(trace, "map db");
    if (!fence || !forgotten || !map || fence > forgotten || forgotten > map)
        fail_msg("%s", trace);
    assert_null(strstr(fake_image_lock(i, "rbdvol")->holder.cookie, "host9"));
}

/* With the lock of a client that came after it, and died. */
static void both_are_fenced_who_has_the_lock_and_whose_was_taken_away(void **state)
{
    struct fixture *f = *state;
    struct error err = { 0 };
    struct fake_image *i = unlocked("host9/m/b/rbd/abc");
    fake_image_lock_set(i, "rbd_lock", "auto 8", "internal", "192.0.2.8:0/88");
    if (fixture_mount(f, "db", ID, &err) < 0)
        fail_msg("%s", err.msg);
    assert_true(fake_is_fenced(OWNER));
    assert_true(fake_is_fenced("192.0.2.8:0/88"));
}

static void who_is_fenced_for_a_short_time_only_is_not_mounted_over(void **state)
{
    struct fixture *f = *state;
    struct error err = { 0 };
    struct fake_image *i = unlocked("host9/m/b/rbd/abc");
    fake_fail("blocklist_add", -EBUSY, 1);
    assert_int_equal(fixture_mount(f, "db", ID, &err), -EBUSY);
    if (!strstr(err.msg, "host host9 (rbdvol instance rbd) had it when its lock was taken away"))
        fail_msg("%s", err.msg);
    assert_int_equal(fake_count("map"), 0);
    assert_non_null(strstr(fake_image_lock(i, "rbdvol")->holder.cookie, "host9"));
    fixture_settle(f);
    assert_null(fake_image_lock(i, "rbdvol.ctl"));
    assert_int_equal(fixture_mount(f, "db", ID, &err), 0);
    assert_true(fake_is_fenced(OWNER));
}

/* Whoever may write to the pool may write a record that names anybody. */
static void nobody_here_is_fenced_for_a_record_on_an_image_that_was_never_his(void **state)
{
    struct fixture *f = *state;
    struct error err = { 0 };
    char cookie[200];
    struct fake_image *mine = fake_volume_add(NULL, "mine"), *i = fake_volume_add(NULL, "db");
    former_add(f->engine, "192.0.2.1:0/99");
    assert_int_equal(fixture_mount(f, "mine", ID, &err), 0);
    const char *own[] = { fake_image_lock(mine, "rbd_lock")->holder.address, "192.0.2.1:0/99" };
    for (size_t n = 0; n < 2; n++) {
        (void)snprintf(cookie, sizeof cookie, "host9/m/b/rbd/abc/%s", own[n]);
        if (n > 0)
            fake_image_lock(i, "rbdvol")->held = false;
        fake_image_lock_set(i, "rbdvol", cookie, "", "192.0.2.66:0/6");
        assert_int_equal(fixture_mount(f, "db", ID, &err), -EPERM);
        if (!strstr(err.msg, own[n]) || !strstr(err.msg, "written from 192.0.2.66:0/6"))
            fail_msg("%s", err.msg);
        assert_false(fake_is_fenced(own[n]));
        fixture_settle(f);
        assert_null(fake_image_lock(i, "rbdvol.ctl"));
    }
    assert_int_equal(fixture_rung(f, "mine"), RUNG_MOUNTED);
}

/* The lock goes first, the record a moment later. */
static void an_orderly_unmount_elsewhere_is_not_fenced(void **state)
{
    struct fixture *f = *state;
    struct parallel p;
    struct fake_image *i = unlocked("host9/m/b/rbd/abc");
    fixture_begin(&p, f, false, "db", ID);
    fake_wait_count("imagelock_holder", 8); /* it has looked again */
    fake_lock();
    fake_image_lock(i, "rbdvol")->held = false;
    fake_unlock();
    assert_int_equal(fixture_end(&p), 0);
    assert_int_equal(fake_count("blocklist_add"), 0);
}

/* A client whose connection had lapsed takes its lock anew. */
static void a_lock_that_comes_back_is_seen(void **state)
{
    struct fixture *f = *state;
    struct parallel p;
    struct fake_image *i = unlocked("host9/m/b/rbd/abc");
    fake_image_watch(i, OWNER, true);
    fixture_begin(&p, f, false, "db", ID);
    fake_wait_count("imagelock_holder", 8); /* it has looked again */
    fake_lock();
    fake_image_lock_set(i, "rbd_lock", "auto 7", "internal", OWNER);
    fake_unlock();
    assert_int_equal(fixture_end(&p), -EBUSY);
    assert_non_null(strstr(p.err.msg, "in use on host host9"));
    assert_false(fake_is_fenced(OWNER));
}

static void what_is_known_to_have_ended_here_needs_no_fence(void **state)
{
    struct fixture *f = *state;
    struct error err = { 0 };
    fake_fail("blocklist_add", -EBUSY, FAKE_FOREVER);
    struct fake_image *i = unlocked(own(f, "0f5c1d5e-boot", NULL, "abc")); /* rebooted */
    assert_int_equal(fixture_mount(f, "db", ID, &err), 0);
    assert_int_equal(fixture_unmount(f, "db", ID, &err), 0);
    char cookie[300];
    (void)snprintf(cookie, sizeof cookie, "%s/" OWNER, own(f, NULL, NULL, "abc")); /* a mapper that is gone */
    fake_image_lock_set(i, "rbdvol", cookie, "", "192.0.2.9:0/76");
    assert_int_equal(fixture_mount(f, "db", ID, &err), 0);
    assert_int_equal(fake_count("blocklist_add"), 0);
}

static void of_a_cloned_machine_id_nothing_is_known(void **state)
{
    struct fixture *f = *state;
    struct error err = { 0 };
    unlocked(own(f, "0f5c1d5e-boot", "twin", "abc"));
    assert_int_equal(fixture_mount(f, "db", ID, &err), 0);
    assert_true(fake_is_fenced(OWNER));
}

/* What such a client writes harms nobody then. */
static void for_removal_it_is_left_alone(void **state)
{
    struct fixture *f = *state;
    struct error err = { 0 };
    unlocked("host9/m/b/rbd/abc");
    fake_fail("blocklist_add", -EBUSY, FAKE_FOREVER);
    if (remove_volume(f->engine, "db", false, clock_in_ms(10000), &err) < 0)
        fail_msg("%s", err.msg);
    assert_int_equal(fake_trash_count(), 1);
}

/* Otherwise its record would make the next one fence again, and wait in vain for an entry of the last days of
 * its 30. */
static void with_the_lock_goes_its_record(void **state)
{
    struct fixture *f = *state;
    struct error err = { 0 };
    struct fake_image *i = owned("host9/m/b/rbd/abc", false);
    fake_fail("map", -EIO, 1);
    assert_int_equal(fixture_mount(f, "db", ID, &err), -EIO);
    fixture_settle(f);
    assert_true(fake_is_fenced(OWNER));
    assert_null(fake_image_lock(i, "rbdvol"));
}

/* The usual way: not one question more than it takes to see that. */
static void without_a_record_nothing_is_asked_twice(void **state)
{
    struct fixture *f = *state;
    struct error err = { 0 };
    fake_volume_add(NULL, "db");
    fake_calls_reset();
    assert_int_equal(fixture_mount(f, "db", ID, &err), 0);
    assert_int_equal(fake_count("imagelock_holder"), 2);
    assert_int_equal(fake_count("image_find"), 2); /* before the lock, and with it */
    assert_int_equal(fake_count("image_read_header"), 1);
    assert_int_equal(fake_count("blocklist_add"), 0);
}

/* Its lock was taken from it by hand, without fencing: its writes may be on their way. */
static void a_writer_that_lost_its_lock_is_fenced(void **state)
{
    struct fixture *f = *state;
    struct error err;
    struct fake_image *i = owned("host9/m/b/rbd/abc", true);
    fake_image_lock(i, "rbd_lock")->held = false;
    assert_int_equal(fixture_mount(f, "db", ID, &err), 0);
    assert_true(fake_is_fenced(OWNER));
}

static void who_may_not_fence_takes_nothing(void **state)
{
    struct fixture *f = *state;
    struct error err;
    struct fake_image *i = owned("host9/m/b/rbd/abc", false);
    fake_fail("blocklist_add", -EPERM, 1);
    assert_int_equal(fixture_mount(f, "db", ID, &err), -EPERM);
    assert_non_null(fake_image_lock(i, "rbd_lock"));
    fixture_settle(f);
    assert_null(fake_image_lock(i, "rbdvol.ctl"));
    assert_int_equal(fixture_rung(f, "db"), RUNG_DETACHED);
    takes(f);
}

/* Wherever it fails: the lock is never broken before the fence, and the next one goes through. */
static void a_takeover_that_fails_anywhere_is_done_by_the_next(void **state)
{
    struct fixture *f = *state;
    struct error err;
    unsigned n;
    owned("host9/m/b/rbd/abc", false);
    for (n = 1; n < 64; n++) {
        fake_fail_nth(n, -EIO, false);
        int rc = fixture_mount(f, "db", ID, &err);
        if (!fake_nth_failed()) {
            assert_int_equal(rc, 0);
            break;
        }
        fake_mend();
        if (rc == 0)
            assert_int_equal(fixture_unmount(f, "db", ID, &err), 0);
        fixture_settle(f);
    }
    assert_in_range(n, 12, 63);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_test_setup, fixture_test_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_living_owner_is_never_taken_from),
        TEST(an_owner_that_cannot_let_go_tells_why),
        TEST(what_keeps_a_volume_here_is_told_and_taken_back),
        TEST(the_dead_owner_is_fenced_before_its_lock_is_broken),
        TEST(with_takeover_never_only_a_person_decides),
        TEST(a_silent_owner_is_fenced_only_where_the_operator_chose_so),
        TEST(a_silent_owner_s_watch_is_waited_for),
        TEST(a_silent_owner_that_answers_after_all_is_left_alone),
        TEST(a_slow_cluster_makes_nobody_silent),
        TEST(nobody_waits_for_a_watch_that_nobody_needs_any_more),
        TEST(what_this_host_had_before_it_rebooted_is_taken_at_once),
        TEST(a_cloned_machine_id_is_not_this_host),
        TEST(an_own_mapping_that_answers_is_alive_whatever_we_think),
        TEST(an_own_mapping_whose_process_is_gone_is_taken_at_once),
        TEST(an_own_mapping_whose_process_is_stopped_is_not_gone),
        TEST(who_signs_its_lock_between_two_looks_is_no_stranger),
        TEST(a_client_without_a_record_is_waited_for_however_silent),
        TEST(whose_lock_was_taken_away_is_fenced_before_anybody_writes),
        TEST(both_are_fenced_who_has_the_lock_and_whose_was_taken_away),
        TEST(who_is_fenced_for_a_short_time_only_is_not_mounted_over),
        TEST(nobody_here_is_fenced_for_a_record_on_an_image_that_was_never_his),
        TEST(an_orderly_unmount_elsewhere_is_not_fenced),
        TEST(a_lock_that_comes_back_is_seen),
        TEST(what_is_known_to_have_ended_here_needs_no_fence),
        TEST(of_a_cloned_machine_id_nothing_is_known),
        TEST(for_removal_it_is_left_alone),
        TEST(with_the_lock_goes_its_record),
        TEST(without_a_record_nothing_is_asked_twice),
        TEST(a_writer_that_lost_its_lock_is_fenced),
        TEST(who_may_not_fence_takes_nothing),
        TEST(a_takeover_that_fails_anywhere_is_done_by_the_next),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
