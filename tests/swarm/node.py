# SPDX-License-Identifier: MIT
"""A node of a swarm: a test host with a Docker engine, and beside it rbdvol."""

import glob
import os

import mounts
from engine import Engine
from host import Host
from waiting import until

PLUGINS = "/run/docker/plugins"
# A driver for each way to take over: what a service's volume is mounted with decides how long it waits for a dead owner.
DRIVERS = {"silent": "rbd-silent", "dead": "rbd-dead"}


class Node(Host):
    """Containers have network namespaces of their own: what belongs to it is known by its cgroup, too."""

    def __init__(self, network, cluster, directory):
        self.engine = None
        self.cgroup = None
        super().__init__(network, cluster, directory)
        for takeover, name in DRIVERS.items():
            self.daemon(name, takeover=takeover, socket=f"{self.dir}/plugins/{name}.sock", log_level="info")
        self.engine = Engine.start(f"{self.dir}/e", spawn=self.spawn, cgroup=self.cgroup)

    def boot(self):
        self.cgroup = f"/rbdvol-swarm-{os.getpid()}-{self.number}"
        super().boot()
        # every dockerd of a machine asks all plugins in this directory
        os.makedirs(f"{self.dir}/plugins", exist_ok=True)
        self.run("mount", "-t", "tmpfs", "-o", "mode=0755", "run", "/run")
        self.run("mkdir", "-p", PLUGINS)
        self.run("mount", "--bind", f"{self.dir}/plugins", PLUGINS)

    def come_back(self):
        """After die(): a boot with all that a host starts by itself, in the order of the units."""
        self.reboot()
        for d in self.daemons:
            d.start().await_cluster()
        self.engine.boot()

    def daemon_of(self, takeover):
        return next(d for d in self.daemons if d.name == DRIVERS[takeover])

    # -- what is left of it

    def processes(self):
        return list(dict.fromkeys(super().processes() + self._contained()))

    def _cgroups(self):
        """The directories of its containers, the deepest first."""
        above = glob.glob(f"/sys/fs/cgroup{self.cgroup}") + glob.glob(f"/sys/fs/cgroup/*{self.cgroup}")
        return [folder for top in above for folder, _, _ in os.walk(top, topdown=False)]

    def _contained(self):
        found = []
        for folder in self._cgroups():
            try:
                with open(f"{folder}/cgroup.procs", encoding="ascii") as f:
                    found += map(int, f.read().split())
            except OSError:  # it has just gone
                continue
        return [pid for pid in found if pid]

    def _remove_cgroups(self):
        for folder in self._cgroups():
            try:
                os.rmdir(folder)
            except OSError:
                continue
        return not self._cgroups()

    def die(self, power=True):
        super().die(power)
        until(self._remove_cgroups, f"the cgroups of {self.name} to be empty", 20)

    def close(self):
        super().close()
        until(self._remove_cgroups, f"the cgroups of {self.name} to be empty", 20)

    # -- what it has of a volume

    def remains(self, takeover):
        """What it has of the volumes of this daemon: [] when it has none of them any more."""
        d = self.daemon_of(takeover)
        found = [f"mount {m.point}" for m in mounts.below(d.path("mount-root"), self._init.pid)]
        found += [f"mapper {pid}" for pid in d.mappers()]
        found += [f"{v['Name']} is {v['State']}, holders {v['Holders']}" for v in d.must("/Rbdvol.Status")["Volumes"]
                  if v["State"] != "detached" or v["Holders"]]
        return found
