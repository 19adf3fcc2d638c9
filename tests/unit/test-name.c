/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "cmocka-headers.h"
#include "volume/name.h"

static char no_namespace[] = "", prod[] = "prod";
static const struct settings plain = { .ns = no_namespace }, in_prod = { .ns = prod };

static void parts_and_sizes_are_taken_apart(void **state)
{
    static const struct {
        const char *text, *pool, *ns, *image;
        uint64_t size;
    } rows[] = {
        { "db", "", "", "db", 0 },
        { "rbd/db", "rbd", "", "db", 0 },
        { "rbd/prod/db", "rbd", "prod", "db", 0 },
        { "db@1024", "", "", "db", 1ULL << 30 },
        { "db@1", "", "", "db", 1ULL << 20 },
        { "db@1K", "", "", "db", 1ULL << 10 },
        { "db@1m", "", "", "db", 1ULL << 20 },
        { "rbd/db@20G", "rbd", "", "db", 20ULL << 30 },
        { "rbd/prod/db@2T", "rbd", "prod", "db", 2ULL << 40 },
        { "db@8388607T", "", "", "db", 8388607ULL << 40 },
        { "0", "", "", "0", 0 },
        { "A_b.c-d", "", "", "A_b.c-d", 0 },
        { "a..b", "", "", "a..b", 0 },
        { "rbdvol", "", "", "rbdvol", 0 },
        { "rbdvolume.x", "", "", "rbdvolume.x", 0 },
        { "Rbdvol.x", "", "", "Rbdvol.x", 0 },
        { "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", "", "",
          "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", 0 },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct volume_name n;
        struct error err;
        if (name_parse(&plain, rows[i].text, &n, &err) < 0)
            fail_msg("'%s': %s", rows[i].text, err.msg);
        assert_string_equal(n.image.pool, rows[i].pool);
        assert_string_equal(n.image.ns, rows[i].ns);
        assert_string_equal(n.image.image, rows[i].image);
        assert_true(n.size == rows[i].size);
    }
}

static void the_namespace_of_the_settings_is_every_names_unless_it_says_another(void **state)
{
    struct volume_name n;
    struct error err;
    (void)state;
    assert_int_equal(name_parse(&in_prod, "db", &n, &err), 0);
    assert_string_equal(n.image.ns, "prod");
    assert_int_equal(name_parse(&in_prod, "rbd/db", &n, &err), 0);
    assert_string_equal(n.image.ns, "prod");
    assert_int_equal(name_parse(&in_prod, "rbd/test/db", &n, &err), 0);
    assert_string_equal(n.image.ns, "test");
}

