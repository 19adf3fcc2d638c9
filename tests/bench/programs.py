# SPDX-License-Identifier: MIT
"""The programs that are measured against: the floor, the bare server, the asker; and the place where they work."""

import os
import subprocess

from daemon import BUILD

HERE = os.path.join(BUILD, "tests", "bench")
MAPPER = os.path.join(BUILD, "src", "mapper", "rbdvol-mapper")


class Floor:
    """One of its processes: connected, and waiting for the word."""

    def __init__(self, cluster, verb, *words):
        self.child = subprocess.Popen([f"{HERE}/bench-floor", verb, cluster.conf, *map(str, words)], stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE, text=True, env=cluster.env())
        assert self.child.stdout.readline() == "ready\n", "the floor did not start"

    def begin(self):
        self.child.stdin.write("\n")
        self.child.stdin.flush()
        return self

    def lines(self, seconds=300):
        """What it printed."""
        out, _ = self.child.communicate(timeout=seconds)
        assert self.child.returncode == 0, f"the floor failed:\n{out}"
        return out.splitlines()

    def run(self, seconds=300):
        """The numbers that it printed, a list for each line."""
        return [[float(word) for word in line.split()] for line in self.begin().lines(seconds)]


def ask(socket, clients, ms, path, body="{}"):
    """Requests per second, median and 99th percentile in ms. Each must be answered."""
    done = subprocess.run([f"{HERE}/bench-asker", socket, str(clients), str(ms), path, body], capture_output=True, text=True,
                          check=True, timeout=ms / 1000 + 60)
    rate, median, slow, bad = map(float, done.stdout.split())
    assert bad == 0, f"{path}: {bad:g} requests were not answered with 200"
    return rate, median, slow
