# SPDX-License-Identifier: MIT
"""`rbdvol trash`: what was removed is seen, taken back, deleted; nobody else's entries are touched."""

import json
import mmap
import os
import statistics
import subprocess
import time

from daemon import RBDVOL
import pytest
from waiting import until

LONG_AGO = 1_700_000_000


def removed(daemon, name, text):
    daemon.create(name, size="300M", fstype="ext4")
    with open(daemon.mount(name, "a") + "/file", "w", encoding="ascii") as f:
        f.write(text)
    daemon.unmount(name, "a")
    daemon.remove(name)


def test_a_removed_volume_is_listed_and_restored_with_its_data(world, daemon):
    removed(daemon, "db", "kept")
    lines = daemon.does("trash", "ls").splitlines()
    assert len(lines) == 2 and lines[1].startswith("rbd/db ") and world.cluster.trash()[0]["id"] in lines[1]
    assert daemon.does("trash", "restore", "db").strip() == "rbd/db"
    assert daemon.does("trash", "ls").count("\n") == 1
    with open(daemon.mount("db", "a") + "/file", encoding="ascii") as f:
        assert f.read() == "kept"
    daemon.unmount("db", "a")
    daemon.remove("db")  # and may be removed again
    assert daemon.does("trash", "restore", "db", "other").strip() == "rbd/other"
    assert daemon.names() == ["other"]


def cut_off(world, name):
    """As when its removal was killed before the last of librbd's writes (cls::rbd::TRASH_IMAGE_STATE_MOVING): librbd then refuses
    to delete the image, and to give it back."""
    (key,) = ["id_" + entry["id"] for entry in world.cluster.trash() if entry["name"] == name]
    path = f"{world.dir}/entry"
    world.cluster.rados("getomapval", "rbd_trash", key, path)
    with open(path, "r+b") as f:
        f.seek(-1, os.SEEK_END)
        assert f.read() == b"\0"
        f.seek(-1, os.SEEK_END)
        f.write(b"\1")
    world.cluster.rados("setomapval", "rbd_trash", key, "--input-file", path)
    return key[3:]


def test_what_was_cut_off_at_the_end_of_its_removal_can_be_restored_and_deleted(world, daemon):
    removed(daemon, "db", "kept")
    cut_off(world, "db")
    assert daemon.does("trash", "restore", "db").strip() == "rbd/db"
    with open(daemon.mount("db", "a") + "/file", encoding="ascii") as f:
        assert f.read() == "kept"
    daemon.unmount("db", "a")
    daemon.remove("db")
    entry = cut_off(world, "db")
    daemon.create("db", size="64M", fstype="ext4")  # another one of its name, which is left alone
    daemon.does("trash", "purge", entry)
    assert world.cluster.trash() == [] and daemon.names() == ["db"]


def test_what_is_ambiguous_or_taken_is_refused(world, daemon):
    removed(daemon, "db", "one")
    removed(daemon, "db", "two")
    ids = [entry["id"] for entry in world.cluster.trash()]
    err = daemon.declines("trash", "restore", "db")
    assert "2 times" in err and ids[0] in err and ids[1] in err
    daemon.create("db", size="300M", fstype="ext4")
    assert "there is an image 'db'" in daemon.declines("trash", "restore", ids[0])
    daemon.does("trash", "restore", ids[0], "was")
    assert sorted(daemon.names()) == ["db", "was"]
    assert "nothing of that name" in daemon.declines("trash", "restore", "absent")
    assert daemon.cli("trash", "restore").returncode == 2 and daemon.cli("trash").returncode == 2


def test_purge_deletes_one_or_what_is_overdue_and_nobody_elses(world):
    d = world.daemon(trash_keep="1s").await_cluster()
    world.cluster.rbd("create", "rbd/theirs", "--size", "300")
    world.cluster.rbd("trash", "mv", "rbd/theirs")
    removed(d, "db", "x")
    until(lambda: d.does("trash", "purge") == "" and [t["name"] for t in world.cluster.trash()] == ["theirs"], "the purge", 20)
    keeper = world.daemon().await_cluster()
    removed(keeper, "long", "x")
    keeper.does("trash", "purge")  # it is not overdue
    assert sorted(t["name"] for t in world.cluster.trash()) == ["long", "theirs"]
    keeper.does("trash", "purge", "long")
    assert "nothing of that name or id that rbdvol put there" in keeper.declines("trash", "purge", "theirs")
    assert [t["name"] for t in world.cluster.trash()] == ["theirs"]
    world.cluster.rbd("trash", "rm", "--no-progress", "rbd/" + world.cluster.trash()[0]["id"])


def latency(fd, ends):
    """The median of small synchronous writes, in milliseconds, and how many there were."""
    block, took = mmap.mmap(-1, 4096), []
    while not ends():
        began = time.monotonic()
        os.pwrite(fd, block, 4096 * (len(took) % 1000))
        took.append((time.monotonic() - began) * 1000)
    return statistics.median(took), len(took)


