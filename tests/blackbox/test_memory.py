# SPDX-License-Identifier: MIT
"""What decides Docker's memory: Docker takes any answered error of Get for "there is no such volume", and forgets its labels
and who uses it. So that is said only when the cluster said so, and what is mounted here is answered for from memory.

The rows named below are those of ROWS.md."""

import json
import os
import threading
import time

import mounts
import pytest
from pace import patience
from waiting import until

TIMEOUT = 2  # seconds, --ceph-timeout
BOUND = TIMEOUT + 2
BACK = 5  # seconds, within which all works again when the cluster is back
AT_ONCE = 1


def timed(daemon, method, body, bound):
    """A reply that must come (or be refused by closing) within so many seconds."""
    began = time.monotonic()
    reply = daemon.call(method, body)
    took = time.monotonic() - began
    assert took <= patience(bound), f"{method} {body} took {took:.1f} s"
    if reply.status not in (None, 200):
        assert "no such volume" not in reply.err and "no image" not in reply.err, f"{method} {body}: {reply.err}"
    return reply


def at_the_same_time(*jobs):
    """Runs them side by side; raises what the first of them raised."""
    wrong = []

    def run(job):
        try:
            job()
        except BaseException as e:  # pylint: disable=broad-except
            wrong.append(e)

    threads = [threading.Thread(target=run, args=(job,)) for job in jobs]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    if wrong:
        raise wrong[0]


def mounted_is_answered_for(daemon, point):
    """Get, Path and List of what is mounted here, from memory, while nothing else is asked."""
    reply = timed(daemon, "Get", {"Name": "here"}, AT_ONCE)
    assert reply.status == 200
    assert (reply.json["Volume"]["Mountpoint"], reply.json["Volume"]["Name"]) == (point, "here")
    assert timed(daemon, "Path", {"Name": "here"}, AT_ONCE).json["Mountpoint"] == point
    assert timed(daemon, "Path", {"Name": "away"}, AT_ONCE).json["Mountpoint"] == ""
    assert timed(daemon, "Capabilities", {}, AT_ONCE).status == 200


def nothing_is_forgotten(daemon, said):
    """All that needs the cluster: closed without an answer for Get, refused with these words for the others, and in time."""
    def get():
        for name in ("away", "never-was"):
            assert timed(daemon, "Get", {"Name": name}, BOUND).status is None, name

    def refused(method, **body):
        reply = timed(daemon, method, body, BOUND)
        assert reply.status == 500, (method, reply)
        assert any(word in reply.err for word in said), (method, reply.err)

    def lists():
        reply = timed(daemon, "List", {}, BOUND)
        if reply.status == 200:  # what is mounted here is better than nothing
            assert [v["Name"] for v in reply.json["Volumes"]] == ["here"]
        else:
            assert any(word in reply.err for word in said), reply.err

    at_the_same_time(get, lists, lambda: refused("Mount", Name="away", ID="b"), lambda: refused("Mount", Name="never-was", ID="b"),
                     lambda: refused("Create", Name="ghost", Opts={"size": "64M", "fstype": "ext4"}),
                     lambda: refused("Create", Name="away-too"), lambda: refused("Remove", Name="away-too"))


def all_works_within(daemon, seconds, expected=("away", "away-too", "here")):
    """Everything that was refused, again, within so many seconds; nothing was done late (row 21)."""
    end = time.monotonic() + patience(seconds)
    until(lambda: daemon.call("List", {}).status == 200 and set(daemon.names()) >= set(expected), "List to work again", seconds)
    until(lambda: daemon.call("Get", {"Name": "away"}).status == 200, "Get to work again", max(end - time.monotonic(), 0.1))
    point = daemon.mount("away", "b")
    assert time.monotonic() < end, "it took longer"
    daemon.unmount("away", "b")
    assert mounts.at(point) is None
    assert "no such volume" in daemon.call("Get", {"Name": "never-was"}).err
    assert sorted(daemon.names()) == sorted(expected), "something was done late"


@pytest.fixture
def known(world):
    """A daemon with a mounted volume `here`, and `away` and `away-too` that are not mounted."""
    d = world.daemon(ceph_timeout=f"{TIMEOUT}s").await_cluster()
    for name in ("here", "away", "away-too"):
        d.create(name, size="64M", fstype="ext4")
    d.point = d.mount("here", "a")
    yield d
    if d.alive():
        d.unmount("here", "a")


