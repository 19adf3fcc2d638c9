/* SPDX-License-Identifier: MIT */
#include <limits.h>
#include <time.h>

#include "base/clock.h"
#include "cmocka-headers.h"

static void counts_down(void **state)
{
    (void)state;
    moment then = clock_in_ms(50);
    int left = clock_left_ms(then);
    assert_in_range(left, 1, 50);
    assert_int_equal(clock_left_ms(clock_now()), 0);
    assert_int_equal(clock_left_ms(clock_in_ms(-5)), 0);
    /* rounded up: a poll(2) that is one too short would spin */
    assert_int_equal(clock_left_ms(clock_now() + 900000), 1);
    assert_in_range(clock_since_ms(clock_in_ms(-50)), 50, 1000);
}

static void knows_for_ever(void **state)
{
    (void)state;
    assert_int_equal(clock_left_ms(clock_in_ms(INT64_MAX)), INT_MAX);
    assert_int_equal(clock_left_ms(clock_in_ms(INT64_MAX / 1000000)), INT_MAX);
    assert_int_equal(clock_left_ms(clock_in_ms(INT64_MIN)), 0);
    assert_int_equal(clock_left_ms(0), 0);
    assert_int_equal(clock_left_ms(INT64_MIN), 0);
}

static void waits_by_the_monotonic_clock(void **state)
{
    pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t cond;
    (void)state;
    clock_cond_init(&cond);
    moment begun = clock_now();
    struct timespec t = clock_spec(clock_in_ms(30));
    pthread_mutex_lock(&lock);
    while (pthread_cond_timedwait(&cond, &lock, &t) == 0)
        ;
    pthread_mutex_unlock(&lock);
    assert_in_range(clock_since_ms(begun), 29, 5000);
    pthread_cond_destroy(&cond);
}

static void writes_rfc3339(void **state)
{
    char buf[21];
    (void)state;
    clock_rfc3339(0, buf, sizeof buf);
    assert_string_equal(buf, "1970-01-01T00:00:00Z");
    clock_rfc3339(1795198791, buf, sizeof buf);
    assert_string_equal(buf, "2026-11-20T18:19:51Z");
    clock_rfc3339(1795198791, buf, 20);
    assert_string_equal(buf, "");
    /* a broken time stamp of an image: no year has so many digits */
    clock_rfc3339((time_t)INT64_MAX, buf, sizeof buf);
    assert_string_equal(buf, "");
}

static void writes_spans(void **state)
{
    char buf[32];
    (void)state;
    clock_span(999, buf, sizeof buf);
    assert_string_equal(buf, "0 s");
    clock_span(119999, buf, sizeof buf);
    assert_string_equal(buf, "119 s");
    clock_span(120000, buf, sizeof buf);
    assert_string_equal(buf, "2 min");
    clock_span(7200000, buf, sizeof buf);
    assert_string_equal(buf, "2 h");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_down),
        cmocka_unit_test(knows_for_ever),
        cmocka_unit_test(waits_by_the_monotonic_clock),
        cmocka_unit_test(writes_rfc3339),
        cmocka_unit_test(writes_spans),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
