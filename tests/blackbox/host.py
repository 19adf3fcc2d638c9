# SPDX-License-Identifier: MIT
"""A container host among several on this machine: its own network, name, identity, mounts, and daemons.

The product has no test hooks: what makes a host one of its own is what the product reads, bound over by other files in a
mount namespace.
"""

import os
import signal
import subprocess
import uuid

import mounts
import process
from daemon import Daemon
from network import within
from process import Process
from waiting import until

BOOT_ID = "/proc/sys/kernel/random/boot_id"
MACHINE_ID = "/etc/machine-id"

# of the cluster that the hosts share
WATCH = 10  # seconds until the watch of a client that is gone lapses; Ceph's own value is 30
BLOCKLIST = 15  # seconds that a blocklist entry without a time lasts; Ceph's own value is 3600


class Host:
    """Its processes are those in its network namespace, which lives as long as one of them."""

    def __init__(self, network, cluster, directory, name=None):
        self._network = network
        self._cluster = cluster
        self.number, self.address = network.next_host()
        self.name = name or f"host{self.number}"
        self.machine_id = uuid.uuid4().hex
        self.boot_id = None
        self.dir = os.path.join(directory, f"h{self.number}")
        self.daemons = []
        self._init = None
        self.namespace = None
        self._link = None
        os.makedirs(self.dir, mode=0o700)
        self.boot()

    # -- its life

    def boot(self):
        """Comes up under a new boot id, with nothing running."""
        self.boot_id = str(uuid.uuid4())
        self._init = Process.spawn(["unshare", "--net", "--uts", "--mount", "--propagation", "private", "sleep", "infinity"],
                                   f"{self.dir}/init.log")

        def apart():
            assert self._init.alive(), f"no namespaces for {self.name}"
            return process.argv(self._init.pid)[:1] == ["sleep"]

        until(apart, f"the namespaces of {self.name}")
        self.namespace = process.namespace(self._init.pid)
        self._link = self._network.join(self.number, self.address, self._init.pid)
        self.run("hostname", self.name)
        for target, text in ((BOOT_ID, self.boot_id), (MACHINE_ID, self.machine_id)):
            path = os.path.join(self.dir, os.path.basename(target))
            with open(path, "w", encoding="ascii") as f:
                f.write(text + "\n")
            self.run("mount", "--bind", path, target)

    def up(self):
        return self._init is not None and self._init.alive()

    def processes(self):
        """All in its network namespace."""
        return [pid for pid in process.pids() if process.namespace(pid) == self.namespace]

    def die(self, power=True):
        """All of it is gone at once, and nobody is told: as when its power is cut. Without power: its processes are killed,
        and their peers see their connections end."""
        if power and self._link in self._network.links():
            self._network.down(self._link)
        for d in self.daemons:
            if d.alive():
                d.kill()

        def rest_gone():
            left = [pid for pid in self.processes() if pid != self._init.pid]
            for pid in left:
                Process(pid).signal(signal.SIGKILL)
            return not left

        until(rest_gone, f"the end of all processes of {self.name}", 20)
        # Last, since the last one's end takes the mounts down: a mapper would wait there for its own answer, for ever.
        self._init.kill()
        self._init = None
        self._network.leave(self._link)

    def reboot(self, power=True):
        """Dies and comes back under another boot id; what is kept in /run is gone."""
        if self.up():
            self.die(power)
        for d in self.daemons:
            d.erase()
        self.boot()

    # -- its network

    def link_down(self):
        """Cut off from everything."""
        self._network.down(self._link)

    def link_up(self):
        self._network.up(self._link)

    def cut_from(self, address):
        """What it sends to this address of the cluster is lost; what comes from there arrives."""
        within(self._init.pid, "ip", "neigh", "replace", address, "lladdr", "02:00:00:ff:ff:ff", "dev", "eth0", "nud", "permanent")

    def heal_from(self, address):
        within(self._init.pid, "ip", "neigh", "del", address, "dev", "eth0")

    # -- what runs and what lies in it

    def enter(self):
        """The words before a command that make it run here."""
        return ["nsenter", *(f"--{kind}=/proc/{self._init.pid}/ns/{name}" for kind, name in
                             (("net", "net"), ("uts", "uts"), ("mount", "mnt"))), "--"]

    def run(self, *words, timeout=30, check=True):
        return subprocess.run([*self.enter(), *words], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=timeout, check=check)

    def spawn(self, words, log, **how):
        return Process.spawn([*self.enter(), *words], log, **how)

    def path(self, path):
        """A path in its mount namespace, as one in ours."""
        return f"/proc/{self._init.pid}/root{path}"

    def mounts(self):
        """What is mounted below its directory, in its mount namespace."""
        return mounts.below(self.dir, self._init.pid) if self.up() else []

    def mounted_at(self, path):
        found = [m for m in self.mounts() if m.point == path]
        return found[-1] if found else None

    def daemon(self, name="rbd", start=True, **options):
        """A daemon here; all hosts may have one of the same name."""
        options.setdefault("ceph_conf", self._cluster.conf)
        made = Daemon(self.dir, name, host=self, **options)
        self.daemons.append(made)
        if start:
            made.start().await_cluster()
        return made

    def close(self):
        """Takes down all of it. What hangs in I/O ends with its mapper, which is killed first."""
        if self.up():
            self.die(power=False)
        for d in self.daemons:
            d.erase()
