#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Measures rbdvol beside what it can be compared with, in one run: first the one, then the other, again and again. No absolute
time is worth anything on a machine that others use; the ratio is.

    run.py [--results FILE] [--out FILE] [--plot FILE] [--page FILE] [PART...]
    parts: start spare create requests at-once io memory answer
"""

import argparse
import os
import shutil
import subprocess
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
from page import load, machine, write, write_page  # noqa: E402
from plot import svg  # noqa: E402

PARTS = {"start": measures.start_and_stop, "spare": measures.with_a_spare, "create": measures.creating, "requests": measures.requests,
         "at-once": measures.at_once, "io": measures.io, "memory": measures.memory, "answer": measures.first_answer}


class Bench:
    """A cluster, and a place for a daemon."""

    def __init__(self):
        self.cluster = Cluster.start(tempfile.mkdtemp(prefix="rbdvol-ceph-", dir="/tmp"))
        self.dir = tempfile.mkdtemp(prefix="rbdt-", dir="/tmp")
        self.run = tempfile.mkdtemp(prefix="rbdt-", dir="/run")
        self.leaks = Leaks(self.dir, self.cluster)

    def daemon(self, **options):
        name = f"bench-{len(self.leaks.daemons)}"
        made = Daemon(self.dir, name, ceph_conf=self.cluster.conf,
                      **{"log_level": "notice", "pool": "rbd", "state_dir": f"{self.run}/{name}", **options})
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
        shutil.rmtree(self.run, ignore_errors=True)


def run_in_memory():
    """/run is so on a host that systemd has booted; a container's may be on a disk. After leave_the_others(): nobody else sees it."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "run", "/run"], check=True)


def report(figures, loads):
    """The table, and how busy the machine was when each part began and ended: with our own load in it."""
    busy = ", ".join(f"{part} {before} to {after}" for part, before, after in loads)
    return f"{machine()}. Load average in each part: {busy}.\n\n{table(figures)}\n"


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("parts", nargs="*", metavar="PART")
    options.add_argument("--results", help="a line of pass or fail for each part is added to this file")
    options.add_argument("--out", help="the table, as Markdown")
    options.add_argument("--plot", help="the picture, as SVG")
    options.add_argument("--page", help="a page of ours that takes the table between its marks")
    given = options.parse_args()
    unknown = set(given.parts) - set(PARTS)
    if unknown:
        options.error(f"there is no part {', '.join(unknown)}; there are: {' '.join(PARTS)}")
    leave_the_others()
    run_in_memory()
    bench = Bench()
    figures, lines, loads = [], [], []
    try:
        for name in given.parts or PARTS:
            before = load()
            new = list(PARTS[name](bench))
            bench.clear()
            loads.append((name, before, load()))
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
        write(given.out, report(figures, loads))
    if given.plot:
        write(given.plot, svg(figures))
    if given.page:
        write_page(given.page, "tests/bench/run.py", report(figures, loads))
    missed = [figure.name for figure in figures if figure.met is False]
    print(f"{sum(figure.met is True for figure in figures)} targets met, {len(missed)} missed" + "".join(f"\n  {n}" for n in missed))


if __name__ == "__main__":
    main()
