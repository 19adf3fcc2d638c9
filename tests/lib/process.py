# SPDX-License-Identifier: MIT
"""Processes that outlive the call that started them, named by pid and start time, ended by nothing else."""

import os
import signal
import subprocess

from waiting import TookTooLong, until


def stat_fields(pid):
    """/proc/PID/stat after the name, from the state on; None when there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
            return f.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def start_time(pid):
    fields = stat_fields(pid)
    return int(fields[19]) if fields else None


def parent(pid):
    fields = stat_fields(pid)
    return int(fields[1]) if fields else None


def comm(pid):
    """The kernel's name for it, at most 15 characters; "" for one that has gone."""
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as f:
            return f.read().rstrip("\n")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def argv(pid, name=""):
    """The argument vector; [] for a process that has gone or is a zombie, or whose kernel's name does not begin so: who looks at
    everyone's looks at that first, since the argument vector lies in the memory of a process that may hang."""
    if name and not comm(pid).startswith(name[:15]):
        return []
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as f:
            words = f.read().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [w.decode(errors="replace") for w in words[:-1]]


def program(pid):
    """The file that it runs; "" for one that is gone, or not to be looked at."""
    try:
        return os.readlink(f"/proc/{pid}/exe")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return ""


def pids():
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def namespace(pid, kind="net"):
    """What tells a process's namespace from others; None for one that is gone, or not to be looked at."""
    try:
        return os.readlink(f"/proc/{pid}/ns/{kind}")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None


def threads(pid):
    return [int(name) for name in os.listdir(f"/proc/{pid}/task")]


def status(pid, tid=None):
    """The lines of /proc/PID/task/TID/status as a dictionary."""
    with open(f"/proc/{pid}/task/{tid or pid}/status", encoding="utf-8", errors="replace") as f:
        return dict((key, value.strip()) for key, _, value in (line.partition(":") for line in f))


def thread_statuses(pid):
    """tid -> status, of the threads that do not end meanwhile."""
    found = {}
    for tid in threads(pid):
        try:
            found[tid] = status(pid, tid)
        except (FileNotFoundError, ProcessLookupError):
            pass
    return found


class Process:
    """A process by pid and start time: a pid alone is used again."""

    def __init__(self, pid, start=None, child=None):
        self.pid = pid
        self.start = start if start is not None else start_time(pid)
        self._child = child

    @classmethod
    def spawn(cls, words, log, env=None, pass_fds=(), cwd="/", preexec=None):
        """Starts a program in a session of its own; what it writes goes to the end of the file `log`."""
        with open(log, "ab") as out:
            child = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=cwd, env=env,
                                     start_new_session=True, pass_fds=pass_fds, preexec_fn=preexec)
        return cls(child.pid, child=child)

    def save(self, path):
        with open(path, "w", encoding="ascii") as f:
            f.write(f"{self.pid} {self.start}\n")

    @classmethod
    def load(cls, path):
        """The process that save() wrote down; None when there is no such file."""
        try:
            with open(path, encoding="ascii") as f:
                pid, start = f.read().split()
        except FileNotFoundError:
            return None
        return cls(int(pid), int(start))

    def alive(self):
        if self._child is not None and self._child.poll() is not None:
            return False
        fields = stat_fields(self.pid)
        return fields is not None and fields[0] not in "ZX" and int(fields[19]) == self.start

    def status(self):
        """Its exit status (negative: the signal); None of one that runs, or is not our child."""
        return self._child.poll() if self._child is not None else None

    def signal(self, number):
        if self.alive():
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                pass

    def wait(self, seconds=10.0):
        """Waits for its end. Its exit status (negative: the signal), or None when it is not our child."""
        if self._child is not None:
            try:
                return self._child.wait(seconds)
            except subprocess.TimeoutExpired:
                raise TookTooLong(f"pid {self.pid} ({' '.join(argv(self.pid))}) did not end in {seconds:g} s") from None
        until(lambda: not self.alive(), f"the end of pid {self.pid}", seconds)
        return None

    def end(self, seconds=10.0):
        """SIGTERM, and SIGKILL for one that does not go."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        try:
            return self.wait(seconds)
        except TookTooLong:
            self.signal(signal.SIGKILL)
            return self.wait(10)

    def kill(self):
        self.signal(signal.SIGKILL)
        return self.wait(10)


def children(pid):
    """All descendants of a process, the deepest last."""
    found, look = [], [pid]
    parents = {p: parent(p) for p in pids()}
    while look:
        below = [p for p, of in parents.items() if of == look[0]]
        found += below
        look = look[1:] + below
    return found
