# SPDX-License-Identifier: MIT
"""Nothing waits for the slow one: while one volume hangs at some rung, 32 clients on others see no error, and are served as
quickly as without it. Times with and without the hang are taken in turns in one run, since nothing else can be compared on a
machine that others use."""

import contextlib
import itertools
import os
import random
import signal
import statistics
import subprocess
import threading
import time

import process
import pytest
from process import Process
from waiting import until

CLIENTS = 32
VOLUMES = 6  # of which one client each mounts and unmounts; the others share one
PHASE_S = 1.5
TURNS, TURNS_MAX = 2, 6  # more of them when noise has spoilt the comparison
RATIO = 1.2
NOISE_MS = 0.3  # by which a median of a millisecond may differ for no reason


class Clients:
    """32 of them, at work all the time; what they saw since begin()."""

    def __init__(self, daemon):
        self.daemon = daemon
        self.stopped = threading.Event()
        self.lock = threading.Lock()
        self.times = {}
        self.errors = []
        self.threads = [threading.Thread(target=self._run, args=(n,)) for n in range(CLIENTS)]
        for t in self.threads:
            t.start()

    def _run(self, number):
        dice = random.Random(number)
        while not self.stopped.wait(dice.uniform(0.1, 0.3)):
            try:
                if number < VOLUMES:
                    self._mounts(f"rbd/v{number}")  # spelt in full: a pool that cannot be asked may have the name, too
                else:
                    self._asks(f"client-{number}", dice)
            except Exception as e:  # pylint: disable=broad-except
                with self.lock:
                    self.errors.append(repr(e))
                return

    def _timed(self, method, **body):
        began = time.monotonic()
        self.daemon.must(method, **body)
        with self.lock:
            self.times.setdefault(method if body["Name"] == "shared" else method + "-really", []).append(time.monotonic() - began)

    def _mounts(self, name):
        self._timed("Mount", Name=name, ID="a")
        self._timed("Unmount", Name=name, ID="a")

    def _asks(self, holder, dice):
        self._timed("Mount", Name="shared", ID=holder)
        self._timed(dice.choice(("Get", "Path")), Name="shared")
        self._timed("Unmount", Name="shared", ID=holder)

    def phase(self):
        """method -> the times of a phase."""
        with self.lock:
            self.times = {}
        time.sleep(PHASE_S)  # the length of a measurement, not a wait for something
        with self.lock:
            assert not self.errors, self.errors
            return self.times

    def stop(self):
        self.stopped.set()
        for t in self.threads:
            t.join(60)


# -- hangs. Each is a context manager that leaves the slow volume as it found it.


def in_background(daemon, method, **body):
    thread = threading.Thread(target=daemon.call, args=(method, body))
    thread.start()
    return thread


def mapper_of(daemon, image):
    return next(pid for pid, words in daemon.mappers().items() if f"--image={image}" in words)


@contextlib.contextmanager
def unmount_hangs(world, daemon):
    """In umount(2), in a helper: the mapper does not answer the kernel."""
    point = daemon.mount("slow", "a")
    with open(os.path.join(point, "dirty"), "wb") as f:
        f.write(b"x" * 100000)
    mapper = Process(mapper_of(daemon, "slow"))
    mapper.signal(signal.SIGSTOP)
    thread = in_background(daemon, "Unmount", Name="slow", ID="a")
    until(lambda: daemon.get("slow")["Status"]["state"] == "unmounting", "the Unmount to hang")
    try:
        yield
    finally:
        mapper.signal(signal.SIGCONT)
        thread.join(60)


@contextlib.contextmanager
def stopped_at_mount(daemon, find):
    """A Mount whose helper process is stopped as soon as there is one."""
    before = set(find())
    thread = in_background(daemon, "Mount", Name="slow", ID="a")
    held = Process(until(lambda: next(iter(set(find()) - before), None), "the process", 20, interval=0.0005))
    held.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        held.signal(signal.SIGCONT)
        thread.join(60)
        daemon.call("Unmount", {"Name": "slow", "ID": "a"})


@contextlib.contextmanager
def mapping_hangs(world, daemon):
    with stopped_at_mount(daemon, lambda: [p for p, words in daemon.mappers().items() if "--image=slow" in words]):
        yield


@contextlib.contextmanager
def inactive(cluster):
    """No placement group of the pool is active: whatever asks for an object in it waits."""
    def copies(n):
        cluster.ceph("osd", "pool", "set", "stuck", "size", str(n), "--yes-i-really-mean-it")
        cluster.ceph("osd", "pool", "set", "stuck", "min_size", str(n))

    def waits():
        return subprocess.run(["timeout", "1", "rados", "-c", cluster.conf, "-p", "stuck", "ls"], env=cluster.env(),
                              capture_output=True, check=False).returncode == 124

    copies(2)
    try:
        until(waits, "the pool to stop answering", 30)
        yield
    finally:
        copies(1)
        until(lambda: not waits(), "the pool to answer again", 30)


