# SPDX-License-Identifier: MIT
"""One daemon with the shim in it, in a namespace of the pool that is its own; interrupted once per run, then looked at."""

import itertools
import os
import shutil
import subprocess
import tempfile
import threading
import time

import mounts
import process
from daemon import BUILD, Daemon
from leaks import STATE_FILES_THAT_STAY, Leaks
from operation import TEMPORARY
from points import ROLES, Point, Points
from pool import Pool
from process import Process
from stored import Stored
from waiting import until

SHIM = os.path.join(BUILD, "tests", "crash", "crash-shim.so")
QUIET_S = 1  # on a loaded machine; who is killed before is not waited for
SETTLE_S = 20  # a step that failed is tried again after 0.5, 1, 2 and 4 s


def clear_away(directory):
    """What a bench that does not run any more has left on this host, by its directory."""
    path = os.path.join(directory, "points")
    if os.path.exists(path):
        Points(path, fresh=False).kill_now(ROLES)
    subprocess.run(["umount", "-l", *[m.point for m in reversed(mounts.below(directory))]], capture_output=True, check=False,
                   timeout=30)
    for device, file in mounts.loops().items():
        if file.startswith(directory):
            subprocess.run(["losetup", "-d", device], capture_output=True, check=False, timeout=30)
    shutil.rmtree(directory, ignore_errors=True)


class NotReached(Exception):
    """This time the operation made fewer of these calls."""


