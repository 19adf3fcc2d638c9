/* SPDX-License-Identifier: MIT */
/* `rbdvol unlock`: what it shows, whom it fences, and all that it leaves alone. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "cmocka-headers.h"
#include "fakes/engine.h"
#include "volume/unlock.h"

#define ID     "0123456789abcdef"
#define OWNER  "192.0.2.9:0/77"
#define OTHER  "192.0.2.8:0/88"
#define RECORD "host9/m/b/rbd/abc/" OWNER

/* Another host's volume: locked by its mapper, with its record. */
static struct fake_image *owned(bool watches)
{
    struct fake_image *i = fake_volume_add(NULL, "db");
    fake_image_lock_set(i, "rbd_lock", "auto 7", "internal", OWNER);
    fake_image_lock_set(i, "rbdvol", RECORD, "", "192.0.2.9:0/76");
    if (watches)
        fake_image_watch(i, OWNER, true);
    return i;
}

static struct fake_image *locked_by_hand(void)
{
    struct fake_image *i = fake_volume_add(NULL, "db");
    fake_image_lock_set(i, "rbd_lock", "some plugin", "", OWNER);
    return i;
}

/* how: "look", "go", "force" */
static int ask(struct fixture *f, const char *how, json_t **told, struct error *err)
{
    *err = (struct error){ 0 };
    fake_trace_clear();
    return unlock_volume(f->engine, "db", strcmp(how, "look") != 0, strcmp(how, "force") == 0,
                         clock_in_ms(10000), told, err);
}

static const char *text_of(const json_t *told, const char *key)
{
    return json_string_value(json_object_get(told, key));
}

static void tells(struct fixture *f, const char *how, const char *state, const char *owner, bool unlocked)
{
    struct error err;
    json_auto_t *told = NULL;
    int rc = ask(f, how, &told, &err);
    if (rc < 0)
        fail_msg("%d %s", rc, err.msg);
    assert_string_equal(text_of(told, "State"), state);
    assert_int_equal(json_is_true(json_object_get(told, "Unlocked")), unlocked);
    if (owner[0] ? !strstr(text_of(told, "Owner"), owner) : text_of(told, "Owner")[0] != '\0')
        fail_msg("%s", text_of(told, "Owner"));
}

static void refuses(struct fixture *f, const char *how, int code, const char *words)
{
    struct error err;
    json_auto_t *told = NULL;
    int rc = ask(f, how, &told, &err);
    if (rc != code || !strstr(err.msg, words) || strncmp(err.msg, "cannot unlock '", 15) != 0)
        fail_msg("%d %s", rc, err.msg);
    assert_null(told);
}

static void stays_locked(struct fixture *f, const char *how, int code, const char *words)
{
    const struct fake_image *i = fake_image_find("rbd", "db");
    refuses(f, how, code, words);
    assert_non_null(fake_image_lock((struct fake_image *)i, "rbd_lock"));
}

static void a_free_volume_is_said_to_be_free(void **state)
{
    struct fixture *f = *state;
    fake_volume_add(NULL, "db");
    tells(f, "look", "free", "", false);
    tells(f, "go", "free", "", false);
    tells(f, "force", "free", "", false);
    fixture_expect_trace("");
}

static void looking_changes_nothing(void **state)
{
    struct fixture *f = *state;
    struct fake_image *i = owned(false);
    tells(f, "look", "dead", "host host9 (rbdvol instance rbd", false);
    fixture_expect_trace("");
    fake_image_watch(i, OWNER, true);
    tells(f, "look", "alive", "host host9", false);
    i->deaf = true;
    tells(f, "look", "silent", "host host9", false);
    fixture_expect_trace("");
    assert_non_null(fake_image_lock(i, "rbd_lock"));
}

static void who_has_it_open_is_told(void **state)
{
    struct fixture *f = *state;
    struct error err;
    json_auto_t *told = NULL;
    fake_image_watch(owned(true), OTHER, true);
    assert_int_equal(ask(f, "look", &told, &err), 0);
    const json_t *all = json_object_get(told, "Watchers");
    assert_int_equal(json_array_size(all), 2);
    assert_string_equal(json_string_value(json_array_get(all, 0)), OWNER);
    assert_string_equal(json_string_value(json_array_get(all, 1)), OTHER);
}

static void a_dead_or_silent_owner_is_fenced_before_its_lock_goes(void **state)
{
    struct fixture *f = *state;
    static const char steps[] = "lock db rbdvol.ctl, fence " OWNER ", break db rbdvol, break db rbd_lock, "
                                "unlock db rbdvol.ctl";
    owned(false);
    tells(f, "go", "dead", "host host9", true);
    fixture_expect_trace(steps);
    tells(f, "look", "free", "", false);
}

static void a_silent_owner_goes_without_force(void **state)
{
    struct fixture *f = *state;
    struct fake_image *i = owned(true);
    i->deaf = true;
    tells(f, "go", "silent", "host host9", true);
    assert_true(fake_is_fenced(OWNER));
    assert_null(fake_image_lock(i, "rbd_lock"));
}

/* Its answer may only be late. */
static void while_the_cluster_is_slow_no_owner_counts_as_silent(void **state)
{
    struct fixture *f = *state;
    struct fake_image *i = owned(true);
    i->deaf = i->slow = true;
    tells(f, "look", "unknown", "host host9", false);
    stays_locked(f, "go", -EAGAIN, "the cluster is slow just now, so that its silence says nothing");
    fixture_expect_trace("");
    tells(f, "force", "unknown", "host host9", true);
    assert_true(fake_is_fenced(OWNER));
}

