/* SPDX-License-Identifier: MIT */
/* Get, List, Path and status. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "cmocka-headers.h"
#include "fakes/engine.h"
#include "volume/query.h"
#include "volume/trim.h"

static const char *text_of(const json_t *j, const char *key)
{
    const char *text = json_string_value(json_object_get(j, key));
    return text ? text : "(none)";
}

/* A second pool. */
static struct fake_pool *add_ssd(struct fixture *f)
{
    struct fake_pool *ssd = fake_pool_add("ssd", "");
    fixture_stop(f);
    f->settings.npools = 2;
    (void)snprintf(f->settings.pools[1], sizeof f->settings.pools[1], "ssd");
    fixture_start(f);
    return ssd;
}

static void get_says_not_found_only_if_the_cluster_does(void **state)
{
    struct fixture *f = *state;
    struct error err;
    json_t *j;
    assert_int_equal(query_get(f->engine, "db", &j, &err), -ENOENT);
    assert_non_null(strstr(err.msg, "no such volume: 'db'"));
    static const int codes[] = { -ETIMEDOUT, -EPERM, -ENODEV, -EIO, -EUCLEAN, -ENOTCONN };
    fake_volume_add(NULL, "db");
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        fake_fail("image_find", codes[i], 1);
        int rc = query_get(f->engine, "db", &j, &err);
        if (rc == 0 || rc == -ENOENT || rc == -EINVAL)
            fail_msg("%d became %d", codes[i], rc);
    }
    assert_int_equal(query_get(f->engine, "nopool/db", &j, &err), -ENODEV);
    fake_cluster_set(FAKE_CLUSTER_DOWN);
    assert_int_equal(query_get(f->engine, "db", &j, &err), -ENOTCONN);
}

static void get_answers_what_is_half_removed(void **state)
{
    struct fixture *f = *state;
    struct error err;
    json_t *j;
    struct fake_image *i = fake_volume_add(NULL, "db");
    i->headerless = true;
    for (unsigned n = 0; n < 2; n++) {
        assert_int_equal(query_get(f->engine, "db", &j, &err), 0);
        const json_t *status = json_object_get(j, "Status");
        assert_string_equal(json_string_value(json_object_get(status, "state")), "half removed");
        assert_non_null(strstr(json_string_value(json_object_get(status, "trouble")), "was interrupted"));
        assert_string_equal(json_string_value(json_object_get(j, "Mountpoint")), "");
        assert_null(json_object_get(j, "CreatedAt"));
        json_decref(j);
        i->objects[0][0] = '\0';
    }
}

static void get_never_calls_a_bad_answer_of_the_cluster_a_bad_name(void **state)
{
    struct fixture *f = *state;
    struct error err;
    json_t *j;
    static const char *const calls[] = { "cluster_place", "image_find", "image_read_header",
                                         "imagelock_holder" };
    fake_image_lock_set(fake_volume_add(NULL, "db"), "rbd_lock", "auto 1", "internal", "192.0.2.9:0/1");
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        fake_fail(calls[i], -EINVAL, 1);
        int rc = query_get(f->engine, "db", &j, &err);
        if (rc >= 0 || rc == -EINVAL || rc == -ENOENT)
            fail_msg("%s: %d", calls[i], rc);
    }
    assert_int_equal(query_get(f->engine, "a b", &j, &err), -EINVAL);
}

