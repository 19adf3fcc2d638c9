# SPDX-License-Identifier: MIT
"""-o encrypt=KEY: LUKS2 in librbd, with a passphrase out of a file that nobody but root can read."""

import os
import subprocess
from pathlib import Path

import image
import process
import pytest

MIB = 1 << 20
SECRET = "correct horse battery staple"
KEPT = b"what nobody else may read, " * 1000


def key(daemon, name="k", text=SECRET + "\n", mode=0o600):
    folder = daemon.path("key-dir")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    path = f"{folder}/{name}"
    Path(path).write_text(text, encoding="ascii")
    os.chmod(path, mode)
    return path


@pytest.fixture
def keyed(daemon):
    key(daemon)
    return daemon


def check(path, fstype):
    """The file system within, as its own tool sees it."""
    words = {"xfs": ["xfs_repair", "-n", path], "ext4": ["e2fsck", "-f", "-n", path], "btrfs": ["btrfs", "check", path]}[fstype]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr



@pytest.mark.parametrize("fstype", ["xfs", "ext4", "btrfs"])
def test_what_is_written_is_read_again_and_nothing_of_it_is_in_the_cluster(world, keyed, fstype):
    daemon = keyed
    daemon.create("db", size="512M", fstype=fstype, encrypt="k", uid="7", mode="0750")
    with image.exported(world.cluster, "rbd/db") as path:
        assert image.filesystem(path)["TYPE"] == "crypto_LUKS" and image.filesystem(path)["VERSION"] == "2"
    point = daemon.mount("db", "a")
    assert os.stat(point).st_uid == 7
    for number in range(40):
        Path(f"{point}/{number}").write_bytes(KEPT)
    (mapper,) = daemon.mappers().values()
    daemon.kill()  # and its log is not written at an orderly end: it is replayed
    for pid in daemon.mappers():
        os.sync()
        os.kill(pid, 9)
    daemon.start().await_cluster()
    daemon.unmount("db", "a")
    point = daemon.mount("db", "b")
    assert all(Path(f"{point}/{number}").read_bytes() == KEPT for number in range(40))
    device = daemon.get("db")["Status"]["device"]
    daemon.cli("trim", "db")
    os.sync()
    daemon.unmount("db", "b")
    assert device and not [word for word in mapper if SECRET in word]
    assert "--late" in mapper, "its process was not started while the image was claimed"
    with image.exported(world.cluster, "rbd/db") as path, open(path, "rb") as f:
        data = f.read()
    assert b"nobody else may read" not in data and SECRET.encode() not in data
    assert SECRET not in daemon.log_text() and SECRET not in str(world.cluster.metadata("db"))
    assert all(SECRET not in " ".join(process.argv(pid)) for pid in process.pids())


@pytest.mark.usefixtures("snapshots")
def test_it_grows_and_is_cloned_and_its_snapshots_are_read(world, keyed):
    daemon = keyed
    daemon.create("db", size="512M", encrypt="k")
    point = daemon.mount("db", "a")
    Path(f"{point}/file").write_bytes(KEPT)
    before = os.statvfs(point).f_blocks
    daemon.does("resize", "db", "800M")
    assert os.statvfs(point).f_blocks > 1.4 * before and world.cluster.info("db")["size"] == 800 * MIB
    daemon.does("snap", "create", "db@mon")
    daemon.create("copy", **{"from": "db@mon"})
    Path(f"{point}/file").write_bytes(b"changed")
    copy = daemon.mount("copy", "b")
    assert Path(f"{copy}/file").read_bytes() == KEPT
    Path(f"{copy}/more").write_bytes(KEPT)
    daemon.create("seen", **{"from": "db@mon"}, ro="true")
    assert Path(daemon.mount("seen", "c") + "/file").read_bytes() == KEPT
    for name, holder in (("seen", "c"), ("copy", "b"), ("db", "a")):
        daemon.unmount(name, holder)
    copy = daemon.mount("copy", "b")
    assert Path(f"{copy}/more").read_bytes() == KEPT
    daemon.unmount("copy", "b")
    assert "a clone is encrypted as its source is" in daemon.refused_create("other", **{"from": "db@mon"}, encrypt="k")


