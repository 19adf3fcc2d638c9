/* SPDX-License-Identifier: MIT */
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
#include "host/fs.h"
#include "host/probe.h"

#define MIB (1024ULL * 1024)
#define GIB (1024 * MIB)

static const char *const types[] = { "xfs", "ext4", "btrfs" };

static char dir[] = "/var/tmp/test-fs.XXXXXX";

static int make_dir(void **state)
{
    (void)state;
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    (void)state;
    return rmdir(dir); /* fails if a scratch file had kept a name */
}

static void knows_its_file_systems(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        assert_string_equal(fs_find(types[i])->name, types[i]);
        assert_non_null(strstr(fs_names(), types[i]));
    }
    assert_null(fs_find("ntfs"));
    assert_null(fs_find(""));
}

static void names_the_least_size(void **state)
{
    struct error err = { 0 };
    (void)state;
    assert_int_equal(fs_check_size(fs_find("xfs"), 300 * MIB, &err), 0);
    assert_int_equal(fs_check_size(fs_find("xfs"), 300 * MIB - 1, &err), -EINVAL);
    assert_int_equal(fs_check_size(fs_find("xfs"), 100 * MIB, &err), -EINVAL);
    assert_non_null(strstr(err.msg, "100 MiB"));
    assert_non_null(strstr(err.msg, "300 MiB"));
    assert_non_null(strstr(err.msg, "fstype=ext4"));
    assert_int_equal(fs_check_size(fs_find("ext4"), 1 * MIB, &err), -EINVAL);
    assert_null(strstr(err.msg, "fstype="));
}

struct sum {
    uint64_t bytes, last;
    unsigned pieces;
};

static int add(void *arg, const char *bytes, size_t len, uint64_t offset, struct error *err)
{
    struct sum *s = arg;
    (void)err;
    assert_in_range(len, 1, 65536);
    assert_true(offset >= s->last);
    assert_int_equal(offset / 65536, (offset + len - 1) / 65536);
    bool any = false;
    for (size_t i = 0; i < len && !any; i++)
        any = bytes[i] != '\0';
    assert_true(any);
    s->bytes += len;
    s->last = offset + len;
    s->pieces++;
    return 0;
}

/* Makes a file system in a scratch file; returns what fs_extents gave of it. */
static struct sum made(const char *type, const char *options, uint64_t size)
{
    struct error err = { 0 };
    struct sum sum = { 0 };
    struct stat st;
    int fd = -1;
    if (fs_make(fs_find(type), options, size, dir, clock_in_ms(60000), &fd, &err) != 0)
        fail_msg("%s: %s", type, err.msg);
    auto_close int scratch = fd;
    assert_int_equal(fstat(scratch, &st), 0);
    assert_int_equal(st.st_size, size);
    assert_int_equal(st.st_nlink, 0);
    assert_int_equal(fs_extents(scratch, add, &sum, &err), 0);
    struct device_probe probe;
    assert_int_equal(probe_fd(scratch, &probe, &err), 0);
    assert_int_equal(probe.found, PROBE_FS);
    assert_string_equal(probe.type, type);
    assert_int_equal(probe.block_size, 4096);
    return sum;
}

static void makes_each_file_system(void **state)
{
    (void)state;
    if (getuid() != 0)
        skip();
    for (size_t i = 0; i < 3; i++) {
        struct sum sum = made(types[i], "", 20 * GIB);
        print_message("%s of 20 GiB: %llu KiB in %u pieces\n", types[i], (unsigned long long)sum.bytes >> 10,
                      sum.pieces);
        assert_in_range(sum.bytes, 100 << 10, 5 << 20); /* no log, no inode tables: those are zeros */
    }
}

static void makes_the_least_sizes(void **state)
{
    (void)state;
    if (getuid() != 0)
        skip();
    for (size_t i = 0; i < 3; i++)
        (void)made(types[i], "", fs_find(types[i])->min_size);
}

static void takes_every_kind_of_option(void **state)
{
    (void)state;
    if (getuid() != 0)
        skip();
    (void)made("ext4", "-m+1+-i+65536+-O+^64bit+-O+quota+-L+data", GIB);
    (void)made("xfs", "-m+reflink=0+-i+size=1024+-d+agcount=8+-L+data", GIB);
    (void)made("btrfs", "-m+single+-n+32k+--csum+xxhash", GIB);
}

