# SPDX-License-Identifier: MIT
"""What docs/operations.md says of backing up, restoring and moving, done."""

import os

import pytest


@pytest.fixture
def saved(world, daemon):
    """A volume "db" that is in use, its snapshot "monday" with "first" in a file, and "second" in it since."""
    daemon.create("db", size="256M", fstype="ext4", uid="12", sharing="host")
    path = daemon.mount("db", "a")
    write(path, "first")
    assert daemon.cli("snap", "create", "db@monday").returncode == 0
    write(path, "second")
    yield daemon
    for name in ("db", "db-restored"):
        for snap in ("monday", "tuesday"):
            daemon.cli("snap", "rm", f"{name}@{snap}")


def write(path, text):
    with open(f"{path}/file", "w", encoding="ascii") as f:
        f.write(text)


def read(daemon, name):
    path = daemon.mount(name, "reader")
    try:
        with open(f"{path}/file", encoding="ascii") as f:
            return f.read()
    finally:
        daemon.unmount(name, "reader")


def test_a_snapshot_of_a_volume_in_use_is_written_to_a_file_and_back(world, saved):
    """With the volume's own options, which are in the image's metadata."""
    file = os.path.join(world.dir, "db.monday")
    world.cluster.rbd("export", "--no-progress", "--export-format", "2", "rbd/db@monday", file)
    world.cluster.rbd("import", "--no-progress", "--export-format", "2", file, "rbd/db-restored")
    assert read(saved, "db-restored") == "first"
    options = saved.get("db-restored")["Status"]["options"]
    assert options == saved.get("db")["Status"]["options"]
    assert read(saved, "db") == "second"
    saved.unmount("db", "a")


def test_the_difference_of_two_snapshots_brings_a_copy_up_to_date(world, saved):
    full, diff = os.path.join(world.dir, "full"), os.path.join(world.dir, "diff")
    world.cluster.rbd("export", "--no-progress", "--export-format", "2", "rbd/db@monday", full)
    assert saved.cli("snap", "create", "db@tuesday").returncode == 0
    saved.unmount("db", "a")
    world.cluster.rbd("export-diff", "--no-progress", "--from-snap", "monday", "rbd/db@tuesday", diff)
    world.cluster.rbd("import", "--no-progress", "--export-format", "2", full, "rbd/db-restored")
    world.cluster.rbd("import-diff", "--no-progress", diff, "rbd/db-restored")
    assert read(saved, "db-restored") == "second"


def test_the_volume_itself_goes_back(saved):
    saved.unmount("db", "a")
    assert saved.cli("snap", "rollback", "db@monday").returncode == 0
    assert read(saved, "db") == "first"
