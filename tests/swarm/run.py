#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A Docker Swarm of three hosts with rbdvol beside each engine: in each round the node that runs two services is killed, or cut
off; the services go on elsewhere with every line that they had fsynced, soon after Swarm started them, and the node comes back.

    run.py                           20 rounds, or as many as RBDVOL_SWARM_ROUNDS says
    run.py --rounds 3 --only cut     fewer, of one kind: drain, kill, power, cut or half
    run.py --seed N                  the same again, as a run has printed it
    run.py --results FILE            lines of "pass|fail NAME" for ./check

drain: the node is drained by `docker node update`; nobody is fenced. kill: all processes of the node are killed. power: the same, and its peers see no connection end. cut: its link is down until the
services have gone on elsewhere, and its old containers still run when it is up again. half: the same, and at first it finds only
the Ceph cluster again: rbdvol sees that it has lost its volumes before Swarm ends the containers.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
TESTS = os.path.dirname(HERE)
sys.path[:0] = [os.path.join(TESTS, name) for name in ("lib", "ceph", "docker", "blackbox", "swarm")]

import lines  # noqa: E402
import mounts  # noqa: E402
from cluster import Cluster  # noqa: E402
from image import exported  # noqa: E402
from leaks import Leaks  # noqa: E402
from lines import Acks  # noqa: E402
from network import Network  # noqa: E402
from swarm import Starts, Swarm  # noqa: E402
from waiting import let_pass, until  # noqa: E402

WATCH = 30  # seconds: Ceph's own value
# From Swarm's start of the task to its first acknowledged line. Swarm itself needs about 20 s to see that a node is gone.
WITHIN = {"silent": 10, "dead": WATCH + 5}
VOLUMES = {takeover: f"of-{takeover}" for takeover in WITHIN}
SWARM_NOTICES = 90
NOTICES = 10  # a fenced client that it is fenced, once it can know
KINDS = ("cut", "kill", "drain", "half", "power")


