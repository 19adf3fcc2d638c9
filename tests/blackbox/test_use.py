# SPDX-License-Identifier: MIT
"""How a volume is used: limits of its I/O, its mapper, read-only, trimmed, with its owner."""

import json
import mmap
import os
import stat
import subprocess
import time

import image
import pytest
from daemon import RBDVOL
from waiting import until

MIB = 1 << 20


def written_in(path, count):
    """Seconds that so many synchronous requests take."""
    fd = os.open(f"{path}/probe", os.O_CREAT | os.O_WRONLY | os.O_DIRECT | os.O_DSYNC, 0o600)
    block = mmap.mmap(-1, 4096)
    try:
        os.posix_fallocate(fd, 0, 4096 * count)
        began = time.monotonic()
        for i in range(count):
            os.pwrite(fd, block, 4096 * i)
        return time.monotonic() - began
    finally:
        os.close(fd)


def test_a_limit_slows_a_volume_down(world, daemon):
    daemon.create("free", size="300M", fstype="ext4")
    daemon.create("slow", size="300M", fstype="ext4", qos_iops="40", qos_bps="50M")
    assert world.cluster.metadata("slow")["conf_rbd_qos_iops_limit"] == "40"
    assert world.cluster.metadata("slow")["conf_rbd_qos_bps_limit"] == str(50 * MIB)
    daemon.create("slow", qos_iops="40")
    assert "with qos-iops 40" in daemon.refused_create("slow", qos_iops="50")
    free = written_in(daemon.mount("free", "a"), 100)
    slow = written_in(daemon.mount("slow", "b"), 100)
    daemon.unmount("free", "a")
    daemon.unmount("slow", "b")
    assert slow > 1.5 and slow > 2 * free, (slow, free)


def test_a_limit_of_bytes_slows_a_volume_down(daemon):
    daemon.create("slow", size="300M", fstype="ext4", qos_bps="4M")
    path = daemon.mount("slow", "a")
    began = time.monotonic()
    with open(f"{path}/file", "wb") as f:
        f.write(os.urandom(24 * MIB))
        os.fsync(f.fileno())
    took = time.monotonic() - began
    daemon.unmount("slow", "a")
    assert took > 3, took  # 24 MiB at 4 MiB/s, with what the limit lets through at first


@pytest.mark.parametrize("opts, words", [
    ({"qos_iops": "40", "mapper": "krbd"}, "krbd cannot limit I/O"), ({"qos_iops": "fast"}, "requests per second"),
    ({"qos_bps": "-1"}, "bytes per second"), ({"mapper": "loop"}, "not one of auto, krbd, nbd, fuse"), ({"ro": "maybe"}, "neither true nor false"),
])
def test_what_cannot_be_is_refused(world, daemon, opts, words):
    assert words in daemon.refused_create("db", **opts)
    assert world.cluster.images() == []


def test_a_volumes_own_mapper_goes_before_the_hosts(daemon):
    daemon.create("db", size="300M", fstype="ext4", mapper="fuse")
    daemon.mount("db", "a")
    assert daemon.get("db")["Status"]["mapper"] == "fuse"
    daemon.unmount("db", "a")


@pytest.mark.parametrize("fstype", ["xfs", "ext4"])
def test_an_image_of_others_is_mounted_read_only_by_one_host(world, daemon, fstype):
    daemon.create("db", size="512M", fstype=fstype)
    with open(daemon.mount("db", "a") + "/file", "w", encoding="ascii") as f:
        f.write("theirs")
    daemon.unmount("db", "a")
    world.cluster.rbd("image-meta", "remove", "rbd/db", "rbdvol.spec")  # as if others had made it
    daemon.create("db", ro="true")
    where = daemon.mount("db", "a")
    with open(f"{where}/file", encoding="ascii") as f:
        assert f.read() == "theirs"
    with pytest.raises(OSError, match="Read-only"):
        open(f"{where}/new", "w", encoding="ascii").close()
    other = world.daemon().await_cluster()
    assert daemon.name in other.refused("Mount", Name="db", ID="b")
    assert "with ro true" in daemon.refused_create("db", ro="false")
    daemon.unmount("db", "a")


@pytest.mark.usefixtures("snapshots")
@pytest.mark.parametrize("fstype", ["xfs", "ext4", "btrfs"])
def test_the_journal_of_a_read_only_volume_is_replayed(world, daemon, fstype):
    """Its host has the lock, and nobody else can: what was synced is there, and a second look finds nothing to replay."""
    daemon.create("db", size="512M", fstype=fstype)
    path = daemon.mount("db", "a")
    for number in range(50):
        with open(f"{path}/{number}", "wb", buffering=0) as f:
            f.write(b"kept")
            os.fsync(f.fileno())
    world.cluster.rbd("snap", "create", "--no-progress", "rbd/db@dirty")  # as after a power failure
    daemon.unmount("db", "a")
    world.cluster.rbd("snap", "rollback", "--no-progress", "rbd/db@dirty")
    world.cluster.rbd("image-meta", "remove", "rbd/db", "rbdvol.spec")
    with image.exported(world.cluster, "rbd/db") as exported:
        assert image.is_dirty(exported, fstype)
    daemon.create("db", ro="true")
    where = daemon.mount("db", "a")
    for number in range(50):
        with open(f"{where}/{number}", "rb") as f:
            assert f.read() == b"kept"
    with pytest.raises(OSError, match="Read-only"):
        open(f"{where}/new", "w", encoding="ascii").close()
    daemon.unmount("db", "a")


