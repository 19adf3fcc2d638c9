#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Many images, many volumes on one host, many hosts: latencies, errors, leaks, memory, and what it costs the cluster.

    run.py [--short] [--minutes N] [--results FILE] [--out FILE] [--page FILE] [PART...]     parts: images mounted hosts

The hosts are those of tests/blackbox: a network, an identity and mounts of their own each, on one kernel and its processors. They and
the cluster share those, so latencies here are an upper bound; what counts are errors, leaks, and counts for each host and volume.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

HERE = os.path.dirname(os.path.abspath(__file__))
TESTS = os.path.dirname(HERE)
sys.path[:0] = [os.path.join(TESTS, name) for name in ("lib", "ceph", "blackbox", "bench", "scale")]

from cluster import Cluster  # noqa: E402
from daemon import Daemon  # noqa: E402
from fleet import TOGETHER, Fleet  # noqa: E402
from host import Host  # noqa: E402
from leaks import Leaks  # noqa: E402
from meters import Meter, descriptors, latencies, rss  # noqa: E402
from mounts import leave_the_others  # noqa: E402
from network import Network  # noqa: E402
from page import load, machine, markdown, write, write_page  # noqa: E402
from programs import Floor  # noqa: E402
from waiting import TookTooLong, until  # noqa: E402

AT_ONCE = 4  # requests of the one host at a time
SEED = 1

FULL = {"images": 10000, "mounted": 200, "hosts": 50, "volumes": 500, "minutes": 10, "idle_s": 60}
SHORT = {"images": 500, "mounted": 12, "hosts": 4, "volumes": 24, "minutes": 0.5, "idle_s": 6}


class Scale:
    """What is found out, and for each part a cluster on a network of hosts."""

    def __init__(self, sizes):
        self.sizes = sizes
        self.rows = []
        self.costs = []
        self.per_unit = []
        self.errors = []

    def begin(self):
        self.network = Network(daemons=2)
        self.cluster = Cluster.start(tempfile.mkdtemp(prefix="rbdvol-ceph-", dir="/tmp"), *self.network.addresses[:1],
                                     self.network.addresses[1:])
        self.dir = tempfile.mkdtemp(prefix="rbdt-", dir="/tmp")
        self.leaks = Leaks(self.dir, self.cluster)
        self.meter = Meter(self.cluster)

    def row(self, what, *values):
        self.rows.append([what, " ".join(map(str, values))])
        print(f"{what}: {' '.join(map(str, values))}", flush=True)

    def cost(self, what):
        rates = self.meter.idle(self.sizes["idle_s"])
        self.costs.append((what, rates))
        print(f"idle, {what}: " + ", ".join(f"{name} {rate:.2f}/s" for name, rate in rates.items()), flush=True)
        return rates

    def daemon(self):
        made = Daemon(self.dir, f"scale-{len(self.leaks.daemons)}", ceph_conf=self.cluster.conf, log_level="notice")
        self.leaks.daemons.append(made)
        return made.start().await_cluster()

    def _left(self):
        """What nobody has any more, and is there all the same."""
        return self.leaks.on_this_host() + [f"lock: {line}" for line in Floor(self.cluster, "locks", "rbd").begin().lines()]

    def find_leaks(self):
        """Before anything is stopped; what ends by itself in a moment is none."""
        try:
            until(lambda: not self._left(), "nothing to be left", 60, interval=0.5)
        except TookTooLong:
            self.errors += [f"left: {what}" for what in self._left()]

    def end(self):
        """Takes everything away; a cluster goes as a whole sooner than it is emptied."""
        self.leaks.clear(wipe=False)
        self.cluster.stop()
        self.network.close()
        shutil.rmtree(self.dir, ignore_errors=True)


def timed(call):
    began = time.monotonic()
    call()
    return (time.monotonic() - began) * 1e3


