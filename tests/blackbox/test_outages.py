# SPDX-License-Identifier: MIT
"""The cluster is away, in every way that we know: each endpoint's answer, its time and its text; and what is true when it is
back. Rows 20 and 21 of ROWS.md. The network's cut is in hosts/test_outage.py."""

import contextlib
import json
import os

import mounts
import pytest
from outage import (ALL_AWAY, BACK, NO_MONITOR, OK, REFUSED, TIMEOUT, Outage, ask_all, check_afterwards, check_answers,
                    check_released, make_volumes)
from waiting import until

CAPS = ("mon", "profile rbd", "osd", "profile rbd")


@contextlib.contextmanager
def no_process(cluster):
    cluster.daemon("mon").kill()
    try:
        yield
    finally:
        cluster.start_monitor()


@contextlib.contextmanager
def revoked(cluster):
    """The user is deleted. What is connected stays so until its ticket lapses."""
    key = cluster.ceph("auth", "get", "client.outage")
    cluster.ceph("auth", "del", "client.outage")
    try:
        yield
    finally:
        path = os.path.join(cluster.dir, "again.keyring")
        with open(path, "w", encoding="ascii") as f:
            f.write(key)
        cluster.ceph("auth", "import", "-i", path)


@contextlib.contextmanager
def full(cluster):
    path = os.path.join(cluster.dir, "blob")
    with open(path, "wb") as f:
        f.write(b"x" * (64 << 20))
    cluster.rados("put", "blob", path)
    os.unlink(path)

    def is_full():
        pools = json.loads(cluster.ceph("osd", "dump", "--format", "json"))["pools"]
        return "full" in next(p for p in pools if p["pool_name"] == cluster.pool)["flags_names"].split(",")

    for kind, ratio in (("nearfull", "0.0001"), ("backfillfull", "0.0002"), ("full", "0.0003")):
        cluster.ceph("osd", f"set-{kind}-ratio", ratio)
    try:
        until(is_full, "the pool to be full", 20)
        yield
    finally:
        for kind, ratio in (("full", "0.95"), ("backfillfull", "0.90"), ("nearfull", "0.85")):
            cluster.ceph("osd", f"set-{kind}-ratio", ratio)
        until(lambda: not is_full(), "the pool not to be full", 20)
        cluster.rados("rm", "blob")


READS_GO_ON = {"get-away": OK, "get-never": REFUSED, "mount-away": REFUSED, "mount-never": REFUSED, "create-there": OK}
NO_MON = Outage(NO_MONITOR, ("cluster unreachable", "monitor"), can_ask=True, ends=True)
KINDS = {
    "mon-stopped": (lambda c: c.paused("mon"), NO_MON),
    "mon-ended": (no_process, NO_MON),
    "osd-stopped": (lambda c: c.paused("osd"), Outage(ALL_AWAY)),
    "both-stopped": (lambda c: c.paused("mon", "osd"), Outage(ALL_AWAY)),
    # a mapper is a new client
    "key-revoked": (revoked, Outage({**READS_GO_ON, "create-new": OK, "remove": OK}, ("refused client.outage",), can_ask=True,
                                    ends=True)),
    # what is to be written waits until its time is over
    "pool-full": (full, Outage({**READS_GO_ON, "create-new": REFUSED, "remove": REFUSED}, ("is full",),
                               can_ask=True)),
}


@pytest.fixture
def d(world):
    conf = world.cluster.conf_for("outage", os.path.join(world.dir, "outage.conf"), mon="profile rbd", osd="profile rbd")
    made = world.daemon(ceph_conf=conf, user="outage", ceph_timeout=f"{TIMEOUT}s").await_cluster()
    made.point = make_volumes(made)
    yield made
    world.cluster.ceph("auth", "get-or-create", "client.outage", *CAPS)


def let_go(d):
    for name, holder in (("here", "a"), ("here", "a"), ("shared", "first"), ("shared", "third")):
        d.unmount(name, holder)


@pytest.mark.parametrize("name", KINDS)
def test_each_endpoint_says_in_time_what_it_can(world, d, name):
    """Rows 20 and 21."""
    begin, outage = KINDS[name]
    with begin(world.cluster):
        answers = ask_all(d)
        check_answers(outage, answers, d.point)
    check_afterwards(d, answers)
    let_go(d)


@pytest.mark.parametrize("name", KINDS)
def test_unmount_lets_go_at_once_and_ends_when_the_cluster_is_back(world, d, name):
    """Rows 20 and 21; the holder is Docker's, the rest is ours."""
    begin, outage = KINDS[name]

    def is_down():
        return mounts.at(d.point) is None and len(d.mappers()) == 1

    with begin(world.cluster):
        thread, replies = check_released(d, "here", "a")
        if outage.ends:
            until(is_down, "the volume to go down", 15)
    until(is_down, "the volume to go down", BACK)
    thread.join(60)
    assert replies[0].status == 200 or "keeps trying" in replies[0].err or outage.words[0] in replies[0].err, replies[0]
    until(lambda: not [v for v in d.must("/Rbdvol.Status")["Volumes"] if v["Name"] == "rbd/here"], "nothing to be pending", BACK)
    d.mount("here", "next")
    d.unmount("here", "next")
    d.unmount("shared", "first")
    d.unmount("shared", "second")


def test_a_volume_whose_pool_was_deleted_goes_down_and_leaves_nothing(world):
    """Row 49; its data is gone for good, its mount, device and mapper need not stay."""
    cluster = world.cluster
    cluster.ceph("osd", "pool", "create", "doomed", "8", "8", "replicated")
    cluster.rbd("pool", "init", "doomed")
    d = world.daemon(pool="rbd,doomed", ceph_timeout=f"{TIMEOUT}s").await_cluster()
    d.create("doomed/lost", size="64M", fstype="ext4")
    d.create("kept", size="64M", fstype="ext4")
    lost, kept = d.mount("doomed/lost", "a"), d.mount("kept", "a")
    cluster.ceph("osd", "pool", "rm", "doomed", "doomed", "--yes-i-really-really-mean-it")
    assert d.get("doomed/lost")["Mountpoint"] == lost
    thread, replies = check_released(d, "lost", "a")
    until(lambda: mounts.at(lost) is None and len(d.mappers()) == 1, "the lost volume to go down", 60)
    thread.join(60)
    assert d.get("kept")["Mountpoint"] == kept
    d.unmount("kept", "a")
    until(lambda: not d.must("/Rbdvol.Status")["Volumes"], "nothing to be pending", 30)
    assert replies[0].status in (200, 500)
