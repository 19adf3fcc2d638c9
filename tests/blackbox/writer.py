# SPDX-License-Identifier: MIT
"""A container that writes: the stamping program on a test host, in a volume that is mounted there."""

import os
import signal

import stamps
from waiting import until

PROGRAM = os.path.abspath(stamps.__file__)
BLOCKS = 512  # 2 MiB


class Writer:
    """who: at most 16 letters, on every block that it writes."""

    def __init__(self, host, mountpoint, who, blocks=BLOCKS):
        self.host = host
        self.who = who
        self.blocks = blocks
        self.log = os.path.join(host.dir, f"{who}.stamps")
        self.words = ["/usr/bin/python3", PROGRAM, f"{mountpoint}/stamped", self.log, who, str(blocks)]
        self.process = None

    def once(self):
        """Every block, once, to the end. It must succeed."""
        self.host.run(*self.words, "once", timeout=60)
        return self

    def start(self):
        """Goes on until stop(). Returns when it writes in place: a block that is not in the file system's journal yet when its
        host is cut off would stay on the image as garbage."""
        self.once()
        self.process = self.host.spawn(self.words, f"{self.log}.out")
        until(lambda: len(self.written()) > self.blocks or not self.process.alive(), f"the writer {self.who} to have begun", 60)
        assert self.process.alive(), "the writer ended at once"
        return self

    def stop(self):
        """Returns when it is gone: a write without an answer may keep it."""
        self.process.kill()
        return self

    def ask_no_more(self):
        """As stop(), for one that a write without an answer keeps: does not wait for its end."""
        self.process.signal(signal.SIGKILL)
        return self

    def answers(self):
        return stamps.answers(self.log)

    def written(self):
        return [w for w in self.answers() if w.errno == 0]

    def errors(self):
        return [w for w in self.answers() if w.errno]

    def goes_on(self, seconds=20):
        """Waits until a write that is made from now on is acknowledged."""
        before = len(self.written())
        until(lambda: len(self.written()) > before + 2 * stamps.THREADS, f"an acknowledged write of {self.who}", seconds)
