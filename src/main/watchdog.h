/* SPDX-License-Identifier: MIT */
/* What systemd's watchdog is fed with: proof that requests are still taken and answered. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct watchdog {
    int listening;       /* our own plugin socket; borrowed */
    int64_t interval_ms; /* WatchdogSec=; 0: systemd watches nothing */
    int64_t asked;       /* a moment (base/clock.h); 0: not yet */
    bool told_removed;
};

/* Reads from the environment what systemd wants. */
void watchdog_init(struct watchdog *w, int listening);

/* Asks ourselves by way of our socket, as a client would, when a third of the interval has passed since the
 * last time, and tells systemd when an answer came: its silence means that the loop has stopped. Waits
 * for the answer at most a fifth of the interval. False: there was none (logged). */
bool watchdog_tick(struct watchdog *w);
