# SPDX-License-Identifier: MIT
"""The leak check itself: each thing that may not be left behind is left behind on purpose, and must be named."""

import contextlib
import os
import subprocess

import pytest
from process import Process
from waiting import until


@contextlib.contextmanager
def left_mount(world, daemon):
    os.makedirs(f"{daemon.path('mount-root')}/rbd/x", exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "leak", f"{daemon.path('mount-root')}/rbd/x"], check=True)
    yield "mount: "
    subprocess.run(["umount", f"{daemon.path('mount-root')}/rbd/x"], check=True)


@contextlib.contextmanager
def left_loop(world, daemon):
    path = f"{world.dir}/backing"
    with open(path, "wb") as f:
        f.truncate(1 << 20)
    device = subprocess.run(["losetup", "-f", "--show", path], capture_output=True, text=True, check=True).stdout.strip()
    yield f"loop device: {device}"
    subprocess.run(["losetup", "-d", device], check=True)


@contextlib.contextmanager
def left_mapper(world, daemon):
    child = subprocess.Popen(["@rbdvol-mapper", "-c", "printf rbdvol-mapper >/proc/$$/comm; read x", f"--instance={daemon.name}",
                              "--mapping=x", f"--conf={daemon.path('ceph-conf')}"], executable="/bin/sh", stdin=subprocess.PIPE)
    yield f"mapper: pid {child.pid}"
    child.communicate(b"\n")


@contextlib.contextmanager
def left_lock(world, daemon):
    world.cluster.rbd("create", "rbd/x", "--size", "10")
    for name in ("rbdvol", "rbdvol.ctl", "rbd_lock"):
        world.cluster.rados("lock", "get", world.cluster.header("x"), name, "--lock-cookie", f"cookie-of-{name}")
    yield "cookie-of-rbdvol.ctl"
    for name, holders in world.cluster.locks(world.cluster.header("x")).items():
        for who in holders:
            world.cluster.rados("lock", "break", world.cluster.header("x"), name, who["name"], "--lock-cookie", who["cookie"])


@contextlib.contextmanager
def left_image(world, daemon):
    world.cluster.rbd("create", "rbd/rbdvol.new.1", "--size", "10")
    yield "image: rbd/rbdvol.new.1"
    world.cluster.rbd("rm", "rbd/rbdvol.new.1")


@contextlib.contextmanager
def left_state(world, daemon):
    path = f"{daemon.path('state-dir')}/volumes/x.json"
    open(path, "w", encoding="ascii").close()
    yield "state file: volumes/x.json"
    os.unlink(path)


@contextlib.contextmanager
def left_scratch(world, daemon):
    path = f"{daemon.path('scratch-dir')}/x"
    open(path, "w", encoding="ascii").close()
    yield "scratch file: x"
    os.unlink(path)


@pytest.mark.parametrize("leave", [left_mount, left_loop, left_mapper, left_lock, left_image, left_state, left_scratch])
def test_what_is_left_behind_is_named(world, daemon, leave):
    assert world.leaks.settled() == []  # a start looks with helpers
    with leave(world, daemon) as name:
        # a process that has just been started has no argv for an instant
        until(lambda: any(name in line for line in world.leaks.all()), f"'{name}' to be named")
    assert world.leaks.settled() == []


def test_everything_is_cleared_away(world, daemon):
    daemon.create("db", size="300M", fstype="ext4")
    daemon.mount("db", "a")
    mappers = [Process(pid) for pid in daemon.mappers()]
    assert len([line for line in world.leaks.all() if line.startswith(("mount", "mapper", "lock", "loop", "state"))]) >= 6
    world.leaks.clear()
    assert world.leaks.settled() == []
    assert not [m for m in mappers if m.alive()]
    assert world.cluster.images() == []
