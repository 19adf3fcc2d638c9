/* SPDX-License-Identifier: MIT */
/* A mapping is lost under its volume, or stuck. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "base/cleanup.h"
#include "cmocka-headers.h"
#include "fakes/engine.h"
#include "volume/query.h"
#include "volume/stale.h"

static const struct mapping_health fenced = { .state = MAPPING_LOST,
                                              .why = "the cluster has fenced this client" };

static bool is_lost(const struct volume *v, unsigned rung)
{
    return v->lost && v->rung == rung && !v->busy && (v->loss.asked || v->holders.n == 0);
}

static void wait_lost(struct fixture *f, enum rung rung)
{
    fixture_wait(f, "db", is_lost, rung);
    struct volume *v = fixture_volume(f, "db");
    assert_non_null(v);
    registry_release(&f->engine->registry, v);
}

static void mounted(struct fixture *f, const char *id)
{
    struct error err;
    if (!fake_image_find("rbd", "db"))
        fake_volume_add(NULL, "db");
    assert_int_equal(fixture_mount(f, "db", id, &err), 0);
    fixture_settle(f);
    fake_calls_reset();
}

/* The cluster has given the lock to somebody else. */
static void taken_over(void)
{
    struct fake_image *i = fake_image_find("rbd", "db");
    fake_lock();
    fake_image_lock(i, "rbd_lock")->held = fake_image_lock(i, "rbdvol")->held = false;
    fake_image_lock_set(i, "rbd_lock", "auto 9", "internal", "192.0.2.9:0/99");
    fake_image_lock_set(i, "rbdvol", "host2/m2/b2/rbd/ffffffffffffffff/192.0.2.9:0/99", "", "192.0.2.9:0/5");
    fake_image_watch(i, "192.0.2.9:0/99", true);
    fake_unlock();
}

static char *status_of(struct fixture *f, const char *key)
{
    struct error err;
    json_t *volume;
    assert_int_equal(query_get(f->engine, "db", &volume, &err), 0);
    const char *text = json_string_value(json_object_get(json_object_get(volume, "Status"), key));
    if (strcmp(key, "Mountpoint") == 0)
        text = json_string_value(json_object_get(volume, key));
    char *copy = strdup(text ? text : "");
    json_decref(volume);
    return copy;
}

static void expect_status(struct fixture *f, const char *key, const char *part)
{
    auto_free char *text = status_of(f, key);
    if (*part ? !strstr(text, part) : *text != '\0')
        fail_msg("%s is '%s', without '%s'", key, text, part);
}

static void a_fenced_volume_is_taken_down_and_tells_who_has_it(void **state)
{
    struct fixture *f = *state;
    struct error err;
    mounted(f, "one");
    taken_over();
    fake_mapping_health("db", &fenced);
    wait_lost(f, RUNG_DETACHED);
    assert_false(fake_mounted(fixture_mountpoint(f, "db")));
    assert_int_equal(fake_mapping_count(), 0);
    assert_int_equal(fixture_holders(f, "db"), 1);
    expect_status(f, "state", "lost");
    expect_status(f, "owner", "host2");
    expect_status(f, "trouble", "fenced this client");
    expect_status(f, "Mountpoint", "");
    /* nothing that is the rival's was touched */
    struct fake_image *i = fake_image_find("rbd", "db");
    assert_string_equal(fake_image_lock(i, "rbd_lock")->holder.address, "192.0.2.9:0/99");
    assert_non_null(fake_image_lock(i, "rbdvol"));
    assert_int_equal(fixture_mount(f, "db", "one", &err), -EBUSY);
    assert_non_null(strstr(err.msg, "host2"));
    fixture_settle(f);
    assert_int_equal(fixture_holders(f, "db"), 1);
    expect_status(f, "state", "lost");
    assert_int_equal(fixture_unmount(f, "db", "one", &err), 0);
    assert_true(fixture_forgotten(f, "db"));
    assert_non_null(fake_image_lock(i, "rbdvol"));
}

