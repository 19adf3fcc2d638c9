#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Random operations on 20 volumes, with kills and outages in the middle of them, and a model that knows what must be true after
each step. The seed that is printed makes the same plan again.

    soak.py [MINUTES] [--seed N] [--results FILE]
"""

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field

HERE = os.path.dirname(os.path.abspath(__file__))
TESTS = os.path.dirname(HERE)
sys.path[:0] = [os.path.join(TESTS, name) for name in ("lib", "ceph", "blackbox", "crash")]

import mounts  # noqa: E402
from cluster import Cluster  # noqa: E402
from daemon import Daemon  # noqa: E402
from leaks import STATE_FILES_THAT_STAY, Leaks  # noqa: E402
from pool import Pool  # noqa: E402
from process import Process  # noqa: E402
from waiting import until  # noqa: E402

VOLUMES = 20
TIMEOUT = 3  # seconds, --ceph-timeout
SETTLE_S = 90  # the back-off between two tries goes up to 30 s
STEP_S = 400  # a step that lasts longer has hung
ALL_DOWN_EVERY = 25
UNDECIDED = ("try again", "keeps trying", "it may still be")  # the work goes on, as it says
PAUSES = {"pause-mon": ("mon",), "pause-osd": ("osd",), "pause-both": ("mon", "osd")}
FAULTS = ["none"] * 8 + ["kill-daemon", "kill-daemon", "stop-daemon", "kill-mapper", "kill-both"] + list(PAUSES)


@dataclass
class Volume:
    name: str
    shared: bool
    fstype: str
    exists: bool = False
    holders: set = field(default_factory=set)
    texts: set = field(default_factory=set)  # what its file may say; one, but after a write that was cut off
    fenceable: bool = False  # the last client that had its lock was killed: it stays for the next taker to fence

    def opts(self):
        return {"size": "300M" if self.fstype == "xfs" else "64M", "fstype": self.fstype,
                "sharing": "host" if self.shared else "exclusive"}


@dataclass
class Step:
    """What is done to one volume, and how it went."""
    volume: Volume
    what: str
    value: str = ""
    reply: object = None
    error: str = ""

    @property
    def ok(self):
        if self.what == "write":
            return not self.error
        return self.reply is not None and self.reply.status == 200

    @property
    def refused(self):
        return self.reply is not None and self.reply.status not in (None, 200)

    @property
    def decided(self):
        return self.ok or (self.refused and not any(word in self.reply.err for word in UNDECIDED))

    def __str__(self):
        how = self.error or (f"{self.reply.status} {self.reply.err if self.reply.status else ''}" if self.reply else "no reply")
        return f"{self.what} {self.volume.name} {self.value}: {how}"


class Soak:
    def __init__(self, cluster, seed):
        self.cluster = cluster
        self.dice = random.Random(seed)
        self.dir = tempfile.mkdtemp(prefix="rbds-", dir="/tmp")
        self.pool = Pool(cluster.conf, cluster.pool, "")
        self.daemon = Daemon(self.dir, f"soak-{os.getpid()}", cluster.conf, ceph_timeout=f"{TIMEOUT}s", log_level="info",
                             remove="delete")
        self.leaks = Leaks(self.dir, cluster)
        self.leaks.daemons.append(self.daemon)
        self.volumes = [Volume(f"v{n}", n % 2 == 0, "xfs" if n % 4 == 0 else "ext4") for n in range(VOLUMES)]
        self.counter = 0
        self.counts = {}
        self.faults = {}  # how many of each there were
        self.lost = set()  # names of volumes whose mapper was killed in this step
        self.daemon.start().await_cluster()

    def close(self):
        self.leaks.clear()
        self.pool.close()
        shutil.rmtree(self.dir, ignore_errors=True)

    # -- the plan

    def plan(self):
        """Steps on different volumes, the fault in the middle of them, when it comes and how long it lasts."""
        steps = []
        for v in self.dice.sample(self.volumes, self.dice.randint(1, 4)):
            self.counter += 1
            kinds = ["create"] * 2 if not v.exists else ["mount"] * 3 + ["create", "get"]
            if v.holders:
                kinds += ["unmount"] * 4 + ["write"] * 5
            elif v.exists:
                kinds += ["remove"]
            what = self.dice.choice(kinds)
            value = {"unmount": lambda v=v: self.dice.choice(sorted(v.holders)), "mount": lambda: f"h{self.counter}",
                     "write": lambda: f"version {self.counter}"}.get(what, lambda: "")()
            steps.append(Step(v, what, value))
        fault = self.dice.choice(FAULTS)
        return steps, fault, self.dice.uniform(0, 0.15), self.dice.uniform(0.5, 6)

    # -- doing it

    def point(self, v):
        return os.path.join(self.daemon.path("mount-root"), "rbd", v.name)

    def do(self, step):
        v = step.volume
        try:
            if step.what == "write":
                self.write(v, step.value)
            elif step.what in ("create", "remove", "get"):
                step.reply = self.daemon.call(step.what.capitalize(), {"Name": v.name, **({"Opts": v.opts()}
                                                                                          if step.what == "create" else {})})
            else:
                step.reply = self.daemon.call(step.what.capitalize(), {"Name": v.name, "ID": step.value})
        except OSError as e:
            step.error = str(e)

    def write(self, v, text):
        """Replaces the file; what was there before is there until it is whole."""
        path = os.path.join(self.point(v), "data")
        if not os.path.ismount(self.point(v)):
            raise OSError("not mounted")
        with open(path + ".new", "w", encoding="ascii") as f:
            f.write(text)
            f.flush()
            os.fsync(f.fileno())
        os.rename(path + ".new", path)
        folder = os.open(self.point(v), os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def strike(self, fault, steps, lasts):
        self.faults[fault] = self.faults.get(fault, 0) + 1
        if fault in PAUSES:
            for name in PAUSES[fault]:
                self.cluster.pause(name)
            time.sleep(lasts)
            for name in PAUSES[fault]:
                self.cluster.resume(name)
        if fault in ("kill-mapper", "kill-both"):
            names = {f"--image={step.volume.name}" for step in steps}
            for pid, words in self.daemon.mappers().items():
                hit = names & set(words)
                if hit:
                    self.lost |= {word.partition("=")[2] for word in hit}
                    Process(pid).kill()
        for v in self.volumes:
            v.fenceable = v.fenceable or v.name in self.lost
        if fault in ("kill-daemon", "kill-both"):
            self.daemon.kill()
        if fault == "stop-daemon":
            self.daemon.stop()

    def run_step(self, steps, fault, delay, lasts):
        self.lost = set()
        threads = [threading.Thread(target=self.do, args=(step,), daemon=True) for step in steps]
        for t in threads:
            t.start()
        time.sleep(delay)
        self.strike(fault, steps, lasts)
        for t in threads:
            t.join(150)
            assert not t.is_alive(), f"something does not end: {[str(s) for s in steps]}"
        if not self.daemon.alive():
            self.daemon.process.wait(10)
            self.daemon.start()
        self.daemon.await_cluster()
        self.settle()

    def status(self):
        return {v["Name"].rpartition("/")[2]: v for v in self.daemon.must("/Rbdvol.Status")["Volumes"]}

    def settle(self):
        def at_rest():
            return not [v for v in self.status().values()
                        if "Busy" in v or ("Pending" in v and not (v["State"] == "lost" and v["Holders"])) or
                        (not v["Holders"] and v["State"] != "detached")]

        try:
            until(at_rest, "", SETTLE_S)
        except AssertionError:
            raise AssertionError(f"not at rest after {SETTLE_S} s: {self.status()}") from None

    # -- what must be true

    def learn(self, step):
        """The model after a step; where the answer did not come, either is right, and it is looked which."""
        v = step.volume
        state = self.status().get(v.name)
        held = {h["ID"] for h in state["Holders"]} if state else set()
        key = (step.what, "ok" if step.ok else "refused" if step.refused else "cut")
        self.counts[key] = self.counts.get(key, 0) + 1
        if step.what == "write":
            v.texts = v.texts | {step.value} if step.error else {step.value}
        elif step.what == "mount":
            if step.ok or (not step.decided and step.value in held):
                v.holders.add(step.value)
            if step.ok and v.name not in self.lost:
                v.fenceable = False
        elif step.what == "unmount":
            if step.ok or step.refused or step.value not in held:
                v.holders.discard(step.value)
        elif step.what == "create":
            if step.ok or not step.decided:
                v.exists = step.ok or self.exists(v)
                v.texts = v.texts or {""}
        elif step.what == "remove":
            v.fenceable = v.fenceable or not step.ok  # moving to the trash takes the lock
            if step.ok or not step.decided:
                v.exists = not step.ok and self.exists(v)
            if not v.exists:
                v.texts = set()

    def exists(self, v):
        got = self.daemon.call("Get", {"Name": v.name})
        assert got.status == 200 or "no such volume" in got.err, got
        return got.status == 200

    def check(self, v):
        assert self.exists(v) == v.exists, f"{v.name} {'is not' if v.exists else 'is'} there: {v}"
        state = self.status().get(v.name)
        held = {h["ID"] for h in state["Holders"]} if state else set()
        assert held == v.holders, f"{v.name} is held by {held}: {v}"
        if state and state["State"] == "lost":
            assert v.name in self.lost, f"{v.name} is lost: {state}"
            return self.give_up(v)
        point = self.point(v)
        assert bool(mounts.at(point)) == bool(v.holders), f"{v.name} is {'not ' if v.holders else ''}mounted: {v}"
        if v.holders:
            self.check_text(v)
        elif v.exists and not v.fenceable:
            image_id = self.pool.images()[v.name]
            assert not self.locks(image_id), f"{v.name} is locked and not mounted: {self.locks(image_id)}"
        return None

    def locks(self, image_id):
        """Without the mutex: one that was asked for while the OSD was away may be given later, and lapses after 30 s."""
        return {lock: who for lock, who in self.pool.locks(image_id).items() if lock != "rbdvol.ctl"}

    def check_text(self, v):
        path = os.path.join(self.point(v), "data")
        text = ""
        if os.path.exists(path):
            with open(path, encoding="ascii") as f:
                text = f.read()
        assert text in v.texts, f"{v.name} says {text!r}: {v}"
        v.texts = {text}

    def give_up(self, v):
        """A lost volume's holders go; then it is as good as any other."""
        for holder in sorted(v.holders):
            self.daemon.call("Unmount", {"Name": v.name, "ID": holder})
        v.holders = set()
        self.settle()
        self.look_into(v)

    def look_into(self, v):
        """A Mount by nobody in particular works, and finds what was fsynced."""
        self.daemon.mount(v.name, "look")
        self.check_text(v)
        self.daemon.unmount(v.name, "look")
        v.fenceable = False

    def all_down(self):
        """Nobody holds anything: then nothing is left on this host, and no lock in the cluster."""
        for v in self.volumes:
            for holder in sorted(v.holders):
                self.daemon.unmount(v.name, holder)
            v.holders = set()
            if v.exists:
                self.look_into(v)

        def left():
            found = [m.point for m in mounts.below(self.dir)] + [f for f in mounts.loops().values() if f.startswith(self.dir)]
            found += list(self.daemon.mappers()) + self.daemon.helpers() + self.daemon.zombies()
            found += [n for n in self.daemon.state_files() if not STATE_FILES_THAT_STAY.match(os.path.basename(n))]
            return found + [f"{name}: {self.locks(image)}" for name, image in self.pool.images().items()
                            if not name.startswith("rbdvol.") and self.locks(image)]

        try:
            until(lambda: not left(), "", 20)
        except AssertionError:
            raise AssertionError(f"left behind: {left()}") from None

    def hung(self):
        """Whoever waits for a volume comes back when its mapper has gone."""
        self.cluster.resume_all()
        for pid in self.daemon.mappers():
            Process(pid).kill()
        os.kill(os.getpid(), signal.SIGALRM)

    def run_whole_step(self, made, steps, fault, delay, lasts):
        timer = threading.Timer(STEP_S, self.hung)
        timer.daemon = True
        timer.start()
        try:
            self.run_step(steps, fault, delay, lasts)
            for step in steps:
                self.learn(step)
            for v in self.volumes if made % 5 == 0 else {s.volume.name: s.volume for s in steps}.values():
                self.check(v)
            if (made + 1) % ALL_DOWN_EVERY == 0:
                self.all_down()
        finally:
            timer.cancel()

    def run(self, seconds):
        """How many steps it made."""
        end = time.monotonic() + seconds
        made = 0
        while time.monotonic() < end:
            steps, fault, delay, lasts = self.plan()
            try:
                self.run_whole_step(made, steps, fault, delay, lasts)
                made += 1
            except AssertionError as e:
                words = "\n    ".join(str(s) for s in steps)
                raise AssertionError(f"step {made}, with {fault} after {delay:.3f} s for {lasts:.1f} s:\n    {words}\n  {e}") from e
        self.all_down()
        return made


