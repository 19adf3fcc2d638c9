# SPDX-License-Identifier: MIT
"""Fixtures: a network of this session's own, a cluster in it, and guests: other kernels, which have krbd and nbd."""

import ctypes
import fcntl
import glob
import os
import shutil
import subprocess
import sys
import tempfile

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
TESTS = os.path.dirname(HERE)
sys.path[:0] = [os.path.join(TESTS, name) for name in ("lib", "ceph", "docker", "blackbox")]

from cluster import Cluster  # noqa: E402
from daemon import BUILD  # noqa: E402
from guest import KIND, Guest, GuestDaemon  # noqa: E402
from network import Network, ip  # noqa: E402

CLONE_NEWNET = 0x40000000
WATCH_TIMEOUT = 10  # seconds, of the OSD: krbd pings its watch every 5 s
GUESTS = 2
REPORTS = os.path.join(BUILD, "reports")  # of sanitizers


def pytest_configure(config):
    if os.geteuid() != 0:
        pytest.exit("these tests start guests on a network of their own: run them as root", returncode=2)


def pytest_sessionstart(session):
    """A network namespace, which ends with us and takes everything on it along."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        pytest.exit(f"cannot make a network namespace: {os.strerror(ctypes.get_errno())}", returncode=2)
    ip("link", "set", "lo", "up")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if not report.failed:
        return
    item.failed = True
    guests = item.session.guests if hasattr(item.session, "guests") else []
    for guest in guests:
        report.sections.append((f"console of {guest.name}", guest.console()[-6000:]))
        for name in guest.daemons if guest.alive() else []:
            try:
                report.sections.append((f"log of {name} in {guest.name}", guest.call("daemon_log", name)[-6000:]))
                report.sections.append((f"kernel's log of {guest.name}", guest.sh("dmesg | tail -40")))
            except AssertionError as e:
                report.sections.append((f"log of {name} in {guest.name}", str(e)))


@pytest.fixture(scope="session")
def unpacked():
    """What the guests need, fetched once per build directory."""
    directory = os.path.join(BUILD, "vm")
    os.makedirs(directory, exist_ok=True)
    with open(os.path.join(directory, "lock"), "w", encoding="ascii") as lock:  # two may come at the same time
        fcntl.flock(lock, fcntl.LOCK_EX)
        fetch(directory)
    return directory


def fetch(directory):
    subprocess.run([os.path.join(HERE, "fetch"), directory, *(["qemu"] if KIND == "qemu" else [])], check=True, timeout=300)


@pytest.fixture(scope="session")
def network():
    made = Network(1)
    yield made
    made.close()


@pytest.fixture(scope="session")
def cluster(network):
    made = Cluster.start(tempfile.mkdtemp(prefix="rbdvol-ceph-", dir="/tmp"), network.addresses[0],
                         settings={"osd client watch timeout": WATCH_TIMEOUT})
    yield made
    made.stop()


@pytest.fixture(scope="session")
def _guests(request, unpacked, network, cluster):
    """All that the session uses, booted when they are needed and kept."""
    directory = tempfile.mkdtemp(prefix="rbdvol-vm-", dir="/tmp")
    made = []
    for _ in range(GUESTS):
        number, address = network.next_host()
        guest = Guest(directory, f"host{number}", number, address, network.bridge, unpacked)
        guest.daemons = []
        made.append(guest)
    request.session.guests = made
    yield made
    for guest in made:
        guest.stop()
        guest.close()
    for report in glob.glob(f"{directory}/*/*/reports/*"):
        shutil.copy(report, os.path.join(REPORTS, report.replace("/", "_")))
    shutil.rmtree(directory)


class Hosts:
    """The guests of one test, and its daemons in them."""

    def __init__(self, guests, cluster):
        self._guests = guests
        self.cluster = cluster
        self.used = []

    def guest(self, number=0):
        guest = self._guests[number]
        if not guest.alive():
            guest.start()
            guest.daemons = []
            if os.path.isdir(REPORTS):
                guest.sh(f"grep -qF ' {REPORTS} ' /proc/mounts")  # what is written there reaches us
            guest.sh("modprobe rbd single_major=Y; modprobe nbd max_part=0 nbds_max=8; modprobe fuse; modprobe loop max_loop=8 || true")
        if guest not in self.used:
            self.used.append(guest)
        return guest

    def daemon(self, number=0, name="rbd", start=True, **options):
        guest = self.guest(number)
        guest.daemons.append(name)
        options.setdefault("ceph_conf", self.cluster.conf)
        made = GuestDaemon(guest, name, **options)
        if start:
            made.start()
            made.await_cluster()
        return made

    def left(self):
        """What is left in the guests that run, and in the cluster."""
        found = []
        for guest in self.used:
            for name in guest.daemons if guest.alive() else []:
                found += [f"{guest.name}: {line}" for line in guest.call("left_of", name)]
        return found + [f"lock: {line}" for line in self.cluster.locks_left()]

    def clear(self):
        for guest in self.used:
            guest.mend()
            for name in guest.daemons if guest.alive() else []:
                try:
                    guest.call("daemon_end", name)
                except AssertionError:
                    guest.kill()  # the next test boots it anew
            guest.daemons = []
        for image in self.cluster.images():
            self.cluster.break_locks(image)
        self.cluster.wipe()


@pytest.fixture
def hosts(request, _guests, cluster):
    """Guests to run daemons in; afterwards nothing may be left of them."""
    made = Hosts(_guests, cluster)
    request.node.failed = False
    yield made
    try:
        if not request.node.failed:
            for guest in made.used:
                for name in guest.daemons if guest.alive() else []:
                    guest.call("daemon_do", name, "stop")
            left = made.left()
            assert not left, "left behind:\n  " + "\n  ".join(left)
    finally:
        made.clear()


@pytest.fixture
def guest(hosts):
    return hosts.guest()


@pytest.fixture
def daemon(hosts):
    """A running daemon in a guest, which chooses its mapper by itself."""
    return hosts.daemon()
