# SPDX-License-Identifier: MIT
"""The collector: what an unfinished Create left goes to the trash; what somebody still makes is left alone."""

import json
import subprocess

import pytest
from waiting import TookTooLong, until

LONG_AGO = 1_700_000_000


def unfinished(world, name, final):
    """An image as a Create leaves it that was killed long ago, or that has been at it since then."""
    world.cluster.rbd("create", f"rbd/{name}", "--size", "64")
    mark = {"version": 1, "final": final, "temp": name, "since": LONG_AGO, "host": "elsewhere", "boot_id": "0"}
    world.cluster.rbd("image-meta", "set", f"rbd/{name}", "rbdvol.making", json.dumps(mark))


@pytest.fixture
def maker(world):
    """Another host's client that holds the managed lock of an image and writes to it: maker(name)."""
    children = []

    def start(name):
        child = subprocess.Popen(["rbd", "-c", world.cluster.conf, "bench", "--io-type", "write", "--io-size", "4K", "--io-total",
                                  "1T", "--io-threads", "1", f"rbd/{name}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        children.append(child)
        until(lambda: "rbd_lock" in world.cluster.locks(world.cluster.header(name)), "the maker to take the lock", 20)
        return child

    yield start
    for child in children:
        child.kill()
        child.wait()


def trashed(world):
    return [entry["name"] for entry in world.cluster.trash()]


def test_a_maker_that_is_slow_keeps_its_image(world, maker):
    """It has been at it for longer than the collector waits, and its lock says that it lives. The image that comes after it in
    the same round was left by a dead one."""
    unfinished(world, "rbdvol.new.slow", "db")
    unfinished(world, "rbdvol.new.zz", "other")
    slow = maker("rbdvol.new.slow")
    before = world.cluster.locks(world.cluster.header("rbdvol.new.slow"))["rbd_lock"]
    daemon = world.daemon().await_cluster()
    until(lambda: "rbdvol.new.zz" in trashed(world), "the collector to come to the last one", 30)
    assert "rbdvol.new.slow" in world.cluster.images(), "the collector took an image that is being made"
    assert slow.poll() is None and world.cluster.locks(world.cluster.header("rbdvol.new.slow"))["rbd_lock"] == before
    assert "db" not in daemon.names()
    # its maker dies: the next round has its lock fenced and broken, and keeps the image in the trash
    slow.kill()
    slow.wait()
    until(lambda: daemon.restart().await_cluster() and until_looked(world, daemon), "the dead maker's image to be collected", 90, 1)
    assert "rbdvol.new.slow" in trashed(world) and "rbdvol.new.slow" not in world.cluster.images()


def until_looked(world, daemon):
    """Has the round that a start begins taken it? A round is over when what it could not take was said, or it is there."""
    try:
        return until(lambda: "rbdvol.new.slow" in trashed(world) and [True], "the round", 5)
    except TookTooLong:
        assert daemon.alive()
        return []


@pytest.mark.parametrize("whose", ("its", "another's"))
def test_a_rename_is_finished_without_the_name_that_others_took(world, daemon, whose):
    """The last of a rename's three writes is due: the old name goes, unless it is another image's by now."""
    daemon.create("db", size="64M", fstype="ext4")
    daemon.create("other", size="64M", fstype="ext4")
    image = "db" if whose == "its" else "other"
    world.cluster.rados("cp", f"rbd_id.{image}", "rbd_id.rbdvol.new.old")
    mark = {"version": 1, "final": "db", "temp": "rbdvol.new.old", "since": LONG_AGO, "host": "elsewhere", "boot_id": "0"}
    world.cluster.rbd("image-meta", "set", "rbd/db", "rbdvol.making", json.dumps(mark))
    daemon.mount("db", "a")
    daemon.unmount("db", "a")
    assert "rbdvol.making" not in world.cluster.metadata("db")
    assert ("rbd_id.rbdvol.new.old" in world.cluster.objects("rbd_id.")) == (whose != "its")
