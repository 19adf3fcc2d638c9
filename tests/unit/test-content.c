/* SPDX-License-Identifier: MIT */
/* Between a mapping and its mount: what is on the image, and what is done to it before anybody uses it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "cmocka-headers.h"
#include "fakes/engine.h"

#define ID    "0123456789abcdef"
#define CLONE "{\"version\":1,\"fstype\":\"xfs\",\"new-uuid\":true}"
#define STEPS 40

static int mount(struct fixture *f, struct error *err)
{
    *err = (struct error){ 0 };
    fake_trace_clear();
    int rc = fixture_mount(f, "db", ID, err);
    fixture_settle(f);
    return rc;
}

/* And leaves nothing here. */
static void refuses(struct fixture *f, int code, const char *words)
{
    struct error err;
    struct fake_image *i = fake_image_find("rbd", "db");
    int rc = mount(f, &err);
    if (rc != code || !strstr(err.msg, words))
        fail_msg("%d %s", rc, err.msg);
    assert_int_equal(fake_mapping_count() + fake_mount_count() + fake_device_count(), 0);
    assert_null(fake_image_lock(i, "rbd_lock"));
    assert_null(fake_image_lock(i, "rbdvol"));
    assert_null(fake_image_lock(i, "rbdvol.ctl"));
}

static void mounts(struct fixture *f)
{
    struct error err;
    if (mount(f, &err) < 0)
        fail_msg("%s", err.msg);
}

static void unmounts(struct fixture *f)
{
    struct error err;
    assert_int_equal(fixture_unmount(f, "db", ID, &err), 0);
    fixture_settle(f);
}

static bool traced(const char *words)
{
    auto_free char *trace = fake_trace();
    return strstr(trace, words) != NULL;
}

static struct fake_image *image_of(const char *spec)
{
    struct fake_image *i = fake_volume_add(NULL, "db");
    fake_image_set(&i->spec, spec);
    return i;
}

/* ---- formatting ---- */

static void what_nobody_may_write_is_not_formatted(void **state)
{
    struct fixture *f = *state;
    struct fake_image *i = image_of("{\"version\":1,\"fstype\":\"xfs\",\"ro\":true,\"adopt\":true}");
    i->content = (struct device_probe){ .found = PROBE_EMPTY };
    refuses(f, -EINVAL, "the image is empty, and the volume is read-only");
    assert_false(traced("format"));
    assert_int_equal(fake_count("format"), 0);
}

/* ---- a clone's own uuid ---- */

static void a_clone_gets_a_uuid_of_its_own_before_it_is_mounted(void **state)
{
    struct fixture *f = *state;
    const struct fake_image *i = image_of(CLONE);
    mounts(f);
    assert_true(traced("attach first 4096, renew xfs, set db rbdvol.spec, mount db xfs"));
    assert_null(strstr(i->spec, "new-uuid"));
    unmounts(f);
    mounts(f);
    assert_false(traced("renew"));
    unmounts(f);
}

/* Only a mount replays the log. */
static void what_is_in_its_log_is_replayed_first(void **state)
{
    struct fixture *f = *state;
    struct fake_image *i = image_of(CLONE);
    i->logged = 1;
    mounts(f);
    assert_true(traced("mount db xfs nouuid,nodev,nosuid, umount db, renew xfs, set db rbdvol.spec, "
                       "mount db xfs nodev,nosuid, "));
    assert_null(strstr(i->spec, "new-uuid"));
    unmounts(f);
}

static void one_whose_log_stays_is_mounted_beside_its_source(void **state)
{
    struct fixture *f = *state;
    struct fake_image *i = image_of(CLONE);
    i->logged = 9;
    mounts(f);
    assert_true(traced("mount db xfs nouuid,nodev,nosuid, device_end"));
    assert_non_null(strstr(i->spec, "\"new-uuid\":true"));
    unmounts(f);
    i->logged = 0;
    mounts(f);
    assert_null(strstr(i->spec, "new-uuid"));
    unmounts(f);
}

/* Neither xfs (with nouuid) nor ext4 minds a second file system of that uuid; btrfs takes one for the other.
 */
