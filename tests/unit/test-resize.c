/* SPDX-License-Identifier: MIT */
/* `rbdvol resize`: who grows what, and what is left when a step fails. */
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "cmocka-headers.h"
#include "fakes/engine.h"
#include "volume/resize.h"

#define ID    "0123456789abcdef"
#define OWNER "192.0.2.9:0/77"
#define GIB   (1ULL << 30)

static int resize(struct fixture *f, const char *size, struct error *err)
{
    json_auto_t *told = NULL;
    *err = (struct error){ 0 };
    fake_trace_clear();
    return resize_volume(f->engine, "db", size, clock_in_ms(10000), &told, err);
}

static void refuses(struct fixture *f, const char *size, int code, const char *words)
{
    struct error err;
    uint64_t before = fake_image_find("rbd", "db")->size;
    int rc = resize(f, size, &err);
    if (rc != code || !strstr(err.msg, words) || !strstr(err.msg, "cannot resize"))
        fail_msg("%d %s", rc, err.msg);
    assert_true(fake_image_find("rbd", "db")->size == before);
}

static void a_detached_volume_grows_with_the_control_lock_held(void **state)
{
    struct fixture *f = *state;
    struct error err;
    const struct fake_image *i = fake_volume_add(NULL, "db");
    assert_int_equal(resize(f, "2G", &err), 0);
    fixture_expect_trace("lock db rbdvol.ctl, resize db, unlock db rbdvol.ctl");
    assert_true(i->size == 2 * GIB);
    assert_int_equal(resize(f, "2G", &err), 0); /* it is so large already */
    fixture_expect_trace("");
    assert_int_equal(fixture_mount(f, "db", ID, &err), 0);
    auto_free char *trace = fake_trace();
    assert_non_null(strstr(trace, "grow xfs"));
    fixture_unmount(f, "db", ID, &err);
}

static void a_mounted_volume_grows_through_its_mapping(void **state)
{
    struct fixture *f = *state;
    struct error err;
    fake_volume_add(NULL, "db");
    assert_int_equal(fixture_mount(f, "db", ID, &err), 0);
    assert_int_equal(resize(f, "2G", &err), 0);
    fixture_expect_trace("resize db, device_start, grow xfs, device_end");
    fixture_unmount(f, "db", ID, &err);
}

static void what_grows_not_is_said_and_made_up_for(void **state)
{
    struct fixture *f = *state;
    struct error err;
    const struct fake_image *i = fake_volume_add(NULL, "db");
    assert_int_equal(fixture_mount(f, "db", ID, &err), 0);
    fake_fail("grow", -EPERM, 1);
    assert_int_equal(resize(f, "2G", &err), -EPERM);
    assert_non_null(strstr(err.msg, "the image has 2 GiB now, its file system not"));
    assert_true(i->size == 2 * GIB && i->snug);
    assert_int_equal(resize(f, "2G", &err), 0);
    assert_false(i->snug);
    /* at Mount it keeps nobody from the volume */
    fixture_unmount(f, "db", ID, &err);
    fake_fail("grow", -EIO, 1);
    assert_int_equal(fixture_mount(f, "db", ID, &err), 0);
    fixture_unmount(f, "db", ID, &err);
}

static void what_cannot_be_is_refused(void **state)
{
    struct fixture *f = *state;
    struct fake_image *i = fake_volume_add(NULL, "db");
    refuses(f, "512M", -EINVAL, "shrinking it");
    refuses(f, "20", -EINVAL, "write 20M or 20G");
    f->settings.max_size = 2 * GIB;
    refuses(f, "3G", -EINVAL, "max-size 2 GiB");
    fake_image_lock_set(i, "rbd_lock", "auto 7", "internal", OWNER);
    fake_image_lock_set(i, "rbdvol", "host9/m/b/rbd/abc/" OWNER, "", "192.0.2.9:0/76");
    fake_image_watch(i, OWNER, true);
    refuses(f, "2G", -EBUSY, "do this on the host that uses it");
    assert_false(fake_is_fenced(OWNER));
}

static void an_answer_that_was_lost_is_looked_for(void **state)
{
    struct fixture *f = *state;
    struct error err;
    fake_volume_add(NULL, "db");
    fake_fail_late("image_change_free", -ETIMEDOUT);
    assert_int_equal(resize(f, "2G", &err), 0);
    fake_fail("image_change_free", -ETIMEDOUT, 1);
    refuses(f, "3G", -ETIMEDOUT, "");
    assert_int_equal(resize(f, "3G", &err), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_test_setup, fixture_test_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_detached_volume_grows_with_the_control_lock_held),
        TEST(a_mounted_volume_grows_through_its_mapping),
        TEST(what_grows_not_is_said_and_made_up_for),
        TEST(what_cannot_be_is_refused),
        TEST(an_answer_that_was_lost_is_looked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
