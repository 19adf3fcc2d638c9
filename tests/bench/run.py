#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Measures rbdvol beside what it can be compared with, in one run: first the one, then the other, again and again. No absolute
time is worth anything on a machine that others use; the ratio is.

    run.py [--results FILE] [--out FILE] [PART...]     parts: start create requests at-once io memory answer
"""

import argparse
import os
import shutil
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
TESTS = os.path.dirname(HERE)
sys.path[:0] = [os.path.join(TESTS, name) for name in ("lib", "ceph", "blackbox", "bench")]

import measures  # noqa: E402
from cluster import Cluster  # noqa: E402
from daemon import Daemon  # noqa: E402
from figures import table  # noqa: E402
from leaks import Leaks  # noqa: E402
from mounts import leave_the_others  # noqa: E402

PARTS = {"start": measures.start_and_stop, "create": measures.creating, "requests": measures.requests, "at-once": measures.at_once,
         "io": measures.io, "memory": measures.memory, "answer": measures.first_answer}


class Bench:
    """A cluster, and a place for a daemon."""

    def __init__(self):
        self.cluster = Cluster.start(tempfile.mkdtemp(prefix="rbdvol-ceph-", dir="/tmp"))
        self.dir = tempfile.mkdtemp(prefix="rbdt-", dir="/tmp")
        self.leaks = Leaks(self.dir, self.cluster)

    def daemon(self, **options):
        made = Daemon(self.dir, f"bench-{len(self.leaks.daemons)}", ceph_conf=self.cluster.conf,
                      **{"log_level": "notice", "pool": "rbd", **options})
        self.leaks.daemons.append(made)
        return made

    def clear(self):
        """As after a test: nothing is left for the next part."""
        for daemon in self.leaks.daemons:
            daemon.stop()
        self.leaks.clear()
        self.leaks.daemons.clear()

    def close(self):
        self.leaks.clear()
        self.cluster.stop()
        shutil.rmtree(self.dir, ignore_errors=True)


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("parts", nargs="*", metavar="PART")
    options.add_argument("--results", help="a line of pass or fail for each part is added to this file")
    options.add_argument("--out", help="the table, as Markdown")
    given = options.parse_args()
    unknown = set(given.parts) - set(PARTS)
    if unknown:
        options.error(f"there is no part {', '.join(unknown)}; there are: {' '.join(PARTS)}")
    leave_the_others()
    bench = Bench()
    figures, lines = [], []
    try:
        for name in given.parts or PARTS:
            new = list(PARTS[name](bench))
            bench.clear()
            print(table(new), flush=True)
            figures += new
            lines.append(f"pass bench {name}")
    finally:
        bench.close()
        lines += [f"fail bench {name}" for name in (given.parts or PARTS) if f"pass bench {name}" not in lines]
        if given.results:
            with open(given.results, "a", encoding="ascii") as f:
                f.write("".join(line + "\n" for line in lines))
    if given.out:
        with open(given.out, "w", encoding="utf-8") as f:
            f.write(table(figures) + "\n")
    missed = [figure.name for figure in figures if figure.met is False]
    print(f"{sum(figure.met is True for figure in figures)} targets met, {len(missed)} missed" + "".join(f"\n  {n}" for n in missed))


if __name__ == "__main__":
    main()
