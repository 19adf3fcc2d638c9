/* SPDX-License-Identifier: MIT */
/* What a daemon finds at its start: files, mappers and mounts of the one before it. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/identity.h"
#include "cmocka-headers.h"
#include "fakes/engine.h"
#include "volume/mounting.h"
#include "volume/query.h"
#include "volume/recover.h"
#include "volume/stale.h"
#include "volume/statefile.h"

static const char *state_path(const struct fixture *f, const char *file)
{
    static char path[PATH_MAX];
    (void)snprintf(path, sizeof path, "%s/volumes/%s", f->settings.state_dir, file);
    return path;
}

static void write_state(const struct fixture *f, const char *file, const char *text)
{
    struct error err;
    assert_int_equal(file_replace(state_path(f, file), text, strlen(text), &err), 0);
}

static unsigned state_files(const struct fixture *f)
{
    unsigned n = 0;
    char path[PATH_MAX];
    (void)snprintf(path, sizeof path, "%s/volumes", f->settings.state_dir);
    auto_dir DIR *dir = opendir(path);
    assert_non_null(dir);
    for (const struct dirent *d; (d = readdir(dir));)
        n += d->d_name[0] != '.';
    return n;
}

/* A volume that an engine has mounted for "one", and left so. */
static void mount_and_leave(struct fixture *f)
{
    struct error err;
    fake_volume_add(NULL, "db");
    assert_int_equal(fixture_mount(f, "db", "one", &err), 0);
    fixture_settle(f);
    fixture_stop(f);
    fake_calls_reset();
}

static void expect_gone(struct fixture *f)
{
    struct error err;
    fixture_settle(f);
    assert_int_equal(fixture_unmount(f, "db", "one", &err), 0);
    fixture_settle(f);
    assert_true(fixture_forgotten(f, "db"));
    assert_int_equal(fake_mapping_count(), 0);
    assert_int_equal(fake_mount_count(), 0);
    assert_int_equal(state_files(f), 0);
}

static bool is_lost(const struct volume *v, unsigned n)
{
    (void)n;
    return v->lost && !v->busy && v->rung == RUNG_DETACHED;
}

static bool is_adopted(const struct volume *v, unsigned n)
{
    (void)n;
    return !v->busy && v->rung == RUNG_MOUNTED && !v->lost;
}

static void a_mounted_volume_stays_mounted_and_keeps_its_holders(void **state)
{
    struct fixture *f = *state;
    struct error err;
    json_t *volume;
    mount_and_leave(f);
    fake_cluster_set(FAKE_CLUSTER_DOWN); /* none of this asks it */
    fixture_start(f);
    fixture_expect_trace("");
    assert_int_equal(fixture_rung(f, "db"), RUNG_MOUNTED);
    assert_int_equal(query_get(f->engine, "db", &volume, &err), 0);
    const json_t *status = json_object_get(volume, "Status");
    assert_string_equal(json_string_value(json_object_get(volume, "Mountpoint")),
                        fixture_mountpoint(f, "db"));
    assert_string_equal(json_string_value(json_object_get(status, "state")), "mounted");
    assert_string_equal(json_string_value(json_object_get(status, "fstype")), "xfs");
    assert_int_equal(json_integer_value(json_object_get(status, "size")), 1 << 30);
    assert_int_equal(json_array_size(json_object_get(status, "holders")), 1);
    json_decref(volume);
    fake_cluster_set(FAKE_CLUSTER_UP);
    assert_int_equal(fixture_mount(f, "db", "two", &err), -EBUSY);
    assert_int_equal(fixture_unmount(f, "db", "one", &err), 0);
    fixture_expect_trace("device_start, umount db, device_end, unmap db, break db rbdvol");
    expect_gone(f);
}

