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

moment clock_in_ms(int64_t ms)
{
    return clock_now() + ms * NS_PER_MS;
}

int clock_left_ms(moment then)
{
    int64_t left = then - clock_now();
    if (left <= 0)
        return 0;
    left = (left + NS_PER_MS - 1) / NS_PER_MS;
    return left > INT_MAX ? INT_MAX : (int)left;
}

int64_t clock_since_ms(moment then)
{
    return (clock_now() - then) / NS_PER_MS;
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
    gmtime_r(&when, &tm);
    if (strftime(buf, size, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0 && size > 0)
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
