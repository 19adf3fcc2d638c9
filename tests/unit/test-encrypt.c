/* SPDX-License-Identifier: MIT */
/* An encrypted volume is born: with its key, formatted through it, or not at all. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "cmocka-headers.h"
#include "fakes/engine.h"
#include "volume/create.h"

#define ID   "0123456789abcdef"
#define OPTS "{\"encrypt\":\"db.key\",\"size\":\"5G\"}"

static void write_key(const struct fixture *f, const char *text, mode_t mode)
{
    char path[PATH_MAX];
    struct error err;
    (void)snprintf(path, sizeof path, "%s/db.key", f->settings.key_dir);
    assert_int_equal(file_replace(path, text, strlen(text), &err), 0);
    assert_int_equal(chmod(path, mode), 0);
}

static int setup(void **state)
{
    int rc = fixture_test_setup(state);
    struct fixture *f = *state;
    f->settings.key_dir = f->dir;
    return rc;
}

static int create(struct fixture *f, struct error *err)
{
    json_auto_t *j = json_loads(OPTS, 0, NULL);
    *err = (struct error){ 0 };
    fake_trace_clear();
    return create_volume(f->engine, "db", j, clock_in_ms(10000), err);
}

static void refuses(struct fixture *f, int code, const char *words)
{
    struct error err;
    int rc = create(f, &err);
    if (rc != code || !strstr(err.msg, words) || strstr(err.msg, "secret"))
        fail_msg("%d %s", rc, err.msg);
    assert_null(fake_image_find("rbd", "db"));
}

static void it_is_formatted_through_its_key(void **state)
{
    struct fixture *f = *state;
    struct error err;
    write_key(f, "secret\n", 0600);
    if (create(f, &err) < 0)
        fail_msg("%s", err.msg);
    fixture_expect_trace("create rbdvol.new.*, fill_open rbdvol.new.*, set rbdvol.new.* rbdvol.making, "
                         "write rbdvol.new.*, write rbdvol.new.*, set rbdvol.new.* rbdvol.spec, "
                         "rename rbdvol.new.* db, fill_close, unset db rbdvol.making");
    const struct fake_image *i = fake_image_find("rbd", "db");
    assert_non_null(strstr(i->spec, "\"encrypt\":\"db.key\""));
    assert_null(strstr(i->spec, "secret"));
    assert_int_equal(i->size, 5ULL << 30);
    assert_int_equal(fixture_mount(f, "db", ID, &err), 0);
    assert_int_equal(fixture_unmount(f, "db", ID, &err), 0);
}

static void without_its_key_nothing_is_made(void **state)
{
    struct fixture *f = *state;
    refuses(f, -ENOKEY, "cannot create 'rbd/db': option encrypt: cannot read the passphrase in ");
    write_key(f, "secret", 0644);
    refuses(f, -EPERM, "option encrypt: ");
    write_key(f, "", 0600);
    refuses(f, -EINVAL, "is empty");
    fixture_expect_trace("");
    assert_int_equal(fake_image_count() + fake_trash_count(), 0);
}

static void what_fails_in_the_middle_leaves_nothing(void **state)
{
    static const char *const steps[] = { "image_create",   "imagefill_open",  "imagefill_encrypt",
                                         "fs_make",        "imagefill_write", "imagefill_finish",
                                         "image_set_meta", "image_rename",    "image_id_object" };
    struct fixture *f = *state;
    struct error err;
    write_key(f, "secret", 0600);
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        fake_fail(steps[i], -EIO, 1);
        refuses(f, -EIO, "cannot create 'rbd/db': ");
        fake_fail(steps[i], 0, 0);
        fixture_settle(f);
        if (fake_image_count() || fake_trash_count())
            fail_msg("a failure of %s leaves an image", steps[i]);
    }
    assert_int_equal(create(f, &err), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, fixture_test_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(it_is_formatted_through_its_key),
        TEST(without_its_key_nothing_is_made),
        TEST(what_fails_in_the_middle_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
