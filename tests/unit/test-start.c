/* SPDX-License-Identifier: MIT */
/* An engine starts where files, mounts or answers are missing; and what keeps it from starting at all. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "cmocka-headers.h"
#include "fakes/engine.h"
#include "volume/former.h"

/* A volume that an engine has mounted for "one", and left so; its state file is gone. */
static void mount_and_lose_the_file(struct fixture *f)
{
    char path[PATH_MAX];
    struct error err;
    fake_volume_add(NULL, "db");
    assert_int_equal(fixture_mount(f, "db", "one", &err), 0);
    fixture_settle(f);
    fixture_stop(f);
    (void)snprintf(path, sizeof path, "%s/volumes/rbd+db.json", f->settings.state_dir);
    assert_int_equal(unlink(path), 0);
    fake_calls_reset();
}

static void starts(struct fixture *f)
{
    fixture_start(f);
    fixture_settle(f);
}

static void does_not_start(struct fixture *f, int code, const char *words)
{
    struct error err = { 0 };
    struct volumes *e = NULL;
    int rc = volumes_start(&f->settings, &e, &err);
    if (rc != code || !strstr(err.msg, words))
        fail_msg("%d %s", rc, err.msg);
    assert_null(e);
}

static void a_mount_without_file_and_mapper_is_found_by_its_place(void **state)
{
    struct fixture *f = *state;
    mount_and_lose_the_file(f);
    fake_mapping_kill("db");
    starts(f);
    fake_wait_count("umount", 1);
    fixture_settle(f);
    assert_int_equal(fake_mount_count(), 0);
    assert_true(fixture_forgotten(f, "db"));
    /* whoever takes the lock next fences the dead one first */
    assert_non_null(fake_image_lock(fake_image_find("rbd", "db"), "rbd_lock"));
}

static void mounts_that_are_not_ours_are_left_alone(void **state)
{
    struct fixture *f = *state;
    char path[PATH_MAX], deep[PATH_MAX];
    static const char *const places[] = {
        "rbd", "rbd/a b", "r*d/db", "rbd+/db", "rbd+n s/db", "rbd/db/below"
    };
    mount_and_lose_the_file(f);
    assert_true(fake_mount_drop(fixture_mountpoint(f, "db")));
    fake_mapping_kill("db");
    unsigned n = 0;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++, n++) {
        (void)snprintf(path, sizeof path, "%s/%s", f->settings.mount_root, places[i]);
        fake_mount_add(path, "db");
    }
    fake_mount_add(fixture_mountpoint(f, "other"), "no image"); /* not on a mapping's device */
    (void)snprintf(path, sizeof path, "%s.elsewhere/rbd/db", f->settings.mount_root);
    fake_mount_add(path, "db");
    memset(deep, 'x', 200);
    deep[200] = '\0';
    (void)snprintf(path, sizeof path, "%s/%s/db", f->settings.mount_root, deep);
    fake_mount_add(path, "db");
    starts(f);
    fixture_expect_trace("");
    assert_int_equal(fake_mount_count(), n + 3);
}

static void a_namespace_is_in_the_mountpoint_too(void **state)
{
    struct fixture *f = *state;
    char path[PATH_MAX];
    fixture_stop(f);
    fake_mapping_add(fake_volume_add(fake_pool_add("rbd", "ns"), "db"), f->paths[2]);
    (void)snprintf(path, sizeof path, "%s/rbd+ns/db", f->settings.mount_root);
    fake_mount_add(path, "db");
    fake_mapping_kill("db");
    fake_calls_reset();
    starts(f);
    fake_wait_count("umount", 1);
    fixture_settle(f);
    assert_false(fake_mounted(path));
}

static void without_a_list_of_mounts_the_rest_is_found(void **state)
{
    struct fixture *f = *state;
    struct error err;
    mount_and_lose_the_file(f);
    fake_fail("mountinfo_each", -EIO, 1);
    starts(f); /* by its mapper */
    assert_int_equal(fake_mount_count(), 0);
    assert_int_equal(fixture_mount(f, "db", "two", &err), 0);
    assert_int_equal(fixture_unmount(f, "db", "two", &err), 0);
}

static void without_a_list_of_mappers_it_starts(void **state)
{
    struct fixture *f = *state;
    struct error err;
    fixture_stop(f);
    fake_volume_add(NULL, "db");
    fake_fail("mapper_find", -EMFILE, 1);
    starts(f);
    assert_int_equal(fixture_mount(f, "db", "one", &err), 0);
    assert_int_equal(fixture_unmount(f, "db", "one", &err), 0);
}

