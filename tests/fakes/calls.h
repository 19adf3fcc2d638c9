/* SPDX-License-Identifier: MIT */
/* What the fakes have been asked to do, and what a test makes of it: a trace of the calls that changed the
 * world, failures and stops at chosen calls. A call is known by its name ("map") or by its name and image
 * ("map db"). */
#pragma once

#include <limits.h>
#include <stdbool.h>

#include "base/error.h"

#define FAKE_FOREVER UINT_MAX

void fake_calls_reset(void);

/* The next so many of these calls fail with this code and have no effect. times 0 ends it. */
void fake_fail(const char *call, int code, unsigned times);

/* The same, but so many of them succeed first. */
void fake_fail_after(const char *call, unsigned successes, int code, unsigned times);

/* The next of these calls does its work, and reports this code all the same: "outcome unknown". */
void fake_fail_late(const char *call, int code);

/* The n-th call from now on, of whatever name, fails (1: the next); and from then on all that follow until
 * fake_mend, when for_good. n 0 ends it. */
void fake_fail_nth(unsigned n, int code, bool for_good);
void fake_mend(void);

/* Has it come to the n-th? Its name is in fake_failed_call. */
bool fake_nth_failed(void);
const char *fake_failed_call(void);

/* These calls wait at their beginning until fake_go. */
void fake_hold(const char *call);
void fake_go(const char *call);
void fake_go_all(void);

/* Waits until n threads are held at this call. A test that waits in vain fails. */
void fake_wait_held(const char *call, unsigned n);

/* Waits until this call has been made n times since the last reset. */
void fake_wait_count(const char *call, unsigned n);
unsigned fake_count(const char *call);

/* The trace: "lock a rbdvol.ctl, map a, ..."; the caller frees. */
char *fake_trace(void);
/* How often this stands in it. */
unsigned fake_traced(const char *what);
void fake_trace_clear(void);

/* ---- for the fakes ---- */

/* At the beginning of each call that can fail: 0, or the code that the test wants, with err filled when there
 * is one. */
int fake_call(const char *call, const char *on, struct error *err);

/* At its end, once the effect is there: the same. */
int fake_call_end(const char *call, const char *on, struct error *err);

/* The world was changed: one more item of the trace. Random names in it are written as "rbdvol.new.*". */
void fake_changed(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