@pytest.mark.parametrize("who", [("osd",), ("mon", "osd")], ids=["osd", "both"])
def test_with_the_cluster_away_nothing_is_forgotten_and_then_everything_works(world, known, who):
    """Rows 20, 21 and 12; docker 7."""
    with world.cluster.paused(*who):
        mounted_is_answered_for(known, known.point)
        nothing_is_forgotten(known, ["cluster unreachable"])
        mounted_is_answered_for(known, known.point)
    all_works_within(known, BACK)


def test_with_only_the_monitor_away_what_is_known_goes_on(world, known):
    """Rows 20 and 21: the data path needs no monitor; whatever does is refused in time and forgets nothing."""
    with world.cluster.paused("mon"):
        mounted_is_answered_for(known, known.point)
        with open(os.path.join(known.point, "file"), "w", encoding="ascii") as f:
            f.write("written")
            f.flush()
            os.fsync(f.fileno())
        assert timed(known, "Get", {"Name": "away"}, BOUND).status in (None, 200)
        assert timed(known, "List", {}, BOUND).status in (200, 500)
        reply = timed(known, "Mount", {"Name": "away", "ID": "b"}, BOUND)  # its mapper is a new client
        assert reply.status == 500 and "monitor" in reply.err or "cluster" in reply.err, reply
        mounted_is_answered_for(known, known.point)
    all_works_within(known, BACK)


@pytest.mark.parametrize("who", [("mon",), ("mon", "osd")], ids=["mon", "both"])
def test_a_daemon_that_starts_without_the_cluster_answers_for_what_is_mounted(world, known, who):
    """Rows 7 and 20; docker 11.15: Docker looks at its volumes when it starts, perhaps before the network is there."""
    known.kill()
    with world.cluster.paused(*who):
        known.start()
        mounted_is_answered_for(known, known.point)
        nothing_is_forgotten(known, ["cluster unreachable"])
    until(lambda: known.call("Get", {"Name": "away"}).status == 200, "the cluster to be found", 10)
    all_works_within(known, BACK)


@pytest.mark.parametrize("who", [("osd",), ("mon", "osd")], ids=["osd", "both"])
def test_unmount_without_the_cluster_releases_the_holder_at_once_and_ends_when_it_is_back(world, known, who):
    """Rows 20 and 21; docker 11.1a."""
    replies = []
    with world.cluster.paused(*who):
        thread = threading.Thread(target=lambda: replies.append(known.call("Unmount", {"Name": "here", "ID": "a"})))
        thread.start()
        until(lambda: not known.get("here")["Status"].get("holders"), "the holder to go", AT_ONCE)
        assert known.call("Get", {"Name": "here"}).status == 200
    until(lambda: mounts.at(known.point) is None and not known.mappers(), "the volume to go down", BACK)
    thread.join(30)
    assert replies[0].status == 200, replies[0].body
    known.mount("here", "a")


def test_a_mount_that_was_refused_happens_at_no_later_time(world, known):
    """Row 21; docker 2: Docker sends no Unmount for it."""
    with world.cluster.paused("osd"):
        assert timed(known, "Mount", {"Name": "away", "ID": "b"}, BOUND).status == 500
    all_works_within(known, BACK)
    until(lambda: len(known.mappers()) == 1, "the late mapper to go")
    assert known.must("/Rbdvol.Status")["Volumes"][0]["Name"] == "rbd/here"
    assert not known.get("away")["Status"].get("holders")


# -- refused by the cluster


CAPS = {"none": {"mon": "profile rbd"}, "another-pool": {"mon": "profile rbd", "osd": "profile rbd pool=elsewhere"}}


@pytest.mark.parametrize("kind", CAPS)
def test_a_key_that_may_not_is_said_to_be_one(world, daemon, kind):
    """Row 49: EPERM is neither an absent volume nor an absent cluster."""
    daemon.create("away", size="64M", fstype="ext4")
    conf = world.cluster.conf_for(kind, os.path.join(world.dir, "limited.conf"), **CAPS[kind])
    d = world.daemon(ceph_conf=conf, user=kind, ceph_timeout=f"{TIMEOUT}s")
    until(lambda: "does not allow" in d.call("List", {}).err, "the connection", 20)
    nothing_is_forgotten(d, ["does not allow", "caps", "key"])
    assert timed(d, "Path", {"Name": "away"}, AT_ONCE).json["Mountpoint"] == ""
    assert sorted(daemon.names()) == ["away"]


