# SPDX-License-Identifier: MIT
"""Somebody else with access to the same pool, who writes what rbdvol reads: an image's spec. The daemon lives, its other volumes work,
nothing is mounted that should not be, and no terminal and no log sees what it should not."""

import json
import re
import subprocess

import mounts
import pytest

SMALL = {"size": "64M", "fstype": "ext4"}
ESCAPE = "\x1b[2J\x1b]0;forged\x07\x9b1m\u202eforged\n<3>forged\r"
UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def good(**more):
    return {"version": 1, "fstype": "ext4", "mount-options": "noatime+nodev+nosuid", "uid": 0, "gid": 0, "mode": 493, "sharing": "exclusive",
            "fresh": False, **more}


SPECS = {
    "nothing": b"", "no-json": b"\x00\xff\xfe{", "binary": bytes(range(256)) * 16, "list": b"[]", "text": json.dumps(ESCAPE).encode(),
    "deep": b"[" * 5000, "huge": b'{"version":1,"fstype":"ext4","x":"' + b"A" * (4 << 20) + b'"}', "format": b'{"version":"%n%n%s%s"}',
    "version": b'{"version":99999999999999999999}', "version-2": b'{"version":2}', "negative": b'{"version":-1}',
    "types": json.dumps({key: {"a": [1]} for key in good()} | {"version": 1}).encode(),
    "escapes": json.dumps(good(fstype=ESCAPE)).encode(), "options": json.dumps(good(**{"mount-options": ESCAPE})).encode(),
    "mapper": json.dumps(good(mapper=ESCAPE)).encode(), "remove": json.dumps(good(remove=ESCAPE)).encode(),
    "device": json.dumps(good(**{"mount-options": "logdev=/dev/sda"})).encode(), "bind": json.dumps(good(**{"mount-options": "bind"})).encode(),
    "positional": json.dumps(good(**{"mkfs-options": "/dev/sda"})).encode(), "mode": json.dumps(good(mode=0o107777)).encode(),
    "uid": json.dumps(good(uid=-1)).encode(), "uid-large": json.dumps(good(uid=2**32 - 1)).encode(),
    "float": json.dumps(good(uid=1.5)).encode(), "nul": b'{"version":1,"fstype":"ext4\\u0000"}', "twice": b'{"version":1,"version":1}',
    "limit": json.dumps(good(**{"qos-iops": -5})).encode(), "long": json.dumps(good(**{"mount-options": "+".join(["noatime"] * 5000)})).encode(),
    "fstype": json.dumps(good(fstype="vfat")).encode(), "path": json.dumps(good(fstype="../../ext4")).encode(),
    "sharing": json.dumps(good(sharing="everybody")).encode(),
}


def put(cluster, header, key, value):
    """As any client of the pool can: without librbd, and so without a word of its."""
    subprocess.run(["rados", "-c", cluster.conf, "-p", "rbd", "setomapval", header, f"metadata_{key}"], input=value, check=True,
                   capture_output=True, timeout=60)


def is_tidy(text, what):
    found = UNPRINTABLE.search(text)
    assert not found, f"{what} has {found[0]!r}: {text[max(0, found.start() - 60):found.end() + 20]!r}"


def everything_is_tidy(daemon, *names):
    """All that tells people something, and the log."""
    shown = [("ls",), ("status",), ("trash", "ls")] + [("show", name) for name in names]
    for words in shown:
        done = daemon.cli(*words)
        is_tidy(done.stdout + done.stderr, " ".join(words))
        done = daemon.cli(words[0], *words[1:], "--json")
        is_tidy(done.stdout + done.stderr, " ".join(words) + " --json")
    with open(daemon.log, "rb") as f:
        log = f.read().decode()
    is_tidy(log, "the log")
    assert all(re.match(r"<[3-7]>", line) for line in log.splitlines()), "a line of the log that the daemon did not begin"


def works(daemon, name="mine"):
    """What has nothing to do with all this goes on."""
    assert daemon.alive()
    point = daemon.mount(name, "me")
    assert mounts.at(point)
    daemon.unmount(name, "me")


@pytest.fixture
def tenants(world, daemon):
    """A volume of ours, and one that a hostile tenant can write: (daemon, cluster, header of that one)."""
    daemon.create("mine", **SMALL)
    daemon.create("theirs", **SMALL)
    yield daemon, world.cluster, world.cluster.header("theirs")
    everything_is_tidy(daemon, "mine", "theirs")
    works(daemon)


@pytest.mark.parametrize("which", sorted(SPECS))
def test_a_spec_that_rbdvol_would_never_have_written_is_refused(tenants, which):
    daemon, cluster, header = tenants
    put(cluster, header, "rbdvol.spec", SPECS[which])
    err = daemon.refused("Mount", Name="theirs", ID="a")
    is_tidy(err, "the refusal")
    assert len(err) < 1000 and "theirs" in err, err
    assert daemon.call("Get", {"Name": "theirs"}).status in (200, None)
    assert sorted(daemon.names()) == ["mine", "theirs"]
    assert mounts.below(daemon.path("mount-root")) == []
    daemon.call("Create", {"Name": "theirs", "Opts": {"size": "64M"}})
    daemon.call("Create", {"Name": "copy", "Opts": {"from": "theirs"}})
    assert "copy" not in daemon.names()
