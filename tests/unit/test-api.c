/* SPDX-License-Identifier: MIT */
/* Paths and bodies in, statuses and JSON out. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "base/cleanup.h"
#include "cmocka-headers.h"
#include "fakes/engine.h"

struct answer {
    int status;
    char body[8192];
    struct api_reply reply;
};

static void ask_bytes(struct fixture *f, const char *method, const char *path, const char *body, size_t len,
                      struct answer *a)
{
    const struct api_request req = { .method = method, .path = path, .body = body, .len = len };
    *a = (struct answer){ .reply.status = -1 };
    api_handle(f->engine, &req, &a->reply);
    a->status = a->reply.status;
    if (a->reply.body)
        (void)snprintf(a->body, sizeof a->body, "%s", a->reply.body);
    if (a->status && (!a->reply.body || !a->reply.type))
        fail_msg("%s: an answer without a body or type", path);
    free(a->reply.body);
    a->reply.body = NULL;
}

/* A POST whose answer is delivered. */
static int post(struct fixture *f, const char *path, const char *body, struct answer *a)
{
    ask_bytes(f, "POST", path, body, strlen(body), a);
    api_sent(f->engine, &a->reply, true);
    if (a->status == 0)
        return 0;
    json_auto_t *j = json_loads(a->body, 0, NULL);
    const json_t *err = json_object_get(j, "Err");
    if (!json_is_object(j) || !json_is_string(err))
        fail_msg("%s: no JSON object with an Err: %s", path, a->body);
    if ((a->status == 200) != (json_string_length(err) == 0))
        fail_msg("%s: %d %s", path, a->status, a->body);
    return a->status;
}

static void expect(struct fixture *f, const char *path, const char *body, int status, const char *words)
{
    struct answer a;
    int rc = post(f, path, body, &a);
    if (rc != status || !strstr(a.body, words))
        fail_msg("%s %s: %d %s, expected %d %s", path, body, rc, a.body, status, words);
}

static void docker_is_told_what_this_plugin_is(void **state)
{
    struct fixture *f = *state;
    struct answer a;
    expect(f, "/Plugin.Activate", "", 200, "\"Implements\":[\"VolumeDriver\"]");
    expect(f, "/Plugin.Activate", "{}", 200, "\"Implements\":[\"VolumeDriver\"]");
    expect(f, "/VolumeDriver.Capabilities", "", 200, "\"Scope\":\"global\"");
    expect(f, "/VolumeDriver.Capabilities", " \r\n\t", 200, "\"Scope\":\"global\"");
    ask_bytes(f, "POST", "/Plugin.Activate", NULL, 0, &a);
    assert_int_equal(a.status, 200);
    assert_string_equal(a.reply.type, "application/vnd.docker.plugins.v1.2+json");
}

static void a_volume_lives_through_the_protocol(void **state)
{
    struct fixture *f = *state;
    char mounted[160];
    expect(f, "/VolumeDriver.Get", "{\"Name\":\"db\"}", 500, "no such volume: 'db'");
    expect(f, "/VolumeDriver.Create", "{\"Name\":\"db\",\"Opts\":{\"size\":\"1G\"}}", 200, "");
    expect(f, "/VolumeDriver.Create", "{\"Name\":\"db\",\"Opts\":null}", 200, "");
    expect(f, "/VolumeDriver.Get", "{\"Name\":\"db\"}", 200, "\"Mountpoint\":\"\"");
    expect(f, "/VolumeDriver.Path", "{\"Name\":\"db\"}", 200, "\"Mountpoint\":\"\"");
    (void)snprintf(mounted, sizeof mounted, "\"Mountpoint\":\"%s\"", fixture_mountpoint(f, "db"));
    expect(f, "/VolumeDriver.Mount", "{\"Name\":\"db\",\"ID\":\"one\"}", 200, mounted);
    expect(f, "/VolumeDriver.Path", "{\"Name\":\"db\",\"Unknown\":[1]}", 200, mounted);
    expect(f, "/VolumeDriver.Get", "{\"Name\":\"db\"}", 200, mounted);
    expect(f, "/VolumeDriver.List", "", 200, mounted);
    expect(f, "/VolumeDriver.List", "{}", 200, "\"Name\":\"db\"");
    expect(f, "/VolumeDriver.Mount", "{\"Name\":\"db\",\"ID\":\"two\"}", 500, "by mount ID one");
    expect(f, "/VolumeDriver.Remove", "{\"Name\":\"db\"}", 500, "in use on this host");
    expect(f, "/VolumeDriver.Unmount", "{\"Name\":\"db\",\"ID\":\"one\"}", 200, "");
    expect(f, "/VolumeDriver.Remove", "{\"Name\":\"db\"}", 200, "");
    expect(f, "/VolumeDriver.Get", "{\"Name\":\"db\"}", 500, "no such volume");
}