def test_a_key_whose_caps_were_taken_away_and_given_back(world):
    """Row 49: what is mounted stays; when the caps are back everything works without a restart."""
    caps = {"mon": "profile rbd", "osd": "profile rbd pool=rbd"}
    conf = world.cluster.conf_for("changing", os.path.join(world.dir, "changing.conf"), **caps)
    d = world.daemon(ceph_conf=conf, user="changing", ceph_timeout=f"{TIMEOUT}s").await_cluster()
    for name in ("away", "away-too"):
        d.create(name, size="64M", fstype="ext4")
    d.stop()
    world.cluster.ceph("auth", "caps", "client.changing", "mon", "profile rbd")
    d.start()
    until(lambda: "does not allow" in d.call("List", {}).err, "the refusal", 20)
    nothing_is_forgotten(d, ["does not allow", "caps", "key"])
    world.cluster.ceph("auth", "caps", "client.changing", *[word for pair in caps.items() for word in pair])
    d.restart()
    d.await_cluster()
    all_works_within(d, BACK, ("away", "away-too"))


def test_a_key_that_does_not_exist_forgets_nothing(world):
    """Row 49."""
    conf = os.path.join(world.dir, "nobody.conf")
    with open(world.cluster.conf, encoding="ascii") as f, open(conf, "w", encoding="ascii") as out:
        out.write(f.read() + f"[client.nobody]\nkeyring = {world.dir}/absent.keyring\n")
    d = world.daemon(ceph_conf=conf, user="nobody", ceph_timeout=f"{TIMEOUT}s")
    until(lambda: "absent.keyring" in d.call("List", {}).err, "the keyring's name in the refusal", 20)
    nothing_is_forgotten(d, ["absent.keyring"])


def test_a_full_cluster_is_said_to_be_full_or_away_and_forgets_nothing(world, known):
    """Row 49: writes wait or fail; what is read is answered for."""
    with open(f"{world.dir}/blob", "wb") as f:
        f.write(b"x" * (64 << 20))
    world.cluster.rados("put", "blob", f"{world.dir}/blob")

    def ratios(*values):
        for kind, value in zip(("full", "backfillfull", "nearfull") if values[0] > 0.5 else ("nearfull", "backfillfull", "full"),
                               sorted(values, reverse=values[0] > 0.5)):
            world.cluster.ceph("osd", f"set-{kind}-ratio", f"{value:.4f}")

    def is_full():
        pools = json.loads(world.cluster.ceph("osd", "dump", "--format", "json"))["pools"]
        return "full" in next(p for p in pools if p["pool_name"] == "rbd")["flags_names"].split(",")

    ratios(0.0001, 0.0002, 0.0003)
    try:
        until(is_full, "the pool to be full", 20)
        mounted_is_answered_for(known, known.point)
        assert timed(known, "Get", {"Name": "away"}, BOUND).status == 200
        assert sorted(known.names()) == ["away", "away-too", "here"]
        for method, body in (("Create", {"Name": "ghost", "Opts": {"size": "64M", "fstype": "ext4"}}),
                             ("Mount", {"Name": "away", "ID": "b"}), ("Remove", {"Name": "away-too"})):
            began = time.monotonic()
            reply = known.call(method, body)
            assert time.monotonic() - began < patience(30)
            assert reply.status == 500 and "no such volume" not in reply.err, (method, reply)
            assert any(word in reply.err for word in ("full", "unreachable", "space", "quota")), (method, reply.err)
    finally:
        ratios(0.95, 0.90, 0.85)
        until(lambda: not is_full(), "the pool not to be full", 20)
    all_works_within(known, BACK)


# -- without the pool


@pytest.fixture
def doomed(world, cluster):
    """A pool that goes away."""
    make_pool(cluster, "doomed")
    yield "doomed"
    drop_pool(cluster, "doomed")


def make_pool(cluster, name):
    cluster.ceph("osd", "pool", "create", name, "8", "8", "replicated")
    cluster.rbd("pool", "init", name)


def drop_pool(cluster, name):
    cluster.ceph("osd", "pool", "rm", name, name, "--yes-i-really-really-mean-it")


