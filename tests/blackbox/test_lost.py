# SPDX-License-Identifier: MIT
"""A host that was fenced, or whose mapper ended: it notices, its I/O fails, and it is ready to start anew."""

import contextlib
import os
import re
import signal
import subprocess

import mounts
import pytest
import rpc
from process import Process, status as proc_status
from waiting import until

# who else makes mount namespaces on this machine may have a copy of the mount, and be named first
HELD = re.compile(r"lost on this host .* pid \d+ \(\w+\) with .* still has what was mounted")
NOTICED = 12  # seconds: 10 s are promised for an idle volume, and this machine is noisy


def fence(cluster, image):
    """What an administrator, or a rival, does to the owner of an image. Returns its address."""
    owner = cluster.locks(cluster.header(image))["rbd_lock"][0]
    address = owner["addr"] if "addr" in owner else owner["address"]
    address = address.split("v1:")[-1].split("v2:")[-1]
    cluster.ceph("osd", "blocklist", "add", address)
    return address


@contextlib.contextmanager
def container(point):
    """A process in a mount namespace of its own that sits in the volume, as a container does."""
    child = subprocess.Popen(["unshare", "-m", "--propagation", "private", "sh", "-c", "cd \"$0\" && echo in && exec sleep 600",
                              point], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    try:
        assert child.stdout.readline() == b"in\n"
        yield child
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


def lost(daemon, name="db"):
    got = daemon.get(name)
    return got if got["Status"]["state"] == "lost" else None


def gone(daemon):
    return not daemon.mappers() and not mounts.below(daemon.path("state-dir")) and not mounts.below(daemon.path("mount-root"))


@pytest.mark.parametrize("fstype", ["xfs", "ext4", "btrfs"])
def test_an_idle_fenced_volume_is_noticed_taken_down_and_mountable_again(world, daemon, fstype):
    cluster = world.cluster
    daemon.create("db", size="1G", fstype=fstype)
    point = daemon.mount("db", "one")
    with open(f"{point}/kept", "w", encoding="ascii") as f:
        f.write("kept")
        f.flush()
        os.fsync(f.fileno())
    fence(cluster, "db")
    got = until(lambda: lost(daemon), "the loss to be noticed", NOTICED)
    assert got["Mountpoint"] == ""
    until(lambda: gone(daemon), "everything of it to go", 10)
    until(lambda: "lock is still that of the lost mapping" in lost(daemon)["Status"]["owner"], "the owner to be looked up", 10)
    assert "fenced" in lost(daemon)["Status"]["trouble"]
    assert [h["ID"] for h in lost(daemon)["Status"]["holders"]] == ["one"], "its Unmount has not come"
    assert "lost volume=rbd/db" in daemon.log_text()
    assert daemon.log_text().count("<3>lost volume=rbd/db") == 1
    assert "lost" in daemon.cli("status").stdout
    cluster.break_locks("db")
    daemon.unmount("db", "one")
    point = daemon.mount("db", "two")
    with open(f"{point}/kept", encoding="ascii") as f:
        assert f.read() == "kept"
    assert daemon.get("db")["Status"]["state"] == "mounted"
    daemon.unmount("db", "two")


def test_who_writes_gets_an_error_and_nothing_of_it_lands(world, daemon):
    """The lock goes away under a writer (`rbd lock rm` fences too): its next fsync fails, and so does all after it."""
    daemon.create("db", size="1G", fstype="ext4")
    point = daemon.mount("db", "one")
    with open(f"{point}/file", "w", encoding="ascii") as f, container(point) as held:
        world.cluster.break_locks("db")

        def write_fails():
            try:
                f.write("x" * 4096)
                f.flush()
                os.fsync(f.fileno())
                return False
            except OSError:
                return True

        until(write_fails, "the writer to see an error", NOTICED)
        until(lambda: lost(daemon), "the loss to be noticed", NOTICED)
        until(lambda: not daemon.mappers(), "the mapper to end", 10)
        held.kill()
        held.wait()
    until(lambda: gone(daemon), "everything of it to go", 40)
    daemon.unmount("db", "one")
    daemon.mount("db", "one")
    daemon.unmount("db", "one")


@pytest.mark.parametrize("fstype", ["xfs", "ext4"])
def test_while_a_container_has_the_dead_mount_a_mount_is_refused_with_its_name(world, daemon, fstype):
    daemon.create("db", size="1G", fstype=fstype)
    point = daemon.mount("db", "one")
    with container(point) as held:
        world.cluster.break_locks("db")
        until(lambda: lost(daemon), "the loss to be noticed", NOTICED)
        until(lambda: mounts.at(point) is None, "the mount to be taken down", 10)
        for who in ("one", "two"):
            until(lambda who=who: HELD.search(daemon.refused("Mount", Name="db", ID=who)), "a refusal that names it", 10)
        daemon.kill()
        daemon.start().await_cluster()
        until(lambda: HELD.search(daemon.refused("Mount", Name="db", ID="one")), "the same after a restart", 10)
        assert lost(daemon)["Mountpoint"] == ""
        held.kill()
        held.wait()
    # by itself: nobody has unmounted (who else unshares on this machine may have a copy of the mount for a while)
    until(lambda: daemon.call("Mount", {"Name": "db", "ID": "one"}).status == 200, "it to be mounted again", 60)
    assert daemon.get("db")["Status"]["state"] == "mounted"
    daemon.unmount("db", "one")
    daemon.unmount("db", "one")
    assert mounts.at(point) is None


def test_a_shell_in_the_lost_volume_keeps_what_is_dead_and_no_more(world, daemon):
    daemon.create("db", size="1G", fstype="xfs")
    point = daemon.mount("db", "one")
    shell = subprocess.Popen(["sleep", "600"], cwd=point)
    try:
        world.cluster.break_locks("db")
        until(lambda: lost(daemon) and mounts.at(point) is None, "the mount to be detached", NOTICED)
        reply = daemon.call("Unmount", {"Name": "db", "ID": "one"})
        assert HELD.search(reply.err), reply.err
        assert HELD.search(daemon.refused("Mount", Name="db", ID="two"))
    finally:
        shell.kill()
        shell.wait()
    until(lambda: daemon.call("Mount", {"Name": "db", "ID": "two"}).status == 200, "it to be mounted again", 60)
    daemon.unmount("db", "two")


def test_a_mapper_that_is_killed_is_seen_at_once(world, daemon):
    daemon.create("db", size="1G", fstype="ext4")
    daemon.mount("db", "one")
    for pid in daemon.mappers():
        Process(pid).kill()
    until(lambda: lost(daemon), "its end to be noticed", 2)
    until(lambda: gone(daemon), "everything of it to go", 10)
    world.cluster.break_locks("db")
    daemon.unmount("db", "one")
    daemon.mount("db", "one")
    daemon.unmount("db", "one")


def test_a_fenced_volume_leaves_the_new_owner_alone(world, daemon):
    """Another instance has taken the volume: its lock and record stay through all that the loser does."""
    cluster = world.cluster
    daemon.create("db", size="1G", fstype="ext4")
    point = daemon.mount("db", "one")
    with container(point) as held:
        cluster.break_locks("db")
        winner = world.daemon().await_cluster()
        # fenced by `rbd lock rm` for an hour only, and to the winner it might as well be cut off
        said = winner.refused("Mount", Name="db", ID="two")
        assert f"rbdvol instance {daemon.name}" in said, said
        cluster.ceph(*re.search("`ceph (osd blocklist rm [0-9.:/]+)`", said).group(1).split())
        winner.mount("db", "two")
        locks = cluster.locks(cluster.header("db"))
        until(lambda: lost(daemon), "the loss to be noticed", NOTICED)
        until(lambda: f"rbdvol instance {winner.name}" in lost(daemon)["Status"]["owner"], "who has it now, asked every 30 s",
              45)
        assert winner.name in daemon.refused("Mount", Name="db", ID="one") or held.poll() is None
        held.kill()
        held.wait()
        until(lambda: gone(daemon), "everything of it to go", 40)
        assert winner.name in daemon.refused("Mount", Name="db", ID="one")
        daemon.unmount("db", "one")
        assert cluster.locks(cluster.header("db")) == locks
    winner.unmount("db", "two")
    daemon.mount("db", "one")
    daemon.unmount("db", "one")


def write_until_stuck(point):
    """A writer that waits for the storage: `dd` with fsync, in state D as soon as nothing answers."""
    return subprocess.Popen(["dd", "if=/dev/zero", f"of={point}/file", "bs=64k", "count=64", "conv=fsync"], stdin=subprocess.DEVNULL,
                            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def metric(daemon, name):
    text = rpc.call(daemon.socket, "/metrics", verb="GET").body.decode()
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith(name + " "))


def test_stuck_io_is_reported_and_goes_on(world):
    daemon = world.daemon(io_stuck="2s").await_cluster()
    daemon.create("db", size="1G", fstype="ext4")
    point = daemon.mount("db", "one")
    world.cluster.pause("osd")
    writer = write_until_stuck(point)
    until(lambda: "stuck: none of its I/O was answered" in daemon.get("db")["Status"].get("trouble", ""), "the report", 10)
    assert metric(daemon, "rbdvol_volumes_stuck") == 1
    assert "stuck" in daemon.cli("status").stdout
    world.cluster.resume("osd")
    assert writer.wait(30) == 0
    writer.stderr.close()
    until(lambda: metric(daemon, "rbdvol_volumes_stuck") == 0, "its end to be seen", 10)
    assert daemon.log_text().count("<3>stuck volume=rbd/db") == 1
    assert daemon.log_text().count("moves again volume=rbd/db") == 1
    daemon.unmount("db", "one")


@pytest.mark.parametrize("fstype", ["xfs", "ext4"])
def test_stuck_io_is_failed_so_that_processes_end(world, fstype):
    daemon = world.daemon(io_stuck="2s", io_stuck_action="error").await_cluster()
    daemon.create("db", size="1G", fstype=fstype)
    point = daemon.mount("db", "one")
    world.cluster.pause("osd")
    writer = write_until_stuck(point)
    until(lambda: proc_status(writer.pid).get("State", "").startswith("D") or writer.poll() is not None,
          "the writer to wait for the storage", 10)
    writer.send_signal(signal.SIGKILL)
    assert writer.wait(15) != 0, "the OSD is still stopped, and its I/O has ended well?"
    writer.stderr.close()
    assert "io-stuck-action=error" in until(lambda: lost(daemon), "the volume to be called lost", 10)["Status"]["trouble"]
    until(lambda: not daemon.mappers() and mounts.at(point) is None, "the mount to go without the cluster", 10)
    world.cluster.resume("osd")
    assert world.cluster.locks(world.cluster.header("db"))["rbd_lock"], "the lock was not left for fencing"
    world.cluster.break_locks("db")
    daemon.unmount("db", "one")
    until(lambda: daemon.call("Mount", {"Name": "db", "ID": "two"}).status == 200, "it to be mountable again", 20)
    daemon.unmount("db", "two")