static void callers_without_an_id_may_leave_it_out(void **state)
{
    struct fixture *f = *state;
    fake_volume_add(NULL, "db");
    expect(f, "/VolumeDriver.Mount", "{\"Name\":\"db\"}", 200, "/rbd/db");
    expect(f, "/VolumeDriver.Mount", "{\"Name\":\"db\",\"ID\":null}", 200, "/rbd/db");
    expect(f, "/VolumeDriver.Mount", "{\"Name\":\"db\",\"ID\":\"\"}", 200, "/rbd/db");
    expect(f, "/VolumeDriver.Unmount", "{\"Name\":\"db\"}", 200, "");
    fixture_settle(f);
    assert_int_equal(fake_mount_count(), 0);
}

static const char *const paths[] = {
    "/VolumeDriver.Create",  "/VolumeDriver.Remove", "/VolumeDriver.Mount",
    "/VolumeDriver.Unmount", "/VolumeDriver.Path",   "/Rbdvol.Remove",
};

static void an_empty_body_where_a_name_is_needed_does_nothing(void **state)
{
    struct fixture *f = *state;
    struct answer a;
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        expect(f, paths[i], "", 400, "without a body");
        expect(f, paths[i], " \n", 400, "without a body");
    }
    ask_bytes(f, "POST", "/VolumeDriver.Get", NULL, 0, &a);
    assert_int_equal(a.status, 0); /* closed without an answer: Docker would forget the volume */
    fixture_expect_trace("");
}

static void bodies_that_are_no_objects_are_refused(void **state)
{
    struct fixture *f = *state;
    static const char *const bodies[] = { "{",
                                          "nonsense",
                                          "[]",
                                          "\"db\"",
                                          "null",
                                          "1",
                                          "{}x",
                                          "{\"Name\":\"db\"",
                                          "\xff",
                                          "{\"Name\":\"\xff\"}",
                                          "{\"Name\":\"\\ud800\"}",
                                          "{\"Name\":'db'}",
                                          "{\"Name\":\"db\",}",
                                          "{\"Name\":\"db\",\"Name\":\"other\"}",
                                          "{\"Na\\u0000me\":\"db\"}" };
    fake_volume_add(NULL, "db");
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        for (size_t j = 0; j < sizeof bodies / sizeof *bodies; j++)
            expect(f, paths[i], bodies[j], 400, "body");
    fixture_expect_trace("");
    /* deeper than the parser goes */
    auto_free char *deep = malloc(100001);
    struct answer a;
    memset(deep, '[', 100000);
    deep[100000] = '\0';
    assert_int_equal(post(f, "/VolumeDriver.Mount", deep, &a), 400);
}