static void without_the_tool_for_it_only_a_btrfs_is_refused(void **state)
{
    static const struct {
        const char *type, *spec, *mount;
    } kinds[] = {
        { "xfs", CLONE, "mount db xfs nouuid,nodev,nosuid, " },
        { "ext4", "{\"version\":1,\"fstype\":\"ext4\",\"new-uuid\":true}", "mount db ext4 nodev,nosuid, " },
        { "btrfs", "{\"version\":1,\"fstype\":\"btrfs\",\"new-uuid\":true}", NULL },
    };
    struct fixture *f = *state;
    struct fake_image *i = image_of(CLONE);
    for (size_t n = 0; n < sizeof kinds / sizeof *kinds; n++) {
        fake_image_set(&i->spec, kinds[n].spec);
        (void)snprintf(i->content.type, sizeof i->content.type, "%s", kinds[n].type);
        fake_fail("renew", -EOPNOTSUPP, 1);
        if (!kinds[n].mount) {
            refuses(f, -EOPNOTSUPP, "");
            continue;
        }
        mounts(f);
        assert_true(traced(kinds[n].mount));
        assert_non_null(strstr(i->spec, "\"new-uuid\":true"));
        unmounts(f);
        mounts(f);
        assert_null(strstr(i->spec, "new-uuid"));
        unmounts(f);
    }
}

static void wherever_that_fails_the_next_mount_does_it(void **state)
{
    struct fixture *f = *state;
    struct fake_image *i = image_of(CLONE);
    unsigned n;
    for (n = 1; n < STEPS; n++) {
        struct error err;
        i->logged = 1;
        fake_image_set(&i->spec, CLONE);
        fake_fail_nth(n, -EIO, false);
        int rc = mount(f, &err);
        bool failed = fake_nth_failed();
        fake_mend();
        if (rc == 0 && strstr(i->spec, "new-uuid"))
            fail_msg("after a failure at %s it is mounted with its source's uuid", fake_failed_call());
        if (rc < 0 && fake_mount_count() + fake_mapping_count() + fake_device_count())
            fail_msg("after a failure at %s: %s", fake_failed_call(), err.msg);
        if (rc == 0)
            unmounts(f);
        if (!failed)
            break;
    }
    assert_in_range(n, 20, STEPS - 1);
}

/* ---- growing before the mount ---- */

static struct fake_image *torn_ext4(void)
{
    struct fake_image *i = image_of("{\"version\":1,\"fstype\":\"ext4\"}");
    (void)snprintf(i->content.type, sizeof i->content.type, "ext4");
    (void)snprintf(i->content.uuid, sizeof i->content.uuid, "1-2-3");
    i->torn = true;
    return i;
}

/* Another host wrote the mark, and died, after we had read the header. */
static void a_mark_that_came_after_the_first_look_counts(void **state)
{
    struct fixture *f = *state;
    struct parallel p;
    struct fake_image *i = torn_ext4();
    fake_hold("check");
    fixture_begin(&p, f, false, "db", ID);
    fake_wait_held("check", 1);
    fake_image_set(&i->growing, "1-2-3");
    fake_go("check");
    if (fixture_end(&p) < 0)
        fail_msg("%s", p.err.msg);
    fixture_settle(f);
    assert_true(traced("mend ext4, unset db rbdvol.growing, mount db"));
    assert_false(i->torn);
    assert_null(i->growing);
    unmounts(f);
}

static void who_cannot_read_the_mark_mends_nothing(void **state)
{
    struct fixture *f = *state;
    struct fake_image *i = torn_ext4();
    fake_image_set(&i->growing, "1-2-3");
    fake_fail("image_get_meta rbdvol.growing", -ETIMEDOUT, 1);
    refuses(f, -ETIMEDOUT, "cannot mount 'rbd/db'");
    assert_true(i->torn);
    assert_int_equal(fake_count("check"), 0);
    fake_image_set(&i->growing, NULL);
    fake_fail("image_get_meta rbdvol.growing", -ETIMEDOUT, 1); /* and fsck's own words are what is told */
    refuses(f, -EUCLEAN, "needs a person");
    assert_true(i->torn);
}

/* ---- what it is mapped by ---- */