static void a_mount_during_the_descent_of_an_adopted_volume_knows_its_spec(void **state)
{
    struct fixture *f = *state;
    struct parallel up, down;
    mount_and_leave(f);
    auto_free char *spec = strdup(fake_image_find("rbd", "db")->spec);
    fixture_start(f);
    fake_hold("umount");
    fixture_begin(&down, f, true, "db", "one");
    fake_wait_held("umount", 1);
    fixture_begin(&up, f, false, "db", "two");
    fixture_wait_holders(f, "db", 1);
    fake_trace_clear();
    fake_go("umount");
    assert_int_equal(fixture_end(&down), 0);
    assert_int_equal(fixture_end(&up), 0);
    fixture_settle(f);
    fixture_expect_trace("umount db, device_end, unmap db, break db rbdvol, lock db rbdvol.ctl, map db, "
                         "device_start, lock db rbdvol, unlock db rbdvol.ctl, attach first 4096, "
                         "mount db xfs noatime,nodev,nosuid, device_end");
    assert_string_equal(fake_image_find("rbd", "db")->spec, spec);
}

static void what_was_unmounted_by_hand_is_mounted_again_for_its_holder(void **state)
{
    struct fixture *f = *state;
    mount_and_leave(f);
    auto_free char *spec = strdup(fake_image_find("rbd", "db")->spec);
    assert_true(fake_mount_drop(fixture_mountpoint(f, "db")));
    fixture_start(f);
    fixture_wait_holders(f, "db", 1);
    fixture_settle(f);
    assert_int_equal(fixture_rung(f, "db"), RUNG_MOUNTED);
    assert_true(fake_mounted(fixture_mountpoint(f, "db")));
    assert_string_equal(fake_image_find("rbd", "db")->spec, spec);
    expect_gone(f);
}

/* A managed plugin was ended by force: mapper and mount went with its mount namespace, and Docker's Unmount
 * found nobody. It is not mounted for nobody; the next one has it, but not in the moment after the holder's
 * Mount. */
static void what_is_gone_altogether_is_lost_and_the_next_one_has_it(void **state)
{
    struct fixture *f = *state;
    struct error err;
    mount_and_leave(f);
    fake_mapping_kill("db");
    fake_image_find("rbd", "db")->deaf = true; /* its watch lapses later */
    assert_true(fake_mount_drop(fixture_mountpoint(f, "db")));
    fixture_start(f);
    fixture_settle(f);
    struct volume *v = fixture_volume(f, "db");
    assert_true(v->lost);
    assert_int_equal(fixture_rung(f, "db"), RUNG_DETACHED);
    assert_int_equal(fixture_holders(f, "db"), 1);
    assert_int_equal(fake_mount_count(), 0);
    assert_int_equal(fixture_mount(f, "db", "two", &err), -EBUSY);
    assert_non_null(strstr(err.msg, "mount ID one, who had it, gives way"));
    pthread_mutex_lock(&v->lock);
    holders_find(&v->holders, "one")->begun -= 61;
    pthread_mutex_unlock(&v->lock);
    if (fixture_mount(f, "db", "two", &err) < 0)
        fail_msg("%s", err.msg);
    assert_false(v->lost);
    registry_release(&f->engine->registry, v);
    assert_int_equal(fixture_holders(f, "db"), 1);
    assert_int_equal(fixture_unmount(f, "db", "two", &err), 0);
    expect_gone(f);
}

/* Not found is not dead. */
static void a_living_mapping_that_cannot_be_looked_at_is_left_as_it_is(void **state)
{
    struct fixture *f = *state;
    struct error err;
    for (int ends = 0; ends < 2; ends++) {
        if (ends == 0) {
            mount_and_leave(f);
        } else {
            assert_int_equal(fixture_mount(f, "db", "one", &err), 0);
            fixture_settle(f);
            fixture_stop(f);
            fake_calls_reset();
        }
        fake_mappings_silent(true);
        assert_int_equal(volumes_start(&f->settings, &f->engine, &err), 0);
        fake_wait_count("mapper_find_one", 2);
        struct volume *v = fixture_volume(f, "db");
        assert_true(recover_is_at(v));
        assert_false(v->lost);
        assert_int_equal(v->rung, RUNG_MOUNTED);
        registry_release(&f->engine->registry, v);
        if (ends) {
            fake_mapping_kill("db");
            fake_image_find("rbd", "db")->deaf = true;
            fixture_wait(f, "db", is_lost, 0);
            assert_int_equal(fake_mount_count(), 0);
        } else {
            fake_mappings_silent(false);
            fixture_wait(f, "db", is_adopted, 0);
            assert_int_equal(fake_count("umount"), 0);
        }
        expect_gone(f);
    }
}