static void fields_of_the_wrong_type_are_named(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *body;
        int status;
        const char *words;
    } rows[] = {
        { "{}", 400, "field Name: missing" },
        { "{\"name\":\"db\"}", 400, "field Name: missing" },
        { "{\"Name\":null}", 400, "field Name: empty" },
        { "{\"Name\":\"\"}", 400, "field Name: empty" },
        { "{\"Name\":5}", 400, "field Name: must be a text" },
        { "{\"Name\":[\"db\"]}", 400, "field Name: must be a text" },
        { "{\"Name\":\"db\\u0000x\"}", 400, "field Name: must not contain a NUL" },
        { "{\"Name\":\"\\u0000\"}", 400, "field Name: must not contain a NUL" },
        { "{\"Name\":\"a b\"}", 500, "breaks a rule" },
        { "{\"Name\":\"../db\"}", 500, "breaks a rule" },
        { "{\"Name\":\"\\u00e4\"}", 500, "breaks a rule" },
        { "{\"Name\":\"db\\n<3>forged\"}", 500, "db?<3>forged" },
    };
    fake_volume_add(NULL, "db");
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        for (size_t j = 0; j < sizeof rows / sizeof *rows; j++)
            expect(f, paths[i], rows[j].body, rows[j].status, rows[j].words);
    expect(f, "/VolumeDriver.Mount", "{\"Name\":\"db\",\"ID\":5}", 400, "field ID: must be a text");
    expect(f, "/VolumeDriver.Mount", "{\"Name\":\"db\",\"ID\":\"a b\"}", 500, "field ID: only printable");
    expect(f, "/VolumeDriver.Mount", "{\"Name\":\"db\",\"ID\":\"a\\u0000\"}", 400, "field ID: must not");
    expect(f, "/VolumeDriver.Create", "{\"Name\":\"db\",\"Opts\":[]}", 400, "field Opts");
    expect(f, "/VolumeDriver.Create", "{\"Name\":\"db\",\"Opts\":\"size=5G\"}", 400, "field Opts");
    expect(f, "/VolumeDriver.Create", "{\"Name\":\"db\",\"Opts\":{\"size\":5}}", 400, "option size");
    expect(f, "/VolumeDriver.Create", "{\"Name\":\"db\",\"Opts\":{\"nonsense\":[]}}", 400, "option nonsense");
    expect(f, "/VolumeDriver.Create", "{\"Name\":\"db\",\"Opts\":{\"size\":\"5G\\u0000\"}}", 400,
           "option size");
    expect(f, "/VolumeDriver.Create", "{\"Name\":\"db\",\"Opts\":{\"sizes\":\"5G\"}}", 500, "known options");
    expect(f, "/Rbdvol.Remove", "{\"Name\":\"db\",\"Delete\":\"yes\"}", 400,
           "field Delete: must be true or false");
    fixture_expect_trace("");
    /* an escape is only another spelling */
    expect(f, "/VolumeDriver.Mount", "{\"Name\":\"\\u0064\\u0062\",\"ID\":\"one\"}", 200, "/rbd/db");
}

static void get_is_silent_about_what_it_could_not_ask(void **state)
{
    struct fixture *f = *state;
    static const int codes[] = { -ETIMEDOUT, -ENOTCONN, -ENODEV, -EPERM, -EIO, -EUCLEAN, -EINVAL };
    fake_volume_add(NULL, "db");
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        fake_fail("image_find", codes[i], 1);
        expect(f, "/VolumeDriver.Get", "{\"Name\":\"db\"}", 0, "");
        fake_fail("image_find", codes[i], FAKE_FOREVER);
        struct answer a;
        if (post(f, "/VolumeDriver.Create", "{\"Name\":\"db\"}", &a) != 500)
            fail_msg("Create: %d %s", a.status, a.body); /* the others speak */
        fake_fail("image_find", 0, 0);
    }
    fake_cluster_set(FAKE_CLUSTER_DOWN);
    expect(f, "/VolumeDriver.Get", "{\"Name\":\"db\"}", 0, "");
    expect(f, "/VolumeDriver.List", "{}", 500, "unreachable");
    expect(f, "/VolumeDriver.Path", "{\"Name\":\"db\"}", 200, "\"Mountpoint\":\"\"");
    expect(f, "/VolumeDriver.Mount", "{\"Name\":\"db\",\"ID\":\"one\"}", 500, "unreachable");
    expect(f, "/VolumeDriver.Unmount", "{\"Name\":\"db\",\"ID\":\"one\"}", 200, "");
    /* no volume can have this name: that is an answer */
    expect(f, "/VolumeDriver.Get", "{\"Name\":\"a/b/c/d\"}", 500, "more than three parts");
    expect(f, "/VolumeDriver.Get", "{}", 400, "field Name: missing");
}