static void tells_why_mkfs_refused(void **state)
{
    struct error err = { 0 };
    int fd;
    (void)state;
    if (getuid() != 0)
        skip();
    assert_int_equal(fs_make(fs_find("ext4"), "-I+7", GIB, dir, clock_in_ms(60000), &fd, &err), -EINVAL);
    assert_non_null(strstr(err.msg, "inode size"));
    assert_null(strstr(err.msg, "/proc/self"));
    assert_int_equal(fs_make(fs_find("ext4"), "-b+1024", GIB, dir, clock_in_ms(60000), &fd, &err), -EINVAL);
    assert_int_equal(fs_make(fs_find("xfs"), "", 100 * MIB, dir, clock_in_ms(60000), &fd, &err), -EINVAL);
}

static void tells_what_the_scratch_directory_lacks(void **state)
{
    struct error err = { 0 };
    int fd;
    (void)state;
    if (getuid() != 0)
        skip();
    assert_int_equal(fs_make(fs_find("ext4"), "", GIB, "/nonexistent", clock_in_ms(60000), &fd, &err),
                     -ENOTDIR);
    assert_non_null(strstr(err.msg, "scratch-dir"));
    assert_int_equal(fs_make(fs_find("xfs"), "", 1ULL << 62, dir, clock_in_ms(60000), &fd, &err), -EFBIG);
    assert_non_null(strstr(err.msg, "scratch-dir"));
}

static void stops_mkfs_at_the_deadline(void **state)
{
    struct error err = { 0 };
    int fd;
    (void)state;
    if (getuid() != 0)
        skip();
    assert_int_equal(fs_make(fs_find("ext4"), "", 20 * GIB, dir, clock_now(), &fd, &err), -ETIMEDOUT);
}

struct image {
    char *bytes;
    unsigned pieces;
};

static int put(void *arg, const char *bytes, size_t len, uint64_t offset, struct error *err)
{
    struct image *image = arg;
    (void)err;
    memcpy(image->bytes + offset, bytes, len);
    image->pieces++;
    return 0;
}

static void extents_copy_every_byte(void **state)
{
    enum { SIZE = 1 << 20 };
    struct error err = { 0 };
    auto_free char *want = calloc(1, SIZE), *got = calloc(1, SIZE);
    (void)state;
    auto_close int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    assert_true(fd >= 0 && want && got);
    /* across a piece's border; the last byte; a page of written zeros; a piece with zeros at both ends */
    memset(want + 65530, 'a', 20);
    want[SIZE - 1] = 'z';
    want[3 * 65536 + 20000] = 'm';
    assert_int_equal(pwrite(fd, want + 65530, 20, 65530), 20);
    assert_int_equal(pwrite(fd, want + SIZE - 1, 1, SIZE - 1), 1);
    assert_int_equal(pwrite(fd, want + 3 * 65536, 65536, 3 * 65536), 65536);
    assert_int_equal(pwrite(fd, want + 600000, 4096, 600000), 4096);
    struct image image = { .bytes = got };
    assert_int_equal(fs_extents(fd, put, &image, &err), 0);
    assert_memory_equal(got, want, SIZE);
    assert_int_equal(image.pieces, 4);
}

static int refuse(void *arg, const char *bytes, size_t len, uint64_t offset, struct error *err)
{
    unsigned *calls = arg;
    (void)bytes;
    (void)len;
    (void)offset;
    ++*calls;
    return error_set(err, -EDQUOT, "no more");
}

static void extents_end_when_told(void **state)
{
    struct error err = { 0 };
    unsigned calls = 0;
    (void)state;
    auto_close int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    assert_int_equal(pwrite(fd, "x", 1, 0), 1);
    assert_int_equal(pwrite(fd, "x", 1, 200000), 1);
    assert_int_equal(fs_extents(fd, refuse, &calls, &err), -EDQUOT);
    assert_int_equal(calls, 1);
    assert_string_equal(err.msg, "no more");
}

static int over_noise(void *arg, const char *bytes, size_t len, uint64_t offset, struct error *err)
{
    (void)err;
    assert_in_range(len, 1, 65536);
    assert_int_equal(pwrite(*(int *)arg, bytes, len, (off_t)offset), len);
    return 0;
}