static void a_mount_whose_answer_was_cut_off_is_undone(void **state)
{
    struct fixture *f = *state;
    char boot[64], text[1024];
    struct error err;
    assert_int_equal(file_read_line("/proc/sys/kernel/random/boot_id", boot, sizeof boot, &err), 0);
    fixture_stop(f);
    struct fake_image *i = fake_volume_add(NULL, "db");
    fake_mapping_add(i, f->paths[2]);
    fake_image_lock_set(i, "rbdvol.ctl", "elsewhere/m/b/rbd/abc/-", "", "192.0.2.9:0/1");
    (void)snprintf(text, sizeof text,
                   "{\"version\":1,\"boot_id\":\"%s\",\"pool\":\"rbd\",\"namespace\":\"\",\"image\":\"db\","
                   "\"image_id\":\"%s\",\"mapping\":\"%016x\",\"facts\":{\"size\":1,\"fstype\":\"xfs\","
                   "\"mount-options\":\"\",\"device\":\"\",\"mapper\":\"fuse\"},\"holders\":[{\"ID\":\"one\","
                   "\"Count\":1,\"Pending\":1}]}",
                   boot, i->id, 1);
    write_state(f, "rbd+db.json", text);
    fake_calls_reset();
    fixture_start(f);
    fixture_settle(f);
    fixture_expect_trace("unmap db");
    assert_true(fixture_forgotten(f, "db"));
    assert_int_equal(state_files(f), 0);
    assert_non_null(fake_image_lock(i, "rbdvol.ctl")); /* not ours */
}

static void files_of_another_boot_or_version_and_broken_ones_are_removed(void **state)
{
    struct fixture *f = *state;
    mount_and_leave(f);
    fake_mapping_kill("db");
    assert_true(fake_mount_drop(fixture_mountpoint(f, "db")));
    struct error err;
    auto_free char *good = NULL;
    assert_int_equal(file_read(state_path(f, "rbd+db.json"), 65536, &good, NULL, &err), 0);
    static const struct {
        const char *what, *with;
    } changes[] = {
        { "\"boot_id\":\"", "\"boot_id\":\"00000000-0000-4000-8000-000000000000\",\"was\":\"" },
        { "\"version\":1", "\"version\":2" },
        { "\"image\":\"db\"", "\"image\":\"../db\"" },
        { "\"image\":\"db\"", "\"image\":7" },
        { "\"pool\":\"rbd\"", "\"pool\":\"\"" },
        { "\"namespace\":\"\"", "\"namespace\":\"/\"" },
        { "\"facts\":{", "\"facts\":[],\"others\":{" },
        { "\"mapping\":\"", "\"mapping\":\"00000000000000000000" },
        { "}", "" },
        { "{", "{\"version\":1," },
    };
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        char text[4096], file[32];
        const char *at = strstr(good, changes[i].what);
        assert_non_null(at);
        (void)snprintf(text, sizeof text, "%.*s%s%s", (int)(at - good), good, changes[i].with,
                       at + strlen(changes[i].what));
        (void)snprintf(file, sizeof file, "rbd+db%zu.json", i);
        write_state(f, file, text);
    }
    write_state(f, "rbd+db.json.tmp", good);
    write_state(f, "empty.json", "");
    assert_int_equal(unlink(state_path(f, "rbd+db.json")), 0);
    fake_calls_reset();
    fixture_start(f);
    assert_int_equal(state_files(f), 0);
    fixture_expect_trace("");
    assert_true(fixture_forgotten(f, "db"));
}

static unsigned visited;

static void visit_state(struct volumes *e, const struct state *s)
{
    (void)e;
    (void)s;
    visited++;
}

static void a_state_file_that_cannot_be_read_stays(void **state)
{
    struct fixture *f = *state;
    static struct volumes engine;
    struct error err;
    struct rlimit all, few;
    mount_and_leave(f);
    (void)snprintf(engine.volumes_dir, sizeof engine.volumes_dir, "%s/volumes", f->settings.state_dir);
    assert_int_equal(identity_read(&engine.host, &err), 0);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &all), 0);
    int next = open("/dev/null", O_RDONLY | O_CLOEXEC);
    few = (struct rlimit){ (rlim_t)next + 1, all.rlim_max }; /* the directory's descriptor, and no more */
    (void)close(next);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    int rc = statefile_each(&engine, visit_state, &err);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &all), 0);
    assert_int_equal(rc, -EMFILE);
    assert_int_equal(visited, 0);
    assert_int_equal(state_files(f), 1);
    assert_int_equal(statefile_each(&engine, visit_state, &err), 0);
    assert_int_equal(visited, 1);
    fixture_start(f);
    expect_gone(f);
}