static void take_over_again(const char *host, const char *address)
{
    char cookie[200];
    struct fake_image *i = fake_image_find("rbd", "db");
    (void)snprintf(cookie, sizeof cookie, "%s/m3/b3/rbd/eeeeeeeeeeeeeeee/%s", host, address);
    fake_lock();
    fake_image_lock(i, "rbd_lock")->held = fake_image_lock(i, "rbdvol")->held = false;
    fake_image_lock_set(i, "rbd_lock", "auto 11", "internal", address);
    fake_image_lock_set(i, "rbdvol", cookie, "", "192.0.2.10:0/5");
    fake_unlock();
}

static bool was_asked_anew(const struct volume *v, unsigned unused)
{
    (void)unused;
    return v->loss.ask_at != 0 && !v->busy;
}

static void ask_now(struct fixture *f)
{
    struct volume *v = fixture_volume(f, "db");
    pthread_mutex_lock(&v->lock);
    v->loss.ask_at = 0;
    pthread_mutex_unlock(&v->lock);
    registry_release(&f->engine->registry, v);
}

static void who_has_it_is_asked_again_and_again(void **state)
{
    struct fixture *f = *state;
    struct error err;
    mounted(f, "one");
    taken_over();
    fake_mapping_health("db", &fenced);
    wait_lost(f, RUNG_DETACHED);
    expect_status(f, "owner", "host2");
    unsigned asked = fake_count("imagelock_holder");
    struct volume *v = fixture_volume(f, "db");
    pthread_mutex_lock(&v->lock);
    assert_in_range(clock_left_ms(v->loss.ask_at), 10000, 30000); /* at a modest rate */
    pthread_mutex_unlock(&v->lock);
    registry_release(&f->engine->registry, v);
    take_over_again("host3", "192.0.2.10:0/100");
    ask_now(f);
    fake_wait_count("imagelock_holder", asked + 2);
    fixture_wait(f, "db", was_asked_anew, 0);
    expect_status(f, "owner", "host3");
    expect_status(f, "trouble", "host3");
    expect_status(f, "state", "lost");
    fake_cluster_set(FAKE_CLUSTER_DOWN);
    ask_now(f);
    fixture_wait(f, "db", was_asked_anew, 0);
    expect_status(f, "owner", "not known");
    fake_cluster_set(FAKE_CLUSTER_UP);
    ask_now(f);
    fixture_retry_now(f, "db");
    wait_lost(f, RUNG_DETACHED);
    expect_status(f, "owner", "host3");
    assert_int_equal(fake_count("map"), 0);
    assert_int_equal(fixture_unmount(f, "db", "one", &err), 0);
    assert_true(fixture_forgotten(f, "db"));
}

static void a_mapper_that_ends_is_a_loss(void **state)
{
    struct fixture *f = *state;
    struct error err;
    mounted(f, "one");
    fake_mapping_kill("db");
    wait_lost(f, RUNG_DETACHED);
    expect_status(f, "owner", "still that of the lost mapping");
    assert_non_null(fake_image_lock(fake_image_find("rbd", "db"), "rbdvol")); /* it tells whose the lock is */
    assert_int_equal(fixture_unmount(f, "db", "one", &err), 0);
    assert_true(fixture_forgotten(f, "db"));
}

static bool is_whole(const struct volume *v, unsigned rung)
{
    struct mapping m;
    return !v->lost && !v->orphaned && !v->busy && v->rung == rung && fake_mapping_find("db", &m) &&
           m.pid == v->mapping.pid;
}

static void a_mapper_that_ends_is_replaced_where_the_device_waits(void **state)
{
    struct fixture *f = *state;
    struct error err;
    struct mapping before, after;
    mounted(f, "one");
    fake_mapping_waits();
    assert_true(fake_mapping_find("db", &before));
    fake_image_find("rbd", "db")->deaf = true;
    fake_mapping_kill("db");
    fixture_wait(f, "db", is_whole, RUNG_MOUNTED);
    assert_true(fake_mapping_find("db", &after));
    assert_int_not_equal(before.pid, after.pid);
    assert_string_equal(before.id, after.id);
    assert_true(fake_is_fenced(before.address));
    expect_status(f, "state", "mounted");
    assert_int_equal(fixture_unmount(f, "db", "one", &err), 0);
    assert_true(fixture_forgotten(f, "db"));
    assert_int_equal(fake_mapping_count(), 0);
}

