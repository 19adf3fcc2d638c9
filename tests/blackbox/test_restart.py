# SPDX-License-Identifier: MIT
"""The daemon goes and comes back; volumes stay where they are."""

import os
import subprocess
import threading

import mounts
import pytest
from process import Process
from waiting import until


def end(daemon, how):
    if how == "SIGTERM":
        daemon.stop()
    else:
        daemon.kill()


@pytest.mark.parametrize("how", ["SIGTERM", "SIGKILL"])
@pytest.mark.parametrize("fstype", ["xfs", "ext4", "btrfs"])
def test_a_mounted_volume_is_adopted(daemon, fstype, how):
    daemon.create("db", size="1G", fstype=fstype)
    point = daemon.mount("db", "holder-one")
    mappers = daemon.mappers()
    with open(os.path.join(point, "log"), "a", encoding="ascii") as f:
        f.write("before ")
        end(daemon, how)
        f.write("between ")
        f.flush()
        os.fsync(f.fileno())
        daemon.start()
        got = daemon.get("db")
        assert got["Mountpoint"] == point
        assert "holder-one" in str(got["Status"]["holders"])
        assert daemon.mappers() == mappers, "the mapper is another one"
        f.write("after")
    daemon.await_cluster()
    daemon.unmount("db", "holder-one")
    assert mounts.at(point) is None
    assert daemon.mappers() == {}
    with open(os.path.join(daemon.mount("db", "next"), "log"), encoding="ascii") as f:
        assert f.read() == "before between after"
    daemon.unmount("db", "next")


def test_holders_and_their_counts_survive(daemon):
    daemon.create("db", size="1G", sharing="host")
    point = daemon.mount("db", "one")
    daemon.mount("db", "one")
    daemon.mount("db", "two")
    daemon.must("Create", Name="flagged", Opts={"size": "300M", "fstype": "ext4"})
    flagged = daemon.must("Mount", Name="flagged")["Mountpoint"]
    daemon.kill()
    daemon.start()
    daemon.await_cluster()
    daemon.unmount("db", "one")
    daemon.unmount("db", "two")
    assert mounts.at(point), "a count was lost"
    daemon.unmount("db", "one")
    assert mounts.at(point) is None
    assert mounts.at(flagged)
    daemon.must("Unmount", Name="flagged")
    assert mounts.at(flagged) is None


def test_the_lock_is_held_without_a_daemon(world, daemon):
    daemon.create("db", size="1G")
    daemon.mount("db", "a")
    daemon.kill()
    other = world.daemon().await_cluster()
    assert len(other.refused("Mount", Name="db", ID="b").split()) > 4
    daemon.start()
    daemon.await_cluster()
    daemon.unmount("db", "a")
    other.mount("db", "b")
    other.unmount("db", "b")


def test_a_restart_with_the_cluster_down_adopts_and_unmounts_later(world, daemon):
    daemon.create("db", size="1G")
    point = daemon.mount("db", "a")
    daemon.kill()
    world.cluster.pause("mon")
    daemon.start()
    assert daemon.get("db")["Mountpoint"] == point
    world.cluster.resume("mon")
    daemon.await_cluster()
    daemon.unmount("db", "a")
    assert mounts.at(point) is None


def test_ten_restarts_lose_nothing(daemon):
    daemon.create("db", size="1G", fstype="ext4")
    point = daemon.mount("db", "a")
    for n in range(10):
        end(daemon, "SIGKILL" if n % 2 else "SIGTERM")
        daemon.start()
        assert daemon.get("db")["Mountpoint"] == point
    daemon.await_cluster()
    daemon.unmount("db", "a")


def test_a_volume_whose_mapper_died_can_be_taken_down(world, daemon):
    """Its data path is gone for good; its mount, loop device and FUSE file are cleared, and it can be given up."""
    daemon.create("db", size="1G", fstype="ext4")
    point = daemon.mount("db", "a")
    daemon.kill()
    for pid in daemon.mappers():
        Process(pid).kill()
    daemon.start()
    daemon.await_cluster()
    daemon.call("Unmount", {"Name": "db", "ID": "a"})
    until(lambda: mounts.at(point) is None and not mounts.below(daemon.path("state-dir")), "the dead mount to be cleared", 30)
    # the lock of the dead mapper stays: a take-over has to fence it
    world.cluster.break_locks("db")
    for who in world.cluster.locks(world.cluster.header("db")).get("rbdvol", []):
        world.cluster.rados("lock", "break", world.cluster.header("db"), "rbdvol", who["name"], "--lock-cookie", who["cookie"])
    until(lambda: not world.cluster.watchers(world.cluster.header("db")), "the dead mapper's watch to lapse", 60)


