/* SPDX-License-Identifier: MIT */
/* Tables and findings as people see them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "cmocka-headers.h"
#include "main/findings.h"
#include "main/table.h"

static const char *const heads[] = { "NAME", "SIZE", NULL };

static void shows(const struct table *t, size_t width, const char *expected)
{
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    assert_non_null(out);
    table_print(t, out, width);
    (void)fclose(out);
    assert_string_equal(text, expected);
    free(text);
}

static void columns_are_as_wide_as_what_is_in_them(void **state)
{
    (void)state;
    CLEANUP(table_done) struct table t;
    table_init(&t, heads);
    shows(&t, 0, "NAME  SIZE\n");
    table_add(&t, "db");
    table_add(&t, "20 GiB");
    table_add(&t, "a-long-name");
    table_add(&t, "");
    table_add(&t, NULL);
    table_add(&t, "1 GiB");
    shows(&t, 0, "NAME         SIZE\ndb           20 GiB\na-long-name  -\n-            1 GiB\n");
}

static void what_is_too_wide_is_cut_where_it_is_widest(void **state)
{
    (void)state;
    CLEANUP(table_done) struct table t;
    table_init(&t, heads);
    table_add(&t, "abcdefghijklmnopqrst");
    table_add(&t, "20 GiB");
    shows(&t, 20, "NAME          SIZE\nabcdefghi...  20 GiB\n");
    shows(&t, 5, "NAME      SIZE\nabcde...  20 GiB\n"); /* never below eight */
}

static void a_character_takes_one_column_and_is_not_cut_in_two(void **state)
{
    (void)state;
    CLEANUP(table_done) struct table t;
    table_init(&t, heads);
    table_add(&t, "\xc3\xa4\xc3\xb6\xc3\xbc");
    table_add(&t, "1");
    shows(&t, 0, "NAME  SIZE\n\xc3\xa4\xc3\xb6\xc3\xbc   1\n");
    table_add(&t, "\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4");
    table_add(&t, "a\033[2Jb");
    shows(&t, 16,
          "NAME      SIZE\n\xc3\xa4\xc3\xb6\xc3\xbc       1\n"
          "\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4...  a?[2Jb\n");
}

static void findings_are_counted_and_told_how_to_mend(void **state)
{
    (void)state;
    char *text = NULL;
    size_t len;
    CLEANUP(findings_done) struct findings f;
    findings_init(&f);
    findings_add(&f, FINDING_OK, "cluster", "", "it is up, with %d monitors", 3);
    findings_add(&f, FINDING_WARNING, "user", "make one of its own", "it is client.admin");
    findings_add(&f, FINDING_PROBLEM, "mkfs", "apt install xfsprogs", "mkfs.xfs\nis not there");
    assert_int_equal(f.warnings, 1);
    assert_int_equal(f.problems, 1);
    FILE *out = open_memstream(&text, &len);
    assert_non_null(out);
    findings_print(&f, out);
    (void)fclose(out);
    static const char *const lines[] = { "cluster        it is up, with 3 monitors\n",
                                         "user           it is client.admin\n", "-> make one of its own\n",
                                         "mkfs           mkfs.xfs?is not there\n",
                                         "-> apt install xfsprogs\n" };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        if (!strstr(text, lines[i]))
            fail_msg("%s lacks %s", text, lines[i]);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_are_as_wide_as_what_is_in_them),
        cmocka_unit_test(what_is_too_wide_is_cut_where_it_is_widest),
        cmocka_unit_test(a_character_takes_one_column_and_is_not_cut_in_two),
        cmocka_unit_test(findings_are_counted_and_told_how_to_mend),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
