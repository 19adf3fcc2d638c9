# SPDX-License-Identifier: MIT
"""A plugin in a mount namespace that ends with it, as a container's does: the last process that is killed takes the mounts down in
its own exit, and may be the very mapper that would have to answer for them."""

import os
import signal
import subprocess

import mounts
import process
import pytest
from waiting import TookTooLong, until

ROUNDS = 3
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
    return subprocess.run(["nsenter", f"--mount=/proc/{pid}/ns/mnt", "--", program, *words], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=60, check=True).stdout


def kill_all(daemon, work):
    """The daemon, and then the mapper as the last process of its namespace, with something dirty that nobody takes any more."""
    path = daemon.get("db")["Mountpoint"]
    (mapper,) = daemon.mappers()
    inside = process.namespace(mapper, "mnt")
    assert inside not in (None, process.namespace(os.getpid(), "mnt"))
    (minor,) = [m.device.split(":")[1] for m in mounts.mounts(mapper) if m.fstype == "fuse.rbdvol" and m.point.startswith(work)]
    in_namespace_of(daemon.pid, "dd", "if=/dev/urandom", f"of={path}/dirty", "bs=1M", "count=16")
    daemon.kill()
    # an idle helper sees a moment later that the daemon has ended
    until(lambda: [pid for pid in process.pids() if process.namespace(pid, "mnt") == inside] == [mapper], "the mapper to be the last one")
    os.kill(mapper, signal.SIGKILL)
    try:
        # all of it: its first thread is a zombie while another hangs
        until(lambda: not os.path.exists(f"/proc/{mapper}"), "the end of the mapper", ENDS_IN)
    except TookTooLong:
        abort(minor, work)
        raise


@pytest.mark.parametrize("fstype", ["ext4", "xfs"])
def test_the_last_process_of_its_mount_namespace_ends_when_it_is_killed(world, fstype):
    """A few times: which of its threads is the last one to close its descriptors, and which to leave the namespace, is chance."""
    daemon = world.daemon(host=Container())
    daemon.await_cluster()
    daemon.create("db", size="1G", fstype=fstype)
    for number in range(ROUNDS):
        path = daemon.mount("db", "a")
        in_namespace_of(daemon.pid, "sh", "-c", f"echo {number} >> {path}/file && sync {path}/file")
        kill_all(daemon, world.dir)
        daemon.start().await_cluster()
        daemon.unmount("db", "a")  # the container's end
    path = daemon.mount("db", "b")
    assert in_namespace_of(daemon.pid, "cat", f"{path}/file").split() == [str(number) for number in range(ROUNDS)]
    daemon.unmount("db", "b")
    daemon.remove("db")
