# SPDX-License-Identifier: MIT
"""What a host may run out of, or lack: a clear error, no half step, and all works when it is back. The run has a mount namespace of
its own (conftest.py), so what is covered here is covered for nobody else."""

import contextlib
import os
import subprocess
import sys
import time

import cgroups
import mounts
import pytest
from image import edited
from pace import patience
from process import Process
from waiting import until

STARTS_MS = 100


@contextlib.contextmanager
def covered(path):
    """A file of the host that is not what it should be."""
    subprocess.run(["mount", "--bind", "/dev/null", path], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", path], check=True)


@contextlib.contextmanager
def descriptors(daemon, more):
    """No more descriptors than it has now and a few."""
    have = max(int(fd) for fd in os.listdir(f"/proc/{daemon.pid}/fd"))
    text = subprocess.run(["prlimit", f"--pid={daemon.pid}", "--nofile", "--noheadings", "--output=SOFT"], check=True,
                          capture_output=True, text=True).stdout.strip()
    subprocess.run(["prlimit", f"--pid={daemon.pid}", f"--nofile={have + 1 + more}:"], check=True)
    try:
        yield
    finally:
        subprocess.run(["prlimit", f"--pid={daemon.pid}", f"--nofile={text}:"], check=True)


LACKS = {
    "loop-control": (lambda d: covered("/dev/loop-control"), "Mount", "loop"),
    "mkfs": (lambda d: covered("/usr/sbin/mkfs.ext4"), "Create", "not installed"),
    "fsck": (lambda d: covered("/usr/sbin/e2fsck"), "Mount", "e2fsck"),
    "descriptors": (lambda d: descriptors(d, 2), "Mount", "open files"),
}


@pytest.mark.parametrize("what", LACKS)
def test_what_a_host_lacks_is_said_and_leaves_no_half_step(world, daemon, what):
    """Row 48."""
    begin, method, words = LACKS[what]
    daemon.create("db", size="64M", fstype="ext4")
    images = {"db"}
    if what == "fsck":
        if not os.path.exists("/usr/sbin/e2fsck"):
            pytest.skip("e2fsck is elsewhere")
        edited(world.cluster, "db", "unclean", "ssv state 0")
        images.add("unclean")
    name = max(images)
    body = {"Name": name, "ID": "a"} if method == "Mount" else {"Name": "new", "Opts": {"size": "64M", "fstype": "ext4"}}
    with begin(daemon):
        reply = daemon.call(method, body)
        assert reply.status == 500 and words in reply.err.lower(), reply
        assert len(reply.err) > len(words) + 20
    until(lambda: not daemon.must("/Rbdvol.Status")["Volumes"], "nothing to be left of it", 20)
    assert world.leaks.settled() == []
    assert set(daemon.names()) == images
    daemon.must(method, **body)
    if method == "Mount":
        daemon.unmount(name, "a")


def test_an_ext4_that_is_clean_is_mounted_without_e2fsck(daemon):
    """As often as a volume moves, and with one process less each time."""
    daemon.create("db", size="64M", fstype="ext4")
    with covered("/usr/sbin/e2fsck"):
        for _ in range(2):
            daemon.mount("db", "a")
            daemon.unmount("db", "a")


def test_a_scratch_directory_that_is_full_is_named(world):
    d = world.daemon(start=False)
    os.makedirs(d.path("scratch-dir"))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32k,mode=0700", "scratch", d.path("scratch-dir")], check=True)
    d.start().await_cluster()
    try:
        err = d.refused_create("db", size="64M", fstype="ext4")
        assert "scratch" in err and "space" in err, err
        assert d.names() == [] and world.cluster.images() == []
        subprocess.run(["mount", "-o", "remount,size=64M", d.path("scratch-dir")], check=True)
        d.create("db", size="64M", fstype="ext4")
    finally:
        d.stop()
        subprocess.run(["umount", d.path("scratch-dir")], check=True)


def test_a_state_directory_that_is_full_refuses_what_it_could_not_remember(world):
    """Else a restart would take the volume away from under its container."""
    d = world.daemon(start=False)
    os.makedirs(d.path("state-dir"), mode=0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=0700", "state", d.path("state-dir")], check=True)
    d.start().await_cluster()
    filler = os.path.join(d.path("state-dir"), "filler")
    try:
        d.create("held", size="64M", fstype="ext4")
        d.create("db", size="64M", fstype="ext4")
        point = d.mount("held", "a")
        fd = os.open(filler, os.O_WRONLY | os.O_CREAT)
        with contextlib.suppress(OSError):
            while os.write(fd, b"x" * 4096) == 4096:
                pass
        os.close(fd)
        err = d.refused("Mount", Name="db", ID="b")
        assert "space" in err, err
        assert d.get("held")["Mountpoint"] == point
        d.unmount("held", "a")
        os.unlink(filler)
        until(lambda: not d.must("/Rbdvol.Status")["Volumes"], "nothing to be left of it", 20)
        d.mount("db", "b")
        d.unmount("db", "b")
    finally:
        if os.path.exists(filler):
            os.unlink(filler)
        d.stop()
        subprocess.run(["umount", d.path("state-dir")], check=True)


# -- pinned


def test_a_mount_that_another_namespace_holds_is_used_again_and_goes_down_when_it_is_let_go(world, daemon):
    """Rows 30 and 31."""
    daemon.create("db", size="64M", fstype="ext4")
    point = daemon.mount("db", "a")
    with open(os.path.join(point, "file"), "w", encoding="ascii") as f:
        f.write("kept")
    mappers = daemon.mappers()
    pin = Process.spawn(["unshare", "-m", "--propagation", "private", "sleep", "infinity"], f"{world.dir}/pin.log")
    try:
        until(lambda: os.readlink(f"/proc/{pin.pid}/ns/mnt") != os.readlink("/proc/self/ns/mnt"), "the namespace")
        err = daemon.refused("Unmount", Name="db", ID="a")
        assert f"pid {pin.pid}" in err and "sleep" in err, err
        assert world.cluster.locks(world.cluster.header("db"))["rbd_lock"], "the lock was given away"
        again = daemon.mount("db", "b")
        assert daemon.mappers() == mappers, "it was mapped anew"
        with open(os.path.join(again, "file"), encoding="ascii") as f:
            assert f.read() == "kept"
        assert f"pid {pin.pid}" in daemon.refused("Unmount", Name="db", ID="b")
    finally:
        pin.kill()
    until(lambda: not daemon.mappers() and not daemon.must("/Rbdvol.Status")["Volumes"], "it to go down by itself", 40)


def test_a_device_that_is_open_is_named_and_the_volume_goes_down_when_it_is_closed(world, daemon):
    """Row 30."""
    daemon.create("db", size="64M", fstype="ext4")
    point = daemon.mount("db", "a")
    with open(mounts.at(point).source, "rb"):
        err = daemon.refused("Unmount", Name="db", ID="a")
        assert f"pid {os.getpid()}" in err, err
        assert world.cluster.locks(world.cluster.header("db"))["rbd_lock"], "the lock was given away"
    until(lambda: not daemon.mappers() and not daemon.must("/Rbdvol.Status")["Volumes"], "it to go down by itself", 40)


# -- recovery


def test_whatever_state_ceph_is_in_the_socket_answers_at_once_and_says_what_is_pending(world, daemon):
    """Rows 10 and 20. The best of five: the contract is for the program, not for a machine that others use."""
    daemon.create("db", size="64M", fstype="ext4")
    point = daemon.mount("db", "a")
    daemon.kill()
    world.cluster.pause("mon")
    world.cluster.pause("osd")
    try:
        took = []
        for _ in range(5):
            began = time.monotonic()
            daemon.start()
            assert daemon.get("db")["Mountpoint"] == point
            took.append(1000 * (time.monotonic() - began))
            daemon.kill()
        assert min(took) <= patience(STARTS_MS), f"ms from start to the first answer: {took}"
        daemon.start()
        daemon.call("Unmount", {"Name": "db", "ID": "a"}, timeout=150)
        state = daemon.must("/Rbdvol.Status")
        assert state["Cluster"]["State"] != "up"
        volume = state["Volumes"][0]
        assert not volume["Holders"] and (volume.get("Pending") or volume.get("Busy")), volume
    finally:
        world.cluster.resume("mon")
        world.cluster.resume("osd")
    until(lambda: not daemon.must("/Rbdvol.Status")["Volumes"], "it to go down by itself", 40)


# -- processes and memory


def test_a_path_without_anything_is_of_no_account(world):
    """Row 48: what is run is looked for in the system's directories; what is not there is the test above."""
    d = world.daemon(env={"PATH": world.dir}).await_cluster()
    d.create("new", size="64M", fstype="ext4")
    d.mount("new", "a")
    d.unmount("new", "a")


@pytest.mark.parametrize("method", ["Mount", "Create"])
def test_with_no_more_processes_it_refuses_and_goes_on_when_there_are_some(world, daemon, method):
    """Row 48: a thread for the connection, one for the job, then the helpers: each may be the first that cannot be had."""
    daemon.create("db", size="64M", fstype="ext4")
    body = {"Name": "db", "ID": "a"} if method == "Mount" else {"Name": "new", "Opts": {"size": "64M", "fstype": "ext4"}}
    with cgroups.group("pids", f"{world.dir[-8:]}-pids") as group:
        group.take(daemon.pid)
        said = []
        for more in range(8):
            group.limit_processes(group.processes() + more)
            reply = daemon.call(method, body)
            group.limit_processes(None)
            assert daemon.alive(), daemon.log_text()[-2000:]
            if reply.status == 200:
                break
            said.append(reply.err if reply.status else "closed")
            assert "no such volume" not in said[-1], reply
            until(lambda: not daemon.must("/Rbdvol.Status")["Volumes"], "nothing to be left of it", 20)
            assert world.leaks.settled() == [], said
            assert set(daemon.names()) == {"db"}
        assert [err for err in said if err != "closed" and len(err.split()) > 5], said
        group.give_back(daemon.pid)
    if method == "Mount":
        if reply.status != 200:
            daemon.mount("db", "a")
        daemon.unmount("db", "a")
    elif reply.status != 200:
        daemon.create("new", size="64M", fstype="ext4")


def test_with_no_more_memory_it_refuses_or_ends_and_the_next_start_finishes(world, daemon):
    """Row 48: what an allocation that fails means is the same as a crash; so it is that which is tested."""
    daemon.create("db", size="64M", fstype="ext4")
    for more in (0, 64 << 10, 1 << 20, 8 << 20, 32 << 20):
        with open(f"/proc/{daemon.pid}/statm", encoding="ascii") as f:
            now = int(f.read().split()[0]) * os.sysconf("SC_PAGESIZE")
        subprocess.run(["prlimit", f"--pid={daemon.pid}", f"--as={now + more}:"], check=True)
        reply = daemon.call("Mount", {"Name": "db", "ID": "a"})
        # None: it ended
        assert reply.status in (200, None) or "memory" in reply.err.lower() or "thread" in reply.err, reply
        daemon.kill()
        daemon.start().await_cluster()
        daemon.unmount("db", "a")
        until(lambda: not daemon.must("/Rbdvol.Status")["Volumes"], "nothing to be left of it", 20)
        assert world.leaks.settled() == []
    daemon.mount("db", "a")
    daemon.unmount("db", "a")


# -- dirty pages

LIMIT = 64 << 20
WRITTEN = 256 << 20


@pytest.fixture
def limited(world):
    with cgroups.group("memory", f"{world.dir[-8:]}-mem") as group:
        group.limit_memory(LIMIT)
        yield group


def write_in(world, group, point):
    """A process in the group that dirties four times as much as that may have; nobody waits for it without a deadline."""
    words = [sys.executable, "-c", cgroups.ENTER, group.procs, "dd", "if=/dev/zero", f"of={point}/much", "bs=1M",
             f"count={WRITTEN >> 20}", "conv=fsync"]
    return Process.spawn(words, f"{world.dir}/dd.log")


def test_a_memory_limited_writer_beside_its_mapper_is_slowed_down_and_no_more(world, daemon, limited):
    """ceph 22: the mapper is in another group, as it is under systemd."""
    daemon.create("db", size="1G", fstype="ext4")
    point = daemon.mount("db", "a")
    writer = write_in(world, limited, point)
    assert writer.wait(120) == 0
    assert limited.was_full(), "the limit was never felt"
    assert os.path.getsize(f"{point}/much") == WRITTEN
    daemon.unmount("db", "a")
