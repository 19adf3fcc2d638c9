/* SPDX-License-Identifier: MIT */
/* What an image says of itself as ext4, however damaged. */
#include "cmocka-headers.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "host/ext4.h"

#define SUPER 1024

/* 1 GiB in blocks of 4 KiB, as mkfs.ext4 makes it, as far as we read it. */
static const struct field {
    size_t at, size;
    uint32_t value;
} sane[] = {
    { 0x04, 4, 262144 }, { 0x18, 4, 2 },   { 0x20, 4, 32768 }, { 0x28, 4, 8192 }, { 0x36, 2, 0xFFFF },
    { 0x38, 2, 0xEF53 }, { 0x3A, 2, 1 },   { 0x58, 2, 256 },   { 0x5C, 4, 0x3C }, { 0x60, 4, 0x2C2 },
    { 0x64, 4, 0x46B },  { 0xCE, 2, 127 }, { 0xFE, 2, 64 },
};

static void put(unsigned char *s, const struct field *f)
{
    for (size_t i = 0; i < f->size; i++)
        s[f->at + i] = (unsigned char)(f->value >> (8 * i));
}

/* With one field of another value. */
static int reads(const struct field *other, struct ext4_super *ret, struct error *err)
{
    unsigned char s[1024] = { 0 };
    auto_close int fd = memfd_create("ext4", MFD_CLOEXEC);
    for (size_t i = 0; i < sizeof sane / sizeof *sane; i++)
        put(s, &sane[i]);
    if (other)
        put(s, other);
    assert_int_equal(pwrite(fd, s, sizeof s, SUPER), sizeof s);
    return ext4_read(fd, "/dev/x", ret, err);
}

static void a_file_system_is_read(void **state)
{
    struct ext4_super e;
    struct error err;
    (void)state;
    assert_int_equal(reads(NULL, &e, &err), 0);
    assert_int_equal(e.blocks, 262144);
    assert_int_equal(e.block_size, 4096);
    assert_int_equal(e.reach, 128ULL * 64 * 32768); /* one block of descriptors, and 127 that are reserved */
    assert_true(e.clean && e.online);
}

static void what_cannot_be_counted_with_is_no_ext4(void **state)
{
    static const struct field wrong[] = {
        { 0x38, 2, 0xEF54 },
        { 0x18, 4, 7 },    /* blocks of 128 KiB */
        { 0xFE, 2, 4097 }, /* group descriptors larger than a block */
        { 0xFE, 2, 0xFFFF },
    };
    struct ext4_super e;
    struct error err;
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(reads(&wrong[i], &e, &err), -EUCLEAN);
        assert_non_null(strstr(err.msg, "/dev/x"));
    }
}

/* Every byte of it at its extremes: nothing that is divided by may become 0. */
static void no_byte_of_it_is_trusted(void **state)
{
    struct ext4_super e;
    struct error err;
    (void)state;
    for (size_t at = 0; at < 1024; at++)
        for (uint32_t value = 0; value <= 0xFF; value += 0xFF) {
            const struct field other = { at, 1, value };
            int rc = reads(&other, &e, &err);
            assert_true(rc == 0 || rc == -EUCLEAN);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_system_is_read),
        cmocka_unit_test(what_cannot_be_counted_with_is_no_ext4),
        cmocka_unit_test(no_byte_of_it_is_trusted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
