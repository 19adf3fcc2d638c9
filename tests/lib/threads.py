# SPDX-License-Identifier: MIT
"""Several things at the same time, with the result of each."""

import threading
import time


def at_once(*calls):
    """Calls all in threads that start together; their results in order. An exception of one is raised here, after all ended."""
    results, errors = [None] * len(calls), []
    barrier = threading.Barrier(len(calls))

    def run(n, call):
        barrier.wait()
        try:
            results[n] = call()
        except BaseException as e:  # noqa: B902: it is raised below
            errors.append(e)

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(calls)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if errors:
        raise errors[0]
    return results


def timed(call, *args, **kwargs):
    """(seconds that it took, result)"""
    began = time.monotonic()
    result = call(*args, **kwargs)
    return time.monotonic() - began, result
