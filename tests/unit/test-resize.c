/* SPDX-License-Identifier: MIT */
/* `rbdvol resize`: who grows what, and what is left when a step fails. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
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

/* An ext4 that the kernel does not grow while it is mounted. */
static struct fake_image *cramped(void)
{
    struct fake_image *i = fake_volume_add(NULL, "db");
    fake_image_set(&i->spec, "{\"version\":1,\"fstype\":\"ext4\"}");
    (void)snprintf(i->content.type, sizeof i->content.type, "ext4");
    (void)snprintf(i->content.uuid, sizeof i->content.uuid, "1-2-3");
    i->due = GROW_DUE;
    return i;
}

#define CLIMB                                                                                                \
    "lock db rbdvol.ctl, map db, device_start, lock db rbdvol, unlock db rbdvol.ctl, attach first 4096, "
#define MOUNT "mount db ext4 nodev,nosuid, device_end"

static void mounts(struct fixture *f, const char *between)
{
    struct error err = { 0 };
    auto_free char *want = NULL;
    fake_trace_clear();
    if (fixture_mount(f, "db", ID, &err) != 0)
        fail_msg("%s", err.msg);
    fixture_settle(f);
    if (asprintf(&want, CLIMB "%s" MOUNT, between) < 0)
        abort();
    fixture_expect_trace(want);
    assert_int_equal(fixture_unmount(f, "db", ID, &err), 0);
    fixture_settle(f);
}

static void does_not_mount(struct fixture *f, int code)
{
    struct error err = { 0 };
    assert_int_equal(fixture_mount(f, "db", ID, &err), code);
    fixture_settle(f);
    assert_int_equal(fake_mapping_count(), 0);
}

static void what_grows_before_it_is_mounted_is_marked_for_as_long(void **state)
{
    struct fixture *f = *state;
    const struct fake_image *i = cramped();
    mounts(f, "set db rbdvol.growing, enlarge, unset db rbdvol.growing, ");
    assert_true(i->due == GROW_NOT_DUE && !i->growing);
    mounts(f, "");
}

static void without_a_mark_nothing_is_grown(void **state)
{
    struct fixture *f = *state;
    struct fake_image *i = cramped();
    fake_fail("image_set_meta rbdvol.growing", -EPERM, 1);
    mounts(f, "");
    fake_fail("image_set_meta rbdvol.growing", -ETIMEDOUT, 1); /* and may be there all the same */
    mounts(f, "unset db rbdvol.growing, ");
    i->due = GROW_TOO_FAR;
    mounts(f, "");
    assert_true(i->due == GROW_TOO_FAR && !i->growing);
}

static void growth_that_was_cut_off_is_mended_and_begun_again(void **state)
{
    struct fixture *f = *state;
    const struct fake_image *i = cramped();
    fake_fail("enlarge", -EIO, 1);
    does_not_mount(f, -EIO);
    assert_true(i->torn);
    assert_string_equal(i->growing, "1-2-3");
    mounts(f, "mend ext4, set db rbdvol.growing, enlarge, unset db rbdvol.growing, ");
    assert_false(i->torn);
}

/* Nothing was written: it is what it was, and no mark tells otherwise. */
static void without_the_tool_for_it_it_is_mounted_as_it_is(void **state)
{
    struct fixture *f = *state;
    const struct fake_image *i = cramped();
    fake_fail("enlarge", -EOPNOTSUPP, 1);
    mounts(f, "set db rbdvol.growing, unset db rbdvol.growing, ");
    assert_true(i->due == GROW_DUE && !i->growing);
    mounts(f, "set db rbdvol.growing, enlarge, unset db rbdvol.growing, ");
}

static void a_mark_goes_before_anybody_uses_the_file_system(void **state)
{
    struct fixture *f = *state;
    const struct fake_image *i = cramped();
    fake_fail_after("image_set_meta rbdvol.growing", 1, -ETIMEDOUT, 1);
    does_not_mount(f, -ETIMEDOUT);
    assert_true(i->due == GROW_NOT_DUE);
    mounts(f, "mend ext4, unset db rbdvol.growing, ");
}

static void only_what_was_being_grown_is_mended(void **state)
{
    struct fixture *f = *state;
    struct fake_image *i = cramped();
    i->due = GROW_NOT_DUE;
    i->torn = true;
    does_not_mount(f, -EUCLEAN);
    fake_image_set(&i->growing, "3-2-1"); /* another file system was here then */
    does_not_mount(f, -EUCLEAN);
    assert_true(i->torn);
    i->torn = false;
    mounts(f, "unset db rbdvol.growing, ");
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
        TEST(what_grows_before_it_is_mounted_is_marked_for_as_long),
        TEST(without_a_mark_nothing_is_grown),
        TEST(growth_that_was_cut_off_is_mended_and_begun_again),
        TEST(without_the_tool_for_it_it_is_mounted_as_it_is),
        TEST(a_mark_goes_before_anybody_uses_the_file_system),
        TEST(only_what_was_being_grown_is_mended),
        TEST(what_cannot_be_is_refused),
        TEST(an_answer_that_was_lost_is_looked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
