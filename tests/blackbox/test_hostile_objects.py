# SPDX-License-Identifier: MIT
"""Somebody else with access to the same pool, who writes the objects that make up an image: the pool's directory, names, ids, headers
and the trash. The daemon lives, its other volumes work, and nothing is mounted in place of what was asked for."""

import json
import struct
import subprocess

import mounts
import pytest
from tidy import ESCAPE, everything_is_tidy, is_tidy, works
from waiting import until

SMALL = {"size": "64M", "fstype": "ext4"}


def text(value):
    """As Ceph writes a string."""
    value = value.encode() if isinstance(value, str) else value
    return struct.pack("<I", len(value)) + value


def rados(cluster, *words, value=b""):
    return subprocess.run(["rados", "-c", cluster.conf, "-p", "rbd", *words], input=value, check=True, capture_output=True, timeout=60).stdout


def asked(daemon, *names):
    """All that asks for these volumes: whatever the answer, it is one for people, or none because the cluster did not tell."""
    for name in names:
        for method, body in (("Get", {}), ("Path", {}), ("Mount", {"ID": "a"}), ("Create", {"Opts": {"size": "64M"}}), ("/Rbdvol.Trim", {})):
            reply = daemon.call(method, {"Name": name, **body})
            assert reply.status in (200, 500, None), f"{method} {name}: {reply.status} {reply.body[:200]!r}"
            if reply.status:
                is_tidy(reply.body.decode(), f"the answer to {method}")
        daemon.call("Unmount", {"Name": name, "ID": "a"})
    daemon.call("List", {})
    assert daemon.alive()


def at_rest(daemon):
    until(lambda: not daemon.mappers() and not mounts.below(daemon.path("mount-root")), "all to be taken down", 40)


@pytest.fixture
def pool(world, daemon):
    """A volume of ours in a pool that is not only ours: (daemon, cluster)."""
    daemon.create("mine", **SMALL)
    works(daemon)
    yield daemon, world.cluster
    at_rest(daemon)
    works(daemon)
    everything_is_tidy(daemon, "mine")


IDS = {
    "of another": None, "up": text("../../x"), "shell": text("$(reboot)"), "escape": text(ESCAPE), "empty": text(""), "nothing": b"", "cut off": b"\x0c\0",
    "too short": struct.pack("<I", 100) + b"abc", "too long": struct.pack("<I", 2**32 - 1) + b"abc", "long": text("a" * 4000), "large": text("a" * (1 << 20)),
    "nul": text(b"abc\0def"), "header": text("x\n<3>forged"),
}


@pytest.mark.parametrize("which", sorted(IDS))
def test_an_id_that_librbd_would_not_have_given_leads_to_no_image(pool, which):
    daemon, cluster = pool
    daemon.create("theirs", **SMALL)
    ours = cluster.info("mine")["id"]
    value = IDS[which] if IDS[which] is not None else text(ours)
    listed = rados(cluster, "getomapval", "rbd_directory", "name_theirs", "/dev/stdout")
    rados(cluster, "put", "rbd_id.theirs", "-", value=value)
    asked(daemon, "theirs")
    assert daemon.call("Mount", {"Name": "theirs", "ID": "a"}).status == 500
    rados(cluster, "setomapval", "rbd_directory", "name_theirs", value=value[:65536])
    asked(daemon, "theirs")
    reply = daemon.call("Mount", {"Name": "theirs", "ID": "a"})
    if which != "of another":
        assert reply.status == 500 and "theirs" in reply.err, reply
    else:  # one image under two names is not mounted twice
        daemon.call("Mount", {"Name": "mine", "ID": "b"})
        assert len(mounts.below(daemon.path("mount-root"))) <= 1
    for name, holder in (("theirs", "a"), ("mine", "b")):
        daemon.call("Unmount", {"Name": name, "ID": holder})
    at_rest(daemon)
    rados(cluster, "rmomapkey", "rbd_directory", "name_theirs")
    rados(cluster, "rm", "rbd_id.theirs")
    assert listed and "mine" in daemon.names()


HEADERS = {
    "size": [b"", b"\1", struct.pack("<Q", 0), struct.pack("<Q", 2**63), struct.pack("<Q", 2**64 - 1), b"x" * 70000],
    "features": [b"", b"\1", struct.pack("<Q", 0), struct.pack("<Q", 2**63)],
    "order": [b"", b"\xff"], "object_prefix": [b"", text(""), text("a" * 5000), text(ESCAPE), struct.pack("<I", 2**32 - 1)],
    "flags": [b"", struct.pack("<Q", 2**64 - 1)], "snap_seq": [b"", struct.pack("<Q", 2**64 - 1)],
    "create_timestamp": [b"", b"\xff" * 8, struct.pack("<II", 2**32 - 1, 2**31)], "stripe_unit": [b"", struct.pack("<Q", 0), struct.pack("<Q", 2**64 - 1)],
    "parent": [b"", b"\xff" * 100], "data_pool_id": [b"", struct.pack("<Q", 2**63)], "snapshot_0000000000000004": [b"", b"\xff" * 60],
}