/* As on an encrypted image: what mkfs counts on to be zeros must have been written. */
static void what_is_written_is_whole_on_noise(void **state)
{
    static const char *const checks[][5] = { { "xfs_repair", "-n", NULL },
                                             { "e2fsck", "-f", "-n", NULL },
                                             { "btrfs", "check", NULL } };
    static const char *const kinds[] = { "xfs", "ext4", "btrfs" };
    static char noise[1 << 20];
    (void)state;
    if (getuid() != 0)
        skip();
    memset(noise, 0xa5, sizeof noise);
    for (size_t i = 0; i < 3; i++) {
        char path[4200];
        struct error err = { 0 };
        struct command_output out;
        const char *argv[6] = { NULL };
        size_t n = 0;
        int fd;
        (void)snprintf(path, sizeof path, "%s/noise", dir);
        auto_close int to = open(path, O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0600);
        for (off_t at = 0; at < 320 << 20; at += (off_t)sizeof noise)
            assert_int_equal(pwrite(to, noise, sizeof noise, at), sizeof noise);
        if (fs_make_written(fs_find(kinds[i]), "", 320 << 20, dir, clock_in_ms(60000), &fd, &err) != 0)
            fail_msg("%s: %s", kinds[i], err.msg);
        auto_close int scratch = fd;
        assert_int_equal(fs_extents_written(scratch, over_noise, &to, &err), 0);
        for (; checks[i][n]; n++)
            argv[n] = checks[i][n];
        argv[n] = path;
        const struct command cmd = { .argv = argv, .keep_fd = -1, .deadline = clock_in_ms(60000) };
        if (command_run(&cmd, &out, &err) != 0)
            fail_msg("%s: %s", kinds[i], out.text);
        assert_int_equal(unlink(path), 0);
    }
}

/* In how many of the groups of an ext4 of 4 KiB blocks would the kernel zero the inodes in the background? */
static unsigned groups_to_zero(int fd)
{
    static const size_t first = 4096, size = 64;
    unsigned left = 0;
    for (size_t i = 0; i < 20 * GIB / (128 * MIB); i++) {
        uint16_t flags; /* fs/ext4/ext4.h: bg_flags */
        assert_int_equal(pread(fd, &flags, sizeof flags, (off_t)(first + i * size + 0x12)), sizeof flags);
        left += !(le16toh(flags) & 0x4 /* EXT4_BG_INODE_ZEROED */);
    }
    return left;
}

static void nothing_is_left_to_be_zeroed(void **state)
{
    struct error err = { 0 };
    int fd;
    (void)state;
    if (getuid() != 0)
        skip();
    assert_int_equal(fs_make(fs_find("ext4"), "", 20 * GIB, dir, clock_in_ms(60000), &fd, &err), 0);
    auto_close int scratch = fd;
    assert_int_equal(groups_to_zero(scratch), 0);
    assert_int_equal(fs_make_written(fs_find("ext4"), "", 20 * GIB, dir, clock_in_ms(60000), &fd, &err), 0);
    auto_close int written = fd;
    assert_in_range(groups_to_zero(written), 100, 160);
}

static void an_old_mkfs_goes_without_what_it_does_not_know(void **state)
{
    struct fs old = *fs_find("ext4");
    struct error err = { 0 };
    int fd;
    (void)state;
    if (getuid() != 0)
        skip();
    old.zeroed_args = (const char *const[]){ "-E", "nodiscard,not_yet_invented=1", NULL };
    old.zeroed_word = "not_yet_invented";
    assert_int_equal(fs_make(&old, "", 20 * GIB, dir, clock_in_ms(60000), &fd, &err), 0);
    auto_close int scratch = fd;
    assert_in_range(groups_to_zero(scratch), 100, 160);
    assert_int_equal(fs_make(&old, "-I+7", GIB, dir, clock_in_ms(60000), &fd, &err), -EINVAL);
}

static void format_refuses_what_is_not_empty(void **state)
{
    struct error err = { 0 };
    int fd;
    (void)state;
    if (getuid() != 0)
        skip();
    assert_int_equal(fs_make(fs_find("xfs"), "", GIB, dir, clock_in_ms(60000), &fd, &err), 0);
    auto_close int scratch = fd;
    assert_int_equal(fs_format(fs_find("ext4"), "", scratch, dir, clock_in_ms(60000), &err), -EEXIST);
    assert_non_null(strstr(err.msg, "xfs"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_its_file_systems),
        cmocka_unit_test(names_the_least_size),
        cmocka_unit_test(makes_each_file_system),
        cmocka_unit_test(makes_the_least_sizes),
        cmocka_unit_test(nothing_is_left_to_be_zeroed),
        cmocka_unit_test(an_old_mkfs_goes_without_what_it_does_not_know),
        cmocka_unit_test(takes_every_kind_of_option),
        cmocka_unit_test(tells_why_mkfs_refused),
        cmocka_unit_test(tells_what_the_scratch_directory_lacks),
        cmocka_unit_test(stops_mkfs_at_the_deadline),
        cmocka_unit_test(extents_copy_every_byte),
        cmocka_unit_test(extents_end_when_told),
        cmocka_unit_test(what_is_written_is_whole_on_noise),
        cmocka_unit_test(format_refuses_what_is_not_empty),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
