/* SPDX-License-Identifier: MIT */
/* File systems in files: checked, mended, grown, and given an identity of their own. */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/command.h"
#include "cmocka-headers.h"
#include "host/device.h"
#include "host/ext4.h"
#include "host/fs.h"
#include "host/grow.h"
#include "host/probe.h"
#include "host/renew.h"

#define MIB       (1024ULL * 1024)
#define LIMIT_MS  60000
#define EXT4_SIZE (64 * MIB)

static char dir[] = "/var/tmp/test-renew.XXXXXX", file[64];

static int set_up(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return -1;
    (void)snprintf(file, sizeof file, "%s/image", dir);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    (void)unlink(file);
    return rmdir(dir);
}

static void empty(uint64_t size)
{
    (void)unlink(file);
    auto_close int fd = open(file, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
}

static void formatted(const char *type, uint64_t size)
{
    struct error err;
    empty(size);
    auto_close int fd = open(file, O_RDWR | O_CLOEXEC);
    if (fs_format(fs_find(type), "", fd, dir, clock_in_ms(LIMIT_MS), &err) < 0)
        fail_msg("%s: %s", type, err.msg);
}

static void runs(const char *const *argv)
{
    const struct command cmd = { .argv = argv, .keep_fd = -1, .deadline = clock_in_ms(LIMIT_MS) };
    struct command_output out;
    struct error err = { 0 };
    int rc = command_run(&cmd, &out, &err);
    if (rc != 0)
        fail_msg("%s: %d %s %s", argv[0], rc, err.msg, out.text);
}

static void uuid_of(char uuid[static 64])
{
    struct device_probe found = { 0 };
    struct error err;
    auto_close int fd = open(file, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    if (probe_fd(fd, &found, &err) < 0)
        fail_msg("%s", err.msg);
    (void)snprintf(uuid, 64, "%s", found.uuid);
}

static int check(const char *type, enum fs_care care, struct error *err)
{
    *err = (struct error){ 0 };
    return fs_check(fs_find(type), file, care, clock_in_ms(LIMIT_MS), err);
}

static struct device *helper(void)
{
    struct device *d = NULL;
    struct error err;
    if (device_start(&d, &err) < 0)
        fail_msg("%s", err.msg);
    return d;
}

/* device_probe_ahead: the answer is for device_probe, and for nobody else. */
static void is_looked_at_while_the_caller_does_something_else(void **state)
{
    const moment limit = clock_in_ms(LIMIT_MS);
    struct device_probe found;
    struct error err = { 0 };
    char absent[80];
    (void)state;
    (void)snprintf(absent, sizeof absent, "%s/absent", dir);
    formatted("ext4", EXT4_SIZE);
    struct device *d = helper();
    device_probe_ahead(d, file, limit);
    if (device_probe(d, file, limit, &found, &err) < 0)
        fail_msg("%s", err.msg);
    assert_string_equal(found.type, "ext4");
    assert_int_equal(device_probe(d, absent, limit, &found, &err), -ENODEV);
    device_probe_ahead(d, file, limit);
    device_end(d);
    d = helper();
    assert_int_equal(device_probe(d, absent, limit, &found, &err), -ENODEV);
    device_probe_ahead(d, absent, limit);
    assert_int_equal(device_probe(d, absent, limit, &found, &err), -ENODEV);
    assert_non_null(strstr(err.msg, absent));
    device_end(d);
}

static void each_kind_gets_a_uuid_of_its_own(void **state)
{
    static const struct {
        const char *type;
        uint64_t size;
    } kinds[] = { { "ext4", EXT4_SIZE }, { "xfs", 320 * MIB }, { "btrfs", 128 * MIB } };
    (void)state;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        char before[64], after[64];
        bool renewed = false;
        struct error err = { 0 };
        formatted(kinds[i].type, kinds[i].size);
        uuid_of(before);
        if (renew_uuid(fs_find(kinds[i].type), file, clock_in_ms(LIMIT_MS), &renewed, &err) < 0)
            fail_msg("%s: %s", kinds[i].type, err.msg);
        assert_true(renewed);
        uuid_of(after);
        assert_int_equal(strlen(after), strlen(before));
        assert_string_not_equal(before, after);
    }
}

static void what_is_no_file_system_gets_none(void **state)
{
    static const char *const types[] = { "ext4", "xfs", "btrfs" };
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        bool renewed = true;
        struct error err = { 0 };
        empty(EXT4_SIZE);
        int rc = renew_uuid(fs_find(types[i]), file, clock_in_ms(LIMIT_MS), &renewed, &err);
        if (rc != -EIO || !strstr(err.msg, "cannot give the clone a uuid of its own") || renewed)
            fail_msg("%s: %d %s", types[i], rc, err.msg);
    }
    struct error err;
    bool renewed = true;
    (void)unlink(file);
    assert_int_equal(renew_uuid(fs_find("btrfs"), file, clock_in_ms(LIMIT_MS), &renewed, &err), -EIO);
    assert_non_null(strstr(err.msg, "cannot read the superblock"));
    assert_false(renewed);
}

