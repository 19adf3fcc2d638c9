# SPDX-License-Identifier: MIT
"""Links, pipes and files that somebody has put into the daemon's directories, before its start: nothing is
followed, nothing outside is touched, and nobody waits for a pipe."""

import os
import stat
import subprocess

import mounts
import pytest

SMALL = {"size": "64M", "fstype": "ext4"}


@pytest.fixture
def victim(world):
    """A directory with a file, outside of what is the daemon's; as it was, afterwards."""
    folder = os.path.join(world.dir, "victim")
    os.mkdir(folder, 0o750)
    with open(f"{folder}/file", "w", encoding="ascii") as f:
        f.write("untouched\n")

    def state():
        found = []
        for path in (folder, f"{folder}/file"):
            s = os.lstat(path)
            flags = subprocess.run(["lsattr", "-d", path], capture_output=True, text=True, check=False).stdout.split()
            found.append((s.st_mode, s.st_uid, s.st_gid, s.st_ino, flags and flags[0]))
        with open(f"{folder}/file", encoding="ascii") as f:
            return found, os.listdir(folder), f.read(), [m.point for m in mounts.below(folder)]

    before = state()
    yield folder
    assert state() == before


def plant(kind, path, victim):
    if kind == "link":
        os.symlink(victim, path)
    elif kind == "dangling":
        os.symlink(f"{victim}/made-through-it", path)
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        with open(path, "w", encoding="ascii") as f:
            f.write("theirs")


# -- before the start


@pytest.mark.parametrize("option", ["state-dir", "mount-root", "scratch-dir", "state-dir/volumes", "state-dir/map"])
def test_a_link_or_a_strangers_directory_in_place_of_its_own_is_refused(world, victim, option):
    daemon = world.daemon(start=False)
    first, _, rest = option.partition("/")
    path = daemon.path(first) + (f"/{rest}" if rest else "")
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    os.symlink(victim, path)
    with pytest.raises(AssertionError, match="symbolic link"):
        daemon.start()
    os.unlink(path)
    for mode, uid in ((0o777, 0), (0o700, 65534), (0o720, 0)):
        os.mkdir(path)
        os.chmod(path, mode)
        os.chown(path, uid, -1)
        with pytest.raises(AssertionError, match="others than root could change it"):
            daemon.start()
        os.rmdir(path)
    with open(path, "w", encoding="ascii"):
        pass
    with pytest.raises(AssertionError, match="cannot make directory"):
        daemon.start()
    os.unlink(path)
    daemon.start().await_cluster()


@pytest.mark.parametrize("kind", ["link", "dangling", "pipe", "file"])
def test_what_lies_in_the_state_directory_at_the_start_is_not_followed_and_not_waited_for(world, victim, kind):
    daemon = world.daemon(start=False)
    state = daemon.path("state-dir")
    names = ["volumes/rbd+db.json", "volumes/rbd+db.json.tmp", "volumes/stray", "map/0123456789abcdef.krbd", "map/0123456789abcdef.nbd",
             "map/0123456789abcdef.nbd.tmp", "clients.json", "clients.json.tmp"]
    for folder in ("", "/volumes", "/map"):
        os.mkdir(state + folder, 0o700)
    for name in names:
        plant(kind, f"{state}/{name}", victim)
    daemon.start().await_cluster()
    daemon.create("db", **SMALL)
    point = daemon.mount("db", "a")
    assert mounts.at(point)
    assert stat.S_ISREG(os.lstat(f"{state}/volumes/rbd+db.json").st_mode)
    daemon.restart().await_cluster()
    assert daemon.get("db")["Mountpoint"] == point
    daemon.unmount("db", "a")
    assert set(daemon.state_files()) <= {"lock", "clients.json", "clients.json.tmp"}
