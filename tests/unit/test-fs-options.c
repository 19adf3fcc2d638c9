/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "cmocka-headers.h"
#include "host/fs.h"

struct row {
    const char *fs, *options;
    bool good;
};

static void check_rows(const struct row *rows, size_t n,
                       int (*check)(const struct fs *, const char *, struct error *))
{
    for (size_t i = 0; i < n; i++) {
        struct error err = { 0 };
        int rc = check(fs_find(rows[i].fs), rows[i].options, &err);
        if (rc != (rows[i].good ? 0 : -EINVAL))
            fail_msg("%s '%s': %d %s", rows[i].fs, rows[i].options, rc, err.msg);
    }
}

static void mkfs_options(void **state)
{
    static const struct row rows[] = {
        { "ext4", "", true },
        { "ext4", "-m+0", true },
        { "ext4", "-m+1+-i+65536+-O+^64bit+-O+quota", true },
        { "ext4", "-T+largefile", true },
        { "ext4", "-L+data-1", true },
        { "ext4", "-J+size=64", true },
        { "xfs", "-m+reflink=0+-i+size=1024", true },
        { "xfs", "-d+agcount=8+-l+size=64m", true },
        { "btrfs", "-m+single+-d+dup+-n+32k", true },
        { "btrfs", "--csum+xxhash", true },
        /* devices and paths */
        { "ext4", "/dev/sda", false },
        { "ext4", "-m+0+/dev/sda", false },
        { "ext4", "victim", false },
        { "btrfs", "-m+single+victim", false },
        { "xfs", "-l+logdev=/dev/sda", false },
        { "xfs", "-d+name=/dev/sda", false },
        { "xfs", "-r+rtdev=/dev/sda", false },
        { "xfs", "-p+/etc/passwd", false },
        { "xfs", "-c+options=/etc/passwd", false },
        { "ext4", "-d+/etc", false },
        { "ext4", "-J+device=/dev/sda", false },
        { "ext4", "-l+/etc/passwd", false },
        { "ext4", "-z+/tmp/undo", false },
        { "btrfs", "-r+/etc", false },
        { "btrfs", "--rootdir+/etc", false },
        /* what is forced */
        { "ext4", "-b+1024", false },
        { "ext4", "-F", false },
        { "ext4", "-E+discard", false },
        { "ext4", "-n", false },
        { "xfs", "-s+size=512", false },
        { "xfs", "-b+size=1024", false },
        { "xfs", "-N", false },
        { "xfs", "-d+size=1g", false },
        { "btrfs", "-s+4096", false },
        { "btrfs", "-b+1g", false },
        /* grammar */
        { "ext4", "+", false },
        { "ext4", "-m", false },
        { "ext4", "-m+", false },
        { "ext4", "-m++0", false },
        { "ext4", "-m+0+", false },
        { "ext4", "+-m+0", false },
        { "ext4", "-m0", false },
        { "ext4", "-m 0", false },
        { "ext4", "-m+0x", false },
        { "ext4", "-m+-1", false },
        { "ext4", "-m+1234567890123456", false },
        { "ext4", "-L+-x", false },
        { "ext4", "-L+thirteenchars", false },
        { "ext4", "-L+a/b", false },
        { "ext4", "-O+journal_dev", false },
        { "ext4", "-O+^has_journal", false },
        { "ext4", "-O+quota,project", false },
        { "xfs", "-m+reflink=2", false },
        { "xfs", "-m+reflink=", false },
        { "xfs", "-m+reflink", false },
        { "xfs", "-m+reflink=0,crc=0", false },
        { "btrfs", "-m+raid1", false },
        { "btrfs", "-O+zoned", false },
        { "btrfs", "-m+singl", false },
        { "btrfs", "-m+singles", false },
    };
    (void)state;
    check_rows(rows, sizeof rows / sizeof *rows, fs_check_mkfs_options);
}

static void mount_options(void **state)
{
    static const struct row rows[] = {
        { "ext4", "", true },
        { "ext4", "noatime+nodev+nosuid", true },
        { "ext4", "data=journal+commit=30", true },
        { "xfs", "nouuid+allocsize=64m", true },
        { "xfs", "prjquota+discard", true },
        { "btrfs", "compress=zstd:3+ssd", true },
        { "btrfs", "space_cache=v2", true },
        { "xfs", "suid+dev+exec", true },
        { "ext4", "errors=panic", false },
        { "ext4", "journal_path=/dev/sda", false },
        { "ext4", "journal_dev=1", false },
        { "ext4", "data=writeback", false },
        { "xfs", "logdev=/dev/sda", false },
        { "xfs", "rtdev=/dev/sda", false },
        { "btrfs", "device=/dev/sda", false },
        { "btrfs", "subvol=x", false },
        { "ext4", "nouuid", false },
        { "xfs", "commit=5", false },
        { "ext4", "bind", false },
        { "ext4", "loop", false },
        { "ext4", "remount", false },
        { "ext4", "noatime,dev", false },
        { "ext4", "noatime dev", false },
        { "ext4", "noatime++dev", false },
        { "ext4", "X-mount.mkdir", false },
        { "ext4", "x-systemd.automount", false },
        { "ext4", "context=x", false },
        { "ext4", "commit=", false },
        { "ext4", "noatim", false },
    };
    (void)state;
    check_rows(rows, sizeof rows / sizeof *rows, fs_check_mount_options);
}

static void messages_name_the_word_and_the_allowed_ones(void **state)
{
    struct error err = { 0 };
    (void)state;
    assert_int_equal(fs_check_mkfs_options(fs_find("xfs"), "-m+reflink=2", &err), -EINVAL);
    assert_non_null(strstr(err.msg, "'-m reflink=2'"));
    assert_non_null(strstr(err.msg, "reflink=0|1"));
    assert_int_equal(fs_check_mkfs_options(fs_find("ext4"), "/dev/sda", &err), -EINVAL);
    assert_non_null(strstr(err.msg, "'/dev/sda'"));
    assert_non_null(strstr(err.msg, "-m -i"));
    assert_int_equal(fs_check_mount_options(fs_find("xfs"), "bind", &err), -EINVAL);
    assert_non_null(strstr(err.msg, "'bind'"));
    assert_non_null(strstr(err.msg, "nouuid"));
    assert_non_null(strstr(err.msg, "noatime"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mkfs_options),
        cmocka_unit_test(mount_options),
        cmocka_unit_test(messages_name_the_word_and_the_allowed_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
