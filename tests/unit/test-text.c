/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/imagename.h"
#include "base/text.h"
#include "cmocka-headers.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static void sizes(void **state)
{
    static const struct {
        const char *text;
        uint64_t bare, bytes;
    } good[] = {
        { "20G", 0, 20ULL << 30 },
        { "512M", 0, 512ULL << 20 },
        { "64k", 0, 64 << 10 },
        { "1T", 0, 1ULL << 40 },
        { "1t", 7, 1ULL << 40 },
        { "17", 1, 17 },
        { "100", 1 << 20, 100 << 20 },
        { "0001K", 0, 1024 },
        { "8388607T", 0, 8388607ULL << 40 },
        { "9223372036854775807", 1, INT64_MAX },
    };
    static const char *const bad[] = { "",
                                       "0",
                                       "0G",
                                       "-1",
                                       "+1G",
                                       " 1G",
                                       "1G ",
                                       "1.5G",
                                       "1GB",
                                       "1Gi",
                                       "G",
                                       "1 G",
                                       "0x1",
                                       "1P",
                                       "1e3",
                                       "१",
                                       "8388608T",
                                       "9223372036854775808",
                                       "99999999999999999999999",
                                       "1\n" };
    uint64_t n;
    (void)state;
    for (size_t i = 0; i < COUNT(good); i++) {
        assert_int_equal(text_parse_size(good[i].text, good[i].bare, &n), 0);
        assert_int_equal(n, good[i].bytes);
    }
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_int_equal(text_parse_size(bad[i], 1, &n), -EINVAL);
    assert_int_equal(text_parse_size("12", 0, &n), -EINVAL);
}

static void durations(void **state)
{
    static const struct {
        const char *text;
        int64_t ms;
    } good[] = { { "500ms", 500 },
                 { "5s", 5000 },
                 { "2m", 120000 },
                 { "1h", 3600000 },
                 { "7d", 604800000 },
                 { "0s", 0 },
                 { "106751d", 106751LL * 86400000 } };
    static const char *const bad[] = { "",     "5",    "s",  "5 s",     "-5s",
                                       "5sec", "1.5s", "5S", "106752d", "99999999999999999999s" };
    int64_t ms;
    (void)state;
    for (size_t i = 0; i < COUNT(good); i++) {
        assert_int_equal(text_parse_duration(good[i].text, &ms), 0);
        assert_int_equal(ms, good[i].ms);
    }
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_int_equal(text_parse_duration(bad[i], &ms), -EINVAL);
}

static void numbers(void **state)
{
    uint32_t n;
    (void)state;
    assert_int_equal(text_parse_u32("0", 5, &n), 0);
    assert_int_equal(n, 0);
    assert_int_equal(text_parse_u32("5", 5, &n), 0);
    assert_int_equal(n, 5);
    assert_int_equal(text_parse_u32("4294967295", UINT32_MAX, &n), 0);
    assert_int_equal(n, UINT32_MAX);
    assert_int_equal(text_parse_u32("4294967296", UINT32_MAX, &n), -EINVAL);
    assert_int_equal(text_parse_u32("6", 5, &n), -EINVAL);
    assert_int_equal(text_parse_u32("9", 5, &n), -EINVAL);
    assert_int_equal(text_parse_u32("1", 0, &n), -EINVAL);
    assert_int_equal(text_parse_u32("", 5, &n), -EINVAL);
    assert_int_equal(text_parse_u32("-1", 5, &n), -EINVAL);
    assert_int_equal(text_parse_u32("1 ", 5, &n), -EINVAL);
}

static void modes(void **state)
{
    uint32_t mode;
    (void)state;
    assert_int_equal(text_parse_mode("755", &mode), 0);
    assert_int_equal(mode, 0755);
    assert_int_equal(text_parse_mode("0755", &mode), 0);
    assert_int_equal(mode, 0755);
    assert_int_equal(text_parse_mode("2770", &mode), 0);
    assert_int_equal(mode, 02770);
    assert_int_equal(text_parse_mode("7777", &mode), 0);
    assert_int_equal(text_parse_mode("10000", &mode), -EINVAL);
    assert_int_equal(text_parse_mode("8", &mode), -EINVAL);
    assert_int_equal(text_parse_mode("", &mode), -EINVAL);
    assert_int_equal(text_parse_mode("u=rwx", &mode), -EINVAL);
}

static void names(void **state)
{
    char name[NAME_PART_MAX + 2];
    (void)state;
    assert_true(text_is_name("a"));
    assert_true(text_is_name("0a_B.c-d"));
    assert_false(text_is_name(""));
    assert_false(text_is_name("."));
    assert_false(text_is_name(".."));
    assert_false(text_is_name("-a"));
    assert_false(text_is_name("_a"));
    assert_false(text_is_name("a/b"));
    assert_false(text_is_name("a b"));
    assert_false(text_is_name("a\n"));
    assert_false(text_is_name("ä"));
    assert_false(text_is_name("a+b"));
    memset(name, 'x', sizeof name);
    name[NAME_PART_MAX] = '\0';
    assert_true(text_is_name(name));
    name[NAME_PART_MAX] = 'x';
    name[NAME_PART_MAX + 1] = '\0';
    assert_false(text_is_name(name));
}

static void shows_sizes(void **state)
{
    char buf[32];
    (void)state;
    assert_string_equal(text_size(20ULL << 30, buf), "20 GiB");
    assert_string_equal(text_size(1536, buf), "1536 B");
    assert_string_equal(text_size(100 << 10, buf), "100 KiB");
    assert_string_equal(text_size(0, buf), "0 B");
    assert_string_equal(text_size(1ULL << 50, buf), "1024 TiB");
    assert_string_equal(text_size(UINT64_MAX, buf), "18446744073709551615 B");
}

static void hex(void **state)
{
    (void)state;
    assert_true(text_is_hex("0af9", 4));
    assert_false(text_is_hex("0af", 4));
    assert_false(text_is_hex("0af90", 4));
    assert_false(text_is_hex("0AF9", 4));
    assert_true(text_is_hex("", 0));
}

static void printable(void **state)
{
    static const struct {
        const char *in, *out;
    } cases[] = {
        { "plain", "plain" },
        { "a\nb\tc\x7f\x1b[1m", "a?b?c??[1m" },
        { "grüße €20 😀", "grüße €20 😀" },
        { "cut \xe2\x82", "cut ??" },
        { "stray \x80 \xff", "stray ? ?" },
        { "overlong \xc0\xaf", "overlong ??" },
        { "overlong \xe0\x80\xaf", "overlong ???" },
        { "surrogate \xed\xa0\x80", "surrogate ???" },
        { "too far \xf4\x90\x80\x80", "too far ????" },
        { "c1 \xc2\x9b", "c1 ??" },
        { "turned \u202egnp.exe", "turned ???gnp.exe" },
        { "marks \u200e\u200f\u2066\u2069 \u200d", "marks ???????????? \u200d" },
        { "line \u2028 \u2029", "line ??? ???" },
        { "", "" },
    };
    char buf[64];
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        (void)snprintf(buf, sizeof buf, "%s", cases[i].in);
        text_printable(buf);
        assert_string_equal(buf, cases[i].out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes), cmocka_unit_test(durations), cmocka_unit_test(numbers),
        cmocka_unit_test(modes), cmocka_unit_test(names),     cmocka_unit_test(shows_sizes),
        cmocka_unit_test(hex),   cmocka_unit_test(printable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