static void other_methods_paths_and_sizes_are_refused(void **state)
{
    struct fixture *f = *state;
    struct answer a;
    static const char *const methods[] = { "GET", "PUT", "DELETE", "HEAD", "post", "" };
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        ask_bytes(f, methods[i], "/VolumeDriver.List", NULL, 0, &a);
        assert_int_equal(a.status, 405);
        ask_bytes(f, methods[i], "/nowhere", NULL, 0, &a);
        assert_int_equal(a.status, 404);
    }
    static const char *const nowhere[] = { "",
                                           "/",
                                           "//VolumeDriver.List",
                                           "/VolumeDriver.List/",
                                           "/volumedriver.list",
                                           "/VolumeDriver.",
                                           "/Rbdvol.",
                                           "/metrics/" };
    for (size_t i = 0; i < sizeof nowhere / sizeof *nowhere; i++)
        expect(f, nowhere[i], "{}", 404, "nothing at");
    ask_bytes(f, "POST", "/metrics", NULL, 0, &a);
    assert_int_equal(a.status, 405);
    ask_bytes(f, "POST", "/VolumeDriver.Mount", NULL, API_BODY_MAX + 1, &a); /* it was not kept */
    assert_int_equal(a.status, 413);
    auto_free char *blanks = malloc(API_BODY_MAX);
    memset(blanks, ' ', API_BODY_MAX);
    ask_bytes(f, "POST", "/VolumeDriver.List", blanks, API_BODY_MAX, &a);
    assert_int_equal(a.status, 200);
}

static void metrics_and_health_are_text(void **state)
{
    struct fixture *f = *state;
    struct answer a;
    struct error err;
    fake_volume_add(NULL, "db");
    assert_int_equal(fixture_mount(f, "db", "one", &err), 0);
    fixture_settle(f);
    ask_bytes(f, "GET", "/metrics", NULL, 0, &a);
    assert_int_equal(a.status, 200);
    assert_string_equal(a.reply.type, "text/plain; version=0.0.4; charset=utf-8");
    assert_non_null(strstr(a.body, "\nrbdvol_cluster_up 1\n"));
    assert_non_null(strstr(a.body, "\nrbdvol_volumes_mounted 1\n"));
    fake_cluster_set(FAKE_CLUSTER_DOWN);
    ask_bytes(f, "GET", "/healthz", NULL, 0, &a);
    assert_int_equal(a.status, 200);
    assert_string_equal(a.body, "ok: cluster down, 1 volumes mounted\n");
    ask_bytes(f, "GET", "/metrics", NULL, 0, &a);
    assert_non_null(strstr(a.body, "\nrbdvol_cluster_up 0\n"));
    expect(f, "/Rbdvol.Status", "", 200, "\"State\":\"down\"");
    expect(f, "/Rbdvol.Status", "{}", 200, "\"Name\":\"rbd/db\"");
}

static void a_mount_whose_answer_does_not_arrive_is_taken_back(void **state)
{
    struct fixture *f = *state;
    struct answer a;
    static const char body[] = "{\"Name\":\"db\",\"ID\":\"one\"}";
    fake_volume_add(NULL, "db");
    ask_bytes(f, "POST", "/VolumeDriver.Mount", body, sizeof body - 1, &a);
    assert_int_equal(a.status, 200);
    assert_non_null(a.reply.grant);
    api_sent(f->engine, &a.reply, false);
    assert_null(a.reply.grant);
    api_sent(f->engine, &a.reply, false); /* once is enough */
    fixture_settle(f);
    assert_int_equal(fixture_holders(f, "db"), 0);
    assert_int_equal(fake_mount_count(), 0);
    ask_bytes(f, "POST", "/VolumeDriver.Mount", body, sizeof body - 1, &a);
    api_sent(f->engine, &a.reply, true);
    assert_int_equal(fixture_holders(f, "db"), 1);
    ask_bytes(f, "POST", "/VolumeDriver.Get", body, sizeof body - 1, &a);
    assert_null(a.reply.grant);
    api_sent(f->engine, &a.reply, false);
    assert_int_equal(fixture_rung(f, "db"), RUNG_MOUNTED);
}

static bool left(void *arg)
{
    (void)arg;
    return true;
}

static void a_caller_that_left_gets_no_grant(void **state)
{
    struct fixture *f = *state;
    static const char body[] = "{\"Name\":\"db\",\"ID\":\"one\"}";
    const struct api_request req = { .method = "POST",
                                     .path = "/VolumeDriver.Mount",
                                     .body = body,
                                     .len = sizeof body - 1,
                                     .caller_left = left };
    struct api_reply reply;
    fake_volume_add(NULL, "db");
    api_handle(f->engine, &req, &reply);
    assert_int_equal(reply.status, 500);
    assert_null(reply.grant);
    free(reply.body);
    fixture_settle(f);
    assert_int_equal(fixture_holders(f, "db"), 0);
    assert_int_equal(fake_mount_count(), 0);
}

