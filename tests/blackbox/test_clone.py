# SPDX-License-Identifier: MIT
"""Volumes made of snapshots: -o from, `rbdvol clone`, and snapshots mounted as they are."""

import os
import socket
import time
from pathlib import Path

import image
import pytest
from waiting import until

pytestmark = pytest.mark.usefixtures("snapshots")


def source(daemon, fstype="ext4", text="before"):
    """A volume with a file, and a snapshot of it."""
    daemon.create("db", size="512M", fstype=fstype)
    Path(daemon.mount("db", "a") + "/file").write_text(text, encoding="ascii")
    daemon.does("snap", "create", "db@mon")
    return f"{daemon.path('mount-root')}/rbd/db"


def uuid(cluster, name):
    with image.exported(cluster, f"rbd/{name}") as path:
        return image.filesystem(path)["UUID"]


@pytest.mark.parametrize("fstype", ["xfs", "ext4", "btrfs"])
def test_a_clone_is_mounted_beside_its_source_larger_and_with_a_uuid_of_its_own(world, daemon, fstype):
    path = source(daemon, fstype)
    Path(f"{path}/file").write_text("after", encoding="ascii")
    daemon.create("copy", **{"from": "db@mon"}, size="1G")
    copy = daemon.mount("copy", "b")
    assert Path(f"{copy}/file").read_text(encoding="ascii") == "before" and Path(f"{path}/file").read_text(encoding="ascii") == "after"
    assert os.statvfs(copy).f_blocks * os.statvfs(copy).f_frsize > 900 << 20
    Path(f"{copy}/file").write_text("changed", encoding="ascii")
    assert Path(f"{path}/file").read_text(encoding="ascii") == "after"
    daemon.unmount("copy", "b")
    daemon.unmount("db", "a")
    assert uuid(world.cluster, "copy") != uuid(world.cluster, "db")
    copy = daemon.mount("copy", "b")
    assert Path(f"{copy}/file").read_text(encoding="ascii") == "changed"
    daemon.unmount("copy", "b")
    info = world.cluster.info("copy")
    assert info["parent"]["image"] == "db" and info["parent"]["snapshot"] == "mon"


@pytest.mark.parametrize("fstype", ["xfs", "ext4", "btrfs"])
def test_a_snapshot_of_a_dirty_file_system_is_cloned_and_looked_at(world, daemon, fstype):
    """Made behind rbdvol's back, without the freeze: there is a log to be replayed, in the clone, before it has a uuid of its own."""
    daemon.create("db", size="512M", fstype=fstype)
    path = daemon.mount("db", "a")
    for number in range(50):
        with open(f"{path}/{number}", "wb", buffering=0) as f:
            f.write(b"kept")
            os.fsync(f.fileno())
    world.cluster.rbd("snap", "create", "--no-progress", "rbd/db@dirty")
    with image.exported(world.cluster, "rbd/db@dirty") as exported:
        assert image.is_dirty(exported, fstype), "there is nothing to be replayed"
    daemon.create("copy", **{"from": "db@dirty"}, size="1G")
    copy = daemon.mount("copy", "b")  # beside its source
    assert {Path(f"{copy}/{number}").read_bytes() for number in range(50)} == {b"kept"}
    assert os.statvfs(copy).f_blocks * os.statvfs(copy).f_frsize > 900 << 20
    Path(f"{copy}/0").write_text("changed", encoding="ascii")
    daemon.create("seen", **{"from": "db@dirty"}, ro="true")
    seen = daemon.mount("seen", "c")  # nothing is replayed there, so that what only the log has is not to be seen
    with pytest.raises(OSError, match="Read-only"):
        Path(f"{seen}/0").write_text("x", encoding="ascii")
    daemon.unmount("seen", "c")
    daemon.unmount("copy", "b")
    daemon.unmount("db", "a")
    assert uuid(world.cluster, "copy") != uuid(world.cluster, "db")


def test_a_clone_of_a_volume_in_use_leaves_no_snapshot(world, daemon):
    path = source(daemon)
    Path(f"{path}/file").write_text("now", encoding="ascii")
    assert daemon.does("clone", "db", "copy").strip() == "copy"
    Path(f"{path}/file").write_text("later", encoding="ascii")
    copy = daemon.mount("copy", "b")
    assert Path(f"{copy}/file").read_text(encoding="ascii") == "now"
    daemon.unmount("copy", "b")
    daemon.unmount("db", "a")
    assert [line.split()[0] for line in daemon.does("snap", "ls", "db").splitlines()] == ["SNAPSHOT", "mon"]
    assert world.cluster.rados("listomapkeys", "rbdvol.pending").strip() == ""