static void what_somebody_had_meanwhile_is_not_attached_again(void **state)
{
    struct fixture *f = *state;
    struct error err;
    mounted(f, "one");
    fake_mapping_waits();
    taken_over();
    fake_image_lock(fake_image_find("rbd", "db"), "rbd_lock")->held = false; /* and has let go of it */
    fake_mapping_kill("db");
    wait_lost(f, RUNG_DETACHED);
    assert_int_equal(fake_count("reattach"), 0);
    assert_int_equal(fixture_unmount(f, "db", "one", &err), 0);
}

static void what_cannot_be_attached_again_is_lost(void **state)
{
    struct fixture *f = *state;
    struct error err;
    mounted(f, "one");
    fake_mapping_waits();
    fake_fail("reattach", -EIO, 1);
    fake_image_find("rbd", "db")->deaf = true;
    fake_mapping_kill("db");
    wait_lost(f, RUNG_DETACHED);
    expect_status(f, "trouble", "no other could take its place");
    assert_int_equal(fixture_unmount(f, "db", "one", &err), 0);
}

static void while_a_container_has_the_dead_mount_it_is_not_mounted_again(void **state)
{
    struct fixture *f = *state;
    struct error err;
    mounted(f, "one");
    fake_mounted_elsewhere("pid 4711 (sh)");
    fake_pin("pid 4711 (sh)");
    fake_mapping_health("db", &fenced);
    fixture_wait(f, "db", is_lost, RUNG_MAPPED);
    fixture_expect_trace("fail db, device_start, umount db lazily, device_end");
    fake_image_lock(fake_image_find("rbd", "db"), "rbd_lock")->held = false;
    static const char *const ids[] = { "one", "two" };
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(fixture_mount(f, "db", ids[i], &err), -EBUSY);
        assert_non_null(strstr(err.msg, "pid 4711 (sh)"));
        assert_non_null(strstr(err.msg, "lost"));
        fixture_settle(f);
        assert_int_equal(fixture_holders(f, "db"), 1);
    }
    fake_mounted_elsewhere(NULL);
    fake_pin(NULL);
    fixture_retry_now(f, "db");
    fake_wait_count("unmap", 1);
    wait_lost(f, RUNG_DETACHED);
    assert_int_equal(fixture_holders(f, "db"), 1); /* until its Unmount */
    /* the same container, and one more after it */
    assert_int_equal(fixture_mount(f, "db", "one", &err), 0);
    expect_status(f, "state", "mounted");
    assert_int_equal(fixture_unmount(f, "db", "one", &err), 0);
    assert_int_equal(fixture_unmount(f, "db", "one", &err), 0);
    assert_true(fixture_forgotten(f, "db"));
}

static void the_last_unmount_leaves_it_ready_for_a_new_client(void **state)
{
    struct fixture *f = *state;
    struct error err;
    struct mapping before, after;
    mounted(f, "one");
    assert_true(fake_mapping_find("db", &before));
    fake_mapping_health("db", &fenced);
    wait_lost(f, RUNG_DETACHED);
    fake_image_lock(fake_image_find("rbd", "db"), "rbd_lock")->held = false;
    assert_int_equal(fixture_unmount(f, "db", "one", &err), 0);
    mounted(f, "two");
    assert_true(fake_mapping_find("db", &after));
    assert_string_not_equal(before.address, after.address);
    expect_status(f, "state", "mounted");
    expect_status(f, "trouble", "");
    assert_int_equal(fixture_unmount(f, "db", "two", &err), 0);
}

static void its_stale_holders_block_nobody(void **state)
{
    struct fixture *f = *state;
    struct error err;
    mounted(f, "one");
    struct volume *v = fixture_volume(f, "db");
    pthread_mutex_lock(&v->lock);
    holders_find(&v->holders, "one")->peer = 4000; /* and there is no such process */
    pthread_mutex_unlock(&v->lock);
    registry_release(&f->engine->registry, v);
    fake_mapping_health("db", &fenced);
    wait_lost(f, RUNG_DETACHED);
    fake_image_lock(fake_image_find("rbd", "db"), "rbd_lock")->held = false;
    if (fixture_mount(f, "db", "two", &err) < 0)
        fail_msg("%s", err.msg);
    assert_int_equal(fixture_holders(f, "db"), 1);
    assert_int_equal(fixture_unmount(f, "db", "two", &err), 0);
    assert_true(fixture_forgotten(f, "db"));
}

