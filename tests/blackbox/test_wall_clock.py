# SPDX-License-Identifier: MIT
"""The wall clock of the daemon and its mappers jumps by an hour and by ten years (tests/clock/shim.c): nothing is deleted, dropped
or taken for short-lived because of it, and nothing waits for ever."""

import json
import mmap
import os
import struct
import time

import pytest
from daemon import BUILD
from process import Process
from waiting import until

SHIM = os.path.join(BUILD, "tests", "clock", "clock-shim.so")
HOUR, YEARS = 3600, 10 * 365 * 86400
JUMPS = [HOUR, -HOUR, YEARS, -YEARS]


class Clock:
    def __init__(self, path):
        self.path = path
        with open(path, "wb") as f:
            f.write(struct.pack("q", 0))
        with open(path, "r+b") as f:
            self.memory = mmap.mmap(f.fileno(), 8)

    def jump(self, seconds):
        """To so far away from the true time."""
        self.memory[:] = struct.pack("q", seconds)

    def daemon(self, world, **options):
        d = world.daemon(start=False, **options)
        d.env = {"LD_PRELOAD": SHIM, "CLOCK_SHIM_FILE": self.path}
        return d.start().await_cluster()


@pytest.fixture
def clock(world):
    return Clock(os.path.join(world.dir, "clock"))


def write(path, text):
    with open(path, "w", encoding="ascii") as f:
        f.write(text)
        f.flush()
        os.fsync(f.fileno())


def read(path):
    with open(path, encoding="ascii") as f:
        return f.read()


def test_mounted_volumes_live_through_it(world, clock):
    d = clock.daemon(world)
    d.create("db", size="64M", fstype="ext4")
    point = d.mount("db", "a")
    for n, jump in enumerate([*JUMPS, 0]):
        clock.jump(jump)
        write(f"{point}/file{n}", f"at {jump}")
        d.create(f"other{n}", size="64M", fstype="ext4")
        other = d.mount(f"other{n}", "b")
        write(f"{other}/file", "there")
        d.unmount(f"other{n}", "b")
        got = d.get("db")["Status"]
        assert got["state"] == "mounted" and [h["ID"] for h in got["holders"]] == ["a"], got
    assert [read(f"{point}/file{n}") for n in range(len(JUMPS) + 1)] == [f"at {jump}" for jump in [*JUMPS, 0]]
    d.unmount("db", "a")


def unfinished(cluster, name, since):
    """As a Create of another host leaves it before it has locked it."""
    cluster.rbd("create", f"rbd/{name}", "--size", "64")
    mark = {"version": 1, "final": f"of-{name}", "temp": name, "since": int(since), "host": "elsewhere", "boot_id": "0"}
    cluster.rbd("image-meta", "set", f"rbd/{name}", "rbdvol.making", json.dumps(mark))


@pytest.mark.parametrize("jump", [HOUR, YEARS])
def test_what_another_host_is_making_is_not_taken_for_abandoned(world, clock, jump):
    cluster = world.cluster
    unfinished(cluster, "rbdvol.new.young", time.time())
    unfinished(cluster, "rbdvol.new.zz", time.time() - 2 * HOUR)
    for name in ("first", "listed"):
        cluster.rbd("create", f"rbd/rbdvol.new.{name}", "--size", "64")
    missing = [cluster.header("rbdvol.new.first"), cluster.header("rbdvol.new.listed"), "rbd_id.rbdvol.new.listed"]
    for n, name in enumerate(missing):  # as it is when librbd has yet to make them
        cluster.rados("cp", name, f"kept{n}")
        cluster.rados("rm", name)
    clock.jump(jump)
    clock.daemon(world)
    until(lambda: "rbdvol.new.zz" in [entry["name"] for entry in cluster.trash()], "what is old to be collected", 30)
    assert "rbdvol.new.young" in cluster.images()
    assert "rbd_id.rbdvol.new.first" in cluster.objects("rbd_id.")
    assert "rbdvol.new.listed" in cluster.images()
    for n, name in enumerate(missing):
        cluster.rados("cp", f"kept{n}", name)
        cluster.rados("rm", f"kept{n}")
    for name in ("young", "first", "listed"):
        cluster.rbd("rm", "--no-progress", f"rbd/rbdvol.new.{name}")


@pytest.mark.parametrize("removed_at", [0, -YEARS, YEARS])
def test_what_is_in_the_trash_stays_for_as_long_as_was_said(world, clock, removed_at):
    """By the monitors' clock, whatever this host's said when it was removed, or says now."""
    d = clock.daemon(world, trash_keep="1h")
    d.create("db", size="64M", fstype="ext4")
    clock.jump(removed_at)
    d.remove("db")
    for jump in [*JUMPS, 0]:
        clock.jump(jump)
        d.cli("trash", "purge")
        assert len(world.cluster.trash()) == 1, f"purged after the clock went to {jump}"
    d.does("trash", "restore", "db")
    assert world.cluster.images() == ["db"]


@pytest.mark.parametrize("jump", [YEARS, -YEARS])
def test_what_is_overdue_goes(world, clock, jump):
    d = clock.daemon(world, trash_keep="0s")
    d.create("db", size="64M", fstype="ext4")
    clock.jump(jump)
    d.remove("db")
    clock.jump(-jump)

    def gone():
        d.cli("trash", "purge")
        return world.cluster.trash() == []

    until(gone, "it to be purged", 30, interval=1)


@pytest.mark.parametrize("jump", [YEARS, -YEARS])
def test_a_dead_mapper_is_fenced_for_long_enough(world, clock, jump):
    """The entry is held against the monitors' clock: it is neither too short in ten years' time, nor long enough ten years ago."""
    d = clock.daemon(world)
    d.create("db", size="64M", fstype="ext4")
    write(d.mount("db", "a") + "/file", "before")
    mappers = list(d.mappers())
    d.kill()
    for pid in mappers:
        Process(pid).kill()
    clock.jump(jump)
    d.start().await_cluster()
    until(lambda: d.call("Unmount", {"Name": "db", "ID": "a"}).status == 200, "it to be let go of", 60)
    until(lambda: d.call("Mount", {"Name": "db", "ID": "b"}).status == 200, "it to be taken over", 90, interval=1)
    assert read(d.get("db")["Mountpoint"] + "/file") == "before"
    d.unmount("db", "b")
