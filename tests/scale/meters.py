# SPDX-License-Identifier: MIT
"""What a cluster has to do: messages, operations, processor time, from the counters of its daemons and of the kernel."""

import json
import os
import statistics
import subprocess
import time

import process
from waiting import let_pass

TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid):
    fields = process.stat_fields(pid)
    return (int(fields[11]) + int(fields[12])) / TICKS


def rss(pid):
    """MiB; 0 for a process that has gone."""
    try:
        return int(process.status(pid).get("VmRSS", "0 kB").split()[0]) / 1024
    except (FileNotFoundError, ProcessLookupError):
        return 0


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def at(values, part):
    """The value below which this part of them lies."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * part), len(ordered) - 1)]


def latencies(values):
    """Of milliseconds: median, 99th percentile, worst."""
    return [f"{statistics.median(values):.0f}", f"{at(values, 0.99):.0f}", f"{max(values):.0f}"]


class Meter:
    """All counters of a cluster, at two times."""

    NAMES = ("mon messages", "mon commits", "mon CPU", "OSD messages", "OSD operations", "OSD CPU")

    def __init__(self, cluster):
        self.cluster = cluster
        self.begin()

    def _counters(self, daemon):
        done = subprocess.run(["ceph", "--admin-daemon", f"{self.cluster.dir}/{daemon}.asok", "perf", "dump"], capture_output=True,
                              text=True, check=True, timeout=60, env=self.cluster.env())
        return json.loads(done.stdout)

    def _now(self):
        mon, osd = self._counters("mon.a"), self._counters("osd.0")

        def messages(counters):
            return sum(of["msgr_recv_messages"] for name, of in counters.items() if name.startswith("AsyncMessenger::Worker"))

        return (messages(mon), mon["paxos"]["commit"], cpu_seconds(self.cluster.daemon("mon").pid),
                messages(osd), osd["osd"]["op"], cpu_seconds(self.cluster.daemon("osd").pid))

    def begin(self):
        self.values, self.when = self._now(), time.monotonic()
        return self

    def end(self):
        """Name -> so many per second since begin(); of CPU: seconds per second."""
        now, when = self._now(), time.monotonic()
        return {name: (after - before) / (when - self.when) for name, before, after in zip(self.NAMES, self.values, now)}

    def idle(self, seconds):
        """The same, of the next so many seconds."""
        self.begin()
        let_pass(seconds)
        return self.end()
