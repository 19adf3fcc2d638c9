# SPDX-License-Identifier: MIT
"""Remove and Create that the cluster did not answer in time: what was reported as failed does not happen later, and nothing is
deleted because of it. Row 21 of ROWS.md."""

import json
import os
import random
import signal
import threading
import time

import pytest
from cluster import Failed
from waiting import until

SMALL = {"size": "64M", "fstype": "ext4"}


def trash_of(cluster):
    """Ids in the trash; None while one of them is being purged."""
    try:
        return [entry["id"] for entry in cluster.trash()]
    except Failed:
        return None


def fill(d, name, text):
    point = d.mount(name, "filler")
    with open(os.path.join(point, "file"), "w", encoding="ascii") as f:
        f.write(text)
    d.unmount(name, "filler")


def check_filled(d, name, text):
    point = d.mount(name, "reader")
    with open(os.path.join(point, "file"), encoding="ascii") as f:
        assert f.read() == text
    d.unmount(name, "reader")


def list_again(cluster, name, identity):
    """In the pool's directory, as it was before the last of a removal's three writes."""
    for key, value in ((f"name_{name}", identity), (f"id_{identity}", name)):
        path = os.path.join(cluster.dir, "omap-value")
        with open(path, "wb") as f:
            f.write(len(value).to_bytes(4, "little") + value.encode())
        cluster.rados("setomapval", "rbd_directory", key, "--input-file", path)


def remove_half(world, d, name, writes):
    """Moves a volume to the trash as Remove does, but for its last writes: 1 it has all its names, 2 rbd_id.NAME is gone. The daemon,
    which may purge it a second later, sees nothing in between."""
    cluster = world.cluster
    identity = cluster.info(name)["id"]
    cluster.rados("get", f"rbd_id.{name}", f"{world.dir}/id")
    d.remove(name)
    d.process.signal(signal.SIGSTOP)
    try:
        list_again(cluster, name, identity)
        if writes == 1:
            cluster.rados("put", f"rbd_id.{name}", f"{world.dir}/id")
    finally:
        d.process.signal(signal.SIGCONT)
    return identity


@pytest.mark.parametrize("writes", [1, 2])
def test_the_purge_takes_nothing_that_still_has_a_name(world, writes):
    """A removal that was cut off and reported as failed: who goes on to use the volume must not lose it when its time is over."""
    d = world.daemon(trash_keep="0s").await_cluster()
    d.create("db", **SMALL)
    fill(d, "db", "kept")
    identity = remove_half(world, d, "db", writes)
    time.sleep(2.1)  # its time is over two whole seconds later
    d.cli("trash", "purge")
    assert f"rbd_header.{identity}" in world.cluster.objects("rbd_header."), "a volume that has a name was deleted"
    d.restart().await_cluster()
    until(lambda: trash_of(world.cluster) == [], "the collector to take the removal back", 20)
    assert world.cluster.info("db")["id"] == identity
    check_filled(d, "db", "kept")


@pytest.mark.parametrize("writes", [1, 2])
def test_a_volume_that_is_half_removed_can_be_mounted_and_is_out_of_the_trash(world, daemon, writes):
    daemon.create("db", **SMALL)
    fill(daemon, "db", "kept")
    identity = remove_half(world, daemon, "db", writes)
    check_filled(daemon, "db", "kept")
    assert trash_of(world.cluster) == [] and world.cluster.info("db")["id"] == identity


@pytest.mark.parametrize("writes", [1, 2])
def test_a_volume_that_is_half_removed_is_there_for_docker(world, daemon, writes):
    """Docker asks Get and Create before it asks for a Mount."""
    daemon.create("db", **SMALL)
    fill(daemon, "db", "kept")
    identity = remove_half(world, daemon, "db", writes)
    got = daemon.call("Get", {"Name": "db"})
    assert got.status == 200, got.err
    if writes == 2:
        status = got.json["Volume"]["Status"]
        # the collector's first round, half a second after the start, may come upon it
        assert (status["state"] == "half removed" and "interrupted" in status["trouble"]) or "took a removal back" in daemon.log_text(), status
    daemon.create("db")
    assert world.cluster.info("db")["id"] == identity
    check_filled(daemon, "db", "kept")


@pytest.mark.parametrize("writes", [1, 2])
def test_a_volume_that_is_half_removed_can_be_removed(world, daemon, writes):
    daemon.create("db", **SMALL)
    identity = remove_half(world, daemon, "db", writes)
    daemon.remove("db")
    assert trash_of(world.cluster) == [identity]
    assert world.cluster.images() == [] and world.cluster.objects("rbd_id.") == []
    daemon.create("db", **SMALL)
    assert world.cluster.info("db")["id"] != identity


# -- the OSD is stopped in the middle

TRIES = 4
SETTLED = 30  # seconds, within which what is owed is settled


def cut_off(world, d, method, body, dice):
    """Stops the OSD at some time within the operation, until it has been answered. Its reply."""
    replies = []
    thread = threading.Thread(target=lambda: replies.append(d.call(method, body)))
    thread.start()
    time.sleep(dice.uniform(0, 0.06))  # the instant is the scenario
    world.cluster.pause("osd")
    try:
        thread.join(60)
        assert replies, f"{method} was not answered"
    finally:
        world.cluster.resume("osd")
    return replies[0]


def owes(d, name):
    return [v for v in d.must("/Rbdvol.Status")["Volumes"] if v["Name"].endswith(name)]


@pytest.fixture
def hurried(world):
    d = world.daemon(ceph_timeout="1s").await_cluster()
    yield d
    d.stop()
    world.cluster.wipe()  # what a Create left to the collector, and locks that nobody could be told of


@pytest.mark.parametrize("policy", ["trash", "rename"])
def test_a_remove_that_failed_has_removed_nothing(world, hurried, policy):
    dice = random.Random()
    hurried.options["remove"] = policy
    hurried.restart().await_cluster()
    failed = 0
    for n in range(TRIES):
        name = f"db{n}"
        hurried.create(name, **SMALL)
        identity = world.cluster.info(name)["id"]
        reply = cut_off(world, hurried, "Remove", {"Name": name}, dice)
        if reply.status == 200 or "goes on" in reply.err:  # librbd waited for longer than the budget, and it was said so
            until(lambda: name not in world.cluster.images(), "it to be gone", SETTLED)
            continue
        failed += 1
        until(lambda: name in world.cluster.images() and trash_of(world.cluster) is not None and
              identity not in trash_of(world.cluster), f"{reply.err} to be settled", SETTLED)
        until(lambda: not owes(hurried, name), "nothing to be owed", SETTLED)
        assert world.cluster.info(name)["id"] == identity
        assert hurried.get(name)["Status"]["size"] == 64 << 20
    print(f"{failed} of {TRIES} failed")


def test_a_create_that_failed_has_made_nothing(world, hurried):
    dice = random.Random()
    failed = 0
    for n in range(TRIES):
        name = f"db{n}"
        reply = cut_off(world, hurried, "Create", {"Name": name, "Opts": SMALL}, dice)
        until(lambda: hurried.call("List", {}).status == 200, "the cluster", SETTLED)
        until(lambda: not owes(hurried, name), "nothing to be owed", SETTLED)
        if reply.status == 200 or "goes on" in reply.err:
            until(lambda: name in world.cluster.images(), "it to be made", SETTLED)
            continue
        failed += 1
        assert name not in world.cluster.images() and f"rbd_id.{name}" not in world.cluster.objects("rbd_id."), reply
    print(f"{failed} of {TRIES} failed")