@pytest.mark.parametrize("key", sorted(HEADERS))
def test_a_header_that_lies_ends_no_daemon(pool, key):
    daemon, cluster = pool
    daemon.create("theirs", **SMALL)
    header = cluster.header("theirs")
    for value in HEADERS[key]:
        rados(cluster, "setomapval", header, key, value=value)
        asked(daemon, "theirs")
        assert "mine" in daemon.names()
    at_rest(daemon)
    rados(cluster, "rm", header)  # with the lock of a mapper that could not write, and so has kept it


def test_a_header_that_is_gone_or_something_else_ends_no_daemon(pool):
    daemon, cluster = pool
    for make in (lambda h: rados(cluster, "rm", h), lambda h: rados(cluster, "clearomap", h), lambda h: rados(cluster, "put", h, "-", value=b"x" * 100000)):
        daemon.create("theirs", **SMALL)
        header = cluster.header("theirs")
        make(header)
        asked(daemon, "theirs")
        at_rest(daemon)
        for words in (("rm", header), ("rm", "rbd_id.theirs"), ("rmomapkey", "rbd_directory", "name_theirs"),
                      ("rmomapkey", "rbd_directory", "id_" + header.partition(".")[2])):
            try:
                rados(cluster, *words)
            except subprocess.CalledProcessError:
                pass  # it went by itself


def test_far_off_times_and_false_marks_in_the_trash_harm_nobody(pool):
    """The collector purges what rbdvol put there, when its time is over."""
    daemon, cluster = pool
    values = [b"", b"[]", b"\xff\0", b'{"time":1e300,"until":-1}', json.dumps({"time": 2**62, "until": 2**62, "host": ESCAPE}).encode(),
              json.dumps({"at": -2**62, "until": -2**62, "host": "h" * 5000}).encode(), b"%s%n" * 200, b"A" * 100000]
    for n, value in enumerate(values):
        name = f"x{n}"
        cluster.rbd("create", "--size", "4", f"rbd/{name}")
        rados(cluster, "setomapval", cluster.header(name), "metadata_rbdvol.trashed", value=value)
        cluster.rbd("trash", "mv", f"rbd/{name}", "--expires-at", "2105-01-01" if n % 2 else "2000-01-01")
    daemon.create("gone", **SMALL)
    daemon.remove("gone")
    daemon.restart().await_cluster()
    everything_is_tidy(daemon, "mine")
    daemon.does("trash", "restore", "gone")
    assert sorted(daemon.names()) == ["gone", "mine"]


@pytest.mark.parametrize("since", [2**62, -2**63, -1])
def test_marks_of_an_unfinished_creation_from_the_far_future_or_past_take_no_volume(pool, since):
    """The collector finishes, or clears away, what such a mark says was begun: only images with a temporary name."""
    daemon, cluster = pool
    cluster.rbd("create", "--size", "4", "rbd/rbdvol.new.0123456789abcdef")
    mark = json.dumps({"final": "mine", "temp": "mine", "since": since, "host": "h", "boot": "b"}).encode()
    for name in ("rbdvol.new.0123456789abcdef", "mine"):
        rados(cluster, "setomapval", cluster.header(name), "metadata_rbdvol.making", value=mark)
    before = cluster.info("mine")["id"]
    daemon.restart().await_cluster()
    asked(daemon, "mine")
    assert cluster.info("mine")["id"] == before and "mine" in daemon.names()
    rados(cluster, "rmomapkey", f"rbd_header.{before}", "metadata_rbdvol.making")
    if since > 0:
        cluster.rbd("rm", "--no-progress", "rbd/rbdvol.new.0123456789abcdef")
    else:
        until(lambda: "rbdvol.new.0123456789abcdef" not in cluster.images(), "what was begun so long ago to go to the trash", 20)


def test_a_pools_directory_in_a_bad_state_ends_no_daemon(pool):
    """The directory only: what cannot be read in rbd_trash makes the OSD of Ceph 16.2.15 answer nobody any more."""
    daemon, cluster = pool
    for key, value in (("name_bad", b"\xff"), ("id_bad", struct.pack("<I", 2**32 - 1)), ("snap_x", b""), ("name_" + "n" * 3000, text("1")),
                       ("name_../../x", text("../../x"))):
        rados(cluster, "setomapval", "rbd_directory", key, value=value)
        asked(daemon, "missing")
        works(daemon)  # List may fail: `rbd ls` does
        rados(cluster, "rmomapkey", "rbd_directory", key)
    assert daemon.names() == ["mine"]