class Bench:
    def __init__(self, cluster, directory, number, operation):
        """directory: below which to make one. A short one, since a socket's path has at most 107 bytes."""
        self.cluster = cluster
        self.operation = operation
        self.dir = tempfile.mkdtemp(dir=directory, prefix="")
        self.pool = Pool(cluster.conf, cluster.pool, f"crash{number}")
        self.points = Points(os.path.join(self.dir, "points"))
        self.leaks = Leaks(self.dir, cluster)
        self.daemon = Daemon(self.dir, f"crash{number}-{os.getpid()}", cluster.conf, namespace=self.pool.namespace,
                             log_level="info", **operation.options)
        self.daemon.env = {"LD_PRELOAD": SHIM, "CRASH_SHIM_SELF": SHIM, "CRASH_SHIM_FILE": self.points.path}
        self.leaks.daemons.append(self.daemon)
        self.leaks._helpers = list  # pylint: disable=protected-access  # the shim knows ours; others have theirs
        self.numbers = itertools.count(1)
        self.stored = {}
        self.volume = None
        self.victims = ()
        self.armed = lambda: None
        self.daemon.start().await_cluster()
        self.other = self._other(number) if operation.needs_other else None

    def _other(self, number):
        """A daemon that nobody kills."""
        other = Daemon(self.dir, f"other{number}-{os.getpid()}", self.cluster.conf, namespace=self.pool.namespace,
                       log_level="info")
        self.leaks.daemons.append(other)
        return other.start().await_cluster()

    def close(self):
        self.points.off()
        self.clear()
        self.pool.close()
        shutil.rmtree(self.dir, ignore_errors=True)

    def clear(self):
        """Whatever the last run has left."""
        for pid in self.points.pids("device"):
            Process(pid).kill()
        wipe, self.cluster.wipe = self.cluster.wipe, lambda: None  # other benches are at work in the pool
        try:
            self.leaks.clear()
        finally:
            self.cluster.wipe = wipe
        self.pool.wipe()

    # -- what operations ask for

    def begin_with(self, what, make):
        """The volume as make() makes it and leaves it at rest: from the second time on, a copy of what the first made. To be the
        first step of an operation's prepare()."""
        if what in self.stored:
            self.stored[what].put(self.pool, self.volume)
            return
        make()
        self.await_settled()
        self.stored[what] = Stored(self.pool, self.volume)

    def status(self):
        """What status says of our volume; None when there is nothing to say."""
        all_of_them = self.daemon.must("/Rbdvol.Status")["Volumes"]
        return next((v for v in all_of_them if v["Name"].endswith("/" + self.volume)), None)

    def holders(self):
        state = self.status()
        return sorted(h["ID"] for h in state["Holders"]) if state else []

    def killed(self, role):
        return role in self.victims

    def await_that(self, condition, what, seconds=SETTLE_S):
        try:
            until(condition, "", seconds)
        except AssertionError:
            raise AssertionError(f"waited {seconds} s for {what() if callable(what) else what}") from None

    def await_settled(self):
        """Nothing is at work, and nothing waits to be tried again."""
        def settled():
            volumes = self.daemon.must("/Rbdvol.Status")["Volumes"]
            # one whose mapper was killed stays lost for as long as somebody holds it
            return not [v for v in volumes if "Busy" in v or ("Pending" in v and not (v["State"] == "lost" and v["Holders"])) or
                        (not v["Holders"] and v["State"] != "detached")]

        self.await_that(settled, lambda: f"nothing to be pending: {self.daemon.must('/Rbdvol.Status')['Volumes']}")

    def await_images(self, names):
        def wrong():
            return [name for name in self.pool.images() if name not in names]

        self.await_that(lambda: not wrong(), lambda: f"{names} to be all, there are {wrong()}")

    def start_armed(self):
        """For an operation that starts the daemon: it may end at any time after this."""
        self.armed()
        try:
            self.daemon.start()
        except AssertionError:
            return

    def _await_quiet(self):
        """Nothing that counts has happened for a while. Nothing is asked for: an answer would count."""
        last, since = None, time.monotonic()
        while time.monotonic() - since < QUIET_S and not self.points.fired and self.daemon.alive():
            now = self.points.calls()
            if now != last:
                last, since = now, time.monotonic()
            time.sleep(0.01)

    def die_at(self, point, act):
        self.points.kill_at(Point.parse(point))
        try:
            act()
        except OSError:
            pass
        assert self.points.fired, f"{point} was not reached"
        self._await_death()
        self.points.off()

    def _await_death(self):
        """All of it: systemd starts no other before the last thread has gone, either."""
        self.daemon.process.wait(10)

    # -- a run

    def _begin(self):
        self.victims = ()
        self.volume = f"v{next(self.numbers):05}"  # all of one length: Stored
        self.armed = lambda: None
        self.operation.prepare(self)

    def _act(self):
        """The operation itself; its reply, None when it was cut off."""
        if self.operation.restarts:
            self.operation.act(self)
            reply = None
        else:
            self.armed()
            try:
                reply = self.operation.act(self)
            except (OSError, ValueError):
                reply = None
        self._await_quiet()
        return reply if reply and reply.status else None

    def _after(self, reply, killed):
        """Up again, at rest, right, and nothing left."""
        self.points.off()
        if "daemon" in killed or not self.daemon.alive():
            self._await_death()
            began = time.monotonic()
            self.daemon.start()
            took = time.monotonic() - began
            assert took < 5, f"it took {took:.1f} s to start"
        self.victims = killed
        self.daemon.await_cluster()
        self.await_settled()
        self.operation.check(self, reply)
        self._nothing_is_left(killed)

    def _on_this_host(self):
        """What leaks.py looks for. Our processes are known: the shim has each of them write down its pid."""
        found = [f"mount: {m.point} ({m.fstype}, {m.source})" for m in mounts.below(self.dir)]
        found += [f"loop device: {device} on {file}" for device, file in mounts.loops().items() if file.startswith(self.dir)]
        found += [f"{role}: pid {pid}" for role in ("mapper", "device") for pid in self.points.pids(role)
                  if process.argv(pid)[:2] != ["rbdvol-device", "idle"]]  # one that waits for who needs it next
        found += [f"state file: {name}" for name in self.daemon.state_files()
                  if not STATE_FILES_THAT_STAY.match(os.path.basename(name))]
        return found + [f"scratch file: {name}" for name in os.listdir(self.daemon.path("scratch-dir"))]

    def _nothing_is_left(self, killed):
        def left():
            found = self._on_this_host()
            for name, image_id in self.pool.images().items():
                if name.startswith(TEMPORARY) and "daemon" in killed:
                    continue  # the collector's
                found += [f"lock of {name}: {lock} {who}" for lock, who in self.pool.locks(image_id).items()
                          # one on an image that was put away lapses after 30 s, and is in nobody's way
                          if not (lock == "rbdvol.ctl" and name != self.volume)]
            return found

        self.await_that(lambda: not left(), lambda: f"nothing to be left behind, there is {left()}")
        if self.operation.has_snapshots:
            self.pool.forget_snapshots()
        self.pool.wipe()

    def count(self):
        """The points of the operation, and how long it takes."""
        self._begin()
        self.armed = self.points.count
        began = time.monotonic()
        reply = self._act()
        took = time.monotonic() - began - QUIET_S
        points = self.points.counted()
        self.await_settled()
        self._after(reply, ())
        return points, took

    def run_point(self, point):
        self._begin()
        self.armed = lambda: self.points.kill_at(point)
        reply = self._act()
        killed = self.points.hit()
        self._after(reply, killed)
        if not killed:
            raise NotReached

    def run_random(self, delay, victims):
        self._begin()
        killed = []
        timer = threading.Timer(delay, lambda: killed.extend(self.points.kill_now(victims)))
        self.armed = lambda: (self.points.count(), timer.start())
        try:
            reply = self._act()
        finally:
            timer.join()
        self._after(reply, tuple(killed))
