# SPDX-License-Identifier: MIT
"""`rbdvol snap`: snapshots of volumes in use and at rest, and back to them."""

import contextlib
import os
import signal
import subprocess
import threading
from pathlib import Path

import pytest
from waiting import until

pytestmark = pytest.mark.usefixtures("snapshots")


def is_frozen(path):
    """A write to a frozen file system waits, and comes to its end with the thaw."""
    child = subprocess.Popen(["touch", f"{path}/probe"])
    try:
        child.wait(0.5)
        return False
    except subprocess.TimeoutExpired:
        threading.Thread(target=child.wait).start()
        return True


@pytest.mark.parametrize("fstype", ["xfs", "ext4", "btrfs"])
def test_a_volume_in_use_is_frozen_for_its_snapshot_and_rolled_back_to_it(world, daemon, fstype):
    daemon.create("db", size="512M", fstype=fstype)
    path = daemon.mount("db", "a")
    Path(f"{path}/file").write_text("before", encoding="ascii")  # not synced: the freeze writes it
    assert daemon.does("snap", "create", "db@mon").strip() == "db@mon"
    Path(f"{path}/file").write_text("after", encoding="ascii")
    assert "mounted on this host; stop its container" in daemon.declines("snap", "rollback", "db@mon")
    daemon.unmount("db", "a")
    daemon.does("snap", "rollback", "db@mon")
    assert "rbdvol.rolling" not in world.cluster.metadata("db")
    path = daemon.mount("db", "a")
    assert Path(f"{path}/file").read_text(encoding="ascii") == "before"
    daemon.unmount("db", "a")


def test_snapshots_are_listed_and_removed_at_rest_and_in_use(world, daemon):
    daemon.create("db", size="512M")
    daemon.does("snap", "create", "db@one")
    path = daemon.mount("db", "a")
    daemon.does("snap", "create", "db@two")
    assert "already" in daemon.declines("snap", "create", "db@two")
    lines = daemon.does("snap", "ls", "db").splitlines()
    assert [line.split()[0] for line in lines] == ["SNAPSHOT", "one", "two"] and "512 MiB" in lines[1]
    daemon.does("snap", "rm", "db@one")
    assert "no snapshot 'one'" in daemon.declines("snap", "rm", "db@one")
    daemon.unmount("db", "a")
    daemon.does("snap", "rm", "db@two")
    assert len(daemon.does("snap", "ls", "db").splitlines()) == 1 and path
    assert "no snapshot 'never'" in daemon.declines("snap", "rollback", "db@never")
    assert world.cluster.rbd("snap", "ls", "rbd/db").strip() == ""


def test_a_volume_in_use_elsewhere_is_snapshot_there(world, daemon):
    daemon.create("db", size="512M")
    other = world.daemon().await_cluster()
    other.mount("db", "there")
    for verb in ("create", "rm", "rollback"):
        assert other.name in daemon.declines("snap", verb, "db@mon")
    other.does("snap", "create", "db@mon")
    assert "mon" in daemon.does("snap", "ls", "db")  # which everybody may see
    other.unmount("db", "there")
    daemon.does("snap", "rm", "db@mon")


def test_bad_names_and_words_are_refused(daemon):
    daemon.create("db", size="512M")
    assert "no name of a snapshot" in daemon.refused("/Rbdvol.Snap.Create", Name="db", Snap="../x")
    assert daemon.cli("snap", "create", "db").returncode == 2
    assert daemon.cli("snap", "forget", "db@x").returncode == 2
    assert daemon.cli("snap").returncode == 2
    assert "no such volume" in daemon.declines("snap", "create", "absent@x") or "no image" in daemon.declines("snap", "create", "absent@x")


@contextlib.contextmanager
def frozen(world, daemon):
    """In the middle of a snapshot, which needs the monitor; the freeze does not. Gives what the command says at last."""
    said = []
    daemon.create("db", size="512M")
    path = daemon.mount("db", "a")
    Path(f"{path}/file").write_text("x", encoding="ascii")
    world.cluster.pause("mon")
    asked = threading.Thread(target=lambda: said.append(daemon.cli("snap", "create", "db@mon")))
    asked.start()
    try:
        until(lambda: is_frozen(path), "the freeze", 20)
        yield path, said
    finally:
        world.cluster.resume("mon")
        asked.join(60)


def test_a_freeze_that_lasts_too_long_ends_and_there_is_no_snapshot(world, daemon):
    with frozen(world, daemon) as (path, said):
        until(lambda: not is_frozen(path), "the thaw", 20)
        assert not said
    assert said[0].returncode == 1 and "while the file system stood still" in said[0].stderr
    assert len(daemon.does("snap", "ls", "db").splitlines()) == 1
    daemon.unmount("db", "a")


@pytest.mark.parametrize("victims", ["daemon", "daemon+helper", "helper"])
def test_whoever_is_killed_in_a_freeze_the_volume_is_thawed(world, daemon, victims):
    with frozen(world, daemon) as (path, _):
        helpers = daemon.helpers()
        assert helpers
        if "daemon" in victims:
            daemon.kill()
        if "helper" in victims:
            for pid in helpers:
                os.kill(pid, signal.SIGKILL)
    if victims == "daemon+helper":
        assert is_frozen(path)
    if "daemon" in victims:
        daemon.start().await_cluster()
    until(lambda: not is_frozen(path), "the thaw", 20)
    # a helper that outlived its daemon closes the volume just after it has thawed it
    until(lambda: daemon.call("Unmount", {"Name": "db", "ID": "a"}).status == 200, "the volume to be let go", 20)
    assert daemon.state_files() == [] or all("volumes" not in name for name in daemon.state_files())


def test_a_rollback_that_was_cut_off_is_finished_by_the_next_mount(world, daemon):
    daemon.create("db", size="512M", fstype="ext4")
    path = daemon.mount("db", "a")
    Path(f"{path}/file").write_text("before", encoding="ascii")
    daemon.does("snap", "create", "db@mon")
    Path(f"{path}/file").write_text("after", encoding="ascii")
    daemon.unmount("db", "a")
    world.cluster.rbd("image-meta", "set", "rbd/db", "rbdvol.rolling", "mon")  # as a daemon that was killed leaves it
    assert "was cut off" in daemon.declines("snap", "create", "db@tue")
    assert "was cut off" in daemon.declines("snap", "rm", "db@mon")
    path = daemon.mount("db", "a")
    assert Path(f"{path}/file").read_text(encoding="ascii") == "before"
    daemon.unmount("db", "a")
    assert "rbdvol.rolling" not in world.cluster.metadata("db")