static void what_was_mounted_over_it_is_neither_adopted_nor_taken_down(void **state)
{
    struct fixture *f = *state;
    struct error err;
    mount_and_leave(f);
    fake_mount_over(fixture_mountpoint(f, "db"), "squatter");
    fixture_start(f);
    assert_int_equal(fixture_rung(f, "db"), RUNG_MOUNTED);
    assert_int_equal(fixture_unmount(f, "db", "one", &err), -EEXIST);
    assert_non_null(strstr(err.msg, "squatter"));
    assert_true(fake_mounted(fixture_mountpoint(f, "db")));
    fake_mount_over(fixture_mountpoint(f, "db"), NULL);
    fixture_retry_now(f, "db");
    fake_wait_count("unmap", 1);
    expect_gone(f);
}

/* What is in use stays, whatever is on record. */
static void a_used_volume_without_a_state_file_stays(void **state)
{
    struct fixture *f = *state;
    struct error err;
    json_t *volume, *left;
    unsigned dropped = 0;
    for (int how = 0; how < 3; how++) {
        if (!fake_image_find("rbd", "db")) {
            mount_and_leave(f);
        } else {
            assert_int_equal(fixture_mount(f, "db", "one", &err), 0);
            fixture_settle(f);
            fixture_stop(f);
        }
        assert_int_equal(unlink(state_path(f, "rbd+db.json")), 0);
        fake_pin("pid 4711 (sh)");
        fake_mounted_elsewhere("pid 4711 (sh)");
        fake_calls_reset();
        fixture_start(f);
        fixture_expect_trace("");
        assert_int_equal(fixture_rung(f, "db"), RUNG_MOUNTED);
        assert_int_equal(query_get(f->engine, "db", &volume, &err), 0);
        const json_t *status = json_object_get(volume, "Status");
        assert_string_equal(json_string_value(json_object_get(volume, "Mountpoint")),
                            fixture_mountpoint(f, "db"));
        assert_string_equal(json_string_value(json_object_get(status, "fstype")), "xfs");
        assert_string_equal(
            json_string_value(json_object_get(json_array_get(json_object_get(status, "holders"), 0), "ID")),
            "unknown");
        json_decref(volume);
        assert_int_equal(fixture_mount(f, "db", "two", &err), -EBUSY);
        assert_non_null(strstr(err.msg, "without a record"));
        assert_int_equal(
            release_holder(f->engine, "db", "unknown", false, clock_in_ms(5000), &dropped, &left, &err),
            -EBUSY);
        assert_non_null(strstr(err.msg, "pid 4711"));
        fake_pin(NULL);
        fake_mounted_elsewhere(NULL);
        if (how == 0) { /* the container's Unmount, of an ID that nobody knows any more */
            assert_int_equal(fixture_unmount(f, "db", "one", &err), 0);
        } else if (how == 1) {
            assert_int_equal(
                release_holder(f->engine, "db", "unknown", false, clock_in_ms(5000), &dropped, &left, &err),
                0);
            assert_int_equal(dropped, 1);
            json_decref(left);
        } else { /* nobody uses it, and another one wants it */
            assert_int_equal(fixture_mount(f, "db", "two", &err), 0);
            assert_int_equal(fixture_holders(f, "db"), 1);
            assert_int_equal(fixture_unmount(f, "db", "two", &err), 0);
        }
        expect_gone(f);
    }
}

static void a_mapper_without_a_state_file_is_taken_down(void **state)
{
    struct fixture *f = *state;
    mount_and_leave(f);
    assert_int_equal(unlink(state_path(f, "rbd+db.json")), 0);
    fixture_start(f);
    fixture_settle(f);
    fixture_expect_trace("device_start, umount db, device_end, unmap db, break db rbdvol");
    assert_true(fixture_forgotten(f, "db"));
    assert_int_equal(fake_mapping_count(), 0);
}

