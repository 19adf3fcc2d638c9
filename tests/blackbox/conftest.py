# SPDX-License-Identifier: MIT
"""Fixtures: one cluster and one dockerd for the session, one directory, its daemons and a leak check for each test."""

import fcntl
import itertools
import os
import shutil
import signal
import sys
import tempfile
import threading

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
TESTS = os.path.dirname(HERE)
sys.path[:0] = [os.path.join(TESTS, name) for name in ("lib", "ceph", "docker", "blackbox")]

from cluster import Cluster  # noqa: E402
from daemon import RBDVOL, Daemon  # noqa: E402
from dockercli import DRIVER, PLUGINS, Docker, sweep_plugins  # noqa: E402
from engine import Engine  # noqa: E402
from leaks import Leaks  # noqa: E402
from mounts import leave_the_others  # noqa: E402
from pace import patience  # noqa: E402
from process import Process  # noqa: E402
from relay import Relay  # noqa: E402

HANGS_S = 270  # no test takes as long as that; ./check ends it a little later
_numbers = itertools.count(1)


def pytest_configure(config):
    if os.geteuid() != 0:
        pytest.exit("these tests mount file systems: run them as root", returncode=2)
    if not os.access(RBDVOL, os.X_OK):
        pytest.exit(f"{RBDVOL} is not built", returncode=2)
    if not config.option.collectonly:
        leave_the_others()
    # a terminated run takes down what it started, as an interrupted one does
    signal.signal(signal.SIGTERM, lambda *_: pytest.exit("terminated", returncode=143))


def of_hosts(nodeid):
    return "/hosts/" in nodeid


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Tests of several hosts stay in one process: a daemon looks at all mappers of its machine, and would ask those of other
    tests' hosts. Each other one goes where there is time."""
    from xdist.scheduler import LoadScopeScheduling  # pylint: disable=import-outside-toplevel

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return "hosts" if of_hosts(nodeid) else nodeid

    return Scheduling(config, log)


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: not of_hosts(item.nodeid))  # the longest way to the end begins first


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.when == "call":
        item.call_failed = report.failed
    world = getattr(item, "funcargs", {}).get("world")
    if report.failed and world:
        for d in world.daemons():
            report.sections.append((f"log of {d.name}" + (f" on {d.host.name}" if d.host else ""), "\n".join(d.log_text().splitlines()[-60:])))


@pytest.fixture(scope="session")
def cluster():
    """The private cluster, made once."""
    made = Cluster.start(tempfile.mkdtemp(prefix="rbdvol-ceph-", dir="/tmp"))
    yield made
    made.stop()


@pytest.fixture(scope="session")
def engine():
    """The private dockerd, made once, with the images "box" and "seeded" (content at /data, which is a VOLUME)."""
    os.makedirs(PLUGINS, mode=0o700, exist_ok=True)
    with open(f"{PLUGINS}/../rbdvol-tests.lock", "w", encoding="ascii") as lock:
        # every dockerd of a host asks all plugins in this directory: two runs at a time would see each other's volumes
        fcntl.flock(lock, fcntl.LOCK_EX)
        sweep_plugins()
        made = Engine.start(tempfile.mkdtemp(prefix="rbdvol-docker-", dir="/tmp"))
        try:
            made.import_image("box")
            made.import_image("seeded", {"data/seed": "from the image\n", "data/below/deep": "deeper\n"}, ["VOLUME /data"])
            yield made
        finally:
            made.stop()


class World:
    """One test's directory and daemons."""

    def __init__(self, cluster):
        # short: a socket's path has at most 107 bytes
        self.dir = tempfile.mkdtemp(prefix="rbdt-", dir="/tmp")
        self.cluster = cluster
        self.leaks = Leaks(self.dir, cluster)
        self.hung = False

    def release(self):
        """Kills the mappers: with its server gone the kernel fails the I/O, and lets go of what waits for it."""
        self.hung = True
        for d in self.daemons():
            for pid in d.mappers():
                Process(pid).kill()

    def daemons(self):
        """All of them, also those of test hosts."""
        return self.leaks.daemons + [d for host in self.leaks.hosts for d in host.daemons]

    def daemon(self, name=None, start=True, **options):
        """A daemon of an instance of its own. Options of `rbdvol serve` with _ for -."""
        name = name or f"rbdtest-{os.getpid()}-{next(_numbers)}"
        options.setdefault("ceph_conf", self.cluster.conf)
        made = Daemon(self.dir, name, **options)
        self.leaks.daemons.append(made)
        if start:
            made.start()
        return made


@pytest.fixture(autouse=True)
def world(request, cluster):
    """The leak check: fails a test that passed, but left something behind."""
    here = World(cluster)
    request.node.call_failed = True
    # What hangs in I/O cannot be interrupted, not by a signal either: that of pytest-timeout comes after this.
    watchdog = threading.Timer(patience(HANGS_S), here.release)
    watchdog.start()
    try:
        yield here
        assert not here.hung, f"it took longer than {patience(HANGS_S)} s"
        if not request.node.call_failed:
            problems = []
            cluster.resume_all()
            for d in here.daemons():
                try:
                    d.stop()
                except AssertionError as e:
                    problems.append(str(e))
            problems += here.leaks.settled()
            assert not problems, "left behind:\n  " + "\n  ".join(problems)
    finally:
        here.leaks.clear()
        watchdog.cancel()
        shutil.rmtree(here.dir, ignore_errors=True)


@pytest.fixture
def snapshots(cluster):
    """For tests that make snapshots: these are cleared away in another manner."""
    cluster.has_snapshots = True


@pytest.fixture
def daemon(world):
    """A running daemon, connected to the cluster."""
    return world.daemon().await_cluster()


def _after_docker(docker, cluster):
    """dockerd is left as it was made: running, without containers and volumes."""
    cluster.resume_all()
    if not docker.daemon.alive():
        docker.daemon.start()
    if docker.engine.answers():
        docker.clean()
    if docker.engine.renew():
        docker.clean()


@pytest.fixture
def docker(engine, world, cluster):
    """The private dockerd with a daemon as its volume driver."""
    made = Docker(engine, world.daemon(DRIVER, socket=f"{PLUGINS}/{DRIVER}.sock").await_cluster())
    yield made
    _after_docker(made, cluster)


@pytest.fixture
def watched(engine, world, cluster):
    """The same, with a relay between dockerd and the daemon that writes down what is asked."""
    daemon = world.daemon(DRIVER).await_cluster()
    made = Docker(engine, daemon, Relay(f"{PLUGINS}/{DRIVER}.sock", daemon.socket))
    try:
        yield made
        _after_docker(made, cluster)
    finally:
        made.seen.stop()
