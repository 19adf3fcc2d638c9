/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "base/error.h"
#include "cmocka-headers.h"

static void sets_and_prefixes(void **state)
{
    struct error err;
    (void)state;
    assert_int_equal(error_set(&err, -EBUSY, "volume '%s' is busy", "db"), -EBUSY);
    assert_int_equal(err.code, -EBUSY);
    assert_string_equal(err.msg, "volume 'db' is busy");
    assert_int_equal(error_prefix(&err, "cannot mount '%s'", "db"), -EBUSY);
    assert_string_equal(err.msg, "cannot mount 'db': volume 'db' is busy");
}

static void cuts_what_is_too_long(void **state)
{
    struct error err;
    char text[1000];
    (void)state;
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\0';
    (void)error_set(&err, -EIO, "%s", text);
    assert_int_equal(strlen(err.msg), sizeof err.msg - 1);
    assert_string_equal(err.msg + sizeof err.msg - 4, "...");
    (void)error_prefix(&err, "first");
    assert_int_equal(strlen(err.msg), sizeof err.msg - 1);
    assert_memory_equal(err.msg, "first: xx", 9);
    assert_string_equal(err.msg + sizeof err.msg - 4, "...");
    (void)error_prefix(&err, "%s", text);
    assert_int_equal(strlen(err.msg), sizeof err.msg - 1);
    assert_string_equal(err.msg + sizeof err.msg - 4, "...");
}

static void cannot_forge_a_log_line(void **state)
{
    struct error err;
    (void)state;
    (void)error_set(&err, -EINVAL, "bad name '%s'", "a\n<3>lost everything\x1b[2J");
    assert_string_equal(err.msg, "bad name 'a?<3>lost everything?[2J'");
}

/* Whatever a client or a program said, the answer with the message in it must be JSON. */
static void always_fits_into_json(void **state)
{
    struct error err;
    char text[600] = "";
    (void)state;
    for (size_t skip = 0; skip < 4; skip++) {
        memset(text, 'x', skip);
        for (size_t i = skip; i + 4 < sizeof text; i += 2)
            memcpy(text + i, "ü", 3);
        (void)error_set(&err, -EIO, "%s", text);
        json_t *json = json_string(err.msg);
        assert_non_null(json);
        json_decref(json);
    }
    (void)error_set(&err, -EIO, "fsck said \xff\xfe");
    assert_string_equal(err.msg, "fsck said ??");
}

static void texts_of_errnos(void **state)
{
    (void)state;
    assert_string_equal(error_text(-ENOENT), "No such file or directory");
    assert_string_equal(error_text(ENOENT), "No such file or directory");
    assert_string_equal(error_text(-99999), "unknown error");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sets_and_prefixes),       cmocka_unit_test(cuts_what_is_too_long),
        cmocka_unit_test(cannot_forge_a_log_line), cmocka_unit_test(always_fits_into_json),
        cmocka_unit_test(texts_of_errnos),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
