# SPDX-License-Identifier: MIT
"""Waiting for something to become true, with a deadline; never a sleep of a guessed length."""

import time

from pace import patience


class TookTooLong(AssertionError):
    """What was waited for did not happen in time."""


def until(condition, what, seconds=10.0, interval=0.01):
    """Calls condition() until it returns something true, and returns that. what: said when that does not come; a function, if it is
    only known then."""
    seconds = patience(seconds)
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= end:
            raise TookTooLong(f"waited {seconds:g} s for: {what() if callable(what) else what}")
        time.sleep(interval)
        interval = min(interval * 1.5, 0.1)


def let_pass(seconds):
    """Where the time itself is the scenario (a cut of 45 s), not a wait for something."""
    time.sleep(seconds)
