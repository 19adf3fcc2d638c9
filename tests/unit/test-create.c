/* SPDX-License-Identifier: MIT */
/* How a volume is born, and what is left when its birth is cut short. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "cmocka-headers.h"
#include "fakes/engine.h"
#include "volume/collector.h"
#include "volume/create.h"

#define STEPS 64

static int create(struct fixture *f, const char *name, const char *opts, struct error *err)
{
    json_auto_t *j = opts ? json_loads(opts, 0, NULL) : NULL;
    *err = (struct error){ 0 };
    return create_volume(f->engine, name, j, clock_in_ms(10000), err);
}

static void expect_made(const char *name)
{
    struct fake_image *i = fake_image_find("rbd", name);
    if (!i)
        fail_msg("there is no image %s", name);
    assert_non_null(i->spec);
    assert_non_null(strstr(i->spec, "\"fresh\":true"));
    assert_null(fake_image_lock(i, "rbd_lock"));
    assert_string_equal(i->watchers[0], "");
    assert_string_equal(i->objects[0], name);
    assert_string_equal(i->objects[1], "");
    assert_int_equal(i->written, 8192);
    assert_int_equal(fake_image_count(), 1);
}

static void a_volume_is_born_formatted_and_gets_its_name_last(void **state)
{
    struct fixture *f = *state;
    struct error err;
    assert_int_equal(create(f, "db", NULL, &err), 0);
    fixture_settle(f);
    fixture_expect_trace("create rbdvol.new.*, fill_open rbdvol.new.*, set rbdvol.new.* rbdvol.making, "
                         "write rbdvol.new.*, write rbdvol.new.*, set rbdvol.new.* rbdvol.spec, "
                         "rename rbdvol.new.* db, fill_close, unset db rbdvol.making");
    expect_made("db");
    const struct fake_image *i = fake_image_find("rbd", "db");
    assert_int_equal(i->size, 20ULL << 30);
    assert_int_equal(i->features, 61);
    assert_true(fixture_forgotten(f, "db"));
}

static void its_options_reach_the_image(void **state)
{
    struct fixture *f = *state;
    struct error err;
    assert_int_equal(
        create(f, "db",
               "{\"size\":\"5G\",\"fstype\":\"ext4\",\"mkfs-options\":\"-m+1\",\"uid\":\"70\","
               "\"mode\":\"0750\",\"sharing\":\"host\",\"order\":\"23\",\"mount-options\":\"discard\"}",
               &err),
        0);
    expect_made("db");
    const struct fake_image *i = fake_image_find("rbd", "db");
    assert_int_equal(i->size, 5ULL << 30);
    assert_int_equal(i->order, 23);
    assert_non_null(strstr(i->spec, "\"fstype\":\"ext4\""));
    assert_non_null(strstr(i->spec, "\"mkfs-options\":\"-m+1\""));
    assert_non_null(strstr(i->spec, "\"mount-options\":\"noatime+nodev+nosuid+discard\""));
    assert_non_null(strstr(i->spec, "\"uid\":70"));
    assert_non_null(strstr(i->spec, "\"sharing\":\"host\""));
}

static void what_exists_is_a_success_unless_it_contradicts(void **state)
{
    struct fixture *f = *state;
    struct error err;
    struct fake_image *i = fake_volume_add(NULL, "db");
    assert_int_equal(create(f, "db", NULL, &err), 0);
    assert_int_equal(create(f, "rbd/db@1024", "{\"fstype\":\"xfs\",\"uid\":\"1\"}", &err), 0);
    assert_int_equal(create(f, "db", "{\"size\":\"2G\"}", &err), -EEXIST);
    assert_non_null(strstr(err.msg, "cannot create 'rbd/db'"));
    assert_non_null(strstr(err.msg, "size 1 GiB"));
    assert_non_null(strstr(err.msg, "2 GiB was asked for"));
    assert_int_equal(create(f, "db", "{\"fstype\":\"ext4\"}", &err), -EEXIST);
    fake_image_set(&i->spec, NULL); /* made by others: its size and layout are all that can be compared */
    assert_int_equal(create(f, "db", "{\"fstype\":\"ext4\"}", &err), 0);
    assert_int_equal(create(f, "db", "{\"object-size\":\"8M\"}", &err), -EEXIST);
    assert_int_equal(create(f, "db", "{\"size\":\"100M\"}", &err), 0); /* an xfs could not be made so small */
    assert_int_equal(create(f, "new", "{\"size\":\"100M\"}", &err), -EINVAL);
    assert_int_equal(create(f, "db", "{\"data-pool\":\"rbd\"}", &err), 0);
    assert_int_equal(create(f, "db", "{\"data-pool\":\"ec\"}", &err), -EEXIST);
    memcpy(i->data_pool, "ec", 3);
    assert_int_equal(create(f, "db", "{\"data-pool\":\"ec\"}", &err), 0);
    assert_int_equal(create(f, "db", "{\"data-pool\":\"rbd\"}", &err), -EEXIST);
    assert_int_equal(create(f, "db", NULL, &err), 0);
    fixture_expect_trace("");
}