def test_a_passphrase_that_others_could_read_or_that_is_missing_or_wrong_is_refused(world, keyed):
    daemon = keyed
    small = {"size": "64M", "fstype": "ext4"}
    daemon.create("db", **small, encrypt="k")
    path = key(daemon)
    for spoil, words in ((lambda: os.chmod(path, 0o640), "may be read by others than root"),
                         (lambda: os.chmod(os.path.dirname(path), 0o777), "may be written by others than root"),
                         (lambda: os.chown(path, 1, 0), "may be read by others than root"),
                         (lambda: os.truncate(path, 0), "is empty"),
                         (lambda: key(daemon, text="x" * 600), "is longer than 512 bytes"),
                         (lambda: os.unlink(path), "cannot read the passphrase"),
                         (lambda: key(daemon, text="another"), "the passphrase does not open the image")):
        spoil()
        if "does not open" not in words:
            assert words in daemon.refused_create("new", **small, encrypt="k")
        err = daemon.refused("Mount", Name="db", ID="a")
        assert words in err and SECRET not in err and "another" not in err, err
        os.chmod(os.path.dirname(path), 0o700)
        if os.path.exists(path):
            os.chown(path, 0, 0)
        key(daemon)
    daemon.mount("db", "a")
    daemon.unmount("db", "a")
    assert world.cluster.images() == ["db"] and world.cluster.trash() == []


@pytest.mark.parametrize("opts, words", [
    ({"mapper": "krbd"}, "mapped by fuse alone, not by krbd"), ({"mapper": "nbd"}, "mapped by fuse alone, not by nbd"),
    ({"size": "310M", "fstype": "xfs"}, "is too small for xfs"),
])
def test_what_cannot_be_is_refused(world, keyed, opts, words):
    assert words in keyed.refused_create("db", **{"size": "400M", **opts}, encrypt="k")
    assert "is no name of a file" in keyed.refused_create("db", size="400M", encrypt="../k")
    assert world.cluster.images() == []


def test_asking_again_compares_and_a_host_that_maps_by_krbd_alone_says_why_not(world, keyed):
    keyed.create("db", size="64M", fstype="ext4", encrypt="k")
    keyed.create("db", encrypt="k")
    assert "with encrypt k" in keyed.refused_create("db", encrypt="other")
    keyed.create("open", size="64M", fstype="ext4")
    assert "with encrypt no encryption" in keyed.refused_create("open", encrypt="k")
    other = world.daemon(mapper="krbd", key_dir=keyed.path("key-dir")).await_cluster()
    assert "encrypted" in other.refused("Mount", Name="db", ID="a") or "krbd" in other.refused("Mount", Name="db", ID="a")


def test_an_image_that_rbd_encrypted_is_adopted_and_one_that_is_not_encrypted_is_refused(world, keyed):
    """`rbd encryption format`, with the same file."""
    cluster, path = world.cluster, f"{keyed.path('key-dir')}/k"
    cluster.rbd("create", "rbd/plain", "--size", "100")
    keyed.create("plain", encrypt="k")
    assert "has no LUKS2 header" in keyed.refused("Mount", Name="plain", ID="a")
    keyed.create("db", size="100M", fstype="ext4", encrypt="k")
    Path(keyed.mount("db", "a") + "/file").write_bytes(KEPT)
    keyed.unmount("db", "a")
    cluster.rbd("image-meta", "remove", "rbd/db", "rbdvol.spec")
    assert "crypto_LUKS" in keyed.refused("Mount", Name="db", ID="a")
    keyed.create("db", encrypt="k")
    assert Path(keyed.mount("db", "a") + "/file").read_bytes() == KEPT
    keyed.unmount("db", "a")
    assert path