static void a_daemon_that_can_use_no_mapper_says_so_and_takes_down_what_is_mapped(void **state)
{
    struct fixture *f = *state;
    struct error err;
    mount_and_leave(f);
    fake_mapper_refuse("the fuse module is not there");
    if (volumes_start(&f->settings, &f->engine, &err) < 0)
        fail_msg("%s", err.msg);
    fixture_wait_holders(f, "db", 1);
    fixture_settle(f);
    assert_int_equal(fixture_rung(f, "db"), RUNG_MOUNTED);
    struct volume *v = fixture_volume(f, "db");
    assert_false(v->lost);
    registry_release(&f->engine->registry, v);
    expect_gone(f);
    assert_int_equal(fixture_mount(f, "db", "one", &err), -ENODEV);
    assert_non_null(strstr(err.msg, "the fuse module is not there"));
}

static void a_mount_that_comes_while_it_looks_waits_for_what_it_finds(void **state)
{
    struct fixture *f = *state;
    struct parallel p;
    struct error err;
    mount_and_leave(f);
    assert_true(fake_mount_drop(fixture_mountpoint(f, "db")));
    auto_free char *spec = strdup(fake_image_find("rbd", "db")->spec);
    fake_hold("mapper_find");
    assert_int_equal(volumes_start(&f->settings, &f->engine, &err), 0);
    fake_wait_held("mapper_find", 1);
    fixture_begin(&p, f, false, "db", "one");
    struct volume *v = fixture_volume(f, "db");
    assert_non_null(v);
    registry_release(&f->engine->registry, v);
    fake_go("mapper_find");
    assert_int_equal(fixture_end(&p), 0);
    fixture_settle(f);
    assert_string_equal(fake_image_find("rbd", "db")->spec, spec);
    assert_int_equal(fixture_unmount(f, "db", "one", &err), 0);
    expect_gone(f);
}

static void a_holder_whose_caller_is_gone_gives_way_while_it_looks(void **state)
{
    struct fixture *f = *state;
    const struct caller lost = { .pid = 100 };
    char point[PATH_MAX];
    struct grant *grant = NULL;
    struct parallel p;
    struct error err;
    fake_volume_add(NULL, "db");
    fake_process_add(100, 5);
    assert_int_equal(mount_volume(f->engine, "db", "lost", &lost, clock_in_ms(10000), point, &grant, &err),
                     0);
    mount_sent(f->engine, grant, true);
    fixture_settle(f);
    fixture_stop(f);
    fake_process_end(100);
    fake_hold("mapper_find");
    assert_int_equal(volumes_start(&f->settings, &f->engine, &err), 0);
    fake_wait_held("mapper_find", 1);
    fixture_begin(&p, f, false, "db", "next");
    clock_pause_ms(100); /* it waits, whenever it comes; or it would be refused in this time */
    fake_go("mapper_find");
    assert_int_equal(fixture_end(&p), 0);
    assert_int_equal(fixture_holders(f, "db"), 1);
    assert_int_equal(fixture_unmount(f, "db", "next", &err), 0);
    expect_gone(f);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, fixture_test_setup, fixture_test_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_mounted_volume_stays_mounted_and_keeps_its_holders),
        TEST(a_mount_during_the_descent_of_an_adopted_volume_knows_its_spec),
        TEST(what_was_unmounted_by_hand_is_mounted_again_for_its_holder),
        TEST(what_is_gone_altogether_is_lost_and_the_next_one_has_it),
        TEST(a_living_mapping_that_cannot_be_looked_at_is_left_as_it_is),
        TEST(a_mount_whose_answer_was_cut_off_is_undone),
        TEST(files_of_another_boot_or_version_and_broken_ones_are_removed),
        TEST(a_state_file_that_cannot_be_read_stays),
        TEST(what_was_mounted_over_it_is_neither_adopted_nor_taken_down),
        TEST(a_used_volume_without_a_state_file_stays),
        TEST(a_mapper_without_a_state_file_is_taken_down),
        TEST(a_daemon_that_can_use_no_mapper_says_so_and_takes_down_what_is_mapped),
        TEST(a_mount_that_comes_while_it_looks_waits_for_what_it_finds),
        TEST(a_holder_whose_caller_is_gone_gives_way_while_it_looks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
