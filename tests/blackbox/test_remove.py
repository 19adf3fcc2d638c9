# SPDX-License-Identifier: MIT
"""Remove: by policy, of our own volumes only, and never of one in use."""

import os
import subprocess

import pytest
from waiting import until


def test_remove_moves_the_volume_to_the_trash(world, daemon):
    daemon.create("db", size="1G")
    identity = world.cluster.info("db")["id"]
    daemon.remove("db")
    assert world.cluster.images() == []
    assert [(t["id"], t["name"]) for t in world.cluster.trash()] == [(identity, "db")]
    assert daemon.names() == []
    assert "no such volume" in daemon.call("Get", {"Name": "db"}).err


def test_what_was_removed_can_be_restored_with_its_data(world, daemon):
    daemon.create("db", size="1G", fstype="ext4")
    with open(daemon.mount("db", "a") + "/file", "w", encoding="ascii") as f:
        f.write("kept")
    daemon.unmount("db", "a")
    daemon.remove("db")
    world.cluster.rbd("trash", "restore", f"rbd/{world.cluster.trash()[0]['id']}")
    with open(daemon.mount("db", "a") + "/file", encoding="ascii") as f:
        assert f.read() == "kept"
    daemon.unmount("db", "a")


def test_a_trashed_volume_is_marked_as_ours(world, daemon):
    daemon.create("db", size="1G")
    identity = world.cluster.info("db")["id"]
    daemon.remove("db")
    keys = world.cluster.rados("listomapkeys", f"rbd_header.{identity}")
    assert "metadata_rbdvol.trashed" in keys


def test_the_policy_delete_leaves_nothing(world):
    d = world.daemon(remove="delete").await_cluster()
    d.create("db", size="1G", fstype="ext4")
    d.remove("db")
    assert world.cluster.images() == []
    until(lambda: world.cluster.trash() == [] and not world.cluster.objects("rbd_data."), "the purge", 20)
    assert not world.cluster.objects("rbd_header.")


def test_the_name_is_free_at_once(world, daemon):
    for _ in range(3):
        daemon.create("again", size="300M", fstype="ext4")
        daemon.remove("again")
    daemon.create("again", size="1G")
    assert world.cluster.info("again")["size"] == 1 << 30
    assert len(world.cluster.trash()) == 3


def test_remove_of_an_absent_volume_succeeds(daemon):
    daemon.remove("absent")


def test_an_image_made_by_others_is_refused_with_the_command(world, daemon):
    world.cluster.rbd("create", "rbd/theirs", "--size", "300")
    err = daemon.refused("Remove", Name="theirs")
    assert "theirs" in err and "rbd" in err
    assert world.cluster.images() == ["theirs"]


def test_a_held_volume_is_refused_with_its_holder(world, daemon):
    daemon.create("db", size="1G")
    daemon.mount("db", "holder-one")
    err = daemon.refused("Remove", Name="db")
    assert "holder-one" in err
    assert world.cluster.images() == ["db"]
    daemon.unmount("db", "holder-one")
    daemon.remove("db")


def test_a_volume_mounted_on_another_host_is_refused_with_its_owner(world, daemon):
    daemon.create("db", size="1G")
    other = world.daemon().await_cluster()
    other.mount("db", "there")
    err = daemon.refused("Remove", Name="db")
    assert other.name in err or "127.0.0.1" in err
    assert world.cluster.images() == ["db"]
    other.unmount("db", "there")


def test_a_locked_image_is_refused(world, daemon):
    daemon.create("db", size="1G")
    world.cluster.rbd("lock", "add", "rbd/db", "by-the-operator")
    assert "by-the-operator" in daemon.refused("Remove", Name="db")
    assert world.cluster.images() == ["db"]
    world.cluster.break_locks("db")
    daemon.remove("db")


@pytest.fixture
def watcher(world):
    """A client that has the image open and holds no lock."""
    made = []

    def watch(image):
        child = subprocess.Popen(["rbd", "-c", world.cluster.conf, "watch", f"rbd/{image}"], stdin=subprocess.PIPE,
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        made.append(child)
        until(lambda: world.cluster.watchers(world.cluster.header(image)), "the watcher", 20)
        return child

    yield watch
    for child in made:
        if child.poll() is None:
            child.communicate(b"\n", timeout=20)


def test_a_watched_image_is_refused_with_the_watcher(world, daemon, watcher):
    daemon.create("db", size="1G")
    child = watcher("db")
    err = daemon.refused("Remove", Name="db")
    assert "127.0.0.1" in err
    assert world.cluster.images() == ["db"]
    child.communicate(b"\n", timeout=20)
    until(lambda: not world.cluster.watchers(world.cluster.header("db")), "the watcher to leave", 40)
    daemon.remove("db")


@pytest.mark.parametrize("also", [None, "rbd_id.db"], ids=["header", "header-and-name"])
def test_an_interrupted_removal_is_shown_said_and_finished(world, daemon, also):
    """`rbd rm` takes the data and the header away before the names: what it left would be a name that cannot be used nor freed."""
    daemon.create("db", size="64M", fstype="ext4")
    daemon.create("other", size="64M", fstype="ext4")
    world.cluster.rados("rm", world.cluster.header("db"))
    if also:
        world.cluster.rados("rm", also)
    assert "db" in daemon.names()
    volume = daemon.get("db")
    assert volume["Status"]["state"] == "half removed" and volume["Mountpoint"] == ""
    assert "interrupted" in volume["Status"]["trouble"]
    for err in (daemon.refused("Mount", Name="db", ID="a"), daemon.refused_create("db")):
        assert "interrupted" in err and "remove it" in err
    if not also:  # so young it may be an `rbd create` that has not come to the header yet
        assert "try again" in daemon.refused("Remove", Name="db")
    until(lambda: daemon.call("Remove", {"Name": "db"}).status == 200, "the name to be old enough", 30, interval=0.5)
    assert daemon.call("Get", {"Name": "db"}).status == 500
    assert daemon.names() == ["other"] and not world.cluster.objects("rbd_id.db")
    daemon.create("db", size="64M", fstype="ext4")
    daemon.remove("db")


def test_trash_takes_a_volume_with_snapshots(world, daemon):
    daemon.create("db", size="1G")
    world.cluster.rbd("snap", "create", "rbd/db@kept")
    daemon.remove("db")
    assert len(world.cluster.trash()) == 1
    identity = world.cluster.trash()[0]["id"]
    world.cluster.rbd("trash", "restore", f"rbd/{identity}")
    world.cluster.rbd("snap", "purge", "rbd/db")


def test_an_image_with_cephs_default_features_is_mounted_written_and_removed(world, daemon):
    """Row 5: object-map, fast-diff and the lock that each write needs; with an advisory lock beside it a peer's writes hung."""
    world.cluster.rbd("create", "rbd/default", "--size", "400")
    assert {"exclusive-lock", "object-map", "fast-diff", "deep-flatten"} <= set(world.cluster.info("default")["features"])
    with open(daemon.mount("default", "a") + "/file", "wb") as f:
        f.write(b"x" * (32 << 20))
        f.flush()
        os.fsync(f.fileno())
    daemon.unmount("default", "a")
    world.cluster.rbd("object-map", "check", "--no-progress", "rbd/default")
    assert "flags" not in world.cluster.info("default") or not world.cluster.info("default")["flags"]
    daemon.remove("default")
    assert world.cluster.images() == []
