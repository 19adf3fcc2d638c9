/* SPDX-License-Identifier: MIT */
#include "base/clock.h"

#include <limits.h>
#include <stdio.h>

#define NS_PER_S  1000000000L
#define NS_PER_MS 1000000L

moment clock_now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (moment)t.tv_sec * NS_PER_S + t.tv_nsec;
}

int64_t clock_boot_s(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_BOOTTIME, &t);
    return t.tv_sec;
}

moment clock_in_ms(int64_t ms)
{
    moment now = clock_now(), then;
    /* "for ever" is a fair thing to ask for */
    if (__builtin_mul_overflow(ms, NS_PER_MS, &then) || __builtin_add_overflow(now, then, &then))
        return ms < 0 ? INT64_MIN : INT64_MAX;
    return then;
}

int clock_left_ms(moment then)
{
    moment now = clock_now();
    if (then <= now)
        return 0;
    int64_t left = then - now;
    left = left / NS_PER_MS + (left % NS_PER_MS != 0);
    return left > INT_MAX ? INT_MAX : (int)left;
}

int64_t clock_since_ms(moment then)
{
    return (clock_now() - then) / NS_PER_MS;
}

void clock_pause_ms(int64_t ms)
{
    struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L };
    (void)nanosleep(&t, NULL);
}

struct timespec clock_spec(moment then)
{
    return (struct timespec){ .tv_sec = then / NS_PER_S, .tv_nsec = then % NS_PER_S };
}

void clock_cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attr);
    pthread_condattr_destroy(&attr);
}

void clock_rfc3339(time_t when, char *buf, size_t size)
{
    struct tm tm;
    if (size > 0 && (!gmtime_r(&when, &tm) || strftime(buf, size, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0))
        buf[0] = '\0';
}

void clock_span(int64_t ms, char *buf, size_t size)
{
    int64_t s = ms / 1000;
    if (s < 120)
        (void)snprintf(buf, size, "%lld s", (long long)s);
    else if (s < 7200)
        (void)snprintf(buf, size, "%lld min", (long long)(s / 60));
    else
        (void)snprintf(buf, size, "%lld h", (long long)(s / 3600));
}
