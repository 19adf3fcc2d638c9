# SPDX-License-Identifier: MIT
"""What is mounted in this mount namespace, and which loop devices are in use."""

import ctypes
import os
import re
import subprocess
from dataclasses import dataclass


@dataclass
class Mount:
    device: str
    root: str
    point: str
    options: str
    fstype: str
    source: str
    super_options: str


def _unescape(text):
    return re.sub(r"\\([0-7]{3})", lambda m: chr(int(m.group(1), 8)), text)


def mounts(pid="self"):
    found = []
    with open(f"/proc/{pid}/mountinfo", encoding="utf-8", errors="surrogateescape") as f:
        for line in f:
            left, _, right = line.rstrip("\n").partition(" - ")
            words, tail = left.split(" "), right.split(" ")
            found.append(Mount(words[2], _unescape(words[3]), _unescape(words[4]), words[5], tail[0], _unescape(tail[1]),
                               tail[2] if len(tail) > 2 else ""))
    return found


def below(path, pid="self"):
    """The mounts at this directory and below it, in the order of mounting."""
    path = os.path.realpath(path)
    return [m for m in mounts(pid) if m.point == path or m.point.startswith(path + "/")]


def leave_the_others():
    """A mount namespace of our own, without what other runs have mounted: each `unshare` takes a copy of all mounts there are
    along, and holds them for as long as it lasts. To be called before there is a second thread."""
    libc = ctypes.CDLL(None, use_errno=True)
    new_namespace, recursive_private = 0x20000, 0x4000 | 1 << 18
    if libc.unshare(new_namespace) or libc.mount(b"none", b"/", None, recursive_private, None):
        raise OSError(ctypes.get_errno(), "cannot make a mount namespace")
    for mount in reversed(mounts()):
        if mount.point.startswith("/tmp/rbd"):
            subprocess.run(["umount", "-l", mount.point], capture_output=True, check=False, timeout=20)


def at(path):
    """The topmost mount at exactly this path, or None."""
    found = [m for m in mounts() if m.point == path]
    return found[-1] if found else None


def unmount_below(path):
    """Takes down all that is mounted below a directory, the last mounted first. Returns what it found."""
    found = below(path)
    for mount in reversed(found):
        if subprocess.run(["umount", mount.point], stdin=subprocess.DEVNULL, capture_output=True, check=False,
                          timeout=20).returncode:
            subprocess.run(["umount", "-l", mount.point], capture_output=True, check=False, timeout=20)
    return found


def loops():
    """Device -> backing file of each loop device in use (from sysfs: opens nothing, so it cannot hang)."""
    found = {}
    for name in os.listdir("/sys/block"):
        if name.startswith("loop"):
            try:
                with open(f"/sys/block/{name}/loop/backing_file", encoding="utf-8", errors="surrogateescape") as f:
                    found["/dev/" + name] = f.read().rstrip("\n")
            except (FileNotFoundError, OSError):
                continue
    return found
