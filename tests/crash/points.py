# SPDX-License-Identifier: MIT
"""The shared file of the shim (shim.h): which calls were made, and at which of them to kill whom."""

import ctypes
import mmap
import os
import signal
from dataclasses import dataclass

import process
from waiting import TookTooLong, until

ROLES = ("daemon", "mapper", "device")
PROGRAMS = ("rbdvol", "rbdvol-mapper", "rbdvol-device")
PIDS, NAME, FUNCS, RECORDS = 64, 40, 96, 16384
OFF, COUNT, KILL = range(3)
STRIKE_S = 10


class Record(ctypes.Structure):
    _fields_ = [("role", ctypes.c_uint8), ("func", ctypes.c_uint8), ("is_exit", ctypes.c_uint8),
                ("alive", ctypes.c_uint8), ("n", ctypes.c_uint32)]


class Shared(ctypes.Structure):
    _fields_ = [("mode", ctypes.c_uint32), ("role", ctypes.c_uint32), ("func", ctypes.c_uint32), ("n", ctypes.c_uint32),
                ("is_exit", ctypes.c_uint32), ("victims", ctypes.c_uint32), ("fired", ctypes.c_uint32),
                ("hit", ctypes.c_uint32), ("struck", ctypes.c_uint32), ("records_n", ctypes.c_uint32), ("pids_n", ctypes.c_uint32 * len(ROLES)),
                ("pids", ctypes.c_int32 * PIDS * len(ROLES)), ("starts", ctypes.c_uint32 * PIDS * len(ROLES)),
                ("counts", ctypes.c_uint32 * FUNCS * len(ROLES)),
                ("names", (ctypes.c_char * NAME) * FUNCS), ("records", Record * RECORDS)]


@dataclass(frozen=True)
class Point:
    """At the n-th call of a function by a role, at its entry or exit: kill these roles."""
    role: str
    func: str
    n: int
    is_exit: bool
    victims: tuple

    def __str__(self):
        return f"{self.role}:{self.func}:{self.n}:{'exit' if self.is_exit else 'entry'}:{'+'.join(self.victims)}"

    @classmethod
    def parse(cls, text):
        role, func, n, when, victims = text.split(":")
        return cls(role, func, int(n), when == "exit", tuple(victims.split("+")))


class Points:
    def __init__(self, path, fresh=True):
        self.path = path
        if fresh:
            with open(path, "wb") as f:
                f.truncate(ctypes.sizeof(Shared))
        with open(path, "r+b") as f:
            self.memory = mmap.mmap(f.fileno(), ctypes.sizeof(Shared))
        self.shared = Shared.from_buffer(self.memory)

    def _begin(self, mode):
        s = self.shared
        s.mode = OFF
        s.fired = s.hit = s.struck = s.records_n = 0
        ctypes.memset(s.counts, 0, ctypes.sizeof(s.counts))
        for role in range(len(ROLES)):
            living = self._living(role)
            none = [0] * (PIDS - len(living))
            s.pids[role][:] = [pid for pid, _ in living] + none
            s.starts[role][:] = [start for _, start in living] + none
            s.pids_n[role] = len(living)
        s.mode = mode

    def pids(self, role):
        """Its processes that are alive."""
        return [pid for pid, _ in self._living(ROLES.index(role))]

    def _living(self, at):
        """(pid, start) of those that still are who entered themselves: a pid is soon another's."""
        entries = zip(list(self.shared.pids[at]), list(self.shared.starts[at]))
        return [(pid, start) for pid, start in entries if pid > 0 and _is(pid, start, PROGRAMS[at])]

    def count(self):
        self._begin(COUNT)

    def kill_at(self, point):
        s = self.shared
        s.mode = OFF
        names = [bytes(name.value).decode() for name in s.names]
        s.role, s.func, s.n, s.is_exit = ROLES.index(point.role), names.index(point.func), point.n, point.is_exit
        s.victims = sum(1 << ROLES.index(victim) for victim in point.victims)
        self._begin(KILL)

    def off(self):
        self.shared.mode = OFF

    @property
    def fired(self):
        return bool(self.shared.fired)

    def hit(self):
        """Whom it killed: a mapper may end before the daemon that is to be killed then has begun."""
        s = self.shared
        try:
            until(lambda: not s.fired or s.struck or s.hit == s.victims, "", STRIKE_S)
        except TookTooLong:  # who struck was ended itself before it could say so
            pass
        return tuple(role for at, role in enumerate(ROLES) if s.hit & 1 << at)

    def kill_now(self, victims):
        """The same as the shim does, from outside. Returns whom there was to kill."""
        killed = []
        for victim in victims:
            for pid in self.pids(victim):
                try:
                    os.kill(pid, signal.SIGKILL)
                    killed.append(victim)
                except ProcessLookupError:
                    pass
        self.shared.fired = 1
        return killed

    def calls(self):
        """How many were made since count() or kill_at()."""
        return sum(sum(of_role) for of_role in self.shared.counts)

    def counted(self):
        """The points of the calls that were made since count()."""
        s = self.shared
        self.off()
        if s.records_n > RECORDS:
            raise AssertionError(f"{s.records_n} calls do not fit into {RECORDS} records")
        found = []
        for record in s.records[:s.records_n]:
            role = ROLES[record.role]
            func = bytes(s.names[record.func].value).decode()
            has_mapper = bool(record.alive & 1 << ROLES.index("mapper"))
            victims = [("daemon",)] + ([("mapper",), ("daemon", "mapper")] if has_mapper else [])
            victims += [("device",)] if role == "device" else []
            found += [Point(role, func, record.n, bool(record.is_exit), who) for who in victims]
        return list(dict.fromkeys(found))


def _is(pid, start, program):
    try:
        fields = process.stat_fields(pid)
        return (os.path.basename(os.readlink(f"/proc/{pid}/exe")) == program and fields[0] not in "ZX" and
                int(fields[19]) & 0xffffffff == start)
    except (OSError, TypeError):
        return False