class Round:
    def __init__(self, swarm, acks, kind, dice):
        self.swarm = swarm
        self.acks = acks
        self.kind = kind
        self.dice = dice
        self.took = {}  # service -> seconds
        self.noticed = self.lost = self.back = None
        self.lines = 0
        self.old = {s: self.running_task(s) for s in WITHIN}
        self.starts = {s: Starts(swarm, s) for s in WITHIN}
        names = swarm.node_names()
        where = {names[t["NodeID"]] for t in self.old.values()}
        assert len(where) == 1, f"the services run on {where}"
        self.victim = next(n for n in swarm.workers if n.name in where)
        self.rival = next(n for n in swarm.workers if n is not self.victim)
        self.fenced = swarm.cluster.blocklist()

    def running_task(self, service):
        def running():
            return [t for t in self.swarm.tasks(service) if t["DesiredState"] == t["Status"]["State"] == "running"]

        found = until(running, f"{service} to run", 60)
        assert len(found) == 1, f"{service} has {len(found)} running tasks"
        return found[0]

    def run(self):
        let_pass(self.dice.uniform(0.5, 2.5))
        began = time.monotonic()
        self.fail()
        self.await_taken_over(began)
        self.check_lines()
        stopped = {s: self.said(s) for s in WITHIN}
        let_pass(self.dice.uniform(0, 2))
        back = time.monotonic()
        self.come_back()
        until(lambda: not self.left_on_victim(), f"nothing to be left on {self.victim.name}", 60, interval=0.1)
        self.swarm.await_ready()
        self.back = time.monotonic() - back
        for s in WITHIN:
            assert self.said(s) == stopped[s], f"{s}: the old container went on: {self.said(s)[len(stopped[s]):]}"
            self.await_another_line(s)
        self.check_lines()

    def fail(self):
        if self.kind == "drain":
            self.swarm.set_availability(self.victim, "drain")
        elif self.kind in ("cut", "half"):
            self.victim.link_down()
        else:
            self.victim.die(power=self.kind == "power")

    def come_back(self):
        """What still ran in a host that was cut off finds out that it is fenced; one that was drained gave all back itself."""
        if self.kind == "drain":
            assert set(self.swarm.cluster.blocklist()) <= set(self.fenced), "somebody was fenced"
            self.swarm.set_availability(self.victim, "active")
            return
        if self.kind in ("kill", "power"):
            self.victim.come_back()
            return
        if self.kind == "half":
            self.victim.cut_from(self.swarm.manager.address)
        self.victim.link_up()
        if self.kind == "half":
            self.await_lost()
            self.victim.heal_from(self.swarm.manager.address)

    def said(self, service):
        return self.acks.of_task(service, self.old[service]["ID"])[0]

    def errors(self, service):
        return self.acks.of_task(service, self.old[service]["ID"])[1]

    def await_taken_over(self, began):
        def all_run():
            for s, starts in self.starts.items():
                starts.look()
                if s not in self.took and any(self.acks.of_task(s, task)[0] for task in starts.tried):
                    self.took[s] = time.monotonic() - starts.began
            return len(self.took) == len(WITHIN)

        try:
            until(all_run, "", SWARM_NOTICES + max(WITHIN.values()) + 30)
        except AssertionError:
            raise AssertionError(f"after {time.monotonic() - began:.0f} s only {self.took} run: "
                                 f"{[(s, starts.tried) for s, starts in self.starts.items()]}") from None
        self.noticed = min(starts.began for starts in self.starts.values()) - began
        late = {s: round(took, 1) for s, took in self.took.items() if took > WITHIN[s]}
        assert not late, f"seconds after Swarm had started the task: {late}: {[s.tried for s in self.starts.values()]}"

    def await_another_line(self, service):
        before = len(self.acks.all(service))
        until(lambda: len(self.acks.all(service)) > before, f"{service} to go on", 20)

    def check_lines(self):
        self.lines = 0
        for s in WITHIN:
            acknowledged = self.acks.all(s)
            path = f"{self.rival.daemon_of(s).path('mount-root')}/rbd/{VOLUMES[s]}/lines"
            with open(self.rival.path(path), encoding="utf-8", errors="replace") as f:
                found = lines.problems(f.read(), acknowledged)
            assert not found, f"{s}: {found}"
            self.lines += len(acknowledged)

    def await_lost(self):
        """While its containers still run, and only get errors."""
        began = time.monotonic()
        until(lambda: all(self.status(s)["state"] == "lost" for s in WITHIN), "the volumes to be marked lost", NOTICES)
        self.lost = time.monotonic() - began
        for s in WITHIN:
            until(lambda s=s: self.rival.name in str(self.status(s)), f"{self.victim.name} to say who has it", NOTICES)
            until(lambda s=s: self.errors(s), f"the old container of {s} to see errors", NOTICES)

    def status(self, service):
        return self.victim.daemon_of(service).get(VOLUMES[service])["Status"]

    def left_on_victim(self):
        return [left for s in WITHIN for left in self.victim.remains(s)] + self.victim.engine.docker("ps", "-q").split()

    def __str__(self):
        text = f"{self.kind} of {self.victim.name}"
        if len(self.took) == len(WITHIN):
            text += f": started anew after {self.noticed:.0f} s, then " + ", ".join(f"{s} {self.took[s]:.1f} s" for s in WITHIN)
        if self.lost:
            text += f"; the node knows that they are lost after {self.lost:.1f} s"
        if self.back:
            text += f"; the node is back after {self.back:.0f} s"
        return text


