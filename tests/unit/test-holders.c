/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include "cmocka-headers.h"
#include "volume/holders.h"

#define PEER  100
#define START 7

static void add(struct holders *h, const char *id)
{
    holders_add(h, id, PEER, START, false);
}

/* Mounted and answered. */
static void grant(struct holders *h, const char *id)
{
    add(h, id);
    holders_confirm(h, id);
    (void)holders_delivered(h, id);
}

static unsigned count(const struct holders *h, const char *id)
{
    const struct holder *one = holders_find(h, id);
    return one ? one->count : 0;
}

static void a_mount_id_is_printable_and_short(void **state)
{
    struct error err;
    char id[HOLDER_ID_MAX + 2];
    (void)state;
    memset(id, 'x', sizeof id - 1);
    id[HOLDER_ID_MAX + 1] = '\0';
    assert_int_equal(holders_check_id(id, &err), -EINVAL);
    id[HOLDER_ID_MAX] = '\0';
    assert_int_equal(holders_check_id(id, &err), 0);
    assert_int_equal(holders_check_id("", &err), 0);
    assert_int_equal(holders_check_id("a b", &err), -EINVAL);
    assert_int_equal(holders_check_id("a\n", &err), -EINVAL);
    assert_int_equal(holders_check_id("\x7f", &err), -EINVAL);
    assert_int_equal(holders_check_id("\xc3\xa4", &err), -EINVAL);
}

static void an_id_is_counted(void **state)
{
    struct holders h = { 0 };
    (void)state;
    grant(&h, "a");
    grant(&h, "a");
    grant(&h, "b");
    assert_int_equal(h.n, 2);
    assert_int_equal(count(&h, "a"), 2);
    assert_false(holders_release(&h, "c"));
    assert_false(holders_release(&h, ""));
    assert_true(holders_release(&h, "a"));
    assert_int_equal(count(&h, "a"), 1);
    assert_true(holders_release(&h, "a"));
    assert_false(holders_release(&h, "a"));
    assert_true(holders_release(&h, "b"));
    assert_int_equal(h.n, 0);
    holders_done(&h);
}

static void callers_without_an_id_end_with_one_unmount(void **state)
{
    struct holders h = { 0 };
    (void)state;
    for (unsigned i = 0; i < 3; i++)
        grant(&h, "");
    add(&h, ""); /* is being served still, and wants to have it */
    assert_true(holders_release(&h, ""));
    assert_int_equal(count(&h, ""), 1);
    holders_confirm(&h, "");
    assert_true(holders_release(&h, ""));
    assert_int_equal(h.n, 0);
    /* before any answer: one of them */
    add(&h, "");
    add(&h, "");
    assert_true(holders_release(&h, ""));
    assert_int_equal(count(&h, ""), 1);
    holders_done(&h);
}

static void a_mount_that_fails_leaves_what_was(void **state)
{
    struct holders h = { 0 };
    (void)state;
    static const char *const ids[] = { "a", "" };
    for (size_t i = 0; i < 2; i++) {
        add(&h, ids[i]);
        holders_retract(&h, ids[i]);
        assert_int_equal(h.n, 0);
        grant(&h, ids[i]);
        add(&h, ids[i]);
        holders_retract(&h, ids[i]);
        holders_retract(&h, ids[i]); /* nothing is pending: no effect */
        assert_int_equal(count(&h, ids[i]), 1);
        holders_release(&h, ids[i]);
    }
    grant(&h, "a");
    add(&h, "a");
    add(&h, "b");
    add(&h, "");
    holders_retract_all(&h);
    assert_int_equal(h.n, 1);
    assert_int_equal(count(&h, "a"), 1);
    holders_done(&h);
}

static void an_answer_that_does_not_arrive_leaves_what_was(void **state)
{
    struct holders h = { 0 };
    (void)state;
    static const char *const ids[] = { "a", "" };
    for (size_t i = 0; i < 2; i++) {
        grant(&h, ids[i]);
        add(&h, ids[i]);
        holders_confirm(&h, ids[i]);
        holders_undelivered(&h, ids[i]);
        assert_int_equal(count(&h, ids[i]), 1);
        holders_release(&h, ids[i]);
    }
    holders_undelivered(&h, "a"); /* unmounted meanwhile */
    assert_int_equal(h.n, 0);
    holders_done(&h);
}

static void the_count_of_a_caller_that_is_gone_ends_with_the_next_answer(void **state)
{
    struct holders h = { 0 };
    (void)state;
    grant(&h, "a");
    grant(&h, "a");
    holders_add(&h, "a", PEER + 1, START, true);
    assert_int_equal(count(&h, "a"), 3);
    holders_retract(&h, "a"); /* that one failed: as before */
    assert_int_equal(count(&h, "a"), 2);
    holders_add(&h, "a", PEER + 1, START, true);
    holders_confirm(&h, "a");
    holders_undelivered(&h, "a");
    assert_int_equal(count(&h, "a"), 2);
    holders_add(&h, "a", PEER + 1, START, true);
    holders_confirm(&h, "a");
    assert_true(holders_delivered(&h, "a"));
    assert_int_equal(count(&h, "a"), 1);
    assert_false(holders_delivered(&h, "a"));
    assert_int_equal(holders_find(&h, "a")->peer, PEER + 1);
    /* others that wait under the same ID are not of the one that is gone */
    add(&h, "a");
    holders_add(&h, "a", PEER + 2, START, true);
    holders_confirm(&h, "a");
    assert_true(holders_delivered(&h, "a"));
    assert_int_equal(count(&h, "a"), 2);
    assert_true(holders_release(&h, "a"));
    assert_true(holders_release(&h, "a"));
    /* callers without an ID are always gone */
    grant(&h, "");
    holders_add(&h, "", PEER, START, true);
    holders_confirm(&h, "");
    assert_false(holders_delivered(&h, ""));
    assert_int_equal(count(&h, ""), 2);
    holders_done(&h);
}