static void get_tells_what_the_header_says(void **state)
{
    struct fixture *f = *state;
    struct error err;
    json_t *j;
    fake_volume_add(NULL, "db");
    assert_int_equal(query_get(f->engine, "rbd/db@1024", &j, &err), 0);
    const json_t *s = json_object_get(j, "Status");
    assert_string_equal(text_of(j, "Name"), "rbd/db@1024");
    assert_string_equal(text_of(j, "Mountpoint"), "");
    assert_string_equal(text_of(j, "CreatedAt"), "2023-11-14T22:13:20Z");
    assert_string_equal(text_of(s, "pool"), "rbd");
    assert_string_equal(text_of(s, "namespace"), "");
    assert_string_equal(text_of(s, "image"), "db");
    assert_string_equal(text_of(s, "state"), "detached");
    assert_string_equal(text_of(s, "fstype"), "xfs");
    assert_string_equal(text_of(s, "owner"), "");
    assert_string_equal(text_of(s, "options"), "noatime+nodev+nosuid");
    assert_int_equal(json_integer_value(json_object_get(s, "size")), 1 << 30);
    assert_null(json_object_get(s, "ambiguous"));
    json_decref(j);
    /* a spec that cannot be read, and no creation time, are no reason to say nothing */
    struct fake_image *i = fake_image_find("rbd", "db");
    fake_image_set(&i->spec, "{\"version\":99}");
    i->created = 0;
    assert_int_equal(query_get(f->engine, "db", &j, &err), 0);
    assert_null(json_object_get(j, "CreatedAt"));
    json_decref(j);
    fixture_expect_trace("");
    assert_int_equal(fake_count("lock"), 0);
}

static void get_names_an_owner_elsewhere(void **state)
{
    struct fixture *f = *state;
    struct error err;
    json_t *j;
    struct fake_image *i = fake_volume_add(NULL, "db");
    fake_image_lock_set(i, "rbd_lock", "auto 7", "internal", "192.0.2.9:0/5");
    assert_int_equal(query_get(f->engine, "db", &j, &err), 0);
    assert_string_equal(text_of(json_object_get(j, "Status"), "owner"),
                        "another client, client.4100 at 192.0.2.9:0/5, which is no rbdvol");
    assert_string_equal(text_of(json_object_get(j, "Status"), "state"), "left by a dead owner");
    json_decref(j);
    fake_image_watch(i, "192.0.2.9:0/5", true);
    fake_image_lock_set(i, "rbdvol", "host9/m/b/rbd/abc/192.0.2.9:0/5", "", "192.0.2.9:0/4");
    assert_int_equal(query_get(f->engine, "db", &j, &err), 0);
    assert_string_equal(text_of(json_object_get(j, "Status"), "owner"),
                        "host host9 (rbdvol instance rbd, client.4100 at 192.0.2.9:0/5)");
    assert_string_equal(text_of(json_object_get(j, "Status"), "state"), "in use elsewhere");
    json_decref(j);
}

static void what_is_mounted_here_is_answered_from_memory(void **state)
{
    struct fixture *f = *state;
    struct error err;
    json_t *j;
    char mountpoint[PATH_MAX];
    fake_volume_add(NULL, "db");
    fake_volume_add(NULL, "other");
    assert_int_equal(fixture_mount(f, "db", "one", &err), 0);
    fixture_settle(f);
    fake_cluster_set(FAKE_CLUSTER_DOWN);
    assert_int_equal(query_get(f->engine, "db", &j, &err), 0);
    assert_string_equal(text_of(j, "Mountpoint"), fixture_mountpoint(f, "db"));
    assert_string_equal(text_of(json_object_get(j, "Status"), "state"), "mounted");
    assert_string_equal(text_of(json_object_get(j, "Status"), "device"), "/dev/loop0");
    assert_string_equal(text_of(json_object_get(j, "Status"), "mapper"), "fuse");
    json_decref(j);
    assert_int_equal(query_path(f->engine, "db", mountpoint, &err), 0);
    assert_string_equal(mountpoint, fixture_mountpoint(f, "db"));
    assert_int_equal(query_path(f->engine, "other", mountpoint, &err), 0);
    assert_string_equal(mountpoint, "");
    assert_int_equal(query_path(f->engine, "no/where/at/all", mountpoint, &err), -EINVAL);
    assert_int_equal(query_list(f->engine, &j, &err), 0);
    assert_int_equal(json_array_size(j), 1);
    assert_string_equal(text_of(json_array_get(j, 0), "Name"), "db");
    assert_string_equal(text_of(json_array_get(j, 0), "Mountpoint"), fixture_mountpoint(f, "db"));
    json_decref(j);
    fake_cluster_set(FAKE_CLUSTER_UP);
    assert_int_equal(fixture_unmount(f, "db", "one", &err), 0);
    fixture_settle(f);
    fake_cluster_set(FAKE_CLUSTER_DOWN);
    assert_int_equal(query_list(f->engine, &j, &err), -ENOTCONN);
}

