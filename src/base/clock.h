/* SPDX-License-Identifier: MIT */
/* Deadlines on the monotonic clock, which no administrator and no NTP can turn back. */
#pragma once

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

/* A point in time: nanoseconds of CLOCK_MONOTONIC. */
typedef int64_t moment;

moment clock_now(void);
moment clock_in_ms(int64_t ms);

/* Milliseconds from now until then, rounded up, never below 0: what poll(2) takes. */
int clock_left_ms(moment then);

/* Whole milliseconds since then. */
int64_t clock_since_ms(moment then);

/* Whole seconds since this host booted, sleep included: nobody sets it, and a later daemon counts on from it.
 */
int64_t clock_boot_s(void);

/* Sleeps; a signal may end it sooner. */
void clock_pause_ms(int64_t ms);

/* For pthread_cond_timedwait on a condition made by clock_cond_init. */
struct timespec clock_spec(moment then);

/* A condition variable that waits by the monotonic clock. */
void clock_cond_init(pthread_cond_t *cond);

/* The wall clock as RFC 3339 in UTC ("2026-11-20T18:19:51Z"): the only form that Docker's time parser takes
 * (Go's time.Time; "" or a missing zone makes the whole reply unreadable). buf holds 21 bytes or more. */
void clock_rfc3339(time_t when, char *buf, size_t size);

/* "3 min", "45 s": a duration for people. */
void clock_span(int64_t ms, char *buf, size_t size);