def test_a_dead_mappers_file_goes_though_somebody_has_it_open(world, daemon):
    """As a device helper has it for a moment that a killed daemon left: there is no loop device on it, so no volume is behind it."""
    daemon.create("db", size="64M", fstype="ext4")
    point = daemon.mount("db", "a")
    file = next(m.point for m in mounts.below(daemon.path("state-dir")) if m.point.endswith(".img"))
    with open(file, "rb"):
        daemon.kill()
        for pid in daemon.mappers():
            Process(pid).kill()
        subprocess.run(["umount", point], check=True, timeout=30)
        until(lambda: file not in mounts.loops().values(), "the loop device to let go")
        daemon.start()
        until(lambda: not os.path.exists(file), "the file to be gone")
    daemon.await_cluster()
    until(lambda: daemon.get("db")["Status"]["state"] == "lost", "it to be lost: nobody can have what is neither mapped nor mounted", 30)
    daemon.unmount("db", "a")
    daemon.mount("db", "b")
    daemon.unmount("db", "b")


def test_state_of_another_boot_is_ignored_and_cleared(daemon):
    daemon.create("db", size="1G", fstype="ext4")
    daemon.mount("db", "a")
    folder = os.path.join(daemon.path("state-dir"), "volumes")
    names = [name for name in os.listdir(folder) if name.endswith(".json")]
    assert len(names) == 1
    with open(os.path.join(folder, names[0]), encoding="utf-8") as f:
        text = f.read()
    daemon.unmount("db", "a")
    daemon.stop()
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as f:
        boot = f.read().strip()
    assert boot in text, "the state file does not carry the boot id"
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, names[0]), "w", encoding="utf-8") as f:
        f.write(text.replace(boot, "00000000-0000-4000-8000-000000000000"))
    daemon.start()
    daemon.await_cluster()
    got = daemon.get("db")
    assert got["Mountpoint"] == ""
    assert not got["Status"].get("holders")
    until(lambda: daemon.state_files() == [] or not [n for n in daemon.state_files() if n.startswith("volumes/")],
          "the old state file to be cleared")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"version": 99}', "\0" * 100, '{"holders": {"a": -1}}'])
def test_a_broken_state_file_stops_nothing(daemon, text):
    daemon.create("db", size="1G", fstype="ext4")
    daemon.stop()
    folder = os.path.join(daemon.path("state-dir"), "volumes")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "broken.json"), "w", encoding="utf-8") as f:
        f.write(text)
    daemon.start()
    daemon.await_cluster()
    daemon.mount("db", "a")
    daemon.unmount("db", "a")
    until(lambda: not [n for n in daemon.state_files() if n.startswith("volumes/")], "the broken state file to be cleared")


def test_a_lost_state_file_loses_no_data_and_leaves_nothing(daemon):
    """State is observed: without its hints the volume is found all the same; nobody holds it any more."""
    daemon.create("db", size="1G", fstype="ext4")
    point = daemon.mount("db", "a")
    with open(os.path.join(point, "file"), "w", encoding="ascii") as f:
        f.write("kept")
    daemon.kill()
    folder = os.path.join(daemon.path("state-dir"), "volumes")
    for name in os.listdir(folder):
        os.unlink(os.path.join(folder, name))
    daemon.start()
    daemon.await_cluster()
    until(lambda: mounts.at(point) is None and not daemon.mappers(), "the volume that nobody holds to go down", 20)
    with open(os.path.join(daemon.mount("db", "b"), "file"), encoding="ascii") as f:
        assert f.read() == "kept"
    daemon.unmount("db", "b")


def lose_state_files(daemon):
    folder = os.path.join(daemon.path("state-dir"), "volumes")
    for name in os.listdir(folder):
        os.unlink(os.path.join(folder, name))


