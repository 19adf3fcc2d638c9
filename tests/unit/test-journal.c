/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "cmocka-headers.h"
#include "main/journal.h"

static void assert_fields(const char *text, const char *wanted)
{
    char fields[JOURNAL_FIELDS_MAX][JOURNAL_FIELD_SIZE], joined[2048] = "";
    size_t n = journal_fields(text, fields, JOURNAL_FIELDS_MAX);
    for (size_t i = 0; i < n; i++)
        (void)snprintf(joined + strlen(joined), sizeof joined - strlen(joined), "%s%s", i ? " " : "",
                       fields[i]);
    assert_string_equal(joined, wanted);
}

static void each_pair_is_a_field(void **state)
{
    (void)state;
    assert_fields("mounted volume=rbd/db id=3f2a ms=41", "RBDVOL_VOLUME=rbd/db RBDVOL_ID=3f2a RBDVOL_MS=41");
    assert_fields("refused path=/VolumeDriver.Mount peer=7: no such volume: 'x'",
                  "RBDVOL_PATH=/VolumeDriver.Mount RBDVOL_PEER=7");
    assert_fields("started config-file=/etc/x", "RBDVOL_CONFIG_FILE=/etc/x");
    assert_fields("nothing here", "");
    assert_fields("", "");
    assert_fields("  a=   =b A=c 1=d", "RBDVOL_A=");
}

static void pool_and_image_are_a_volume(void **state)
{
    (void)state;
    assert_fields("adopted pool=rbd image=db state=mounted",
                  "RBDVOL_POOL=rbd RBDVOL_IMAGE=db RBDVOL_STATE=mounted RBDVOL_VOLUME=rbd/db");
    assert_fields("x image=db", "RBDVOL_IMAGE=db");
}

static void what_is_too_much_is_left_out(void **state)
{
    char text[4096] = "", fields[JOURNAL_FIELDS_MAX][JOURNAL_FIELD_SIZE];
    (void)state;
    for (int i = 0; i < 100; i++)
        (void)strcat(text, "a=b ");
    assert_int_equal(journal_fields(text, fields, JOURNAL_FIELDS_MAX), JOURNAL_FIELDS_MAX);
    memset(text, 'x', sizeof text - 1);
    text[1] = '=';
    text[sizeof text - 1] = '\0';
    assert_int_equal(journal_fields(text, fields, JOURNAL_FIELDS_MAX), 1);
    assert_int_equal(strlen(fields[0]), JOURNAL_FIELD_SIZE - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_pair_is_a_field),
        cmocka_unit_test(pool_and_image_are_a_volume),
        cmocka_unit_test(what_is_too_much_is_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