static void a_mount_under_the_same_id_of_a_new_caller_starts_to_count_anew(void **state)
{
    struct fixture *f = *state;
    static const char body[] = "{\"Name\":\"db\",\"ID\":\"one\"}";
    struct api_request req = {
        .method = "POST", .path = "/VolumeDriver.Mount", .body = body, .len = sizeof body - 1, .peer_pid = 70
    };
    struct api_reply reply;
    fake_volume_add(NULL, "db");
    fake_process_add(70, 1);
    for (unsigned i = 0; i < 3; i++) {
        if (i == 2) { /* killed, and started again */
            fake_process_end(70);
            fake_process_add(71, 2);
            req.peer_pid = 71;
        }
        api_handle(f->engine, &req, &reply);
        assert_int_equal(reply.status, 200);
        api_sent(f->engine, &reply, true);
        free(reply.body);
    }
    expect(f, "/VolumeDriver.Unmount", body, 200, "");
    fixture_settle(f);
    assert_int_equal(fake_mount_count(), 0);
}

static void a_stale_holder_can_be_released(void **state)
{
    struct fixture *f = *state;
    struct error err;
    fake_volume_add(NULL, "db");
    expect(f, "/Rbdvol.Release", "{\"Name\":\"db\"}", 500, "nobody holds it");
    assert_int_equal(fixture_mount(f, "db", "one", &err), 0);
    expect(f, "/Rbdvol.Release", "{\"Name\":\"db\",\"ID\":\"two\"}", 500, "not held");
    expect(f, "/Rbdvol.Release", "{\"Name\":\"db\",\"ID\":\"one\"}", 500, "--force");
    expect(f, "/Rbdvol.Release", "{\"Name\":\"db\",\"ID\":\"one\",\"Force\":true}", 200, "\"Dropped\":1");
    fixture_settle(f);
    assert_int_equal(fake_mount_count(), 0);
}

/* ---- our own requests ---- */

static void a_volume_is_grown_snapped_and_trimmed(void **state)
{
    struct fixture *f = *state;
    fake_volume_add(NULL, "db");
    expect(f, "/Rbdvol.Resize", "{\"Name\":\"db\",\"Size\":\"2G\"}", 200, "\"Size\":2147483648");
    expect(f, "/Rbdvol.Resize", "{\"Name\":\"db\",\"Size\":\"1G\"}", 500, "shrinking it");
    expect(f, "/Rbdvol.Resize", "{\"Name\":\"db\"}", 400, "Size");
    expect(f, "/Rbdvol.Resize", "{\"Name\":\"db\",\"Size\":2}", 400, "Size");
    expect(f, "/Rbdvol.Snap.Create", "{\"Name\":\"db\",\"Snap\":\"mon\"}", 200, "");
    expect(f, "/Rbdvol.Snap.Create", "{\"Name\":\"db\",\"Snap\":\"mon\"}", 500, "already");
    expect(f, "/Rbdvol.Snap.Create", "{\"Name\":\"db\"}", 400, "Snap");
    expect(f, "/Rbdvol.Snap.List", "{\"Name\":\"db\"}", 200, "\"Name\":\"mon\"");
    expect(f, "/Rbdvol.Snap.List", "{\"Name\":\"other\"}", 500, "cannot list the snapshots");
    expect(f, "/Rbdvol.Snap.Rollback", "{\"Name\":\"db\",\"Snap\":\"mon\"}", 200, "");
    expect(f, "/Rbdvol.Snap.Remove", "{\"Name\":\"db\",\"Snap\":\"mon\"}", 200, "");
    expect(f, "/Rbdvol.Snap.List", "{\"Name\":\"db\"}", 200, "\"Snapshots\":[]");
    expect(f, "/Rbdvol.Trim", "{\"Name\":\"db\"}", 500, "it is not mounted on this host");
    expect(f, "/VolumeDriver.Mount", "{\"Name\":\"db\",\"ID\":\"one\"}", 200, "");
    expect(f, "/Rbdvol.Trim", "{\"Name\":\"db\"}", 200, "\"Trimmed\":");
    expect(f, "/VolumeDriver.Unmount", "{\"Name\":\"db\",\"ID\":\"one\"}", 200, "");
}