static void a_volume_that_cannot_be_brought_down_tells_its_trouble(void **state)
{
    struct fixture *f = *state;
    struct error err;
    json_t *j;
    fake_volume_add(NULL, "db");
    assert_int_equal(fixture_mount(f, "db", "one", &err), 0);
    fake_pin("pid 4711 (bash)");
    assert_int_equal(fixture_unmount(f, "db", "one", &err), -EBUSY);
    fixture_settle(f);
    assert_int_equal(query_get(f->engine, "db", &j, &err), 0);
    assert_non_null(strstr(text_of(json_object_get(j, "Status"), "trouble"), "pid 4711 (bash)"));
    json_decref(j);
    j = query_status(f->engine);
    assert_non_null(strstr(text_of(json_array_get(json_object_get(j, "Volumes"), 0), "Pending"), "pid 4711"));
    json_decref(j);
    char line[256];
    volumes_summary(f->engine, line, sizeof line);
    assert_string_equal(line, "cluster up, 1 volumes mounted, 1 with trouble (see `rbdvol status`)");
    fake_pin(NULL);
    assert_int_equal(fixture_unmount(f, "db", "one", &err), 0);
}

static void a_name_in_two_pools_is_the_firsts_for_get_and_nobodys_for_mount(void **state)
{
    struct fixture *f = *state;
    struct error err;
    json_t *j;
    struct fake_pool *ssd = add_ssd(f);
    fake_volume_add(NULL, "db");
    fake_volume_add(ssd, "db")->size = 2ULL << 30;
    assert_int_equal(query_get(f->engine, "db", &j, &err), 0);
    assert_string_equal(text_of(json_object_get(j, "Status"), "pool"), "rbd");
    assert_true(json_is_true(json_object_get(json_object_get(j, "Status"), "ambiguous")));
    json_decref(j);
    assert_int_equal(fixture_mount(f, "db", "one", &err), -EEXIST);
    assert_non_null(strstr(err.msg, "'rbd/db' or 'ssd/db'"));
    /* while it is mounted a name keeps its meaning */
    assert_int_equal(fixture_mount(f, "ssd/db", "one", &err), 0);
    assert_int_equal(query_get(f->engine, "db", &j, &err), 0);
    assert_string_equal(text_of(json_object_get(j, "Status"), "pool"), "ssd");
    assert_null(json_object_get(json_object_get(j, "Status"), "ambiguous"));
    json_decref(j);
    assert_int_equal(fixture_unmount(f, "db", "one", &err), 0);
}

static void a_pool_that_cannot_be_asked_may_have_it(void **state)
{
    struct fixture *f = *state;
    struct error err;
    json_t *j;
    struct fake_pool *ssd = add_ssd(f);
    fake_fail("cluster_place ssd", -ETIMEDOUT, FAKE_FOREVER);
    assert_int_equal(query_get(f->engine, "db", &j, &err), -ETIMEDOUT);
    fake_volume_add(NULL, "db");
    assert_int_equal(query_get(f->engine, "db", &j, &err), -ETIMEDOUT);
    assert_int_equal(fixture_mount(f, "db", "one", &err), -ETIMEDOUT);
    assert_int_equal(query_list(f->engine, &j, &err), -ETIMEDOUT); /* all or none */
    fake_fail("cluster_place ssd", 0, 0);
    assert_int_equal(query_get(f->engine, "db", &j, &err), 0);
    json_decref(j);
    fake_volume_add(ssd, "other");
    assert_int_equal(query_get(f->engine, "other", &j, &err), 0);
    assert_string_equal(text_of(json_object_get(j, "Status"), "pool"), "ssd");
    json_decref(j);
    assert_int_equal(query_get(f->engine, "none", &j, &err), -ENOENT);
}