static void what_limits_it_keeps_it_from_the_kernel(void **state)
{
    static const struct {
        const char *spec;
        bool krbd, nbd;
    } rows[] = {
        { "{\"version\":1,\"fstype\":\"xfs\"}", true, true },
        { "{\"version\":1,\"fstype\":\"xfs\",\"qos-iops\":5}", false, true },
        { "{\"version\":1,\"fstype\":\"xfs\",\"qos-bps\":5}", false, true },
        { "{\"version\":1,\"fstype\":\"xfs\",\"encrypt\":\"db.key\"}", false, false },
        { "{\"version\":1,\"fstype\":\"xfs\",\"snapshot\":true,\"ro\":true}", false, false },
    };
    struct fixture *f = *state;
    struct fake_image *i = fake_volume_add(NULL, "db");
    static char keys[] = "/nowhere/keys";
    f->settings.key_dir = keys;
    for (size_t n = 0; n < sizeof rows / sizeof *rows; n++) {
        struct fake_asked asked;
        fake_image_set(&i->spec, rows[n].spec);
        mounts(f);
        fake_mapper_asked(&asked);
        assert_int_equal(asked.krbd, rows[n].krbd);
        assert_int_equal(asked.nbd, rows[n].nbd);
        assert_string_equal(asked.key_file, strstr(rows[n].spec, "encrypt") ? "/nowhere/keys/db.key" : "");
        unmounts(f);
    }
}

static void the_kernel_is_told_of_the_cluster(void **state)
{
    struct fixture *f = *state;
    const struct fake_image *i = image_of("{\"version\":1,\"fstype\":\"xfs\"}");
    fake_mapper_kernel();
    mounts(f);
    const struct fake_lock *record = fake_image_lock((struct fake_image *)i, "rbdvol");
    assert_non_null(strstr(record->holder.cookie, "192.0.2.1:0/1001")); /* by the lock */
    unmounts(f);
    assert_int_equal(fake_count("monmap_forget"), 0);
    fake_fail("monmap_read", -ETIMEDOUT, 1);
    refuses(f, -ETIMEDOUT, "cannot map 'rbd/db'");
    fake_fail("secret_read", -EACCES, 1);
    refuses(f, -EACCES, "cannot map 'rbd/db'");
    fake_fail("map", -ENXIO, 1); /* perhaps the monitors have moved */
    refuses(f, -ENXIO, "cannot map 'rbd/db'");
    assert_int_equal(fake_count("monmap_forget"), 1);
    mounts(f);
    unmounts(f);
}

static void what_is_mapped_without_its_lock_is_not_mounted(void **state)
{
    struct fixture *f = *state;
    struct fake_image *i = image_of("{\"version\":1,\"fstype\":\"xfs\"}");
    struct error err;
    static const char *const tags[] = { NULL, "some plugin" };
    fake_mapper_kernel();
    for (size_t n = 0; n < 2; n++) {
        fake_mapper_locks_as(tags[n]);
        assert_int_equal(mount(f, &err), -EIO);
        assert_non_null(strstr(err.msg, "kernel has mapped it, but does not hold its lock"));
        assert_int_equal(fake_mapping_count() + fake_mount_count(), 0);
        assert_null(fake_image_lock(i, "rbdvol"));
        assert_false(traced("attach"));
    }
    fake_mapper_locks_as("internal");
    /* the look before it is mapped, and the one after */
    fake_fail_after("imagelock_holder rbd_lock", 1, -ETIMEDOUT, 1);
    assert_int_equal(mount(f, &err), -ETIMEDOUT);
    assert_int_equal(fake_mapping_count() + fake_mount_count(), 0);
    fake_fail("imagelock_holder rbd_lock", 0, 0);
    mounts(f);
    unmounts(f);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_test_setup, fixture_test_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_nobody_may_write_is_not_formatted),
        TEST(a_clone_gets_a_uuid_of_its_own_before_it_is_mounted),
        TEST(what_is_in_its_log_is_replayed_first),
        TEST(one_whose_log_stays_is_mounted_beside_its_source),
        TEST(without_the_tool_for_it_only_a_btrfs_is_refused),
        TEST(wherever_that_fails_the_next_mount_does_it),
        TEST(a_mark_that_came_after_the_first_look_counts),
        TEST(who_cannot_read_the_mark_mends_nothing),
        TEST(what_limits_it_keeps_it_from_the_kernel),
        TEST(the_kernel_is_told_of_the_cluster),
        TEST(what_is_mapped_without_its_lock_is_not_mounted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
