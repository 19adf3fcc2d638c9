/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "cmocka-headers.h"
#include "host/mountinfo.h"

static void parses_a_line(void **state)
{
    struct mount_entry e;
    (void)state;
    assert_int_equal(
        mountinfo_parse("61 28 7:3 /sub /mnt/db rw,noatime shared:17 master:2 - ext4 /dev/loop3 rw\n", &e),
        0);
    assert_int_equal(e.id, 61);
    assert_int_equal(e.parent, 28);
    assert_int_equal(e.major, 7);
    assert_int_equal(e.minor, 3);
    assert_string_equal(e.root, "/sub");
    assert_string_equal(e.mountpoint, "/mnt/db");
    assert_string_equal(e.fstype, "ext4");
    assert_string_equal(e.source, "/dev/loop3");
    assert_true(e.shared);
    assert_true(e.slave);
}

static void undoes_escapes(void **state)
{
    struct mount_entry e;
    (void)state;
    assert_int_equal(mountinfo_parse("1 2 0:5 / /a\\040b\\011c\\134d\\012 rw - btrfs /dev/x\\040y rw", &e),
                     0);
    assert_string_equal(e.mountpoint, "/a b\tc\\d\n");
    assert_string_equal(e.source, "/dev/x y");
    assert_false(e.shared);
    assert_false(e.slave);
}

static void takes_an_empty_source(void **state)
{
    struct mount_entry e;
    (void)state;
    assert_int_equal(mountinfo_parse("1 2 0:5 / /x rw - tmpfs  rw", &e), 0);
    assert_string_equal(e.source, "");
}

static void refuses_what_is_no_line(void **state)
{
    static const char *const lines[] = {
        "",
        "\n",
        "x",
        "1",
        "1 2 3",
        "1 2 3:4 / /x rw",
        "1 2 3:4 / /x rw shared:1",
        "1 2 3:4 / /x rw - ext4",
        "1 2 3:4 / /x\\000y rw - a b c",
        "99999999999 2 3:4 / /x rw - a b c",
        "-1 2 3:4 / /x rw - a b c",
        "1 2 34 / /x rw - a b c",
    };
    struct mount_entry e;
    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        assert_int_equal(mountinfo_parse(lines[i], &e), -EINVAL);
}

static void refuses_too_long_a_path(void **state)
{
    struct mount_entry e;
    char line[PATH_MAX + 200], path[PATH_MAX + 1];
    (void)state;
    memset(path, 'x', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    (void)snprintf(line, sizeof line, "1 2 3:4 / %s rw - a b c", path);
    assert_int_equal(mountinfo_parse(line, &e), -EINVAL);
    path[PATH_MAX - 1] = '\0';
    (void)snprintf(line, sizeof line, "1 2 3:4 / %s rw - a b c", path);
    assert_int_equal(mountinfo_parse(line, &e), 0);
}

static void finds_proc(void **state)
{
    struct mount_entry e;
    struct error err = { 0 };
    (void)state;
    assert_int_equal(mountinfo_at("/proc", &e, &err), 1);
    assert_string_equal(e.fstype, "proc");
    assert_int_equal(mountinfo_at("/proc/self", &e, &err), 0);
    assert_int_equal(mountinfo_at("/pro", &e, &err), 0);
}

static void finds_the_topmost(void **state)
{
    char dir[] = "/tmp/test-mountinfo.XXXXXX";
    struct mount_entry e;
    struct error err = { 0 };
    (void)state;
    if (getuid() != 0)
        skip();
    assert_non_null(mkdtemp(dir));
    assert_int_equal(mount("below", dir, "tmpfs", 0, NULL), 0);
    assert_int_equal(mount("above", dir, "tmpfs", 0, NULL), 0);
    int found = mountinfo_at(dir, &e, &err);
    assert_int_equal(umount2(dir, UMOUNT_NOFOLLOW), 0);
    assert_int_equal(umount2(dir, UMOUNT_NOFOLLOW), 0);
    assert_int_equal(found, 1);
    assert_string_equal(e.source, "above");
    assert_int_equal(mountinfo_at(dir, &e, &err), 0);
    assert_int_equal(rmdir(dir), 0);
}

static void misses_a_process(void **state)
{
    struct error err = { 0 };
    struct mount_entry e;
    (void)state;
    assert_int_equal(mountinfo_each("4194305", NULL, &e, &err), -ESRCH);
    assert_int_equal(err.code, -ESRCH);
}

static void knows_btrfs_by_its_source(void **state)
{
    struct mount_entry e;
    (void)state;
    assert_int_equal(mountinfo_parse("1 2 0:44 / /x rw - btrfs /dev/loop3 rw", &e), 0);
    assert_true(mountinfo_is_on(&e, 7, 3, "/dev/loop3"));
    assert_false(mountinfo_is_on(&e, 7, 31, "/dev/loop31"));
    assert_int_equal(mountinfo_parse("1 2 0:44 / /x rw - tmpfs /dev/loop3 rw", &e), 0);
    assert_false(mountinfo_is_on(&e, 7, 3, "/dev/loop3"));
    assert_int_equal(mountinfo_parse("1 2 7:3 / /x rw - xfs /dev/root rw", &e), 0);
    assert_true(mountinfo_is_on(&e, 7, 3, "/dev/loop3"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parses_a_line),
        cmocka_unit_test(undoes_escapes),
        cmocka_unit_test(takes_an_empty_source),
        cmocka_unit_test(refuses_what_is_no_line),
        cmocka_unit_test(refuses_too_long_a_path),
        cmocka_unit_test(finds_proc),
        cmocka_unit_test(finds_the_topmost),
        cmocka_unit_test(misses_a_process),
        cmocka_unit_test(knows_btrfs_by_its_source),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