def test_what_a_clone_that_was_cut_off_has_left_goes_soon(world, daemon):
    """Its snapshot: ours when we are started again, another host's only after an hour, since it may be at it."""
    source(daemon)
    daemon.unmount("db", "a")
    cluster = world.cluster
    identity = cluster.info("db")["id"]
    daemon.does("clone", "db", "first")
    with open("/etc/machine-id", encoding="ascii") as f:
        machine = f.read().strip()
    left = {"rbdvol.new.000000000001": f"{socket.gethostname()}/{machine}/{daemon.name}",
            "rbdvol.new.000000000002": f"{socket.gethostname()}/{machine}/another"}
    for name, who in left.items():
        cluster.rbd("snap", "create", "--no-progress", f"rbd/db@{name}")
        cluster.rados("setomapval", "rbdvol.pending", f"snap {identity} {name} {who}", str(int(time.time())))
    daemon.kill()
    daemon.start().await_cluster()
    until(lambda: "000000000001" not in cluster.rbd("snap", "ls", "rbd/db"), "ours to go", 60)
    assert "000000000002" in cluster.rbd("snap", "ls", "rbd/db")
    until(lambda: len(cluster.rados("listomapkeys", "rbdvol.pending").split("\n")) == 2, "only the other's note to be left")
    cluster.rbd("snap", "rm", "--no-progress", "rbd/db@rbdvol.new.000000000002")
    cluster.rados("rmomapkey", "rbdvol.pending", f"snap {identity} rbdvol.new.000000000002 {left['rbdvol.new.000000000002']}")


def test_the_source_may_go_and_its_clone_stays(world, daemon):
    source(daemon)
    daemon.unmount("db", "a")
    daemon.create("copy", **{"from": "db@mon"})
    daemon.does("snap", "rm", "db@mon")
    daemon.remove("db")
    assert Path(daemon.mount("copy", "b") + "/file").read_text(encoding="ascii") == "before"
    daemon.unmount("copy", "b")


def test_asking_again_for_a_clone_compares_it(world, daemon):
    source(daemon)
    daemon.unmount("db", "a")
    daemon.create("copy", **{"from": "db@mon"})
    daemon.create("copy", **{"from": "db@mon"})
    daemon.create("copy")
    assert "with from rbd/db@mon" in daemon.refused_create("copy", **{"from": "db@tue"})
    assert "with from no source" in daemon.refused_create("db", **{"from": "copy"})


@pytest.mark.parametrize("opts, words", [
    ({"from": "absent"}, "there is no image 'rbd/absent'"), ({"from": "db@never"}, "there is no snapshot 'never'"),
    ({"from": "db@mon", "fstype": "xfs"}, "has the file system of its source"),
    ({"from": "db@mon", "uid": "5"}, "has the files of its source"),
    ({"from": "db@mon", "size": "300M"}, "a clone of 512 MiB cannot have 300 MiB"),
    ({"from": "db@mon", "features": "exclusive-lock"}, "needs layering"),
    ({"from": "../x"}, "option from"), ({"from": "db@a/b"}, "is not IMAGE or IMAGE@SNAPSHOT"),
    ({"from": "db@mon", "ro": "true", "size": "1G"}, "has the size that its source had"),
    ({"from": "db@mon", "ro": "true", "mapper": "krbd"}, "by fuse alone"),
    ({"ro": "true"}, "a new volume that nobody can write"),
])
def test_what_cannot_be_is_refused_with_its_sentence(world, daemon, opts, words):
    source(daemon)
    assert words in daemon.refused_create("copy", **opts)
    daemon.unmount("db", "a")
    assert world.cluster.images() == ["db"] and world.cluster.trash() == []


def test_a_source_in_use_elsewhere_needs_a_snapshot(world, daemon):
    source(daemon)
    other = world.daemon().await_cluster()
    assert daemon.name in other.refused_create("copy", **{"from": "db"})
    other.create("copy", **{"from": "db@mon"})
    daemon.unmount("db", "a")


@pytest.mark.parametrize("fstype", ["xfs", "ext4", "btrfs"])
def test_a_snapshot_is_mounted_read_only_on_many_hosts_at_once_beside_its_source(world, daemon, fstype):
    path = source(daemon, fstype)
    others = [world.daemon().await_cluster() for _ in range(2)]
    daemon.create("mon", **{"from": "db@mon"}, ro="true")
    Path(f"{path}/file").write_text("after", encoding="ascii")
    for number, d in enumerate([daemon, *others]):
        where = d.mount("mon", f"h{number}")
        assert Path(f"{where}/file").read_text(encoding="ascii") == "before"
        with pytest.raises(OSError, match="Read-only"):
            Path(f"{where}/file").write_text("x", encoding="ascii")
    for number, d in enumerate([daemon, *others]):
        assert "in use on this host" in d.refused("Remove", Name="mon")
        d.unmount("mon", f"h{number}")
    assert Path(f"{path}/file").read_text(encoding="ascii") == "after"
    daemon.unmount("db", "a")
    daemon.remove("mon")


def test_a_snapshot_in_use_elsewhere_is_not_removed(world, daemon):
    source(daemon)
    daemon.unmount("db", "a")
    daemon.create("mon", **{"from": "db@mon"}, ro="true")
    other = world.daemon().await_cluster()
    other.mount("mon", "there")
    assert "opened by another client" in daemon.refused("Remove", Name="mon")
    other.kill()  # its mapper stays, and shows
    assert "opened by another client" in daemon.refused("Remove", Name="mon")
    other.start().await_cluster()
    other.unmount("mon", "there")
    daemon.remove("mon")


def test_a_snapshot_that_somebody_writes_is_refused(world, daemon):
    source(daemon)
    daemon.unmount("db", "a")
    daemon.create("mon", **{"from": "db@mon"}, ro="true")
    world.cluster.rbd("lock", "add", "rbd/mon", "by-the-operator")
    assert "has locked it, perhaps to write" in daemon.refused("Mount", Name="mon", ID="a")
    world.cluster.break_locks("mon")
    daemon.mount("mon", "a")
    daemon.unmount("mon", "a")