/* Never but by a person, unless we know that it is of our own making. */
static void damage_is_told_and_mended_only_when_that_is_asked_for(void **state)
{
    const char *const damage[] = { "debugfs", "-w", "-R", "clri <2>", file, NULL };
    struct error err;
    (void)state;
    formatted("ext4", EXT4_SIZE);
    assert_int_equal(check("ext4", FS_USUAL, &err), 0);
    assert_int_equal(check("ext4", FS_WHOLE, &err), 0);
    runs(damage);
    assert_int_equal(check("ext4", FS_USUAL, &err),
                     0); /* it says that it is clean, and is taken at its word */
    assert_int_equal(check("ext4", FS_WHOLE, &err), -EUCLEAN);
    assert_non_null(strstr(err.msg, "the file system has errors that need a person"));
    assert_non_null(strstr(err.msg, "e2fsck said: "));
    assert_int_equal(check("ext4", FS_MEND, &err), 0);
    assert_int_equal(check("ext4", FS_WHOLE, &err), 0);
    empty(EXT4_SIZE);
    assert_int_equal(check("ext4", FS_USUAL, &err), -EIO);
    assert_non_null(strstr(err.msg, "e2fsck failed (8)"));
    assert_int_equal(check("xfs", FS_USUAL, &err), 0); /* its mount does that */
}

static bool says_clean(void)
{
    struct ext4_super super;
    struct error err;
    auto_close int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (ext4_read(fd, file, &super, &err) < 0)
        fail_msg("%s", err.msg);
    return super.clean;
}

/* Each of these is a reason for e2fsck to look. */
static void what_is_not_wholly_clean_is_checked(void **state)
{
    static const char *const requests[] = {
        "ssv state 0",         "ssv state 2",
        "ssv state 3",         "ssv state 5",
        "ssv last_orphan 12",  "ssv max_mnt_count 20",
        "ssv checkinterval 1", "ssv error_count 1",
        "feature mmp",         "feature needs_recovery",
    };
    (void)state;
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
        const char *const argv[] = { "debugfs", "-w", "-R", requests[i], file, NULL };
        formatted("ext4", EXT4_SIZE);
        assert_true(says_clean());
        runs(argv);
        if (says_clean())
            fail_msg("it is clean after '%s'", requests[i]);
    }
}

static void e2fsck_replays_the_journal_of_one_that_was_not_unmounted(void **state)
{
    const char *const died[] = { "debugfs", "-w", "-R", "feature needs_recovery", file, NULL };
    struct error err;
    (void)state;
    formatted("ext4", EXT4_SIZE);
    runs(died);
    assert_int_equal(check("ext4", FS_USUAL, &err), 0);
    assert_true(says_clean());
}

static uint32_t ext4_blocks(void)
{
    uint32_t n = 0;
    auto_close int fd = open(file, O_RDONLY | O_CLOEXEC);
    assert_int_equal(pread(fd, &n, sizeof n, 1024 + 4), sizeof n);
    return le32toh(n);
}

static void an_ext4_grows_to_its_device(void **state)
{
    struct error err = { 0 };
    (void)state;
    formatted("ext4", EXT4_SIZE);
    uint32_t before = ext4_blocks();
    assert_int_equal(truncate(file, 2 * EXT4_SIZE), 0);
    assert_int_equal(check("ext4", FS_WHOLE, &err), 0);
    if (grow_unmounted(file, clock_in_ms(LIMIT_MS), &err) < 0)
        fail_msg("%s", err.msg);
    assert_int_equal(ext4_blocks(), 2 * before);
    assert_int_equal(check("ext4", FS_WHOLE, &err), 0);
    empty(EXT4_SIZE);
    assert_int_equal(grow_unmounted(file, clock_in_ms(LIMIT_MS), &err), -EIO);
    assert_non_null(strstr(err.msg, "resize2fs failed (1)"));
}

static void what_cannot_be_asked_for_its_size_is_not_due(void **state)
{
    struct error err = { 0 };
    (void)state;
    empty(EXT4_SIZE);
    assert_int_equal(grow_is_due(fs_find("xfs"), file, &err), GROW_NOT_DUE); /* it grows mounted */
    assert_int_equal(grow_is_due(fs_find("ext4"), file, &err), -ENOTTY);
    assert_non_null(strstr(err.msg, "for its size"));
    (void)unlink(file);
    assert_int_equal(grow_is_due(fs_find("ext4"), file, &err), -ENODEV); /* -ENOENT is the cluster's word */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_looked_at_while_the_caller_does_something_else),
        cmocka_unit_test(each_kind_gets_a_uuid_of_its_own),
        cmocka_unit_test(what_is_no_file_system_gets_none),
        cmocka_unit_test(damage_is_told_and_mended_only_when_that_is_asked_for),
        cmocka_unit_test(what_is_not_wholly_clean_is_checked),
        cmocka_unit_test(e2fsck_replays_the_journal_of_one_that_was_not_unmounted),
        cmocka_unit_test(an_ext4_grows_to_its_device),
        cmocka_unit_test(what_cannot_be_asked_for_its_size_is_not_due),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