static void what_is_refused_notes_nothing_on_an_image_of_others(void **state)
{
    struct fixture *f = *state;
    struct error err;
    struct fake_image *i = fake_image_add(NULL, "theirs");
    assert_int_equal(create(f, "theirs", "{\"size\":\"2G\",\"mount-options\":\"noexec\"}", &err), -EEXIST);
    assert_null(i->spec); /* with one it could be removed */
    fixture_expect_trace("");
    assert_int_equal(create(f, "theirs", "{\"mount-options\":\"noexec\"}", &err), 0);
    assert_non_null(strstr(i->spec, "noexec"));
}

struct noting {
    struct fixture *fixture;
    int rc;
};

static void *note(void *arg)
{
    struct noting *n = arg;
    struct error err;
    n->rc = create(n->fixture, "theirs", "{\"mount-options\":\"noexec\"}", &err);
    return NULL;
}

/* It needs no gate to note something, and so comes while a Mount of this daemon has rbdvol.ctl. */
static void noting_waits_for_a_mount_of_the_same_daemon(void **state)
{
    struct fixture *f = *state;
    struct noting n = { .fixture = f, .rc = 1 };
    struct parallel up;
    pthread_t thread;
    fake_image_add(NULL, "theirs");
    fake_hold("map");
    fixture_begin(&up, f, false, "theirs", "one");
    fake_wait_held("map", 1);
    unsigned before = fake_count("lock");
    assert_int_equal(pthread_create(&thread, NULL, note, &n), 0);
    fake_wait_count("lock", before + 2); /* it was refused, and tries again */
    assert_int_equal(fake_count("break"), 0);
    fake_go("map");
    assert_int_equal(fixture_end(&up), 0);
    pthread_join(thread, NULL);
    assert_int_equal(n.rc, 0);
}

static void a_host_that_does_not_create_says_so(void **state)
{
    struct fixture *f = *state;
    struct error err;
    f->settings.create = false;
    fake_volume_add(NULL, "there");
    assert_int_equal(create(f, "db", NULL, &err), -EPERM);
    assert_non_null(strstr(err.msg, "create = no"));
    assert_int_equal(create(f, "there", NULL, &err), 0);
    fixture_expect_trace("");
}

static void a_cluster_that_cannot_be_asked_is_no_reason_to_create(void **state)
{
    struct fixture *f = *state;
    struct error err;
    fake_cluster_set(FAKE_CLUSTER_DOWN);
    assert_int_equal(create(f, "db", NULL, &err), -ENOTCONN);
    fake_cluster_set(FAKE_CLUSTER_UP);
    static const int codes[] = { -ETIMEDOUT, -EPERM, -ENODEV, -EUCLEAN };
    for (size_t i = 0; i < 4; i++) {
        fake_fail("image_find", codes[i], FAKE_FOREVER);
        assert_int_equal(create(f, "db", NULL, &err), codes[i]);
    }
    fake_fail("image_find", 0, 0);
    assert_int_equal(create(f, "other/db", NULL, &err), -ENODEV);
    fixture_expect_trace("");
}