class Run:
    """Cluster, network and swarm, and what is left of them."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="rbdt-", dir="/tmp")
        self.network = Network(daemons=2)
        self.cluster = None
        self.leaks = None
        self.swarm = None

    def start(self):
        mon, osd = self.network.addresses
        self.cluster = Cluster.start(tempfile.mkdtemp(prefix="rbdvol-ceph-", dir="/tmp"), mon, [osd],
                                     {"osd client watch timeout": WATCH})
        self.leaks = Leaks(self.dir, self.cluster)
        self.swarm = Swarm(self.network, self.cluster, self.dir, self.leaks.hosts)
        self.acks = Acks(f"{self.dir}/acks")
        manager, (one, other) = self.swarm.manager, self.swarm.workers
        self.swarm.set_availability(other, "drain")  # so that both begin on one node
        for takeover, volume in VOLUMES.items():
            manager.daemon_of(takeover).create(volume, size="128M", fstype="ext4")
            self.swarm.create_service(takeover, volume, self.acks.dir)
        for takeover in VOLUMES:
            until(lambda t=takeover: self.acks.all(t), f"the first line of {takeover}", 60)
        self.swarm.set_availability(other, "active")

    def finish(self):
        """The services end, and nothing of them is left; what they wrote is on clean file systems."""
        self.swarm.docker("service", "rm", *VOLUMES)
        until(lambda: not [left for n in self.swarm.nodes for s in VOLUMES for left in n.remains(s)],
              "the volumes to be at rest", 60)
        for takeover, volume in VOLUMES.items():
            with exported(self.cluster, volume) as path:
                done = subprocess.run(["e2fsck", "-fn", path], capture_output=True, text=True, check=False)
                assert done.returncode == 0, f"{volume}: {done.stdout}"
                text = subprocess.run(["debugfs", "-R", "cat /lines", path], capture_output=True, text=True, check=True).stdout
            found = lines.problems(text, self.acks.all(takeover))
            assert not found, f"{volume}: {found}"
            self.swarm.manager.daemon_of(takeover).remove(volume)
        for n in self.swarm.nodes:
            n.engine.stop_dockerd()
            for d in n.daemons:
                d.stop()
        left = self.leaks.settled()
        assert not left, "left behind:\n  " + "\n  ".join(left)

    def close(self):
        if self.leaks:
            self.leaks.clear()
        if self.cluster:
            self.cluster.stop()
        self.network.close()
        shutil.rmtree(self.dir, ignore_errors=True)

    def logs(self):
        """What everybody said at last, and what Swarm thinks."""
        said = []
        for n in self.leaks.hosts if self.leaks else []:
            said += [f"{n.name} {d.name}: {line}" for d in n.daemons for line in d.log_text().splitlines()[-12:]]
            said += [f"{n.name} {line}" for line in (n.engine.logs().splitlines() if n.engine else []) if "kernel" not in line]
            said += n.run("ss", "-tno", check=False).stdout.splitlines() if n.up() else []
        if self.swarm:
            for s in VOLUMES:
                said += self.swarm.docker("service", "ps", "--no-trunc", s).splitlines()
        return "".join(f"      | {line}\n" for line in said)


class Report:
    def __init__(self, path):
        self._path = path or os.devnull
        self.failed = 0

    def take(self, passed, name, more):
        print(f"  {'passed' if passed else 'FAILED'} {name}: {more}", flush=True)
        self.failed += not passed
        with open(self._path, "a", encoding="utf-8") as f:
            f.write(f"{'pass' if passed else 'fail'} {name}\n")

    def step(self, run, name, call):
        """Calls, and says how it went. False: it failed."""
        began = time.monotonic()
        try:
            more = call()
        except Exception as e:  # pylint: disable=broad-except
            self.take(False, name, (str(e) if isinstance(e, AssertionError) else traceback.format_exc()) + "\n" + run.logs())
            return False
        self.take(True, name, more or f"{time.monotonic() - began:.0f} s")
        return True


def kinds(args, dice):
    """As many of each as the others, in an order that the seed chooses."""
    wanted = [args.only] if args.only else KINDS
    found = [wanted[n % len(wanted)] for n in range(args.rounds)]
    dice.shuffle(found)
    return found


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=int(os.environ.get("RBDVOL_SWARM_ROUNDS", "20")))
    parser.add_argument("--only", choices=sorted(KINDS))
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 20))
    parser.add_argument("--results")
    return parser.parse_args()


def main():
    args = arguments()
    mounts.leave_the_others()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what was started is taken down
    report = Report(args.results)
    dice = random.Random(args.seed)
    print(f"  {args.rounds} rounds, seed {args.seed}", flush=True)
    began = time.monotonic()
    run = Run()
    try:
        going = report.step(run, "swarm starts", run.start)
        for n, kind in enumerate(kinds(args, dice), 1):
            def one(kind=kind):
                r = Round(run.swarm, run.acks, kind, dice)
                try:
                    r.run()
                except AssertionError as e:
                    raise AssertionError(f"{r}: {e}") from e
                return f"{r}; {r.lines} lines"

            # a swarm in an unknown state says nothing about the rounds that follow
            going = going and report.step(run, f"swarm round {n}", one)
        if going:
            report.step(run, "swarm ends", run.finish)
    finally:
        run.close()
    print(f"  {time.monotonic() - began:.0f} s, seed {args.seed}")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
