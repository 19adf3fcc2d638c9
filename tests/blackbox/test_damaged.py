# SPDX-License-Identifier: MIT
"""File systems that were not unmounted, or are damaged. Rows 28 and 29 of ROWS.md."""

import os
import subprocess

import pytest
from image import edited, exported
from process import Process
from waiting import until


def end_of_the_mapper(world, d, name):
    """Its mapper is killed, and its lock is taken away as a rival does that fences it."""
    for pid in d.mappers():
        Process(pid).kill()
    until(lambda: d.get(name)["Status"]["state"] == "lost" and not d.mappers(), "the loss to be noticed and cleared", 20)
    world.cluster.break_locks(name)
    d.unmount(name, "a")


@pytest.mark.parametrize("fstype", ["ext4", "xfs"])
def test_a_file_system_that_was_not_unmounted_is_mounted_with_what_was_fsynced(world, daemon, fstype):
    """Row 28: its journal is replayed, three times over, under a mapper that is killed while it is written."""
    daemon.create("db", size="1G", fstype=fstype)
    for n in range(3):
        point = daemon.mount("db", "a")
        for old in range(n):
            with open(os.path.join(point, f"file{old}"), encoding="ascii") as f:
                assert f.read() == f"fsynced {old}"
        with open(os.path.join(point, f"file{n}"), "w", encoding="ascii") as f:
            f.write(f"fsynced {n}")
            f.flush()
            os.fsync(f.fileno())
        folder = os.open(point, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)
        writer = Process.spawn(["dd", "if=/dev/urandom", f"of={point}/noise", "bs=64k", "count=4000", "oflag=dsync"],
                               f"{world.dir}/dd.log")
        until(lambda: os.path.exists(f"{point}/noise"), "the writer to begin")
        end_of_the_mapper(world, daemon, "db")
        until(lambda w=writer: not w.alive(), "the writer to end", 20)
    daemon.mount("db", "a")
    daemon.unmount("db", "a")
    with exported(world.cluster, "rbd/db") as path:
        words = ["e2fsck", "-fn", path] if fstype == "ext4" else ["xfs_repair", "-n", "-f", path]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


def test_a_damaged_file_system_is_refused_with_fscks_words_and_left_alone(world, daemon):
    """Row 28: nothing is repaired on a guess."""
    daemon.create("db", size="64M", fstype="ext4")
    daemon.mount("db", "a")
    daemon.unmount("db", "a")
    edited(world.cluster, "db", "bad", "clri <2>", "ssv state 2")
    err = daemon.refused("Mount", Name="bad", ID="a")
    assert "fsck" in err.lower() and "bad" in err, err
    assert len(err) > 60, err
    until(lambda: not daemon.must("/Rbdvol.Status")["Volumes"], "nothing to be left of it", 20)
    assert world.leaks.settled() == []


@pytest.mark.parametrize("mark", ["its own", "another's"])
def test_only_growth_that_was_cut_off_is_mended_without_a_person(world, daemon, mark):
    """resize2fs leaves an invalid resize inode behind; the image says so, as long as it is about the file system that it has."""
    cluster = world.cluster
    daemon.create("db", size="64M", fstype="ext4")
    point = daemon.mount("db", "a")
    with open(f"{point}/file", "w", encoding="ascii") as f:
        f.write("kept")
    daemon.unmount("db", "a")
    uuid = edited(cluster, "db", "torn", "clri <7>", "ssv state 2")
    cluster.rbd("image-meta", "set", "rbd/torn", "rbdvol.growing", uuid if mark == "its own" else uuid[::-1])
    if mark == "its own":
        point = daemon.mount("torn", "a")
        with open(f"{point}/file", encoding="ascii") as f:
            assert f.read() == "kept"
        daemon.unmount("torn", "a")
        assert "rbdvol.growing" not in cluster.metadata("torn")
    else:
        assert "fsck.ext4 -f" in daemon.refused("Mount", Name="torn", ID="a")


@pytest.mark.parametrize("state", ["clean", "left by a dead host"])
def test_multiple_mount_protection_does_not_stand_in_the_way_for_ever(world, daemon, state):
    """Row 29: ext4's own protection, on an image that others made."""
    path = f"{world.dir}/mmp"
    with open(path, "wb") as f:
        f.truncate(64 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-b", "4096", "-O", "mmp", path], check=True)
    if state != "clean":
        subprocess.run(["debugfs", "-w", "-R", "set_mmp_value seq 0x1234", path], check=True, capture_output=True)
    world.cluster.rbd("import", "--no-progress", path, "rbd/db")
    daemon.mount("db", "a")
    daemon.unmount("db", "a")