static void without_the_cluster_it_says_that_it_could_not_ask(void **state)
{
    struct fixture *f = *state;
    struct error err;
    mounted(f, "one");
    taken_over();
    fake_cluster_set(FAKE_CLUSTER_DOWN);
    fake_mapping_health("db", &fenced);
    fake_wait_count("unmap", 1);
    fixture_settle(f);
    expect_status(f, "state", "lost");
    expect_status(f, "owner", "not known");
    assert_int_equal(fake_mapping_count(), 0);
    fake_cluster_set(FAKE_CLUSTER_UP);
    struct volume *v = fixture_volume(f, "db");
    pthread_mutex_lock(&v->lock);
    v->loss.ask_at = 0;
    pthread_mutex_unlock(&v->lock);
    registry_release(&f->engine->registry, v);
    fixture_retry_now(f, "db");
    wait_lost(f, RUNG_DETACHED);
    expect_status(f, "owner", "host2");
    assert_int_equal(fixture_unmount(f, "db", "one", &err), 0);
}

static void a_restart_keeps_it_lost_and_mounts_nothing(void **state)
{
    struct fixture *f = *state;
    struct error err;
    mounted(f, "one");
    fake_mapping_health("db", &fenced);
    wait_lost(f, RUNG_DETACHED);
    fake_image_lock(fake_image_find("rbd", "db"), "rbd_lock")->held = false;
    fixture_stop(f);
    fake_calls_reset();
    fixture_start(f);
    wait_lost(f, RUNG_DETACHED);
    assert_int_equal(fake_count("map"), 0);
    expect_status(f, "state", "lost");
    expect_status(f, "trouble", "fenced this client");
    assert_int_equal(fixture_holders(f, "db"), 1);
    assert_int_equal(fixture_mount(f, "db", "one", &err), 0);
    assert_int_equal(fixture_unmount(f, "db", "one", &err), 0);
    assert_int_equal(fixture_unmount(f, "db", "one", &err), 0);
    assert_true(fixture_forgotten(f, "db"));
}

/* The daemon was not there when the mapper died, and a container still has what was mounted. */
static void what_a_container_has_is_found_after_a_restart(void **state)
{
    struct fixture *f = *state;
    struct error err;
    mounted(f, "one");
    fixture_stop(f);
    fake_mapping_kill("db");
    assert_true(fake_mount_drop(fixture_mountpoint(f, "db")));
    fake_mounted_elsewhere("pid 4711 (sh)");
    fake_pin("pid 4711 (sh)");
    fake_calls_reset();
    fixture_start(f);
    fixture_wait(f, "db", is_lost, RUNG_MAPPED);
    assert_int_equal(fixture_mount(f, "db", "one", &err), -EBUSY);
    assert_non_null(strstr(err.msg, "pid 4711 (sh)"));
    assert_int_equal(fake_count("map"), 0);
    fake_mounted_elsewhere(NULL);
    fake_pin(NULL);
    assert_int_equal(fixture_unmount(f, "db", "one", &err), 0);
    fixture_retry_now(f, "db");
    assert_true(fixture_forgotten(f, "db"));
}

static void lost_while_it_is_being_mounted_is_a_failed_mount(void **state)
{
    struct fixture *f = *state;
    struct parallel p;
    fake_volume_add(NULL, "db");
    fake_hold("check");
    fixture_begin(&p, f, false, "db", "one");
    fake_wait_held("check", 1);
    fake_mapping_health("db", &fenced);
    struct volume *v = fixture_volume(f, "db");
    for (bool lost = false; !lost;) {
        LOCK_SCOPE(&v->lock);
        struct timespec until = clock_spec(clock_in_ms(10000));
        if (!v->lost)
            assert_int_equal(pthread_cond_timedwait(&v->changed, &v->lock, &until), 0);
        lost = v->lost;
    }
    registry_release(&f->engine->registry, v);
    fake_go("check");
    assert_int_equal(fixture_end(&p), -EIO);
    assert_non_null(strstr(p.err.msg, "lost"));
    fixture_settle(f);
    assert_true(fixture_forgotten(f, "db"));
    assert_int_equal(fake_mapping_count(), 0);
}

