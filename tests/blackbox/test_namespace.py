# SPDX-License-Identifier: MIT
"""A plugin in a mount namespace that ends with it, as a container's does: the last process that is killed takes the mounts down in
its own exit, and may be the very mapper that would have to answer for them."""

import os
import subprocess

import mounts
import process
import pytest
from process import Process
from waiting import TookTooLong, until

ENDS_IN = 20  # seconds from SIGKILL to the end, with I/O that fails


class Container:
    """What Daemon asks of a host: its processes are in a mount namespace of their own, which nothing else holds."""

    name = "container"

    def __init__(self):
        self.namespace = process.namespace(os.getpid())

    @staticmethod
    def enter():
        return ["unshare", "--mount", "--propagation", "private", "--"]


def abort(minor, work):
    """The kernel's lever for a mapper that waits for itself: else it is there until the next boot."""
    where = f"{work}/fusectl"
    os.makedirs(where, exist_ok=True)
    subprocess.run(["mount", "-t", "fusectl", "fusectl", where], check=False, timeout=20)
    try:
        with open(f"{where}/{minor}/abort", "w", encoding="ascii") as f:
            f.write("1")
    finally:
        subprocess.run(["umount", where], check=False, timeout=20)


def in_namespace_of(pid, program, *words):
    return subprocess.run([program, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=True,
                          preexec_fn=lambda: os.setns(os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY), 0x20000)).stdout


@pytest.mark.parametrize("fstype", ["ext4", "xfs"])
def test_the_last_process_of_its_mount_namespace_ends_when_it_is_killed(world, fstype):
    daemon = world.daemon(host=Container())
    daemon.await_cluster()
    daemon.create("db", size="1G", fstype=fstype)
    path = daemon.mount("db", "a")
    (mapper,) = daemon.mappers()
    inside = process.namespace(mapper, "mnt")
    assert inside not in (None, process.namespace(os.getpid(), "mnt"))
    in_namespace_of(daemon.pid, "sh", "-c", f"echo kept > {path}/file && sync {path}/file")
    minors = [m.device.split(":")[1] for m in mounts.mounts(mapper) if m.fstype == "fuse.rbdvol" and m.point.startswith(world.dir)]
    assert len(minors) == 1
    # dirty: the unmount has something to write, and nobody who takes it
    in_namespace_of(daemon.pid, "dd", "if=/dev/urandom", f"of={path}/dirty", "bs=1M", "count=16")
    daemon.kill()
    assert [pid for pid in process.pids() if process.namespace(pid, "mnt") == inside] == [mapper]
    last = Process(mapper)
    last.signal(9)
    try:
        until(lambda: not os.path.exists(f"/proc/{last.pid}") or not last.alive(), "the end of the mapper", ENDS_IN)
    except TookTooLong:
        abort(minors[0], world.dir)
        raise
    until(lambda: not [file for file in mounts.loops().values() if file.startswith(world.dir)], "the loop device to go", ENDS_IN)
    daemon.start().await_cluster()
    path = daemon.mount("db", "b")
    assert in_namespace_of(daemon.pid, "cat", f"{path}/file") == "kept\n"
    daemon.unmount("db", "b")
    daemon.remove("db")
