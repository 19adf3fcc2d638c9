# SPDX-License-Identifier: MIT
"""`rbdvol resize`: online and offline, never smaller, and what others made of the image."""

import mmap
import os

import pytest

MIB = 1 << 20


def room(path):
    """The bytes that the mounted file system has."""
    s = os.statvfs(path)
    return s.f_blocks * s.f_frsize


@pytest.mark.parametrize("fstype", ["xfs", "btrfs"])
def test_a_mounted_volume_grows_while_it_is_written(world, daemon, fstype):
    daemon.create("db", size="512M", fstype=fstype)
    path = daemon.mount("db", "a")
    with open(f"{path}/before", "wb") as f:
        f.write(b"x" * MIB)
    before = room(path)
    assert "1 GiB now, and so has its file system" in daemon.does("resize", "db", "1G")
    assert room(path) > before + 400 * MIB
    assert world.cluster.info("db")["size"] == 1 << 30
    assert daemon.get("db")["Status"]["size"] == 1 << 30
    with open(f"{path}/after", "wb") as f:
        f.write(b"y" * 600 * MIB)
    daemon.unmount("db", "a")
    path = daemon.mount("db", "a")
    assert os.path.getsize(f"{path}/after") == 600 * MIB and os.path.getsize(f"{path}/before") == MIB
    daemon.unmount("db", "a")


def test_ext4_says_what_it_needs_and_grows_at_the_next_mount(world, daemon):
    daemon.create("db", size="512M", fstype="ext4")
    path = daemon.mount("db", "a")
    before = room(path)
    done = daemon.cli("resize", "db", "1G")
    if done.returncode:  # a host that grants CAP_SYS_RESOURCE grows it at once
        assert "CAP_SYS_RESOURCE" in done.stderr and "next mount" in done.stderr and "1 GiB now" in done.stderr
        assert room(path) == before
        daemon.unmount("db", "a")
        path = daemon.mount("db", "a")
    assert room(path) > before + 400 * MIB
    daemon.unmount("db", "a")
    assert world.cluster.info("db")["size"] == 1 << 30


@pytest.mark.parametrize("fstype", ["xfs", "ext4", "btrfs"])
def test_a_detached_volume_grows_at_its_next_mount(world, daemon, fstype):
    daemon.create("db", size="512M", fstype=fstype)
    path = daemon.mount("db", "a")
    before = room(path)
    with open(f"{path}/file", "wb") as f:
        f.write(b"kept")
    daemon.unmount("db", "a")
    assert "grows at the next mount" in daemon.does("resize", "db", "1G")
    assert world.cluster.info("db")["size"] == 1 << 30
    path = daemon.mount("db", "a")
    assert room(path) > before + 400 * MIB
    with open(f"{path}/file", "rb") as f:
        assert f.read() == b"kept"
    daemon.unmount("db", "a")


@pytest.mark.parametrize("fstype", ["xfs", "ext4"])
def test_what_others_grew_is_grown_at_mount(world, daemon, fstype):
    daemon.create("db", size="512M", fstype=fstype)
    world.cluster.rbd("resize", "--no-progress", "rbd/db", "--size", "900M")
    path = daemon.mount("db", "a")
    assert room(path) > 800 * MIB
    daemon.unmount("db", "a")


def test_what_others_grew_while_it_was_mounted_is_grown_on_request(world, daemon):
    daemon.create("db", size="512M")
    path = daemon.mount("db", "a")
    world.cluster.rbd("resize", "--no-progress", "rbd/db", "--size", "900M")
    daemon.does("resize", "db", "900M")
    assert room(path) > 700 * MIB
    daemon.unmount("db", "a")


def test_shrinking_is_refused_with_the_way_out(world, daemon):
    daemon.create("db", size="1G")
    err = daemon.declines("resize", "db", "512M")
    assert "it has 1 GiB" in err and "512 MiB" in err and "copy the data" in err
    path = daemon.mount("db", "a")
    assert "it has 1 GiB" in daemon.declines("resize", "db", "512M")
    daemon.unmount("db", "a")
    assert world.cluster.info("db")["size"] == 1 << 30 and path


def test_max_size_and_nonsense_are_refused(world):
    daemon = world.daemon(max_size="1G", size="1G").await_cluster()
    daemon.create("db", size="512M")
    assert "max-size 1 GiB" in daemon.declines("resize", "db", "2G")
    assert "not a size" in daemon.declines("resize", "db", "much")
    assert "write 20M or 20G" in daemon.declines("resize", "db", "20")
    assert "no such volume" in daemon.declines("resize", "absent", "1G") or "no image" in daemon.declines("resize", "absent", "1G")
    assert world.cluster.info("db")["size"] == 512 * MIB
    assert daemon.cli("resize", "db").returncode == 2
    assert daemon.cli("resize", "db", "1G", "more").returncode == 2


def test_a_volume_mounted_elsewhere_is_resized_there(world, daemon):
    daemon.create("db", size="512M")
    other = world.daemon().await_cluster()
    path = other.mount("db", "there")
    err = daemon.declines("resize", "db", "1G")
    assert other.name in err and "do this on the host that uses it" in err
    assert world.cluster.info("db")["size"] == 512 * MIB
    other.does("resize", "db", "1G")
    assert room(path) > 900 * MIB
    other.unmount("db", "there")


def test_an_image_that_somebody_locked_is_left_alone(world, daemon):
    daemon.create("db", size="512M")
    world.cluster.rbd("lock", "add", "rbd/db", "by-the-operator")
    assert "by-the-operator" in daemon.declines("resize", "db", "1G")
    assert world.cluster.info("db")["size"] == 512 * MIB
    world.cluster.break_locks("db")


def test_a_restarted_daemon_resizes_what_it_adopted(world, daemon):
    daemon.create("db", size="512M")
    path = daemon.mount("db", "a")
    daemon.kill()
    daemon.start().await_cluster()
    daemon.does("resize", "db", "1G")
    assert room(path) > 900 * MIB
    daemon.unmount("db", "a")


def test_what_somebody_cut_off_reads_as_zeros(world, daemon):
    """Not as what the mapper's memory held before."""
    daemon.create("db", size="64M", fstype="ext4")
    with open(f"{daemon.mount('db', 'a')}/file", "wb") as f:
        for _ in range(300):
            f.write(b"\xaa" * 65536)
        os.fsync(f.fileno())
    world.cluster.rbd("resize", "--size", "32M", "--allow-shrink", "db", "--no-progress")
    fd = os.open(daemon.get("db")["Status"]["device"], os.O_RDONLY | os.O_DIRECT)
    try:
        for size in (65536, 131072):
            with mmap.mmap(-1, size) as read:
                assert os.preadv(fd, [read], (32 << 20) - size // 2) == size
                assert not any(read[size // 2:])
    finally:
        os.close(fd)
    daemon.unmount("db", "a")