def test_a_purge_leaves_room_for_who_works(world, daemon):
    """Thousands of objects are deleted, two at a time: who writes meanwhile waits about as long as ever (with librbd's own ten at
    a time it was two to four times as long)."""
    daemon.create("large", size="64M", fstype="ext4", object_size="4K")
    world.cluster.rbd("bench", "--io-type", "write", "--io-size", "4096", "--io-threads", "16", "--io-total", "32M", "rbd/large")
    daemon.remove("large")
    daemon.create("db", size="300M", fstype="ext4")
    fd = os.open(daemon.mount("db", "a") + "/probe", os.O_CREAT | os.O_WRONLY | os.O_DIRECT | os.O_DSYNC, 0o600)
    try:
        os.posix_fallocate(fd, 0, 4 << 20)
        until_then = time.monotonic() + 2
        alone, _ = latency(fd, lambda: time.monotonic() > until_then)
        with subprocess.Popen([RBDVOL, "trash", "purge", "large", f"--socket={daemon.socket}"], stdin=subprocess.DEVNULL) as purge:
            beside, writes = latency(fd, lambda: purge.poll() is not None)
        assert purge.returncode == 0 and writes > 100
    finally:
        os.close(fd)
    assert beside < 3 * alone + 2, (alone, beside)
    daemon.unmount("db", "a")
    assert not [o for o in world.cluster.objects("rbd_data.") if o not in used_by(world.cluster, "db")]


def used_by(cluster, name):
    prefix = cluster.info(name)["block_name_prefix"]
    return set(cluster.objects(prefix))


# -- other namespaces, and other pools


@pytest.fixture
def namespaces(cluster):
    """Two of them; what is in them goes with the pool's other objects."""
    for name in ("one", "two"):
        cluster.rbd("namespace", "create", f"rbd/{name}")
    yield
    for name in ("one", "two"):
        for image in cluster.images(f"rbd/{name}"):
            cluster.rbd("rm", "--no-progress", f"rbd/{name}/{image}")
        for entry in cluster.trash(f"rbd/{name}"):
            cluster.rbd("trash", "rm", "--no-progress", "--force", f"rbd/{name}/{entry['id']}")
        cluster.rbd("namespace", "remove", f"rbd/{name}")


def in_trash(daemon):
    return sorted(entry["Name"] for entry in json.loads(daemon.does("trash", "ls", "--json")))


@pytest.mark.usefixtures("namespaces")
def test_what_is_removed_in_any_namespace_is_listed_restored_and_purged(world, daemon):
    """A name means one place, an id any."""
    for name in ("db", "rbd/one/db", "rbd/two/db"):
        removed(daemon, name, f"of {name}")
    assert in_trash(daemon) == ["rbd/db", "rbd/one/db", "rbd/two/db"]
    assert daemon.does("trash", "restore", "rbd/one/db").strip() == "rbd/one/db"
    (entry,) = world.cluster.trash("rbd/two")
    assert "it was in 'rbd/two', and stays there" in daemon.declines("trash", "restore", entry["id"], "rbd/one/other")
    assert daemon.does("trash", "restore", entry["id"], "other").strip() == "rbd/two/other"
    assert daemon.does("trash", "restore", "db").strip() == "rbd/db"
    for name, text in (("db", "db"), ("rbd/one/db", "rbd/one/db"), ("rbd/two/other", "rbd/two/db")):
        with open(daemon.mount(name, "a") + "/file", encoding="ascii") as f:
            assert f.read() == f"of {text}"
        daemon.unmount(name, "a")
    assert sorted(daemon.names()) == ["db", "rbd/one/db", "rbd/two/other"]
    daemon.remove("rbd/one/db")
    daemon.remove("db")
    assert "nothing of that name" in daemon.declines("trash", "purge", "rbd/two/db")
    daemon.does("trash", "purge", "rbd/one/db")
    assert in_trash(daemon) == ["rbd/db"] and world.cluster.trash("rbd/one") == []


@pytest.mark.usefixtures("namespaces")
def test_what_is_overdue_or_unfinished_in_any_namespace_is_cleared_away(world):
    """By itself, at start and daily; what another program put into that trash stays."""
    cluster = world.cluster
    cluster.rbd("create", "rbd/one/theirs", "--size", "30")
    cluster.rbd("trash", "mv", "rbd/one/theirs")
    cluster.rbd("create", "rbd/two/rbdvol.new.left", "--size", "64")
    mark = {"version": 1, "final": "db", "temp": "rbdvol.new.left", "since": LONG_AGO, "host": "elsewhere", "boot_id": "0"}
    cluster.rbd("image-meta", "set", "rbd/two/rbdvol.new.left", "rbdvol.making", json.dumps(mark))
    d = world.daemon(trash_keep="1s").await_cluster()
    until(lambda: [t["name"] for t in cluster.trash("rbd/two")] == ["rbdvol.new.left"], "the unfinished one", 20)
    removed(d, "rbd/one/db", "x")
    until(lambda: [t["name"] for t in cluster.trash("rbd/one")] == ["theirs"], "the overdue one, without a word", 30)


def test_a_pool_that_is_not_configured_is_looked_into_when_it_is_named(world, daemon):
    """As everywhere: any pool can be named."""
    world.cluster.ceph("osd", "pool", "create", "extra", "8", "8", "replicated")
    try:
        world.cluster.rbd("pool", "init", "extra")
        removed(daemon, "extra/db", "x")
        assert in_trash(daemon) == [] and "nothing of that name" in daemon.declines("trash", "restore", "db")
        assert daemon.does("trash", "restore", "extra/db").strip() == "extra/db"
        daemon.remove("extra/db")
        daemon.does("trash", "purge", "extra/db")
        assert world.cluster.trash("extra") == []
    finally:
        world.cluster.ceph("osd", "pool", "rm", "extra", "extra", "--yes-i-really-really-mean-it")