/* Each call fails once, with what comes back when a cluster is slow. What has been made is taken back. */
static void a_birth_that_fails_anywhere_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    unsigned n;
    for (n = 1; n < STEPS; n++) {
        struct error err;
        fake_fail_nth(n, -EIO, false);
        int rc = create(f, "db", NULL, &err);
        fixture_settle(f);
        if (!fake_nth_failed())
            break;
        if (rc == 0) {
            /* beyond the rename nothing is lost: what is left to do is done by whoever looks next */
            assert_non_null(fake_image_find("rbd", "db"));
            assert_int_equal(create(f, "db", NULL, &err), 0);
            expect_made("db");
            fake_world_reset();
        } else {
            if (!strstr(err.msg, "db"))
                fail_msg("failure at %s: %s", fake_failed_call(), err.msg);
            if (fake_image_find("rbd", "db")) { /* it was made, and then could not be looked at */
                assert_int_equal(create(f, "db", NULL, &err), 0);
                expect_made("db");
                fake_world_reset();
            } else if (fake_image_count() + fake_trash_count() != 0) {
                fail_msg("failure at %s left something", fake_failed_call());
            }
        }
    }
    assert_in_range(n, 12, STEPS - 1);
    expect_made("db");
}

/* From some call on nothing works any more, as when the network is cut. */
static void a_birth_that_cannot_be_undone_is_marked_for_the_collector(void **state)
{
    struct fixture *f = *state;
    for (unsigned n = 1; n < STEPS; n++) {
        struct error err;
        fake_fail_nth(n, -ETIMEDOUT, true);
        int rc = create(f, "db", NULL, &err);
        fixture_settle(f);
        bool failed = fake_nth_failed();
        fake_mend();
        if (!failed)
            return;
        (void)rc;
        if (fake_trash_count())
            fail_msg("failure at %s moved an image to the trash that it cannot know about",
                     fake_failed_call());
        /* the network is back: the name can be taken, and only what is marked is left beside it */
        if (create(f, "db", NULL, &err) < 0)
            fail_msg("after a failure at %s: %s", fake_failed_call(), err.msg);
        assert_in_range(fake_image_count(), 1, 2);
        fake_world_reset();
    }
    fail_msg("a birth takes more than %d calls", STEPS);
}

/* A rename may have been cut off after any of its writes. Whatever it says: where the image is decides. */
static void a_rename_whose_outcome_is_unknown_is_settled_by_looking(void **state)
{
    struct fixture *f = *state;
    for (unsigned writes = 1; writes <= 3; writes++) {
        struct error err;
        fake_rename_stops_after(writes, -ETIMEDOUT);
        if (create(f, "db", NULL, &err) < 0)
            fail_msg("after %u writes: %s", writes, err.msg);
        expect_made("db");
        assert_int_equal(fake_trash_count(), 0);
        fake_world_reset();
    }
}

/* Cut off in the rename, and then nothing can be looked at: once it can, what was reported as failed is taken
 * back. */
static void a_rename_that_cannot_be_looked_at_is_taken_back(void **state)
{
    struct fixture *f = *state;
    for (unsigned writes = 0; writes <= 3; writes++) {
        struct error err;
        fake_rename_stops_after(writes, -ETIMEDOUT);
        fake_fail_after("image_find", 2, -ETIMEDOUT, 1); /* the third look is the one after the rename */
        int rc = create(f, "db", NULL, &err);
        if (rc != -ETIMEDOUT)
            fail_msg("after %u writes: %d %s", writes, rc, err.msg);
        fixture_settle(f);
        assert_int_equal(fake_image_count() + fake_trash_count(), 0);
        if (create(f, "db", NULL, &err) < 0)
            fail_msg("after %u writes: %s", writes, err.msg);
        expect_made("db");
        fake_world_reset();
    }
}

/* Unless somebody has found it meanwhile, and may have it in use. */
static void what_somebody_found_is_not_taken_back(void **state)
{
    struct fixture *f = *state;
    struct error err;
    fake_rename_stops_after(2, -ETIMEDOUT);
    fake_fail_after("image_find", 2, -ETIMEDOUT, 1);
    fake_hold("image_swap_meta");
    assert_int_equal(create(f, "db", NULL, &err), -ETIMEDOUT);
    fake_wait_held("image_swap_meta", 1);
    if (create(f, "db", NULL, &err) < 0) /* on this host or another: it is there, as asked */
        fail_msg("%s", err.msg);
    fake_go("image_swap_meta");
    fixture_settle(f);
    expect_made("db");
    assert_int_equal(fake_trash_count(), 0);
}

struct birth {
    pthread_t thread;
    struct fixture *fixture;
    const char *opts;
    int rc;
    struct error err;
};

/* A Create that another host is taking back, but has not got further than the mark. */
static const char going_back[] = "{\"version\":1,\"final\":\"rbdvol.new.0a\",\"temp\":\"db\",\"since\":1}";