def give_up(_number, _frame):
    raise AssertionError(f"this step did not end in {STEP_S} s")


def main():
    signal.signal(signal.SIGALRM, give_up)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("minutes", nargs="?", type=float, default=30)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 20))
    parser.add_argument("--results")
    args = parser.parse_args()
    mounts.leave_the_others()
    cluster = Cluster.start(tempfile.mkdtemp(prefix="rbdvol-ceph-", dir="/tmp"))
    soak = Soak(cluster, args.seed)
    began = time.monotonic()
    try:
        steps = soak.run(args.minutes * 60)
        good, line = True, f"{steps} steps"
    except AssertionError as e:
        good, line = False, f"failed: {e}"
        print("\n".join("  | " + text for text in soak.daemon.log_text().splitlines()[-60:]))
    finally:
        soak.close()
        cluster.stop()
    print(f"  soak: {line} in {time.monotonic() - began:.0f} s, seed {args.seed}")
    print("  " + ", ".join(f"{what} {how} {n}" for (what, how), n in sorted(soak.counts.items())))
    print(f"  {sum(soak.counts.values())} operations; faults: " + ", ".join(f"{name} {n}" for name, n in sorted(soak.faults.items())))
    with open(args.results or os.devnull, "a", encoding="utf-8") as f:
        f.write(f"{'pass' if good else 'fail'} soak seed {args.seed}\n")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