@contextlib.contextmanager
def cluster_hangs_for_it(world, daemon):
    """In all that is asked of the cluster."""
    over = threading.Event()

    def ask(method, **body):
        while not over.is_set():
            daemon.call(method, {"Name": "stuck/stuck", **body})

    threads = [threading.Thread(target=ask, args=("Mount",), kwargs={"ID": "b"}), threading.Thread(target=ask, args=("Get",)),
               threading.Thread(target=ask, args=("Remove",)), threading.Thread(target=ask, args=("Create",))]
    with inactive(world.cluster):
        for t in threads:
            t.start()
        try:
            yield
        finally:
            over.set()
            for t in threads:
                t.join(60)


@contextlib.contextmanager
def write_back_hangs(world, daemon):
    """Mounted, dirty, and its pool does not answer; the Unmount hangs in the flush."""
    point = daemon.mount("stuck/stuck", "a")
    with inactive(world.cluster):
        # not by this process: to make a file may take a block that only the cluster has, and nobody would end the outage
        writer = Process.spawn(["dd", "if=/dev/zero", f"of={point}/dirty", "bs=100000", "count=1"], os.path.join(world.dir, "dd.out"))
        until(lambda: not writer.alive() or process.stat_fields(writer.pid)[0] == "D", "the writer to have written, or to hang")
        thread = in_background(daemon, "Unmount", Name="stuck/stuck", ID="a")
        until(lambda: daemon.must("Get", Name="stuck/stuck")["Volume"]["Status"]["state"] != "mounted", "the Unmount to hang")
        yield
    thread.join(60)
    until(lambda: not writer.alive(), "the writer to end", 30)
    # where the writer hung in making its file, that Unmount was refused, and before the retry its pool may be gone
    daemon.unmount("stuck/stuck", "a")


late = itertools.count()


@contextlib.contextmanager
def create_hangs(world, daemon):
    """In mkfs: the child of the daemon that is none of its helpers."""
    def formats():
        return [pid for pid in process.children(daemon.pid) if "mkfs" in " ".join(process.argv(pid))]

    thread = in_background(daemon, "Create", Name=f"rbd/late-{next(late)}", Opts={"size": "500G", "fstype": "ext4"})
    held = Process(until(lambda: next(iter(formats()), None), "mkfs", 20, interval=0.0005))
    held.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        held.signal(signal.SIGCONT)
        thread.join(60)


HANGS = [unmount_hangs, mapping_hangs, cluster_hangs_for_it, write_back_hangs, create_hangs]


@pytest.fixture
def busy(world):
    cluster = world.cluster
    cluster.ceph("osd", "pool", "create", "stuck", "8", "8", "replicated")
    cluster.rbd("pool", "init", "stuck")
    daemon = world.daemon(pool="rbd,stuck", ceph_timeout="2s", log_level="info").await_cluster()
    for name in ("slow", *(f"v{n}" for n in range(VOLUMES))):
        daemon.create(f"rbd/{name}", size="64M", fstype="ext4")
    daemon.create("shared", size="64M", fstype="ext4", sharing="host")
    daemon.create("stuck/stuck", size="64M", fstype="ext4")
    daemon.mount("shared", "always")
    yield daemon
    daemon.unmount("shared", "always")
    cluster.ceph("osd", "pool", "rm", "stuck", "stuck", "--yes-i-really-really-mean-it")


class Comparison:
    """Of turns without and with the hang. One that is good shows that nothing waits: what waits does so in each; and on a machine
    that others use many a turn is spoilt."""

    def __init__(self):
        self.best = {}  # method -> (ms without, ms with) of the turn in which they were closest

    def turn(self, clients, hang):
        without = clients.phase()
        with hang():
            hanging = clients.phase()
        for method in without.keys() & hanging.keys():
            pair = tuple(1000 * statistics.median(found[method]) for found in (without, hanging))
            if method not in self.best or pair[1] / pair[0] < self.best[method][1] / self.best[method][0]:
                self.best[method] = pair

    def slower(self):
        return {method: (a, b) for method, (a, b) in self.best.items() if b > RATIO * a + NOISE_MS}


@pytest.mark.parametrize("hang", HANGS)
def test_while_one_volume_hangs_the_others_are_served_as_ever(world, busy, hang):
    """Row 19."""
    clients = Clients(busy)
    seen = Comparison()
    try:
        for turn in range(TURNS_MAX):
            seen.turn(clients, lambda: hang(world, busy))
            if turn + 1 >= TURNS and not seen.slower():
                break
    finally:
        clients.stop()
    assert not clients.errors, clients.errors
    assert len(seen.best) == 6, f"too few were served to be compared: {seen.best}"
    assert not seen.slower(), f"slower while another volume hangs (ms without, with): {seen.slower()}"