static void what_is_being_taken_back_is_nobodys_any_more(void **state)
{
    struct fixture *f = *state;
    struct error err;
    struct fake_image *i = fake_volume_add(NULL, "db");
    fake_image_set(&i->making, going_back);
    assert_int_equal(fixture_mount(f, "db", "one", &err), -ENOENT);
    assert_string_equal(i->listed, "rbdvol.new.0a");
    assert_int_equal(fake_mapping_count(), 0);
}

static void *find_it(void *arg)
{
    struct birth *b = arg;
    b->rc = fixture_mount(b->fixture, "db", "one", &b->err);
    return NULL;
}

/* Between the look at the mark and its removal. */
static void a_mark_that_is_turned_round_is_not_taken_away(void **state)
{
    struct fixture *f = *state;
    struct birth b = { .fixture = f };
    struct fake_image *i = fake_volume_add(NULL, "db");
    fake_image_set(&i->making, "{\"version\":1,\"final\":\"db\",\"temp\":\"rbdvol.new.0a\",\"since\":1}");
    fake_hold("image_drop_meta");
    assert_int_equal(pthread_create(&b.thread, NULL, find_it, &b), 0);
    fake_wait_held("image_drop_meta", 1);
    fake_image_set(&i->making, going_back);
    fake_go("image_drop_meta");
    pthread_join(b.thread, NULL);
    assert_int_equal(b.rc, -ENOENT);
    assert_string_equal(i->listed, "rbdvol.new.0a");
    assert_non_null(i->making);
}

static void *be_born(void *arg)
{
    struct birth *b = arg;
    b->rc = create(b->fixture, "db", b->opts, &b->err);
    return NULL;
}

static void the_loser_of_a_race_looks_at_the_winners(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *opts;
        int rc;
    } rows[] = { { NULL, 0 }, { "{\"size\":\"1G\"}", 0 }, { "{\"size\":\"40G\"}", -EEXIST } };
    for (size_t i = 0; i < 3; i++) {
        struct birth b = { .fixture = f, .opts = rows[i].opts };
        fake_hold("image_rename");
        assert_int_equal(pthread_create(&b.thread, NULL, be_born, &b), 0);
        fake_wait_held("image_rename", 1);
        fake_volume_add(NULL, "db"); /* by another host */
        fake_go("image_rename");
        pthread_join(b.thread, NULL);
        if (b.rc != rows[i].rc)
            fail_msg("%s: %d %s", rows[i].opts, b.rc, b.err.msg);
        assert_int_equal(fake_image_count(), 1);
        assert_int_equal(fake_trash_count(), 0);
        assert_int_equal(fake_image_find("rbd", "db")->written, 0); /* the winner's */
        fake_world_reset();
    }
}

static void a_winner_that_is_gone_by_now_is_no_missing_volume(void **state)
{
    struct fixture *f = *state;
    struct error err;
    fake_fail("image_rename", -EEXIST, 1);
    assert_int_equal(create(f, "db", NULL, &err), -EAGAIN);
    assert_non_null(strstr(err.msg, "gone by now: try again"));
}

static void many_creates_on_one_host_make_one_image(void **state)
{
    struct fixture *f = *state;
    struct birth b[8];
    for (size_t i = 0; i < 8; i++) {
        b[i] = (struct birth){ .fixture = f };
        assert_int_equal(pthread_create(&b[i].thread, NULL, be_born, &b[i]), 0);
    }
    for (size_t i = 0; i < 8; i++) {
        pthread_join(b[i].thread, NULL);
        assert_int_equal(b[i].rc, 0);
    }
    assert_int_equal(fake_count("image_create"), 1);
    expect_made("db");
}

static void a_create_that_takes_too_long_goes_on_and_is_joined(void **state)
{
    struct fixture *f = *state;
    struct error err = { 0 };
    fake_hold("fs_make");
    assert_int_equal(create_volume(f->engine, "db", NULL, clock_in_ms(20), &err), -EINPROGRESS);
    assert_non_null(strstr(err.msg, "try again"));
    int rc = create_volume(f->engine, "db", NULL, clock_in_ms(20), &err);
    assert_true(rc == -EINPROGRESS || rc == -EBUSY); /* at the gate */
    assert_non_null(strstr(err.msg, "try again"));
    fake_go("fs_make");
    assert_int_equal(create(f, "db", NULL, &err), 0);
    expect_made("db");
    assert_int_equal(fake_count("image_create"), 1);
}

