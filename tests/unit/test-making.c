/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "cmocka-headers.h"
#include "volume/making.h"

static void a_mark_is_read_as_it_was_written(void **state)
{
    struct making m = { .final = "db", .temp = "rbdvol.new.00ff", .since = 1700000000 }, again;
    (void)state;
    auto_free char *text = making_encode(&m, "host1", "3f2a");
    assert_int_equal(making_decode(text, &again), 0);
    assert_string_equal(again.final, m.final);
    assert_string_equal(again.temp, m.temp);
    assert_int_equal(again.since, m.since);
    assert_non_null(strstr(text, "\"host\":\"host1\""));
}

static void what_is_no_mark_of_ours_is_refused(void **state)
{
    static const char *const texts[] = {
        "",
        "{}",
        "[]",
        "null",
        "{\"final\":\"db\"}",
        "{\"temp\":\"rbdvol.new.0\"}",
        "{\"final\":\"db\",\"temp\":7}",
        "{\"final\":7,\"temp\":\"rbdvol.new.0\"}",
        "{\"final\":\"../db\",\"temp\":\"rbdvol.new.0\"}",
        "{\"final\":\"a/b\",\"temp\":\"rbdvol.new.0\"}",
        "{\"final\":\"\",\"temp\":\"rbdvol.new.0\"}",
        "{\"final\":\"db\\u0000\",\"temp\":\"rbdvol.new.0\"}",
        "{\"final\":\"db\",\"temp\":\"rbdvol.new./\"}",
        "{\"final\":\"db\",\"temp\":\"\"}",
        "{\"final\":\"db\",\"final\":\"x\",\"temp\":\"rbdvol.new.0\"}",
    };
    struct making m = { .since = 5 };
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (making_decode(texts[i], &m) != -EINVAL)
            fail_msg("%s", texts[i]);
    assert_int_equal(m.since, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_mark_is_read_as_it_was_written),
        cmocka_unit_test(what_is_no_mark_of_ours_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
