# SPDX-License-Identifier: MIT
"""What people see of what others wrote: nothing in it drives a terminal, forges a line of a log, or turns a text round."""

import re

import mounts
from daemon import rbdvol

ESCAPE = "\x1b[2J\x1b]0;forged\x07\x9b1m\u202eforged\n<3>forged\r"
# control characters (C1, too), and what changes the direction of a text or ends a line of it
UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def is_tidy(text, what):
    found = UNPRINTABLE.search(text)
    assert not found, f"{what} has {found[0]!r}: {text[max(0, found.start() - 60):found.end() + 20]!r}"


def log_is_whole(daemon):
    """Each line is one that the daemon began, and drives no terminal."""
    with open(daemon.log, "rb") as f:
        text = f.read().decode()  # it is UTF-8 altogether
    is_tidy(text, "the log")
    for line in text.splitlines():
        assert re.match(r"<[3-7]>", line), f"a line of the log that the daemon did not begin: {line!r}"
        assert not line[3:].startswith("<3>"), line


def everything_is_tidy(daemon, *names):
    """All that tells people something, and the log."""
    for words in [("ls",), ("status",), ("trash", "ls")] + [("show", name) for name in names]:
        for more in ((), ("--json",)):
            done = daemon.cli(*words, *more)
            is_tidy(done.stdout + done.stderr, " ".join(words + more))
    log_is_whole(daemon)


def doctor_is_tidy(daemon):
    given = [flag for flag in daemon.flags if flag.split("=")[0][2:] in ("ceph-conf", "user", "pool", "scratch-dir", "mount-root", "socket", "name")]
    for more in ((), ("--json",)):
        done = rbdvol("doctor", *given, *more, timeout=120)
        assert done.returncode in (0, 1), done.stderr
        is_tidy(done.stdout + done.stderr, "doctor")


def works(daemon, name="mine"):
    """What has nothing to do with all this goes on."""
    assert daemon.alive()
    point = daemon.mount(name, "me")
    assert mounts.at(point)
    daemon.unmount(name, "me")