def images(scale):
    """List with many images, and what the daemon keeps of them."""
    daemon = scale.daemon()
    scale.row("daemon without images, RSS", f"{rss(daemon.pid):.0f} MiB")
    Floor(scale.cluster, "fill", "rbd", "i", scale.sizes["images"]).run(1200)
    times = [timed(lambda: daemon.must("List")) for _ in range(20)]
    assert len(daemon.names()) == scale.sizes["images"]
    scale.row(f"List of {scale.sizes['images']} images, ms (median, 99 %, worst)", *latencies(times))
    scale.row(f"daemon after it, RSS with {scale.sizes['images']} images", f"{rss(daemon.pid):.0f} MiB")


def each(names, call):
    """The milliseconds of each, some at a time."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(lambda name: timed(lambda: call(name)), names))


def mounted(scale):
    """Many volumes on one host."""
    daemon, count = scale.daemon(), scale.sizes["mounted"]
    names = [f"v{n}" for n in range(count)]
    each(names, lambda name: daemon.create(name, size="64M", fstype="ext4"))
    before, fds = rss(daemon.pid), descriptors(daemon.pid)
    scale.row(f"Mount of {count} volumes on one host, {AT_ONCE} at a time, ms", *latencies(each(names, lambda n: daemon.mount(n, "a"))))
    scale.row("Get beside them, ms", *latencies([timed(lambda: daemon.get(names[-1])) for _ in range(200)]))
    mappers = [rss(pid) for pid in daemon.mappers()]
    assert len(mappers) == count
    scale.row("daemon, RSS before and with them, MiB", f"{before:.0f}", f"{rss(daemon.pid):.0f}")
    scale.row("mapper, RSS, mean and largest, MiB", f"{sum(mappers) / count:.1f}", f"{max(mappers):.1f}")
    scale.row("descriptors of the daemon before and with them", fds, descriptors(daemon.pid))
    scale.row("Unmount of all, ms", *latencies(each(names, lambda n: daemon.unmount(n, "a"))))
    scale.row("daemon afterwards", f"{rss(daemon.pid):.0f} MiB,", descriptors(daemon.pid), "descriptors")


def make_hosts(scale, until_there_are):
    while len(scale.leaks.hosts) < until_there_are:
        made = Host(scale.network, scale.cluster, scale.dir)
        scale.leaks.hosts.append(made)
        made.daemon(log_level="notice")


def idle_costs(scale, volumes):
    """What the cluster has to do when nobody does anything: for each host, and for each volume that is mounted."""
    none = scale.cost("no host")
    few = max(2, scale.sizes["hosts"] // 5)
    make_hosts(scale, few)
    scale.cost(f"{few} hosts")
    make_hosts(scale, scale.sizes["hosts"])
    hosts = scale.leaks.hosts
    idle = scale.cost(f"{len(hosts)} hosts")
    taken = [(host.daemons[0], volume) for host, volume in zip(hosts * TOGETHER, volumes)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda pair: pair[0].mount(pair[1], "idle"), taken))
    busy = scale.cost(f"{len(hosts)} hosts with {len(taken)} volumes")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda pair: pair[0].unmount(pair[1], "idle"), taken))
    return [[name, f"{(idle[name] - none[name]) / len(hosts):.4f}", f"{(busy[name] - idle[name]) / len(taken):.4f}",
             f"{1000 * (idle[name] - none[name]) / len(hosts) + 2000 * (busy[name] - idle[name]) / len(taken):.1f}"]
            for name in Meter.NAMES]


def all_at_work(scale, volumes):
    hosts = scale.leaks.hosts
    fleet = Fleet(hosts, volumes, SEED)
    daemons = [host.daemons[0] for host in hosts]
    before = [(rss(d.pid), descriptors(d.pid)) for d in daemons]
    scale.meter.begin()
    began = time.monotonic()
    fleet.run(scale.sizes["minutes"] * 60)
    minutes = (time.monotonic() - began) / 60
    rates = scale.meter.end()
    scale.row(f"{len(hosts)} hosts on {len(volumes)} volumes for {minutes:.1f} min",
              f"{len(fleet.mounts)} mounts, {fleet.refused} refused (another host had it), {len(fleet.errors)} errors")
    for what, values in (("Get", fleet.gets), ("Mount", fleet.mounts), ("Unmount", fleet.unmounts)):
        scale.row(f"{what}, ms (median, 99 %, worst)", *latencies(values))
    per_s = len(fleet.mounts) / minutes / 60
    scale.row("mounts per second", f"{per_s:.2f}")
    for name, rate in rates.items():
        scale.row(f"{name} per mount and unmount", f"{rate / per_s:.2f}")
    grown = [rss(d.pid) - r for d, (r, _) in zip(daemons, before)]
    scale.row("daemons grew by, MiB (mean, most)", f"{sum(grown) / len(grown):.1f}", f"{max(grown):.1f}")
    more = max(descriptors(d.pid) - f for d, (_, f) in zip(daemons, before))
    scale.row("descriptors that a daemon has more than before, at most", more)
    # those of the control connection and of a helper that idles come and go
    if more > 8:
        fleet.errors.append(f"a daemon has {more} descriptors more than before")
    scale.errors += fleet.errors


def hosts_at_work(scale):
    volumes = [f"v{n}" for n in range(scale.sizes["volumes"])]
    maker = scale.daemon()
    each(volumes, lambda name: maker.create(name, size="64M", fstype="ext4"))
    maker.stop()
    scale.per_unit = idle_costs(scale, volumes[::-1])
    all_at_work(scale, volumes)


PARTS = {"images": images, "mounted": mounted, "hosts": hosts_at_work}


def report(scale, before):
    text = f"{machine()}. Load average before: {before}, after: {load()}.\n\n" + markdown(["", ""], scale.rows)
    if scale.costs:
        text += "\nPer second, when nobody does anything:\n\n" + markdown(
            ["", *Meter.NAMES], [[what, *(f"{rates[name]:.3f}" for name in Meter.NAMES)] for what, rates in scale.costs])
        text += "\nSo each host, and each volume that is mounted, costs per second (and 1,000 hosts with two volumes each would):\n\n"
        text += markdown(["", "a host", "a mounted volume", "1,000 hosts, 2,000 volumes"], scale.per_unit)
    return text


def arguments():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("parts", nargs="*", metavar="PART")
    options.add_argument("--short", action="store_true", help="a minute of it, on small numbers")
    options.add_argument("--minutes", type=float, help="how long the hosts work (10)")
    options.add_argument("--results", help="a line of pass or fail for each part is added to this file")
    options.add_argument("--out", help="the report, as Markdown")
    options.add_argument("--page", help="a page of ours that takes the report between its marks")
    given = options.parse_args()
    unknown = set(given.parts) - set(PARTS)
    if unknown:
        options.error(f"there is no part {', '.join(unknown)}; there are: {' '.join(PARTS)}")
    return given


def main():
    given = arguments()
    sizes = dict(SHORT if given.short else FULL)
    if given.minutes:
        sizes["minutes"] = given.minutes
    leave_the_others()
    scale, before, lines = Scale(sizes), load(), []
    try:
        for name in given.parts or PARTS:
            known = len(scale.errors)
            scale.begin()
            try:
                PARTS[name](scale)
                scale.find_leaks()
            finally:
                scale.end()
            for error in scale.errors[known:]:
                print(f"ERROR {error}", flush=True)
            lines.append(f"{'pass' if len(scale.errors) == known else 'fail'} scale {name}")
    finally:
        lines += [f"fail scale {name}" for name in given.parts or PARTS if not any(line.endswith(f"scale {name}") for line in lines)]
        if given.results:
            with open(given.results, "a", encoding="ascii") as f:
                f.write("".join(line + "\n" for line in lines))
    if given.out:
        write(given.out, report(scale, before))
    if given.page:
        write_page(given.page, "tests/scale/run.py", report(scale, before))
    return 1 if scale.errors else 0


if __name__ == "__main__":
    sys.exit(main())
