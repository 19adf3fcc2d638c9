# SPDX-License-Identifier: MIT
"""What a test may not leave behind: looked for after each one, named precisely, then cleared away."""

import os
import re
import subprocess

import mounts
import process
from daemon import BUILD
from process import Process
from waiting import TookTooLong, until

STATE_FILES_THAT_STAY = re.compile(r"^(lock|.*\.lock|clients\.json)$")


class Leaks:
    """Watches over the daemons of one test, which all live below one directory."""

    def __init__(self, directory, cluster):
        self.dir = directory
        self.cluster = cluster
        self.daemons = []
        self.hosts = []
        self._helpers_before = set(self._helpers())

    def _helpers(self):
        """Helper processes of our build whose daemon is gone, or one of ours, for which it is more than idle."""
        ours = {d.pid for d in self._all_daemons() if d.process}
        return [pid for pid in process.pids() if process.program(pid).startswith(BUILD)
                for words in [process.argv(pid, "rbdvol-device")] if words and "rbdvol-device" in words[0]
                and process.parent(pid) in (ours | {1} if words[1:2] != ["idle"] else {1})]

    def _all_daemons(self):
        """Ours, and those of the test hosts that are up: what is left of a dead host is the cluster's to show."""
        return self.daemons + [d for host in self.hosts if host.up() for d in host.daemons]

    def on_this_host(self):
        """What is left on this host, and on each test host."""
        found = [f"mount: {m.point} ({m.fstype}, {m.source})" for m in mounts.below(self.dir)]
        found += [f"mount on {host.name}: {m.point} ({m.fstype}, {m.source})" for host in self.hosts for m in host.mounts()]
        found += [f"loop device: {device} on {file}" for device, file in mounts.loops().items() if file.startswith(self.dir)]
        for d in self._all_daemons():
            found += [f"mapper: pid {pid} {' '.join(words)}" for pid, words in d.mappers().items()]
            found += [f"state file: {name}" for name in d.state_files()
                      if not STATE_FILES_THAT_STAY.match(os.path.basename(name))]
            if d.alive():
                found += [f"zombie: pid {pid} of {d.name}" for pid in d.zombies()]
                found += [f"helper: pid {pid} of {d.name}" for pid in d.helpers()]
            if os.path.isdir(d.path("scratch-dir")):
                found += [f"scratch file: {name}" for name in os.listdir(d.path("scratch-dir"))]
        found += [f"helper: pid {pid}" for pid in self._helpers() if pid not in self._helpers_before]
        return found

    def in_the_cluster(self):
        """What is left in the cluster."""
        found = []
        objects = self.cluster.everything()
        for namespace in sorted({namespace for namespace, _ in objects}):
            where = self.cluster.pool + (f"/{namespace}" if namespace else "")
            found += [f"image: {where}/{name}" for name in self.cluster.images(where) if name.startswith("rbdvol.new.")]
        if any(name.startswith("rbd_header.") for _, name in objects):
            found += [f"lock: {line}" for line in self.cluster.locks_left()]
        return found

    def all(self):
        return self.on_this_host() + self.in_the_cluster()

    def settled(self, seconds=5):
        """What is left after a moment for what ends by itself (a mapper without a daemon, a background unmount)."""
        try:
            until(lambda: not self.all(), "nothing to be left", seconds, interval=0.1)
            return []
        except TookTooLong:
            return self.all()

    def clear(self, wipe=True):
        """Takes everything away, so that the next test starts clean. wipe: what is in the cluster, too."""
        self.cluster.resume_all()
        for host in self.hosts:
            host.close()
        for d in self.daemons:
            if d.alive():
                d.kill()
        for pid in self._helpers():
            if pid not in self._helpers_before:
                Process(pid).kill()
        mounts_here = [m for m in mounts.below(self.dir) if not m.fstype.startswith("fuse")]
        for m in reversed(mounts_here):
            subprocess.run(["umount", "-l", m.point], capture_output=True, check=False, timeout=30)
        for device, file in mounts.loops().items():
            if file.startswith(self.dir):
                subprocess.run(["losetup", "-d", device], capture_output=True, check=False, timeout=30)
        for d in self.daemons:
            for pid in d.mappers():
                Process(pid).kill()
        mounts.unmount_below(self.dir)
        for d in self.daemons:
            d.erase()
        if wipe:
            self.cluster.wipe()