static bool lists(const json_t *list, const char *name)
{
    size_t i;
    const json_t *one;
    json_array_foreach((json_t *)(uintptr_t)list, i, one)
    {
        if (strcmp(text_of(one, "Name"), name) == 0)
            return true;
    }
    return false;
}

static void list_spells_each_image_so_that_it_can_be_asked_for(void **state)
{
    struct fixture *f = *state;
    struct error err;
    json_t *j;
    char longest[NAME_PART_MAX + 2];
    struct fake_pool *ssd = add_ssd(f);
    memset(longest, 'x', sizeof longest);
    longest[NAME_PART_MAX + 1] = '\0';
    fake_volume_add(NULL, "only");
    fake_volume_add(NULL, "both");
    fake_volume_add(ssd, "both");
    fake_volume_add(ssd, "second");
    fake_volume_add(NULL, longest + 1);
    /* no volume names, format 1 and what is rbdvol's own */
    fake_volume_add(NULL, longest);
    fake_volume_add(NULL, "with space");
    fake_volume_add(NULL, "-dash");
    fake_volume_add(NULL, "rbdvol.new.00ff");
    fake_volume_add(NULL, "old")->id[0] = '-';
    assert_int_equal(query_list(f->engine, &j, &err), 0);
    assert_int_equal(json_array_size(j), 5);
    assert_true(lists(j, "only"));
    assert_true(lists(j, "rbd/both"));
    assert_true(lists(j, "ssd/both"));
    assert_true(lists(j, "ssd/second"));
    assert_true(lists(j, longest + 1));
    assert_int_equal(fake_count("image_read_header"), 0);
    json_decref(j);
    j = query_status(f->engine);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(j, "Hidden"), "rbd")), 4);
    assert_int_equal(json_array_size(json_object_get(j, "Pools")), 2);
    json_decref(j);
}

static void a_namespace_is_spelled_in_full(void **state)
{
    struct fixture *f = *state;
    struct error err;
    json_t *j;
    static char ns[] = "prod";
    struct fake_pool *prod = fake_pool_add("rbd", "prod");
    fixture_stop(f);
    f->settings.ns = ns;
    fixture_start(f);
    fake_volume_add(prod, "db");
    assert_int_equal(query_list(f->engine, &j, &err), 0);
    assert_int_equal(json_array_size(j), 1);
    assert_true(lists(j, "rbd/prod/db"));
    json_decref(j);
    assert_int_equal(query_get(f->engine, "db", &j, &err), 0);
    assert_string_equal(text_of(json_object_get(j, "Status"), "namespace"), "prod");
    json_decref(j);
    assert_int_equal(fixture_mount(f, "db", "one", &err), 0);
    char mountpoint[PATH_MAX];
    assert_int_equal(query_path(f->engine, "rbd/prod/db", mountpoint, &err), 0);
    assert_non_null(strstr(mountpoint, "/mnt/rbd+prod/db"));
    fake_cluster_set(FAKE_CLUSTER_DOWN);
    assert_int_equal(query_list(f->engine, &j, &err), 0);
    assert_true(lists(j, "rbd/prod/db"));
    json_decref(j);
}

/* Who may write to a pool may write such a name there: JSON has no words for it. */
static void a_namespace_whose_name_is_no_text_is_left_out(void **state)
{
    struct fixture *f = *state;
    struct error err;
    json_t *j;
    struct fake_pool *odd = fake_pool_add("rbd", "\xff\xfe");
    fake_volume_add(NULL, "db");
    fake_volume_add(odd, "one");
    fake_volume_add(odd, "two");
    assert_int_equal(query_list(f->engine, &j, &err), 0);
    assert_int_equal(json_array_size(j), 1);
    assert_true(lists(j, "db"));
    json_decref(j);
}

static void *list_in_thread(void *arg)
{
    const struct fixture *f = arg;
    struct error err;
    json_t *j = NULL;
    (void)query_list(f->engine, &j, &err);
    return j;
}