def test_a_blank_image_that_is_read_only_is_not_formatted(world, daemon):
    world.cluster.rbd("create", "rbd/blank", "--size", "300")
    daemon.create("blank", ro="true")
    assert "is empty, and the volume is read-only" in daemon.refused("Mount", Name="blank", ID="a")
    with image.exported(world.cluster, "rbd/blank") as path:
        assert image.filesystem(path) == {}


def test_the_owner_of_the_root_is_as_asked_with_setgid(daemon):
    daemon.create("db", size="300M", fstype="ext4", uid="1234", gid="5678", mode="2770")
    s = os.stat(daemon.mount("db", "a"))
    assert (s.st_uid, s.st_gid, stat.S_IMODE(s.st_mode)) == (1234, 5678, 0o2770)
    daemon.unmount("db", "a")


def test_in_a_user_namespace_the_owner_is_less_by_the_offset(daemon):
    """As in a container under userns-remap: what the manual says of uid and gid."""
    daemon.create("db", size="300M", fstype="ext4", uid="100999", gid="100999", mode="0700")
    path = daemon.mount("db", "a")
    with subprocess.Popen(["unshare", "--user", "sleep", "infinity"]) as remapped:
        try:
            namespace = f"/proc/{remapped.pid}/ns/user"
            until(lambda: os.readlink(namespace) != os.readlink("/proc/self/ns/user"), "a user namespace of its own")
            for table in ("uid_map", "gid_map"):
                with open(f"/proc/{remapped.pid}/{table}", "w", encoding="ascii") as f:
                    f.write("0 100000 65536\n")
            inside = ["nsenter", f"--user={namespace}", f"--wd={path}", "--setuid=999", "--setgid=999"]
            seen = subprocess.run([*inside, "stat", "-c", "%u %g", "."], capture_output=True, text=True, check=True).stdout
            assert seen == "999 999\n"
            subprocess.run([*inside, "touch", "mine"], check=True)
        finally:
            remapped.kill()
    assert os.stat(f"{path}/mine").st_uid == 100999
    daemon.unmount("db", "a")


@pytest.mark.parametrize("fstype", ["xfs", "ext4", "btrfs"])
def test_trim_gives_back_what_was_deleted(world, daemon, fstype):
    daemon.create("db", size="512M", fstype=fstype)
    path = daemon.mount("db", "a")
    with open(f"{path}/large", "wb") as f:
        f.write(os.urandom(64 * MIB))
        os.fsync(f.fileno())
    full = len(world.cluster.objects("rbd_data."))
    assert full >= 16
    os.unlink(f"{path}/large")
    subprocess.run(["sync", "-f", path], check=True)
    done = daemon.cli("trim", "--all")
    assert done.returncode == 0 and "rbd/db: " in done.stdout, done.stderr
    assert len(world.cluster.objects("rbd_data.")) <= full - 12
    daemon.unmount("db", "a")
    done = daemon.cli("trim", "db")
    assert done.returncode == 1 and "not mounted on this host" in done.stderr
    assert daemon.cli("trim").returncode == 2


def test_a_trim_that_takes_longer_than_a_budget_is_waited_for(world):
    """And one is enough for two who ask."""
    daemon = world.daemon(budget="1s").await_cluster()
    daemon.create("db", size="512M", fstype="ext4", qos_bps="64M")
    daemon.mount("db", "a")
    with subprocess.Popen([RBDVOL, "trim", "--all", f"--socket={daemon.socket}"], stdout=subprocess.PIPE, text=True) as other:
        done = daemon.cli("trim", "db", "--json")
        assert other.communicate()[0].startswith("rbd/db: ") and other.returncode == 0
    assert done.returncode == 0 and json.loads(done.stdout)["Trimmed"] > 400 * MIB, done.stderr
    ended = [line for line in daemon.log_text().splitlines() if "trimmed volume=rbd/db" in line]
    assert len(ended) == 1 and int(ended[0].rpartition("ms=")[2]) > 2000, ended
    daemon.unmount("db", "a")


@pytest.mark.usefixtures("snapshots")
def test_trim_of_all_passes_over_what_is_read_only(daemon):
    daemon.create("db", size="64M", fstype="ext4")
    daemon.mount("db", "w")
    daemon.unmount("db", "w")
    assert daemon.cli("snap", "create", "db@s").returncode == 0
    daemon.create("view", **{"from": "db@s", "ro": "true"})
    daemon.mount("db", "w")
    daemon.mount("view", "r")
    done = daemon.cli("trim", "--all")
    assert done.returncode == 0 and "rbd/db: " in done.stdout and "view" not in done.stdout + done.stderr
    done = daemon.cli("trim", "view")
    assert done.returncode == 1 and "read-only" in done.stderr
    daemon.unmount("view", "r")
    daemon.unmount("db", "w")
    daemon.remove("view")
    assert daemon.cli("snap", "rm", "db@s").returncode == 0
