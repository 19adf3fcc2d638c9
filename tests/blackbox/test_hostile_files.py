# SPDX-License-Identifier: MIT
"""Links, pipes and files that somebody has put into the daemon's directories, before its start and between two steps: nothing is
followed, nothing is mounted over, nothing outside is touched, and nobody waits for a pipe."""

import os
import stat
import subprocess

import mounts
import pytest
from waiting import until

SMALL = {"size": "64M", "fstype": "ext4"}
KINDS = ("link", "dangling", "pipe", "file", "folder", "hard-link", "device")


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
    elif kind == "device":
        os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    elif kind == "hard-link":
        os.link(f"{victim}/file", path)
    elif kind == "folder":
        os.mkdir(path)
        with open(f"{path}/theirs", "w", encoding="ascii") as f:
            f.write("theirs")
    else:
        with open(path, "w", encoding="ascii") as f:
            f.write("theirs")


def clear(path):
    if os.path.isdir(path) and not os.path.islink(path):
        os.unlink(f"{path}/theirs")
        os.rmdir(path)
    elif os.path.lexists(path):
        os.unlink(path)


def make_room(path):
    """Takes the daemon's own empty directories away, where there are some."""
    if os.path.isdir(path):
        for inner in os.listdir(path):
            make_room(os.path.join(path, inner))
        subprocess.run(["chattr", "-i", path], capture_output=True, check=False)
        os.rmdir(path)


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


@pytest.mark.parametrize("kind", KINDS)
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
    if kind == "folder":  # that cannot be replaced by a file, and is left to whoever made it
        assert "cannot" in daemon.refused("Mount", Name="db", ID="a")
        clear(f"{state}/volumes/rbd+db.json.tmp")
        assert "cannot" in daemon.refused("Mount", Name="db", ID="a")
        clear(f"{state}/volumes/rbd+db.json")
    point = daemon.mount("db", "a")
    assert mounts.at(point)
    assert stat.S_ISREG(os.lstat(f"{state}/volumes/rbd+db.json").st_mode)
    daemon.restart().await_cluster()
    assert daemon.get("db")["Mountpoint"] == point
    daemon.unmount("db", "a")
    for name in names:
        if kind == "folder":
            clear(f"{state}/{name}")
    assert set(daemon.state_files()) <= {"lock", "clients.json", "clients.json.tmp"}


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "file"])
def test_a_lock_file_that_is_something_else_is_refused(world, victim, kind):
    """The daemon writes its pid there."""
    daemon = world.daemon(start=False)
    lock = daemon.path("state-dir") + "/lock"
    os.mkdir(daemon.path("state-dir"), 0o700)
    plant(kind, lock, victim)
    with pytest.raises(AssertionError, match="cannot open|is no file of rbdvol's"):
        daemon.start()
    assert lock in daemon.log_text()
    clear(lock)
    daemon.start().await_cluster()


@pytest.mark.parametrize("kind", ["link", "dangling", "pipe", "folder", "device", "loop"])
def test_a_key_that_is_something_else_is_refused_and_nothing_is_made(world, daemon, victim, kind):
    """What a link leads to must be as secret as a key is."""
    folder = daemon.path("key-dir")
    os.mkdir(folder, 0o700)
    if kind == "loop":
        os.symlink("k", f"{folder}/k")
    else:
        plant(kind, f"{folder}/k", f"{victim}/file" if kind == "link" else victim)
    err = daemon.refused_create("db", size="512M", fstype="ext4", encrypt="k")
    assert f"{folder}/k" in err and "untouched" not in err + daemon.log_text(), err
    assert daemon.names() == [] and world.cluster.images() == []
    clear(f"{folder}/k")


@pytest.mark.parametrize("mode, uid", [(0o777, 0), (0o720, 0), (0o700, 65534)])
def test_a_key_directory_that_others_may_write_to_is_not_read(daemon, mode, uid):
    folder = daemon.path("key-dir")
    os.mkdir(folder)
    os.chmod(folder, mode)
    os.chown(folder, uid, -1)
    with open(f"{folder}/k", "w", encoding="ascii", opener=lambda path, flags: os.open(path, flags, 0o600)) as f:
        f.write("theirs")
    assert "others than root" in daemon.refused_create("db", size="512M", fstype="ext4", encrypt="k")
    assert daemon.names() == []


# -- between two steps


@pytest.mark.parametrize("where", ["rbd", "rbd/db"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_put_into_the_mount_root_is_never_mounted_over(daemon, victim, where, kind):
    daemon.create("db", **SMALL)
    daemon.mount("db", "a")
    daemon.unmount("db", "a")
    path = os.path.join(daemon.path("mount-root"), where)
    make_room(path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    plant(kind, path, victim)
    if (where, kind) == ("rbd", "folder"):  # a directory is what it wants there: others' files in it are in nobody's way
        daemon.unmount("db", "a") if daemon.mount("db", "a") else None
        assert os.path.exists(f"{path}/theirs")
        make_room(f"{path}/db")
    else:
        err = daemon.refused("Mount", Name="db", ID="a")
        assert path in err, err
        assert os.path.lexists(path)
        assert daemon.get("db")["Mountpoint"] == "" and daemon.must("Path", Name="db")["Mountpoint"] == ""
    daemon.unmount("db", "a")
    until(lambda: not daemon.mappers(), "the mapping to be taken down", 20)
    clear(path)
    point = daemon.mount("db", "a")
    assert mounts.at(point).fstype == "ext4"
    daemon.unmount("db", "a")


def test_the_way_to_a_mounted_volume_that_becomes_a_link_leads_nobody_astray(daemon, victim):
    """The pool's directory is moved away, and a link put in its place, while a volume is mounted below it."""
    daemon.create("db", **SMALL)
    point = daemon.mount("db", "a")
    folder = os.path.dirname(point)
    os.rename(folder, folder + ".moved")
    os.symlink(victim, folder)
    assert daemon.must("Path", Name="db")["Mountpoint"] in ("", point)
    daemon.call("Unmount", {"Name": "db", "ID": "a"})
    assert os.path.islink(folder)
    os.unlink(folder)
    os.rename(folder + ".moved", folder)
    daemon.unmount("db", "a")
    until(lambda: mounts.at(point) is None and not daemon.mappers(), "the volume to be taken down", 40)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_put_into_the_state_and_scratch_directories_at_work_is_not_followed(daemon, victim, kind):
    daemon.create("warm", **SMALL)
    state, scratch = daemon.path("state-dir"), daemon.path("scratch-dir")
    planted = [f"{state}/volumes/rbd+db.json.tmp", f"{scratch}/db", f"{scratch}/scratch.XXXXXX", f"{state}/map/db", f"{state}/clients.json.tmp"]
    for path in planted:
        plant(kind, path, victim)
    daemon.create("db", **SMALL)
    if kind == "folder":
        assert "cannot write down in the state-dir" in daemon.refused("Mount", Name="db", ID="a") and planted[0] in daemon.log_text()
        clear(planted[0])
    daemon.mount("db", "a")
    daemon.unmount("db", "a")
    for path in planted:
        clear(path)
    assert daemon.names() == ["db", "warm"]


@pytest.mark.parametrize("kind", ["link", "pipe", "hard-link", "device", "folder"])
def test_a_socket_path_that_is_something_else_is_refused_and_left(world, victim, kind):
    daemon = world.daemon(start=False)
    plant(kind, daemon.socket, victim)
    with pytest.raises(AssertionError, match="something that is not a socket is there"):
        daemon.start()
    assert os.path.lexists(daemon.socket)
    clear(daemon.socket)