static void a_create_that_goes_on_does_not_outlive_the_engine(void **state)
{
    struct fixture *f = *state;
    struct error err = { 0 };
    fake_hold("fs_make");
    assert_int_equal(create_volume(f->engine, "db", NULL, clock_in_ms(20), &err), -EINPROGRESS);
    fake_wait_held("fs_make", 1);
    fake_go("fs_make");
    fixture_stop(f);
    expect_made("db"); /* it was waited for */
}

static void a_cut_off_create_is_finished_by_whoever_looks(void **state)
{
    struct fixture *f = *state;
    struct error err;
    for (unsigned writes = 1; writes <= 3; writes++) {
        struct fake_image *i = fake_volume_add(NULL, "rbdvol.new.00ff");
        fake_image_set(&i->making,
                       "{\"version\":1,\"final\":\"db\",\"temp\":\"rbdvol.new.00ff\",\"since\":1}");
        fake_lock();
        (void)snprintf(i->objects[writes < 3], sizeof i->objects[0], "db");
        if (writes > 1)
            (void)snprintf(i->listed, sizeof i->listed, "db");
        fake_unlock();
        assert_int_equal(fixture_mount(f, "db", "one", &err), 0);
        assert_string_equal(i->listed, "db");
        assert_string_equal(i->objects[0], "db");
        assert_string_equal(i->objects[1], "");
        assert_null(i->making);
        assert_int_equal(fixture_unmount(f, "db", "one", &err), 0);
        fixture_settle(f);
        fake_world_reset();
    }
}

static void a_half_made_image_of_somebody_else_is_left_alone(void **state)
{
    struct fixture *f = *state;
    struct error err;
    struct fake_image *i = fake_volume_add(NULL, "tmp");
    fake_lock();
    (void)snprintf(i->objects[1], sizeof i->objects[1], "db");
    fake_unlock();
    assert_int_equal(create(f, "db", NULL, &err), -EUCLEAN);
    assert_int_equal(fixture_mount(f, "db", "one", &err), -EUCLEAN);
    fake_image_set(&i->making, "{\"version\":1,\"final\":\"other\",\"temp\":\"rbdvol.new.0\"}");
    assert_int_equal(fixture_mount(f, "db", "one", &err), -EUCLEAN);
    fixture_expect_trace("");
}

static void what_is_half_removed_is_no_volume_and_no_free_name(void **state)
{
    struct fixture *f = *state;
    struct error err;
    struct fake_image *i = fake_volume_add(NULL, "db");
    i->headerless = true;
    for (unsigned n = 0; n < 2; n++) {
        assert_int_equal(create(f, "db", NULL, &err), -ENODATA);
        assert_non_null(strstr(err.msg, "the removal of image 'db' was interrupted"));
        assert_int_equal(fixture_mount(f, "db", "one", &err), -ENODATA);
        i->objects[0][0] = '\0'; /* and now only the directory has it */
    }
    fixture_expect_trace("");
}

/* ---- the collector ---- */

static const char mark_format[] =
    "{\"version\":1,\"final\":\"db\",\"temp\":\"rbdvol.new.00ff\",\"since\":%lld}";

static struct fake_image *unfinished(long long since)
{
    char mark[128];
    struct fake_image *i = fake_image_add(NULL, "rbdvol.new.00ff");
    (void)snprintf(mark, sizeof mark, mark_format, since);
    fake_image_set(&i->making, mark);
    return i;
}