def test_a_pool_that_was_never_there_forgets_nothing(world):
    """Row 49."""
    d = world.daemon(pool="nosuchpool", ceph_timeout=f"{TIMEOUT}s")
    until(lambda: "nosuchpool" in d.call("List", {}).err, "the connection", 20)
    nothing_is_forgotten(d, ["pool 'nosuchpool' does not exist"])


def test_a_pool_that_is_deleted_and_made_anew_forgets_nothing(world, doomed, known):
    """Row 49: ENOENT of the pool is not that of the image; the pool of the same name is another one."""
    d = world.daemon(pool=f"{doomed},rbd", ceph_timeout=f"{TIMEOUT}s").await_cluster()
    d.create("doomed/lost", size="64M", fstype="ext4")
    d.create("rbd/kept", size="64M", fstype="ext4")
    point = d.mount("kept", "a")
    assert d.get("doomed/lost")["Status"]["pool"] == "doomed"
    drop_pool(world.cluster, doomed)
    for name in ("doomed/lost", "lost", "away", "never-was"):
        reply = timed(d, "Get", {"Name": name}, BOUND)
        assert reply.status is None, (name, reply)
    for name in ("doomed/lost", "lost", "away"):
        for method, more in (("Mount", {"ID": "b"}), ("Remove", {})):
            reply = timed(d, method, {"Name": name, **more}, BOUND)
            assert reply.status == 500 and "doomed" in reply.err, (method, name, reply)
    assert timed(d, "Get", {"Name": "kept"}, AT_ONCE).json["Volume"]["Mountpoint"] == point
    assert timed(d, "Get", {"Name": "rbd/away"}, BOUND).status == 200
    make_pool(world.cluster, doomed)
    until(lambda: d.call("Get", {"Name": "away"}).status == 200, "the new pool to be found", BACK)
    assert "no such volume" in d.call("Get", {"Name": "doomed/lost"}).err
    d.create("doomed/found", size="64M", fstype="ext4")
    d.mount("doomed/found", "b")
    d.unmount("doomed/found", "b")
    d.unmount("kept", "a")


def test_a_mounted_volume_of_a_deleted_pool_is_let_go_at_its_unmount(world, doomed):
    """There is nothing left to release; it does not stay behind for ever."""
    d = world.daemon(pool=f"rbd,{doomed}", ceph_timeout=f"{TIMEOUT}s").await_cluster()
    d.create("doomed/lost", size="64M", fstype="ext4")
    d.mount("doomed/lost", "a")
    drop_pool(world.cluster, doomed)
    until(lambda: d.call("Get", {"Name": "doomed/other"}).status is None, "the daemon to see it", BACK)
    assert timed(d, "Unmount", {"Name": "doomed/lost", "ID": "a"}, 2 * BOUND).status == 200
    until(lambda: "doomed/lost" not in d.does("status"), "the volume to be let go", 30)
    assert not d.mappers()


# -- blocklisted


def test_an_admin_who_blocklists_the_daemon_makes_it_a_new_client(world):
    """Rows 49 and 46: Get never says "no such volume", and what is mounted has clients of its own."""
    d = world.daemon(ceph_timeout=f"{TIMEOUT}s").await_cluster()
    ours = world.cluster.clients()
    assert len(ours) == 1
    for name in ("here", "away", "away-too"):
        d.create(name, size="64M", fstype="ext4")
    point = d.mount("here", "a")
    mappers = d.mappers()
    try:
        world.cluster.ceph("osd", "blocklist", "add", ours[0])
        mounted_is_answered_for(d, point)
        answers = []

        def connected():
            reply = timed(d, "Get", {"Name": "away"}, BOUND)
            answers.append(reply)
            return reply.status == 200 and world.cluster.clients() != ours and ours[0] not in world.cluster.clients()

        until(connected, "the new connection", 12)
        assert {reply.status for reply in answers} <= {None, 200}, answers
        assert d.mappers() == mappers
        with open(os.path.join(point, "file"), "w", encoding="ascii") as f:
            f.write("the mount is not affected")
            f.flush()
            os.fsync(f.fileno())
        all_works_within(d, BACK)
        d.create("more", size="64M", fstype="ext4")
        d.unmount("here", "a")
        d.remove("here")
    finally:
        world.cluster.ceph("osd", "blocklist", "rm", ours[0])