static void everything_else_is_refused_with_its_rule(void **state)
{
    static const struct {
        const char *text, *words;
    } rows[] = {
        { "", "is empty" },
        { ".", "breaks a rule" },
        { "..", "breaks a rule" },
        { "../db", "breaks a rule" },
        { "rbd/..", "breaks a rule" },
        { "rbd/../db", "breaks a rule" },
        { "a/b/c/..", "more than three parts" },
        { ".hidden", "breaks a rule" },
        { "-rf", "breaks a rule" },
        { "_x", "breaks a rule" },
        { "/", "empty part" },
        { "/db", "empty part" },
        { "db/", "empty part" },
        { "rbd//db", "empty part" },
        { "//", "empty part" },
        { "a/b/c/d", "more than three parts" },
        { "////////", "more than three parts" },
        { "@", "bad size" },
        { "db@", "bad size" },
        { "@20G", "empty part" },
        { "db@0", "bad size" },
        { "db@-1", "bad size" },
        { "db@+1", "bad size" },
        { "db@ 1", "bad size" },
        { "db@1 ", "bad size" },
        { "db@1.5G", "bad size" },
        { "db@1GB", "bad size" },
        { "db@1P", "bad size" },
        { "db@G", "bad size" },
        { "db@0x10", "bad size" },
        { "db@1@2", "bad size" },
        { "db@snap", "bad size" },
        { "db@8796093022208", "bad size" }, /* 2^43 MiB */
        { "db@8388608T", "bad size" },
        { "db@99999999999999999999", "bad size" },
        { "rbd@1/db", "bad size" },
        { "rbdvol.new.00ff", "rbdvol's own" },
        { "rbd/rbdvol.", "rbdvol's own" },
        { "a b", "breaks a rule" },
        { " a", "breaks a rule" },
        { "a\t", "breaks a rule" },
        { "a\n", "breaks a rule" },
        { "a\x01", "breaks a rule" },
        { "a\x7f", "breaks a rule" },
        { "a\\b", "breaks a rule" },
        { "a:b", "breaks a rule" },
        { "a,b", "breaks a rule" },
        { "a=b", "breaks a rule" },
        { "a+b", "breaks a rule" },
        { "a%2f", "breaks a rule" },
        { "a'b", "breaks a rule" },
        { "$(x)", "breaks a rule" },
        { "\xc3\xa4", "breaks a rule" },
        { "a\xff", "breaks a rule" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct volume_name n;
        struct error err = { 0 };
        int rc = name_parse(&plain, rows[i].text, &n, &err);
        if (rc != -EINVAL || !strstr(err.msg, rows[i].words))
            fail_msg("'%s': %d %s, expected %s", rows[i].text, rc, err.msg, rows[i].words);
        char tidy[sizeof err.msg];
        memcpy(tidy, err.msg, sizeof tidy);
        text_printable(tidy);
        assert_string_equal(tidy, err.msg);
    }
}

static void a_part_has_128_characters_at_most(void **state)
{
    struct volume_name n;
    struct error err;
    char text[3 * 129 + 8] = "";
    (void)state;
    memset(text, 'x', 128);
    assert_int_equal(name_parse(&plain, text, &n, &err), 0);
    assert_int_equal(strlen(n.image.image), 128);
    text[128] = 'x';
    assert_int_equal(name_parse(&plain, text, &n, &err), -EINVAL);
    assert_non_null(strstr(err.msg, "more than 128"));
    assert_true(strlen(err.msg) < 250);
    memset(text, 'x', 3 * 129 - 1);
    text[128] = text[257] = '/';
    text[386] = '\0';
    assert_int_equal(name_parse(&plain, text, &n, &err), 0);
    char full[IMAGE_NAME_MAX + 1];
    assert_string_equal(image_name_full(&n.image, full), text);
    text[386] = 'x';
    assert_int_equal(name_parse(&plain, text, &n, &err), -EINVAL);
    auto_free char *endless = calloc(5001, 1);
    memset(endless, 'x', 5000);
    assert_int_equal(name_parse(&plain, endless, &n, &err), -EINVAL);
    assert_true(strlen(err.msg) < 250);
    memset(endless, '/', 5000);
    assert_int_equal(name_parse(&plain, endless, &n, &err), -EINVAL);
}

static void a_name_that_is_refused_leaves_the_result_alone(void **state)
{
    struct volume_name n = { .size = 7 };
    struct error err;
    (void)state;
    assert_int_equal(name_parse(&plain, "rbd/db@x", &n, &err), -EINVAL);
    assert_true(n.size == 7);
    assert_string_equal(n.image.pool, "");
}

static void lists_leave_out_what_no_volume_is_called(void **state)
{
    (void)state;
    assert_true(name_is_listable("db"));
    assert_true(name_is_listable("zz_db"));
    assert_false(name_is_listable(""));
    assert_false(name_is_listable("a b"));
    assert_false(name_is_listable("a/b"));
    assert_false(name_is_listable("a@1"));
    assert_false(name_is_listable(".x"));
    assert_false(name_is_listable("rbdvol.new.0"));
    assert_true(name_is_anonymous("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"));
    assert_false(name_is_anonymous("0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef"));
    assert_false(name_is_anonymous("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde"));
    assert_false(name_is_anonymous("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0"));
    assert_false(name_is_anonymous("db"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_and_sizes_are_taken_apart),
        cmocka_unit_test(the_namespace_of_the_settings_is_every_names_unless_it_says_another),
        cmocka_unit_test(everything_else_is_refused_with_its_rule),
        cmocka_unit_test(a_part_has_128_characters_at_most),
        cmocka_unit_test(a_name_that_is_refused_leaves_the_result_alone),
        cmocka_unit_test(lists_leave_out_what_no_volume_is_called),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