static void the_collector_takes_only_what_is_marked_old_and_free(void **state)
{
    struct fixture *f = *state;
    struct fake_image *i = unfinished((long long)time(NULL) - 60);
    collector_run(f->engine);
    fixture_expect_trace(""); /* a Create may still be at it */
    fake_image_set(&i->making, "{\"final\":7}");
    collector_run(f->engine);
    fixture_expect_trace(""); /* not ours */
    char mark[128];
    (void)snprintf(mark, sizeof mark, mark_format, 1700000000LL);
    fake_image_set(&i->making, mark);
    fake_image_lock_set(i, "rbd_lock", "auto 1", "internal", "192.0.2.9:0/1");
    fake_image_watch(i, "192.0.2.9:0/1", true);
    collector_run(f->engine);
    fixture_expect_trace(""); /* somebody is at it */
    fake_image_watch(i, "192.0.2.9:0/1", false);
    collector_run(f->engine);
    fixture_expect_trace("lock rbdvol.new.* rbdvol.ctl, fence 192.0.2.9:0/1, break rbdvol.new.* rbd_lock, "
                         "fill_open rbdvol.new.*, unlock rbdvol.new.* rbdvol.ctl, fill_close, "
                         "trash rbdvol.new.* keep_s=604800");
    assert_int_equal(fake_trash_count(), 1); /* never deleted */
    /* a volume, and an image of somebody else: never */
    fake_volume_add(NULL, "db");
    fake_image_add(NULL, "tmp");
    collector_run(f->engine);
    fixture_expect_trace("");
}

static void the_collector_finishes_a_rename(void **state)
{
    struct fixture *f = *state;
    struct fake_image *i = unfinished(1700000000);
    fake_lock();
    (void)snprintf(i->objects[1], sizeof i->objects[1], "db");
    fake_unlock();
    collector_run(f->engine);
    fixture_expect_trace(
        "lock rbdvol.new.* rbdvol.ctl, fill_open rbdvol.new.*, unlock rbdvol.new.* rbdvol.ctl, "
        "finish_rename rbdvol.new.* db, fill_close");
    assert_non_null(fake_image_find("rbd", "db"));
}

static void the_collector_takes_away_the_name_of_what_was_never_made(void **state)
{
    struct fixture *f = *state;
    struct fake_image *i = unfinished(1700000000);
    i->headerless = true;
    i->name_age = 3599;
    collector_run(f->engine);
    fixture_expect_trace("");
    i->name_age = 3600;
    collector_run(f->engine);
    fixture_expect_trace("drop_name rbdvol.new.*");
}

static void the_collector_does_nothing_when_it_cannot_ask(void **state)
{
    struct fixture *f = *state;
    unfinished(1700000000);
    static const char *const calls[] = { "cluster_place",     "image_list",     "image_find",
                                         "image_read_header", "imagefill_open", "imagelock_holder",
                                         "image_id_object" };
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        fake_fail(calls[i], -ETIMEDOUT, 1);
        collector_run(f->engine);
        auto_free char *trace = fake_trace();
        if (strstr(trace, "trash"))
            fail_msg("%s failed: %s", calls[i], trace);
    }
    assert_int_equal(fake_trash_count(), 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, fixture_test_setup, fixture_test_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_volume_is_born_formatted_and_gets_its_name_last),
        TEST(its_options_reach_the_image),
        TEST(what_exists_is_a_success_unless_it_contradicts),
        TEST(what_is_refused_notes_nothing_on_an_image_of_others),
        TEST(noting_waits_for_a_mount_of_the_same_daemon),
        TEST(a_host_that_does_not_create_says_so),
        TEST(a_cluster_that_cannot_be_asked_is_no_reason_to_create),
        TEST(a_birth_that_fails_anywhere_leaves_nothing),
        TEST(a_birth_that_cannot_be_undone_is_marked_for_the_collector),
        TEST(a_rename_whose_outcome_is_unknown_is_settled_by_looking),
        TEST(a_rename_that_cannot_be_looked_at_is_taken_back),
        TEST(what_somebody_found_is_not_taken_back),
        TEST(what_is_being_taken_back_is_nobodys_any_more),
        TEST(a_mark_that_is_turned_round_is_not_taken_away),
        TEST(the_loser_of_a_race_looks_at_the_winners),
        TEST(a_winner_that_is_gone_by_now_is_no_missing_volume),
        TEST(many_creates_on_one_host_make_one_image),
        TEST(a_create_that_takes_too_long_goes_on_and_is_joined),
        TEST(a_create_that_goes_on_does_not_outlive_the_engine),
        TEST(a_cut_off_create_is_finished_by_whoever_looks),
        TEST(a_half_made_image_of_somebody_else_is_left_alone),
        TEST(what_is_half_removed_is_no_volume_and_no_free_name),
        TEST(the_collector_takes_away_the_name_of_what_was_never_made),
        TEST(the_collector_takes_only_what_is_marked_old_and_free),
        TEST(the_collector_finishes_a_rename),
        TEST(the_collector_does_nothing_when_it_cannot_ask),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