static void the_trash_is_seen_taken_back_from_and_emptied(void **state)
{
    struct fixture *f = *state;
    fake_volume_add(NULL, "db");
    expect(f, "/Rbdvol.Trash.List", "", 200, "\"Volumes\":[]");
    expect(f, "/VolumeDriver.Remove", "{\"Name\":\"db\"}", 200, "");
    expect(f, "/Rbdvol.Trash.List", "{}", 200, "\"Name\":\"rbd/db\"");
    expect(f, "/Rbdvol.Trash.Restore", "{\"Name\":\"db\",\"As\":7}", 400, "As");
    expect(f, "/Rbdvol.Trash.Restore", "{\"Name\":\"db\",\"As\":\"new\"}", 200, "\"Name\":\"rbd/new\"");
    expect(f, "/Rbdvol.Trash.Restore", "{\"Name\":\"db\"}", 500, "nothing of that name or id");
    expect(f, "/VolumeDriver.Remove", "{\"Name\":\"new\"}", 200, "");
    expect(f, "/Rbdvol.Trash.Purge", "{\"Name\":[]}", 400, "Name");
    expect(f, "/Rbdvol.Trash.Purge", "", 200, ""); /* those whose time is over */
    assert_int_equal(fake_trash_count(), 1);
    expect(f, "/Rbdvol.Trash.Purge", "{\"Name\":\"new\"}", 200, "");
    assert_int_equal(fake_trash_count(), 0);
    fake_fail("image_trashed_each", -ETIMEDOUT, 1);
    expect(f, "/Rbdvol.Trash.List", "", 500, "cannot list the trash");
}

static void a_lock_is_shown_and_taken_away(void **state)
{
    struct fixture *f = *state;
    struct fake_image *i = fake_volume_add(NULL, "db");
    fake_image_lock_set(i, "rbd_lock", "auto 7", "internal", "192.0.2.9:0/77");
    fake_image_watch(i, "192.0.2.9:0/77", true);
    expect(f, "/Rbdvol.Unlock", "{\"Name\":\"db\"}", 200, "\"State\":\"alive\"");
    expect(f, "/Rbdvol.Unlock", "{\"Name\":\"db\",\"Go\":\"yes\"}", 400, "Go");
    expect(f, "/Rbdvol.Unlock", "{\"Name\":\"db\",\"Go\":true,\"Force\":1}", 400, "Force");
    expect(f, "/Rbdvol.Unlock", "{\"Name\":\"db\",\"Go\":true}", 500, "add --force");
    assert_non_null(fake_image_lock(i, "rbd_lock"));
    expect(f, "/Rbdvol.Unlock", "{\"Name\":\"db\",\"Go\":true,\"Force\":true}", 200, "\"Unlocked\":true");
    assert_null(fake_image_lock(i, "rbd_lock"));
    expect(f, "/Rbdvol.Unlock", "{}", 400, "Name");
}

/* A process may be called anything; the answer is JSON all the same. */
static void what_is_no_text_is_told_as_one(void **state)
{
    struct fixture *f = *state;
    fake_volume_add(NULL, "db");
    expect(f, "/VolumeDriver.Mount", "{\"Name\":\"db\",\"ID\":\"one\"}", 200, "");
    fake_pin("pid 9 (\xff\xfe)");
    expect(f, "/VolumeDriver.Unmount", "{\"Name\":\"db\",\"ID\":\"one\"}", 500, "pid 9 (?");
    fake_pin(NULL);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, fixture_test_setup, fixture_test_teardown)
    const struct CMUnitTest tests[] = {
        TEST(docker_is_told_what_this_plugin_is),
        TEST(a_volume_lives_through_the_protocol),
        TEST(callers_without_an_id_may_leave_it_out),
        TEST(an_empty_body_where_a_name_is_needed_does_nothing),
        TEST(bodies_that_are_no_objects_are_refused),
        TEST(fields_of_the_wrong_type_are_named),
        TEST(get_is_silent_about_what_it_could_not_ask),
        TEST(other_methods_paths_and_sizes_are_refused),
        TEST(metrics_and_health_are_text),
        TEST(a_mount_whose_answer_does_not_arrive_is_taken_back),
        TEST(a_caller_that_left_gets_no_grant),
        TEST(a_mount_under_the_same_id_of_a_new_caller_starts_to_count_anew),
        TEST(a_stale_holder_can_be_released),
        TEST(a_volume_is_grown_snapped_and_trimmed),
        TEST(the_trash_is_seen_taken_back_from_and_emptied),
        TEST(a_lock_is_shown_and_taken_away),
        TEST(what_is_no_text_is_told_as_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