static void list_shows_what_was_mounted_while_the_cluster_was_asked(void **state)
{
    struct fixture *f = *state;
    struct error err;
    pthread_t thread;
    void *j;
    fake_volume_add(NULL, "db");
    fake_hold("image_list");
    assert_int_equal(pthread_create(&thread, NULL, list_in_thread, f), 0);
    fake_wait_held("image_list", 1);
    assert_int_equal(fixture_mount(f, "db", "a", &err), 0);
    fake_go("image_list");
    assert_int_equal(pthread_join(thread, &j), 0);
    assert_int_equal(json_array_size(j), 1);
    assert_string_equal(json_string_value(json_object_get(json_array_get(j, 0), "Mountpoint")),
                        fixture_mountpoint(f, "db"));
    json_decref(j);
}

/* A second volume of that name, in a pool that comes before, was made and mounted meanwhile. */
static void a_name_without_a_pool_keeps_its_meaning_for_its_holder(void **state)
{
    struct fixture *f = *state;
    struct error err;
    struct fake_pool *ssd = add_ssd(f);
    fake_volume_add(ssd, "db");
    assert_int_equal(fixture_mount(f, "db", "one", &err), 0);
    fake_volume_add(NULL, "db");
    assert_int_equal(fixture_mount(f, "rbd/db", "two", &err), 0);
    assert_int_equal(fixture_mount(f, "db", "three", &err), -EEXIST);
    assert_non_null(strstr(err.msg, "write 'rbd/db' or 'ssd/db'"));
    assert_int_equal(fixture_mount(f, "db", "one", &err), 0);
    assert_int_equal(fixture_holders(f, "db"), 1); /* of rbd/db */
    assert_int_equal(fixture_unmount(f, "db", "one", &err), 0);
    assert_int_equal(fixture_unmount(f, "db", "one", &err), 0);
    fixture_settle(f);
    assert_int_equal(fake_mount_count(), 1);
    assert_int_equal(fixture_unmount(f, "rbd/db", "two", &err), 0);
    fixture_settle(f);
    assert_int_equal(fake_mount_count(), 0);
}

static void a_snapshot_is_shown_to_be_read_only_and_not_trimmed(void **state)
{
    struct fixture *f = *state;
    struct error err;
    json_auto_t *told = NULL;
    fake_image_set(&fake_volume_add(NULL, "db")->spec,
                   "{\"version\":1,\"fstype\":\"xfs\",\"snapshot\":true,\"ro\":true}");
    assert_int_equal(fixture_mount(f, "db", "one", &err), 0);
    json_auto_t *status = query_status(f->engine);
    const json_t *volume = json_array_get(json_object_get(status, "Volumes"), 0);
    assert_true(json_is_true(json_object_get(volume, "ReadOnly")));
    assert_int_equal(trim_volume(f->engine, "db", "", clock_in_ms(10000), &told, &err), -EROFS);
    assert_non_null(strstr(err.msg, "it is read-only"));
    assert_int_equal(fake_count("trim"), 0);
    assert_int_equal(fixture_unmount(f, "db", "one", &err), 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, fixture_test_setup, fixture_test_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_name_without_a_pool_keeps_its_meaning_for_its_holder),
        TEST(get_answers_what_is_half_removed),
        TEST(get_says_not_found_only_if_the_cluster_does),
        TEST(get_never_calls_a_bad_answer_of_the_cluster_a_bad_name),
        TEST(get_tells_what_the_header_says),
        TEST(get_names_an_owner_elsewhere),
        TEST(what_is_mounted_here_is_answered_from_memory),
        TEST(a_volume_that_cannot_be_brought_down_tells_its_trouble),
        TEST(a_name_in_two_pools_is_the_firsts_for_get_and_nobodys_for_mount),
        TEST(a_pool_that_cannot_be_asked_may_have_it),
        TEST(list_spells_each_image_so_that_it_can_be_asked_for),
        TEST(a_namespace_is_spelled_in_full),
        TEST(a_namespace_whose_name_is_no_text_is_left_out),
        TEST(list_shows_what_was_mounted_while_the_cluster_was_asked),
        TEST(a_snapshot_is_shown_to_be_read_only_and_not_trimmed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