@pytest.mark.parametrize("end_by", ["unmount", "release"])
def test_a_lost_state_file_takes_nothing_from_who_uses_the_volume(daemon, end_by):
    daemon.create("db", size="1G", fstype="ext4")
    point = daemon.mount("db", "a")
    with open(os.path.join(point, "file"), "w", encoding="ascii") as f:
        daemon.kill()
        lose_state_files(daemon)
        daemon.start()
        daemon.await_cluster()
        until(lambda: daemon.get("db")["Mountpoint"] == point, "it to be adopted", 10)
        until(lambda: "recovering" not in daemon.get("db")["Status"]["state"], "it to be adopted", 10)
        got = daemon.get("db")
        assert got["Status"]["state"] == "mounted" and got["Status"]["size"] == 1 << 30 and got["Status"]["fstype"] == "ext4"
        assert [h["ID"] for h in got["Status"]["holders"]] == ["unknown"]
        assert "unknown" in daemon.cli("status").stdout
        assert "without a record" in daemon.refused("Mount", Name="db", ID="b")
        f.write("written after")
        f.flush()
        os.fsync(f.fileno())
    if end_by == "unmount":
        daemon.unmount("db", "a")
    else:
        done = daemon.cli("release", "db", "unknown")
        assert done.returncode == 0, done.stderr
        until(lambda: mounts.at(point) is None and not daemon.mappers(), "the volume to go down", 20)
    assert mounts.at(point) is None
    with open(os.path.join(daemon.mount("db", "b"), "file"), encoding="ascii") as f:
        assert f.read() == "written after"
    daemon.unmount("db", "b")


@pytest.mark.parametrize("fstype", ["ext4", "xfs"])
def test_a_mount_without_a_state_file_and_without_a_mapper_is_cleared_away(daemon, fstype):
    """Only the mount table tells of it; the lock is left to whoever takes the volume next, and fences."""
    daemon.create("db", size="300M", fstype=fstype)
    point = daemon.mount("db", "a")
    with open(os.path.join(point, "file"), "w", encoding="ascii") as f:
        f.write("fsynced")
        f.flush()
        os.fsync(f.fileno())
    mappers = list(daemon.mappers())
    daemon.kill()
    lose_state_files(daemon)
    for pid in mappers:
        Process(pid).kill()
    daemon.start().await_cluster()
    until(lambda: mounts.at(point) is None and not mounts.below(daemon.path("state-dir")), "the dead mount to be cleared", 60)
    until(lambda: daemon.call("Mount", {"Name": "db", "ID": "b"}).status == 200, "it to be taken over", 60, interval=0.5)
    with open(os.path.join(point, "file"), encoding="ascii") as f:
        assert f.read() == "fsynced"
    daemon.unmount("db", "b")


@pytest.mark.parametrize("restarted", [False, True])
def test_what_somebody_mounts_over_a_volume_stays(daemon, restarted):
    daemon.create("db", size="1G", fstype="ext4")
    point = daemon.mount("db", "a")
    subprocess.run(["mount", "-t", "tmpfs", "squatter", point], check=True)
    try:
        if restarted:
            daemon.kill()
            daemon.start()
            daemon.await_cluster()
        assert "squatter" in daemon.refused("Unmount", Name="db", ID="a")
        assert mounts.at(point).source == "squatter"
        assert len(daemon.mappers()) == 1, "the lock was given away under a mounted volume"
    finally:
        subprocess.run(["umount", point], check=True)
    until(lambda: mounts.at(point) is None and not daemon.mappers(), "the volume to go down by itself", 40)


def test_killed_in_the_middle_of_a_mount_nothing_is_left_after_the_next_start(world, daemon):
    daemon.create("db", size="1G", fstype="ext4")
    for _ in range(3):
        thread = threading.Thread(target=daemon.call, args=("Mount", {"Name": "db", "ID": "a"}))
        thread.start()
        until(lambda: daemon.mappers() or not thread.is_alive(), "the mapper to start", 20, interval=0.001)
        daemon.kill()
        thread.join(30)
        daemon.start()
        daemon.await_cluster()
        daemon.call("Unmount", {"Name": "db", "ID": "a"})
        assert world.leaks.settled(40) == []
    daemon.mount("db", "a")
    daemon.unmount("db", "a")
