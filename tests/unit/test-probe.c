/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/command.h"
#include "cmocka-headers.h"
#include "host/probe.h"

#define MIB (1024 * 1024)

static int sparse(off_t size)
{
    int fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, size), 0);
    return fd;
}

static struct device_probe probed(int fd)
{
    struct device_probe p;
    struct error err = { 0 };
    if (probe_fd(fd, &p, &err) != 0)
        fail_msg("%s", err.msg);
    return p;
}

static void run(int fd, const char *const *argv)
{
    struct command_output out;
    struct error err = { 0 };
    const struct command cmd = { .argv = argv, .keep_fd = fd, .deadline = clock_in_ms(60000) };
    if (command_run(&cmd, &out, &err) != 0)
        fail_msg("%s: %s %s", argv[0], err.msg, out.text);
}

#define SELF         "/proc/self/fd/3"
#define RUN(fd, ...) run(fd, (const char *const[]){ __VA_ARGS__, NULL })

static void empty(void **state)
{
    (void)state;
    auto_close int fd = sparse(64 * MIB);
    struct device_probe p = probed(fd);
    assert_int_equal(p.found, PROBE_EMPTY);
    assert_string_equal(p.type, "");
    assert_int_equal(p.block_size, 4096);
}

static void file_systems(void **state)
{
    (void)state;
    auto_close int fd = sparse(400 * MIB);
    RUN(fd, "mkfs.ext4", "-Fq", "-b", "1024", SELF);
    struct device_probe p = probed(fd);
    assert_int_equal(p.found, PROBE_FS);
    assert_string_equal(p.type, "ext4");
    assert_int_equal(p.block_size, 512);
    assert_int_equal(strlen(p.uuid), 36);
    RUN(fd, "mkfs.ext4", "-Fq", "-b", "4096", SELF);
    assert_int_equal(probed(fd).block_size, 4096);
    RUN(fd, "mkfs.xfs", "-qf", "-s", "size=512", SELF);
    p = probed(fd);
    assert_int_equal(p.found, PROBE_FS);
    assert_string_equal(p.type, "xfs");
    assert_int_equal(p.block_size, 512);
    RUN(fd, "mkfs.xfs", "-qf", "-s", "size=4096", SELF);
    assert_int_equal(probed(fd).block_size, 4096);
    RUN(fd, "mkfs.btrfs", "-qf", SELF);
    p = probed(fd);
    assert_int_equal(p.found, PROBE_FS);
    assert_string_equal(p.type, "btrfs");
    assert_int_equal(p.block_size, 4096);
}

static void others(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
        off_t at;
        const char *type;
    } signs[] = {
        { "LUKS\xba\xbe\0\1", 8, 0, "crypto_LUKS" },
        { "LABELONE\1\0\0\0\0\0\0\0\0\0\0\0\40\0\0\0LVM2 001", 32, 512, "LVM2_member" },
        { NULL, 0, 0, NULL },
    };
    (void)state;
    for (size_t i = 0; signs[i].type; i++) {
        auto_close int fd = sparse(64 * MIB);
        assert_int_equal(pwrite(fd, signs[i].bytes, signs[i].len, signs[i].at), (ssize_t)signs[i].len);
        struct device_probe p = probed(fd);
        assert_int_equal(p.found, PROBE_OTHER);
        assert_non_null(strstr(p.type, signs[i].type));
    }
    auto_close int swap = sparse(64 * MIB);
    RUN(swap, "mkswap", SELF);
    assert_int_equal(probed(swap).found, PROBE_OTHER);
    assert_string_equal(probed(swap).type, "swap");
}

/* A DOS partition table with one Linux partition. */
static void write_table(int fd)
{
    static const unsigned char entry[] = {
        0, 0x20, 0x21, 0, 0x83, 0x28, 0x20, 0x08, 0, 8, 0, 0, 0, 0xf8, 1, 0
    };
    assert_int_equal(pwrite(fd, entry, sizeof entry, 446), sizeof entry);
    assert_int_equal(pwrite(fd, "\x55\xaa", 2, 510), 2);
}

static void partition_table(void **state)
{
    (void)state;
    auto_close int fd = sparse(64 * MIB);
    write_table(fd);
    struct device_probe p = probed(fd);
    assert_int_equal(p.found, PROBE_OTHER);
    assert_string_equal(p.type, "dos");
}

static void more_than_one(void **state)
{
    (void)state;
    auto_close int fd = sparse(400 * MIB);
    RUN(fd, "mkfs.btrfs", "-qf", SELF);
    auto_close int other = sparse(400 * MIB);
    RUN(other, "mkfs.ext4", "-Fq", SELF);
    char super[1024];
    assert_int_equal(pread(other, super, sizeof super, 1024), sizeof super);
    assert_int_equal(pwrite(fd, super, sizeof super, 1024), sizeof super);
    assert_int_equal(probed(fd).found, PROBE_AMBIGUOUS);
    write_table(other);
    assert_int_equal(probed(other).found, PROBE_AMBIGUOUS);
}

/* libblkid passes over a superblock with a wrong checksum: "nothing found" would be an invitation to format.
 */
static void damaged_is_not_empty(void **state)
{
    (void)state;
    static const char label[] = "LABELONE\1\0\0\0\0\0\0\0bad!\40\0\0\0LVM2 001";
    auto_close int fd = sparse(64 * MIB);
    assert_int_equal(pwrite(fd, label, 32, 512), 32);
    assert_int_equal(probed(fd).found, PROBE_OTHER);
    assert_string_equal(probed(fd).type, "LVM2_member (damaged)");
}

static void unreadable_is_not_empty(void **state)
{
    struct device_probe p;
    struct error err = { 0 };
    (void)state;
    auto_close int fd = open("/tmp", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
    assert_int_equal(ftruncate(fd, 64 * MIB), 0);
    assert_true(probe_fd(fd, &p, &err) < 0);
    assert_true(err.code < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty),
        cmocka_unit_test(file_systems),
        cmocka_unit_test(others),
        cmocka_unit_test(partition_table),
        cmocka_unit_test(more_than_one),
        cmocka_unit_test(damaged_is_not_empty),
        cmocka_unit_test(unreadable_is_not_empty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