static void a_living_owner_needs_force(void **state)
{
    struct fixture *f = *state;
    const struct fake_image *i = owned(true);
    stays_locked(f, "go", -EBUSY, "which is alive; stop what uses it there, or add --force");
    fixture_expect_trace("");
    tells(f, "force", "alive", "host host9", true);
    assert_true(fake_is_fenced(OWNER));
    assert_null(fake_image_lock((struct fake_image *)i, "rbd_lock"));
}

/* The holder of an advisory lock need not be who writes. */
static void of_a_lock_by_hand_all_that_have_it_open_are_fenced(void **state)
{
    struct fixture *f = *state;
    fake_image_watch(locked_by_hand(), OTHER, true);
    stays_locked(f, "go", -EBUSY, "1 clients have it open, one at " OTHER "; --force fences them all");
    fixture_expect_trace("");
    tells(f, "force", "by hand", "advisory lock 'some plugin'", true);
    fixture_expect_trace("lock db rbdvol.ctl, fence " OTHER ", fence " OWNER
                         ", break db rbd_lock, unlock db rbdvol.ctl");
}

static void a_lock_by_hand_that_nobody_uses_goes(void **state)
{
    struct fixture *f = *state;
    locked_by_hand();
    tells(f, "go", "by hand", "advisory lock", true);
    assert_true(fake_is_fenced(OWNER));
}

static void what_is_in_use_here_is_not_unlocked(void **state)
{
    struct fixture *f = *state;
    struct error err;
    fake_volume_add(NULL, "db");
    assert_int_equal(fixture_mount(f, "db", ID, &err), 0);
    stays_locked(f, "force", -EBUSY, "it is in use on this host; stop its container");
    fixture_expect_trace("");
    assert_int_equal(fixture_unmount(f, "db", ID, &err), 0);
}

static void a_name_that_is_none_is_refused(void **state)
{
    struct fixture *f = *state;
    struct error err = { 0 };
    json_auto_t *told = NULL;
    refuses(f, "go", -ENOENT, "");
    assert_int_equal(unlock_volume(f->engine, "../etc", true, true, clock_in_ms(10000), &told, &err),
                     -EINVAL);
    assert_non_null(strstr(err.msg, "cannot unlock '../etc'"));
    fixture_expect_trace("");
}

/* Nobody is fenced, and no lock taken away, on an answer that did not come. */
static void who_cannot_look_does_nothing(void **state)
{
    struct fixture *f = *state;
    static const char *const looks[] = {
        "cluster_place", "image_find", "imagelock_holder",       "image_watched_by", "image_watchers",
        "ping",          "lock",       "imagelock_holder rbdvol"
    };
    const struct fake_image *i = owned(true);
    for (size_t n = 0; n < sizeof looks / sizeof *looks; n++) {
        fake_fail(looks[n], -ETIMEDOUT, 1);
        stays_locked(f, "force", -ETIMEDOUT, "");
        fixture_expect_trace("");
        assert_false(fake_is_fenced(OWNER));
        fake_fail(looks[n], 0, 0);
        assert_non_null(fake_image_lock((struct fake_image *)i, "rbdvol"));
    }
    tells(f, "force", "alive", "host host9", true);
}

static void who_cannot_fence_leaves_the_lock(void **state)
{
    struct fixture *f = *state;
    struct fake_image *i = locked_by_hand();
    fake_image_watch(i, OTHER, true);
    fake_fail("blocklist_add", -EPERM, 1);
    stays_locked(f, "force", -EPERM, "");
    fixture_expect_trace("lock db rbdvol.ctl, unlock db rbdvol.ctl");
    fake_fail("blocklist_add " OWNER, -ETIMEDOUT, 1); /* the second of them */
    stays_locked(f, "force", -ETIMEDOUT, "");
    fixture_expect_trace("lock db rbdvol.ctl, fence " OTHER ", unlock db rbdvol.ctl");
    tells(f, "force", "by hand", "advisory", true);
}

static void with_a_record_that_stays_the_lock_does(void **state)
{
    struct fixture *f = *state;
    owned(false);
    fake_fail("break", -ETIMEDOUT, 1);
    stays_locked(f, "go", -ETIMEDOUT, "");
    fixture_expect_trace("lock db rbdvol.ctl, fence " OWNER ", unlock db rbdvol.ctl");
    tells(f, "go", "dead", "host host9", true);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_test_setup, fixture_test_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_free_volume_is_said_to_be_free),
        TEST(looking_changes_nothing),
        TEST(who_has_it_open_is_told),
        TEST(a_dead_or_silent_owner_is_fenced_before_its_lock_goes),
        TEST(a_silent_owner_goes_without_force),
        TEST(while_the_cluster_is_slow_no_owner_counts_as_silent),
        TEST(a_living_owner_needs_force),
        TEST(of_a_lock_by_hand_all_that_have_it_open_are_fenced),
        TEST(a_lock_by_hand_that_nobody_uses_goes),
        TEST(what_is_in_use_here_is_not_unlocked),
        TEST(a_name_that_is_none_is_refused),
        TEST(who_cannot_look_does_nothing),
        TEST(who_cannot_fence_leaves_the_lock),
        TEST(with_a_record_that_stays_the_lock_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