static void a_mapper_that_was_not_looked_for_is_not_dead(void **state)
{
    struct fixture *f = *state;
    struct error err;
    fake_volume_add(NULL, "db");
    assert_int_equal(fixture_mount(f, "db", "one", &err), 0);
    fixture_settle(f);
    fixture_stop(f);
    fake_fail("mapper_find", -EMFILE, 3);
    starts(f);
    fixture_settle(f);
    struct volume *v = fixture_volume(f, "db");
    assert_non_null(v);
    assert_false(v->lost);
    assert_int_equal(v->rung, RUNG_MOUNTED);
    assert_int_equal(fixture_unmount(f, "db", "one", &err), 0);
}

static bool is_lost_and_down(const struct volume *v, unsigned n)
{
    (void)n;
    return v->lost && v->rung == RUNG_DETACHED && !v->busy;
}

static void a_state_file_of_no_mapper_that_is_known_is_of_fuse(void **state)
{
    struct fixture *f = *state;
    char path[PATH_MAX];
    struct error err;
    auto_free char *text = NULL;
    fake_volume_add(NULL, "db");
    assert_int_equal(fixture_mount(f, "db", "one", &err), 0);
    fixture_settle(f);
    fixture_stop(f);
    (void)snprintf(path, sizeof path, "%s/volumes/rbd+db.json", f->settings.state_dir);
    assert_int_equal(file_read(path, 65536, &text, NULL, &err), 0);
    char *mapper = strstr(text, "\"mapper\":\"fuse\"");
    assert_non_null(mapper);
    memcpy(mapper, "\"mapper\":\"ublk\"", strlen("\"mapper\":\"ublk\""));
    assert_int_equal(file_replace(path, text, strlen(text), &err), 0);
    fake_mapping_kill("db");
    starts(f);
    fixture_wait(f, "db", is_lost_and_down, 0);
    assert_int_equal(fixture_holders(f, "db"), 1);
    assert_int_equal(fake_mount_count(), 0);
    assert_non_null(fake_image_lock(fake_image_find("rbd", "db"), "rbd_lock"));
}

static void what_keeps_it_from_starting_is_said(void **state)
{
    struct fixture *f = *state;
    char path[PATH_MAX];
    fixture_stop(f);
    fake_fail("mapper_check_options", -EINVAL, 1);
    does_not_start(f, -EINVAL, "mapper_check_options");
    fake_fail("cluster_start", -EINVAL, 1);
    does_not_start(f, -EINVAL, "cluster_start");
    (void)snprintf(path, sizeof path, "%s/volumes", f->settings.state_dir);
    assert_int_equal(rmdir(path), 0);
    does_not_start(f, -ENOENT, "/volumes: No such file or directory");
    assert_int_equal(mkdir(path, 0700), 0);
    starts(f);
}

/* ---- the control clients of earlier daemons ---- */

static void write_clients(const struct fixture *f, const char *text)
{
    char path[PATH_MAX];
    struct error err;
    (void)snprintf(path, sizeof path, "%s/clients.json", f->settings.state_dir);
    assert_int_equal(file_replace(path, text, strlen(text), &err), 0);
}

static void restart(struct fixture *f)
{
    fixture_stop(f);
    starts(f);
}

static void an_earlier_daemons_client_is_known_to_the_next(void **state)
{
    struct fixture *f = *state;
    former_add(f->engine, "192.0.2.1:0/5");
    assert_false(former_has(f->engine, "192.0.2.1:0/5")); /* the present one */
    former_add(f->engine, "192.0.2.1:0/6");
    assert_true(former_has(f->engine, "192.0.2.1:0/5"));
    restart(f);
    assert_true(former_has(f->engine, "192.0.2.1:0/5"));
    assert_true(former_has(f->engine, "192.0.2.1:0/6"));
    assert_false(former_has(f->engine, "192.0.2.1:0/7"));
}

static void of_many_clients_the_oldest_gives_way(void **state)
{
    struct fixture *f = *state;
    char address[32];
    for (int i = 0; i <= CLIENTS_MAX; i++) {
        (void)snprintf(address, sizeof address, "192.0.2.1:0/%d", 100 + i);
        former_add(f->engine, address);
    }
    restart(f);
    assert_false(former_has(f->engine, "192.0.2.1:0/100"));
    assert_true(former_has(f->engine, "192.0.2.1:0/101"));
    assert_true(former_has(f->engine, address));
}

