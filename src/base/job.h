/* SPDX-License-Identifier: MIT */
/* Work that may outlive the request that began it: in a thread of its own, joined until a deadline. */
#pragma once

#include "base/clock.h"
#include "base/error.h"

/* Runs work(arg, err) in a thread and waits for it until the deadline. Returns its result, or -EINPROGRESS at
 * the deadline: then the work goes on, and arg is released when it ends. release(arg) is called exactly once,
 * after the work. */
int job_run(int (*work)(void *arg, struct error *err), void (*release)(void *arg), void *arg, moment deadline,
            struct error *err);
