# SPDX-License-Identifier: MIT
"""A control group of the test's own, of version 1 or 2, whichever this kernel offers for what is to be limited."""

import contextlib
import os

import pytest
from waiting import until

ROOT = "/sys/fs/cgroup"
# argv: the group's list of processes, and what to run in it
ENTER = "import os, sys; open(sys.argv[1], 'w').write(str(os.getpid())); os.execvp(sys.argv[2], sys.argv[2:])"


class Group:
    def __init__(self, path, version):
        self.path = path
        self.version = version

    @property
    def procs(self):
        return f"{self.path}/cgroup.procs"

    def _write(self, file, value):
        with open(f"{self.path}/{file}", "w", encoding="ascii") as f:
            f.write(str(value))

    def _read(self, file):
        with open(f"{self.path}/{file}", encoding="ascii") as f:
            return f.read()

    def take(self, pid):
        self._write("cgroup.procs", pid)

    def give_back(self, pid):
        """To the group above."""
        with open(f"{os.path.dirname(self.path)}/cgroup.procs", "w", encoding="ascii") as f:
            f.write(str(pid))

    def processes(self):
        """How many there are, threads counted."""
        return int(self._read("pids.current"))

    def limit_processes(self, number):
        self._write("pids.max", "max" if number is None else number)

    def limit_memory(self, size):
        if self.version == 1:
            self._write("memory.limit_in_bytes", size)
        else:
            self._write("memory.max", size)

    def was_full(self):
        """Somebody in it had to wait for memory."""
        if self.version == 1:
            return int(self._read("memory.failcnt")) > 0
        return any(line.split() != ["max", "0"] for line in self._read("memory.events").splitlines() if line.startswith("max "))

    def empty(self):
        return not self._read("cgroup.procs").split()

    def close(self):
        for pid in self._read("cgroup.procs").split():
            self.give_back(pid)
        until(self.empty, "the group to be empty", 10)
        os.rmdir(self.path)


def _version_2():
    for root in (ROOT, f"{ROOT}/unified"):
        if os.path.exists(f"{root}/cgroup.controllers"):
            yield root


@contextlib.contextmanager
def group(controller, name):
    """The group; skips the test where the kernel offers no such controller."""
    made = None
    if os.path.exists(f"{ROOT}/{controller}/cgroup.procs"):
        made = Group(f"{ROOT}/{controller}/{name}", 1)
    else:
        for root in _version_2():
            with open(f"{root}/cgroup.controllers", encoding="ascii") as f:
                if controller in f.read().split():
                    with open(f"{root}/cgroup.subtree_control", "w", encoding="ascii") as out:
                        out.write(f"+{controller}")
                    made = Group(f"{root}/{name}", 2)
    if made is None:
        pytest.skip(f"this kernel offers no cgroup controller '{controller}' here")
    os.mkdir(made.path)
    try:
        yield made
    finally:
        made.close()