/* A client in the kernel does not tell: the lock does. It is fenced, in case nobody has done that. */
static void what_cannot_be_asked_is_known_by_its_lock(void **state)
{
    struct fixture *f = *state;
    struct error err;
    fake_mapper_kernel();
    mounted(f, "one");
    taken_over();
    wait_lost(f, RUNG_DETACHED);
    expect_status(f, "trouble", "another client's");
    expect_status(f, "owner", "host2");
    assert_int_equal(fake_count("blocklist_add"), 1);
    assert_int_equal(fake_mapping_count(), 0);
    assert_int_equal(fixture_unmount(f, "db", "one", &err), 0);
    assert_true(fixture_forgotten(f, "db"));
}

static bool is_stuck(const struct volume *v, unsigned wanted)
{
    return (v->stuck_since != 0) == wanted;
}

static bool metrics_have(struct fixture *f, const char *line)
{
    const struct api_request get = { .method = "GET", .path = "/metrics", .body = "" };
    struct api_reply reply = { 0 };
    api_handle(f->engine, &get, &reply);
    bool found = strstr(reply.body, line) != NULL;
    free(reply.body);
    return found;
}

static void stuck_io_is_reported_and_so_is_its_end(void **state)
{
    struct fixture *f = *state;
    struct error err;
    struct mapping_health h = { .state = MAPPING_READY, .opens = 1, .inflight = 3, .stalled_ms = 119000 };
    mounted(f, "one");
    fake_mapping_health("db", &h);
    assert_true(metrics_have(f, "rbdvol_volumes_stuck 0\n"));
    h.stalled_ms = 121000;
    fake_mapping_health("db", &h);
    fixture_wait(f, "db", is_stuck, 1);
    assert_true(metrics_have(f, "rbdvol_volumes_stuck 1\n"));
    expect_status(f, "trouble", "stuck: none of its I/O was answered for 2 min");
    expect_status(f, "state", "mounted");
    h.inflight = 0;
    fake_mapping_health("db", &h);
    fixture_wait(f, "db", is_stuck, 0);
    assert_true(metrics_have(f, "rbdvol_volumes_stuck 0\n"));
    expect_status(f, "trouble", "");
    assert_int_equal(fixture_unmount(f, "db", "one", &err), 0);
}

static void stuck_io_is_failed_where_the_operator_says_so(void **state)
{
    struct fixture *f = *state;
    struct error err;
    const struct mapping_health h = {
        .state = MAPPING_READY, .opens = 1, .inflight = 3, .stalled_ms = 121000
    };
    f->settings.io_stuck_action = STUCK_ERROR;
    mounted(f, "one");
    fake_mapping_health("db", &h);
    wait_lost(f, RUNG_DETACHED);
    expect_status(f, "trouble", "io-stuck-action=error");
    assert_true(metrics_have(f, "rbdvol_volumes_lost 1\n"));
    assert_non_null(fake_image_lock(fake_image_find("rbd", "db"), "rbd_lock")); /* left for fencing */
    assert_int_equal(fixture_unmount(f, "db", "one", &err), 0);
    assert_true(fixture_forgotten(f, "db"));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, fixture_test_setup, fixture_test_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_fenced_volume_is_taken_down_and_tells_who_has_it),
        TEST(who_has_it_is_asked_again_and_again),
        TEST(a_mapper_that_ends_is_a_loss),
        TEST(a_mapper_that_ends_is_replaced_where_the_device_waits),
        TEST(what_somebody_had_meanwhile_is_not_attached_again),
        TEST(what_cannot_be_attached_again_is_lost),
        TEST(while_a_container_has_the_dead_mount_it_is_not_mounted_again),
        TEST(the_last_unmount_leaves_it_ready_for_a_new_client),
        TEST(its_stale_holders_block_nobody),
        TEST(without_the_cluster_it_says_that_it_could_not_ask),
        TEST(a_restart_keeps_it_lost_and_mounts_nothing),
        TEST(what_a_container_has_is_found_after_a_restart),
        TEST(lost_while_it_is_being_mounted_is_a_failed_mount),
        TEST(what_cannot_be_asked_is_known_by_its_lock),
        TEST(stuck_io_is_reported_and_so_is_its_end),
        TEST(stuck_io_is_failed_where_the_operator_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