/* Another boot's clients are dead, and a broken file says nothing. */
static void other_boots_and_broken_files_tell_of_nobody(void **state)
{
    struct fixture *f = *state;
    static const char *const texts[] = {
        "",
        "[]",
        "{",
        "{\"version\":1,\"clients\":[\"192.0.2.1:0/5\"]}",
        "{\"version\":1,\"boot_id\":\"00000000-0000-4000-8000-000000000000\",\"clients\":[\"192.0.2.1:0/"
        "5\"]}",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        write_clients(f, texts[i]);
        restart(f);
        assert_false(former_has(f->engine, "192.0.2.1:0/5"));
    }
    char text[256];
    (void)snprintf(text, sizeof text, "{\"version\":2,\"boot_id\":\"%s\",\"clients\":[\"192.0.2.1:0/5\"]}",
                   f->engine->host.boot_id);
    write_clients(f, text);
    restart(f);
    assert_false(former_has(f->engine, "192.0.2.1:0/5"));
    (void)snprintf(text, sizeof text,
                   "{\"version\":1,\"boot_id\":\"%s\",\"clients\":[7,\"192.0.2.1:0/5\",null]}",
                   f->engine->host.boot_id);
    write_clients(f, text);
    restart(f);
    assert_true(former_has(f->engine, "192.0.2.1:0/5"));
}

static void who_cannot_write_it_down_goes_on(void **state)
{
    struct fixture *f = *state;
    char path[PATH_MAX];
    (void)snprintf(path, sizeof path, "%s/clients.json.tmp", f->settings.state_dir);
    assert_int_equal(mkdir(path, 0700), 0);
    former_add(f->engine, "192.0.2.1:0/5");
    former_add(f->engine, "192.0.2.1:0/6");
    assert_true(former_has(f->engine, "192.0.2.1:0/5"));
    assert_int_equal(rmdir(path), 0);
}

static void a_second_mapper_of_one_image_is_left_alone(void **state)
{
    struct fixture *f = *state;
    fixture_stop(f);
    struct fake_image *i = fake_volume_add(NULL, "db");
    fake_mapping_add(i, f->paths[2]);
    fake_image_lock(i, "rbd_lock")->held = false;
    fake_mapping_add(i, f->paths[2]);
    fake_calls_reset();
    starts(f);
    fake_wait_count("unmap", 1);
    fixture_settle(f);
    assert_int_equal(fake_count("unmap"), 1);
    assert_int_equal(fake_mapping_count(), 1);
}

static void a_mapping_in_the_kernel_that_is_gone_is_a_loss(void **state)
{
    struct fixture *f = *state;
    struct error err;
    fake_volume_add(NULL, "db");
    fake_mapper_kernel();
    assert_int_equal(fixture_mount(f, "db", "one", &err), 0);
    fixture_settle(f);
    fixture_stop(f);
    fake_mapping_kill("db");
    fake_calls_reset();
    starts(f);
    fixture_wait(f, "db", is_lost_and_down, 0);
    assert_int_equal(fake_mount_count(), 0);
    assert_int_equal(fixture_holders(f, "db"), 1);
    assert_int_equal(fixture_unmount(f, "db", "one", &err), 0);
    assert_true(fixture_forgotten(f, "db"));
}

/* Its end is the next daemon's to hear. */
static void a_daemon_that_stops_lets_go_of_its_mappings(void **state)
{
    struct fixture *f = *state;
    struct error err;
    fake_volume_add(NULL, "db");
    fake_mapper_control();
    assert_int_equal(fixture_mount(f, "db", "one", &err), 0);
    fixture_settle(f);
    fixture_stop(f);
    assert_int_equal(fake_mount_count() + fake_mapping_count(), 2);
    fake_mapping_kill("db");
} /* no descriptor is left */

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_test_setup, fixture_test_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_mount_without_file_and_mapper_is_found_by_its_place),
        TEST(mounts_that_are_not_ours_are_left_alone),
        TEST(a_namespace_is_in_the_mountpoint_too),
        TEST(without_a_list_of_mounts_the_rest_is_found),
        TEST(without_a_list_of_mappers_it_starts),
        TEST(a_mapper_that_was_not_looked_for_is_not_dead),
        TEST(a_state_file_of_no_mapper_that_is_known_is_of_fuse),
        TEST(what_keeps_it_from_starting_is_said),
        TEST(an_earlier_daemons_client_is_known_to_the_next),
        TEST(of_many_clients_the_oldest_gives_way),
        TEST(other_boots_and_broken_files_tell_of_nobody),
        TEST(who_cannot_write_it_down_goes_on),
        TEST(a_second_mapper_of_one_image_is_left_alone),
        TEST(a_mapping_in_the_kernel_that_is_gone_is_a_loss),
        TEST(a_daemon_that_stops_lets_go_of_its_mappings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