static void an_unmount_takes_from_what_lapsed_first(void **state)
{
    struct holders h = { 0 };
    (void)state;
    grant(&h, "a");
    holders_add(&h, "a", PEER, START, true);
    assert_true(holders_release(&h, "a"));
    holders_confirm(&h, "a");
    assert_false(holders_delivered(&h, "a"));
    assert_int_equal(count(&h, "a"), 1);
    holders_done(&h);
}

static void only_one_is_admitted_unless_it_is_shared(void **state)
{
    struct holders h = { 0 };
    struct error err;
    (void)state;
    assert_int_equal(holders_admit(&h, "a", false, &err), 0);
    grant(&h, "0123456789abcdef");
    assert_int_equal(holders_admit(&h, "0123456789abcdef", false, &err), 0);
    assert_int_equal(holders_admit(&h, "b", true, &err), 0);
    assert_int_equal(holders_admit(&h, "b", false, &err), -EBUSY);
    assert_non_null(strstr(err.msg, "by mount ID 0123456789ab;"));
    assert_non_null(strstr(err.msg, "nocopy: true"));
    assert_non_null(strstr(err.msg, "sharing=host"));
    assert_int_equal(holders_admit(&h, "", false, &err), -EBUSY);
    holders_release(&h, "0123456789abcdef");
    grant(&h, "");
    assert_int_equal(holders_admit(&h, "", false, &err), 0);
    assert_int_equal(holders_admit(&h, "b", false, &err), -EBUSY);
    assert_non_null(strstr(err.msg, "without a mount ID"));
    holders_done(&h);
}

static void what_was_answered_is_saved_and_read(void **state)
{
    struct holders h = { 0 }, again = { 0 };
    (void)state;
    grant(&h, "a");
    grant(&h, "a");
    add(&h, "a");
    add(&h, "b"); /* its caller was cut off with the daemon */
    grant(&h, "");
    h.all[0].since = 1700000000;
    json_t *j = holders_json(&h, true);
    holders_load(&again, j);
    json_decref(j);
    assert_int_equal(again.n, 2);
    const struct holder *one = holders_find(&again, "a");
    assert_int_equal(one->count, 2);
    assert_int_equal(one->pending, 0);
    assert_int_equal(one->since, 1700000000);
    assert_int_equal(one->peer, PEER);
    assert_int_equal(one->peer_start, START);
    assert_int_equal(count(&again, ""), 1);
    j = holders_json(&again, false);
    assert_string_equal(json_string_value(json_object_get(json_array_get(j, 0), "Since")),
                        "2023-11-14T22:13:20Z");
    assert_null(json_object_get(json_array_get(j, 0), "Peer"));
    json_decref(j);
    holders_done(&h);
    holders_done(&again);
}

static void a_state_that_makes_no_sense_is_left_out(void **state)
{
    static const char *const texts[] = {
        "[]",
        "null",
        "{}",
        "[1,null,\"a\",[]]",
        "[{\"Count\":1}]",
        "[{\"ID\":5,\"Count\":1}]",
        "[{\"ID\":\"a b\",\"Count\":1}]",
        "[{\"ID\":\"a\"}]",
        "[{\"ID\":\"a\",\"Count\":0}]",
        "[{\"ID\":\"a\",\"Count\":-1}]",
        "[{\"ID\":\"a\",\"Count\":1,\"Pending\":1}]",
        "[{\"ID\":\"a\",\"Count\":1,\"Pending\":-1}]",
        "[{\"ID\":\"a\",\"Count\":9999999999}]",
        "[{\"ID\":\"a\",\"Count\":1.5}]",
    };
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct holders h = { 0 };
        json_t *j = json_loads(texts[i], JSON_DECODE_ANY, NULL);
        assert_non_null(j);
        holders_load(&h, j);
        if (h.n != 0)
            fail_msg("%s", texts[i]);
        json_decref(j);
        holders_done(&h);
    }
    struct holders h = { 0 };
    json_t *twice = json_loads("[{\"ID\":\"a\",\"Count\":2},{\"ID\":\"a\",\"Count\":3}]", 0, NULL);
    holders_load(&h, twice);
    assert_int_equal(h.n, 1);
    assert_int_equal(count(&h, "a"), 2);
    json_decref(twice);
    holders_load(&h, NULL);
    holders_done(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_mount_id_is_printable_and_short),
        cmocka_unit_test(an_id_is_counted),
        cmocka_unit_test(callers_without_an_id_end_with_one_unmount),
        cmocka_unit_test(a_mount_that_fails_leaves_what_was),
        cmocka_unit_test(an_answer_that_does_not_arrive_leaves_what_was),
        cmocka_unit_test(the_count_of_a_caller_that_is_gone_ends_with_the_next_answer),
        cmocka_unit_test(an_unmount_takes_from_what_lapsed_first),
        cmocka_unit_test(only_one_is_admitted_unless_it_is_shared),
        cmocka_unit_test(what_was_answered_is_saved_and_read),
        cmocka_unit_test(a_state_that_makes_no_sense_is_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
