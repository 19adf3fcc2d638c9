# SPDX-License-Identifier: MIT
"""Create: images born formatted, idempotent, refused in words; nothing half-made under a final name."""

import json
import os
import random
import subprocess
import threading
import time

import pytest
from image import exported, filesystem
from pace import patience
from waiting import until

CHECKS = {"xfs": ["xfs_repair", "-n", "-f"], "ext4": ["e2fsck", "-fn"], "btrfs": ["btrfs", "check"]}
G = 1 << 30
M = 1 << 20


@pytest.mark.parametrize("fstype", ["xfs", "ext4", "btrfs"])
def test_a_volume_is_born_formatted(world, daemon, fstype):
    daemon.create("born", size="512M", fstype=fstype)
    with exported(world.cluster, "rbd/born") as path:
        assert os.stat(path).st_size == 512 * M
        assert filesystem(path)["TYPE"] == fstype
        done = subprocess.run([*CHECKS[fstype], path], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("fstype", ["xfs", "ext4", "btrfs"])
def test_a_volume_is_made_while_others_are_mounted(daemon, fstype):
    """mkfs looks at the loop devices of this host, which are not for the user that it runs as to open."""
    for other in ("ext4", "xfs", "btrfs"):
        daemon.create(f"on-{other}", size="512M", fstype=other)
        daemon.mount(f"on-{other}", "a")
    daemon.create("born", size="512M", fstype=fstype)
    for other in ("ext4", "xfs", "btrfs"):
        daemon.unmount(f"on-{other}", "a")


def test_the_default_is_20_gib_of_xfs(world, daemon):
    daemon.create("plain")
    assert world.cluster.info("plain")["size"] == 20 * G
    assert spec(world, "plain")["fstype"] == "xfs"
    assert daemon.get("plain")["Status"]["size"] == 20 * G


def spec(world, image):
    return json.loads(world.cluster.metadata(image)["rbdvol.spec"])


def test_what_mounting_needs_is_stored_on_the_image(world, daemon):
    daemon.create("db", size="1G", fstype="ext4", mount_options="noatime+discard", uid="999", gid="998", mode="0770")
    stored = spec(world, "db")
    assert stored["fstype"] == "ext4"
    assert stored["fresh"] is True
    assert str(stored.get("version", "")) != ""
    assert "999" in json.dumps(stored)
    assert "rbdvol.making" not in world.cluster.metadata("db")


def test_nothing_has_the_final_name_before_it_is_formatted(world, daemon):
    """A rival looks all the time: when the name is there, so is the file system."""
    seen = []
    done = threading.Event()

    def look():
        while not done.is_set():
            if "watched" in world.cluster.images():
                with exported(world.cluster, "rbd/watched") as path:
                    seen.append(filesystem(path).get("TYPE"))
                return

    thread = threading.Thread(target=look)
    thread.start()
    daemon.create("watched", size="300M", fstype="ext4")
    thread.join(30)
    done.set()
    thread.join()
    assert seen == ["ext4"]


def test_create_again_is_a_success_and_changes_nothing(world, daemon):
    daemon.create("twice", size="1G", fstype="ext4")
    before = world.cluster.info("twice")["id"], world.cluster.metadata("twice")
    daemon.create("twice", size="1G", fstype="ext4")
    daemon.create("twice")
    daemon.create("twice", size="512M")
    assert (world.cluster.info("twice")["id"], world.cluster.metadata("twice")) == before
    assert daemon.names() == ["twice"]


def test_create_again_is_not_held_against_what_a_new_volume_would_be(world, daemon):
    """An image of 100 MiB cannot be made with the host's xfs, but one with ext4 may well be there."""
    daemon.create("small", size="100M", fstype="ext4", mkfs_options="-m+1")
    daemon.create("small", size="100M")
    daemon.create("small", mkfs_options="-m+1")
    assert "ext4" in daemon.refused_create("new", size="100M")
    assert world.cluster.images() == ["small"]


def test_create_with_other_options_names_the_contradiction(daemon):
    daemon.create("mine", size="1G", fstype="ext4")
    err = daemon.refused_create("mine", fstype="xfs")
    assert "ext4" in err and "xfs" in err and "mine" in err
    err = daemon.refused_create("mine", size="2G")
    assert "1 GiB" in err and "2 GiB" in err
    assert daemon.get("mine")["Status"]["size"] == G


@pytest.mark.parametrize("name,size,expected", [
    ("a@1024", None, 1024 * M), ("a@300", None, 300 * M), ("a@2G", None, 2 * G), ("a", "20G", 20 * G), ("a", "2048", 2048 * M),
    ("a", "512M", 512 * M), ("a", "1T", 1024 * G), ("a", "1048576K", G),
])
def test_sizes(world, daemon, name, size, expected):
    daemon.create(name, **({"size": size} if size else {}))
    assert world.cluster.images() == ["a"]
    assert world.cluster.info("a")["size"] == expected


def test_a_name_with_and_without_pool_and_size_is_one_volume(world, daemon):
    for name in ("one", "rbd/one", "one@1024"):
        daemon.create(name, **({"size": "1G"} if name == "one" else {}))
    assert world.cluster.images() == ["one"]
    assert daemon.get("one@1024")["Name"] == "one@1024"


def test_a_small_bare_size_is_refused_with_both_readings(daemon):
    for size in ("1023", "100", "1"):
        err = daemon.refused_create("bare", size=size)
        assert f"{size}M" in err and f"{size}G" in err
    assert daemon.names() == []


@pytest.mark.parametrize("unit,expected", [("M", 400 * M), ("G", 400 * G)])
def test_size_unit_gives_a_bare_size_its_meaning(world, unit, expected):
    d = world.daemon(size_unit=unit).await_cluster()
    d.create("bare", size="400")
    assert world.cluster.info("bare")["size"] == expected


def test_an_xfs_too_small_is_refused_with_the_least_size_and_ext4(daemon):
    err = daemon.refused_create("small", size="200M", fstype="xfs")
    assert "300" in err and "ext4" in err
    daemon.create("small", size="200M", fstype="ext4")


def test_a_btrfs_too_small_is_refused(daemon):
    assert "btrfs" in daemon.refused_create("small", size="64M", fstype="btrfs")


def test_no_volume_is_larger_than_max_size(world):
    d = world.daemon(max_size="10G", size="5G").await_cluster()
    err = d.refused_create("big", size="11G")
    assert "10 GiB" in err and "max-size" in err
    d.create("fits")


def test_with_create_off_only_existing_images_are_found(world):
    d = world.daemon(create="no").await_cluster()
    assert "create" in d.refused_create("new").lower()
    world.cluster.rbd("create", "rbd/old", "--size", "300")
    d.create("old")
    assert world.cluster.images() == ["old"]


BAD_NAMES = ["", ".", "..", "../x", "/abs", "a/b/c/d", "a//b", "/", "x y", "a:b", "ünï", "日本", "%2F", 'a"b\\c', "-a", "_a", ".a", "a" * 129,
             "a" * 5000, "rbdvol.x", "rbdvol.new.1", "rbd/rbdvol.x", "a@", "a@@1", "a@x", "a@0", "a@-1", "a@1P", "a@1.5G", "@1",
             "a@99999999999999999999", "a@8E", "rbd/", "/a", "a\nb", "a,b", "a=b", "a;b", "$(x)", "a+b", "a#b", "a*"]


@pytest.mark.parametrize("name", BAD_NAMES, ids=[repr(n)[:20] for n in BAD_NAMES])
def test_a_bad_name_is_refused_and_nothing_is_left(world, daemon, name):
    before = world.cluster.everything()
    for method in ("Create", "Remove", "Mount", "Unmount", "Path"):
        err = daemon.refused(method, Name=name, **({"ID": "a"} if "ount" in method else {}))
        assert len(err.split()) >= 3, err
        assert "name" in err.lower() or "size" in err, err
        assert len(err) < 600
    reply = daemon.call("Get", {"Name": name})
    assert reply.status is None or reply.status in (400, 500)
    assert world.cluster.everything() == before
    assert not os.path.exists(os.path.join(daemon.path("mount-root"), "x"))


BAD_OPTIONS = [
    ("size", ["", "x", "0", "-1", "1.5G", "10P", "20 G", "20GB", "99999999T", "18446744073709551616", "1e3"]),
    ("fstype", ["", "zfs", "XFS", "ext4 ", "ext4,xfs", "../xfs", "ntfs"]),
    ("uid", ["", "root", "-1", "4294967295", "4294967296", "0x10", "1.0"]),
    ("gid", ["", "wheel", "-1", "4294967295"]),
    ("mode", ["", "rwx", "0999", "10000", "-1", "0o755"]),
    ("mount-options", ["exec=/x", "bind", "loop=/dev/loop0", "noatime,discard", "nosuchoption", "/etc", "noatime+", "+", "remount",
                       "subvol=../x", "noatime discard", "usrjquota=/x", "logdev=/dev/sda"]),
    ("mkfs-options", ["/dev/sda", "victim", "-l+logdev=/dev/sda", "-f+victim", "-d+/etc", "--rootdir=/etc", "-L", "-K+/dev/sda"]),
    ("object-size", ["", "3M", "5", "1T", "x", "4"]),
    ("features", ["nosuch", "", "layering+nosuch"]),
    ("sharing", ["", "all", "cluster"]),
    ("pool", ["nosuchpool", "a/b", "", "../x", ".mgr x"]),
    ("namespace", ["nosuchns", "a/b", "../x"]),
    ("data-pool", ["nosuchpool", "a/b", ""]),
]
BAD_PAIRS = [(option, value) for option, values in BAD_OPTIONS for value in values]


@pytest.mark.parametrize("option,value", BAD_PAIRS, ids=[f"{o}={v}"[:40] for o, v in BAD_PAIRS])
def test_a_bad_option_is_refused_by_name_and_nothing_is_left(world, daemon, option, value):
    before = world.cluster.everything()
    err = daemon.refused("Create", Name="never", Opts={option: value})
    assert option in err, err
    assert len(err.split()) >= 4, err
    assert world.cluster.everything() == before
    assert daemon.names() == []


def test_an_unknown_option_is_refused_with_the_known_ones(daemon):
    err = daemon.refused("Create", Name="never", Opts={"colour": "blue"})
    assert "colour" in err
    for known in ("size", "fstype", "mount-options", "uid", "object-size"):
        assert known in err
    assert daemon.names() == []


# -- options that shape the image


def test_object_size_and_features(world, daemon):
    daemon.create("shaped", size="1G", object_size="1M", features="layering+exclusive-lock")
    info = world.cluster.info("shaped")
    assert info["object_size"] == M
    assert set(info["features"]) == {"layering", "exclusive-lock"}


def test_every_image_has_exclusive_lock(world, daemon):
    daemon.create("plain")
    assert "exclusive-lock" in world.cluster.info("plain")["features"]
    err = daemon.refused("Create", Name="without", Opts={"features": "layering"})
    assert "exclusive-lock" in err


@pytest.fixture
def second_pool(cluster):
    cluster.ceph("osd", "pool", "create", "ssd", "8", "8", "replicated")
    cluster.rbd("pool", "init", "ssd")
    yield "ssd"
    cluster.ceph("osd", "pool", "rm", "ssd", "ssd", "--yes-i-really-really-mean-it")


def test_a_volume_in_another_pool(world, second_pool):
    d = world.daemon(pool="rbd,ssd").await_cluster()
    d.create("fast", pool="ssd", size="300M")
    d.create("ssd/faster", size="300M")
    assert sorted(world.cluster.images("ssd")) == ["fast", "faster"]
    assert world.cluster.images() == []
    assert sorted(d.names()) == ["fast", "faster"] or sorted(d.names()) == ["ssd/fast", "ssd/faster"]
    assert d.get("fast")["Status"]["pool"] == "ssd"


def test_a_data_pool_takes_the_data(world, second_pool):
    d = world.daemon().await_cluster()
    d.create("split", size="300M", data_pool="ssd")
    assert world.cluster.info("split")["data_pool"] == "ssd"
    assert world.cluster.objects("rbd_data.", pool="ssd")
    assert not world.cluster.objects("rbd_data.")
    d.create("split", data_pool="ssd")
    err = d.refused_create("split", data_pool="rbd")
    assert "data-pool" in err and "ssd" in err and "rbd" in err
    d.create("whole", size="300M")
    d.create("whole", data_pool="rbd")
    assert "data-pool" in d.refused_create("whole", data_pool="ssd")


def test_a_name_in_two_pools_is_refused_with_both_spellings(world, second_pool):
    d = world.daemon(pool="rbd,ssd").await_cluster()
    for pool in ("rbd", "ssd"):
        d.create(f"{pool}/both", size="300M")
    for method, more in (("Create", {}), ("Mount", {"ID": "a"}), ("Remove", {})):
        err = d.refused(method, Name="both", **more)
        assert "rbd/both" in err and "ssd/both" in err
    got = d.get("both")
    assert got["Status"]["pool"] == "rbd"
    assert got["Status"]["ambiguous"]


def test_a_volume_in_a_namespace(world, daemon):
    world.cluster.rbd("namespace", "create", "rbd/tenant")
    try:
        daemon.create("rbd/tenant/inside", namespace="tenant", size="300M")
        assert world.cluster.images("rbd/tenant") == ["inside"]
        assert world.cluster.images() == []
        daemon.create("rbd/tenant/too", size="300M")
        assert sorted(world.cluster.images("rbd/tenant")) == ["inside", "too"]
        assert daemon.get("rbd/tenant/inside")["Status"]["namespace"] == "tenant"
    finally:
        for name in world.cluster.images("rbd/tenant"):
            world.cluster.rbd("rm", f"rbd/tenant/{name}")
        world.cluster.rbd("namespace", "remove", "rbd/tenant")


def test_a_whole_daemon_in_a_namespace(world):
    world.cluster.rbd("namespace", "create", "rbd/whole")
    try:
        d = world.daemon(namespace="whole").await_cluster()
        d.create("inside", size="300M")
        assert world.cluster.images("rbd/whole") == ["inside"]
        assert d.get("inside")["Status"]["namespace"] == "whole"
    finally:
        for name in world.cluster.images("rbd/whole"):
            world.cluster.rbd("rm", f"rbd/whole/{name}")
        world.cluster.rbd("namespace", "remove", "rbd/whole")


def test_mkfs_options_reach_mkfs(world, daemon):
    daemon.create("tuned", size="300M", fstype="ext4", mkfs_options="-m+0")
    with exported(world.cluster, "rbd/tuned") as path:
        text = subprocess.run(["dumpe2fs", "-h", path], capture_output=True, text=True, check=True).stdout
        assert "Reserved block count:     0\n" in text
        assert "Block size:               4096\n" in text


def test_the_peers_spellings_are_understood(world, daemon):
    daemon.must("Create", Name="alias", Opts={"newfstype": "ext4", "mkfsOptions": "-m+0", "mountOptions": "noatime", "size": "1G",
                                              "order": "20"})
    assert spec(world, "alias")["fstype"] == "ext4"
    assert world.cluster.info("alias")["object_size"] == M


def test_two_spellings_of_one_option_must_not_contradict_each_other(daemon):
    for one, other in (({"fstype": "ext4"}, {"newfstype": "xfs"}), ({"object-size": "4M"}, {"order": "20"})):
        err = daemon.refused("Create", Name="both", Opts={**one, **other})
        assert all(name in err for name in (*one, *other)), err
    assert daemon.names() == []
    daemon.must("Create", Name="both", Opts={"fstype": "ext4", "newfstype": "ext4", "size": "1G"})


# -- races


def test_eight_creates_of_one_name_make_one_image(world, daemon):
    replies = []
    threads = [threading.Thread(target=lambda: replies.append(daemon.call("Create", {"Name": "raced", "Opts": {"size": "1G"}})))
               for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert [r.status for r in replies] == [200] * 8, [r.body for r in replies]
    assert world.cluster.images() == ["raced"]


def test_two_hosts_create_one_name_at_once(world):
    """Two instances know nothing of each other, as two hosts: one makes the volume, the other finds it."""
    turns = 20
    daemons = [world.daemon().await_cluster() for _ in range(2)]
    for turn in range(turns):
        replies, together = [], threading.Barrier(2)

        def create(d):
            together.wait(10)
            replies.append(d.call("Create", {"Name": f"race{turn}", "Opts": {"size": "300M", "fstype": "ext4"}}))

        threads = [threading.Thread(target=create, args=(d,)) for d in daemons]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert [r.status for r in replies] == [200] * 2, [r.body for r in replies]
    assert sorted(world.cluster.images()) == sorted(f"race{turn}" for turn in range(turns))
    made = [line.split("volume=")[1].split()[0] for d in daemons for line in d.log_text().splitlines() if ">created " in line]
    assert sorted(made) == sorted(f"rbd/race{turn}" for turn in range(turns)), "a volume was made twice"
    for turn in (0, turns - 1):
        with exported(world.cluster, f"rbd/race{turn}") as path:
            assert filesystem(path)["TYPE"] == "ext4"


def test_creates_of_different_names_run_side_by_side(world, daemon):
    replies = []
    threads = [threading.Thread(target=lambda n=n: replies.append(daemon.call("Create", {"Name": f"many{n}"}))) for n in range(12)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert [r.status for r in replies] == [200] * 12, [r.body for r in replies]
    assert len(world.cluster.images()) == 12


def test_killed_anywhere_in_a_create_the_next_one_makes_a_whole_volume(world, daemon):
    """Row 23: kill -9 at random times; what has the name is formatted, and what is left over is marked for the collector."""
    chance = random.Random(23)
    killed_within = 0
    for turn in range(10):
        name = f"db{turn}"
        request = threading.Thread(target=daemon.call, args=("Create", {"Name": name, "Opts": {"size": "64M", "fstype": "ext4"}}))
        request.start()
        until(lambda: daemon.connections() or not request.is_alive(), "the request to arrive", interval=0.0005)
        time.sleep(chance.random() * 0.05)  # a random time, not a wait
        killed_within += request.is_alive()
        daemon.kill()
        request.join(30)
        if name in world.cluster.images():
            with exported(world.cluster, f"rbd/{name}") as path:
                assert filesystem(path).get("TYPE") == "ext4", f"{name} is there and not formatted"
        daemon.start()
        daemon.await_cluster()
        assert not [n for n in daemon.names() if n.startswith("rbdvol.")]
        daemon.create(name, size="64M", fstype="ext4")
        daemon.mount(name, "a")
        daemon.unmount(name, "a")
        for left in world.cluster.images():
            if left.startswith("rbdvol.new."):
                if world.cluster.has_header(left):
                    header = world.cluster.header(left)
                    until(lambda: not world.cluster.watchers(header), "the killed one's watch to lapse", 40)
                    world.cluster.break_locks(left)
                world.cluster.rbd("rm", "--no-progress", f"rbd/{left}")
    assert killed_within >= 3, "no kill was within a Create"
    assert sorted(world.cluster.images()) == sorted(f"db{turn}" for turn in range(10))


def test_a_mkfs_that_fails_leaves_nothing_in_the_cluster(world):
    """Row 23: there is no room for what it writes."""
    d = world.daemon().await_cluster()
    before = world.cluster.everything()
    os.makedirs(d.path("scratch-dir"), exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32k", "small", d.path("scratch-dir")], check=True)
    try:
        for fstype in ("ext4", "xfs", "btrfs"):
            err = d.refused_create("db", size="512M", fstype=fstype)
            assert "mkfs" in err or "space" in err, err
        assert world.cluster.everything() == before
        assert os.listdir(d.path("scratch-dir")) == []
    finally:
        subprocess.run(["umount", d.path("scratch-dir")], check=True)
    d.create("db", size="512M", fstype="ext4")


@pytest.mark.parametrize("fstype", ["xfs", "ext4"])
def test_a_volume_of_four_tebibytes_is_made_in_seconds(world, daemon, fstype):
    """Row 25: mkfs discards nothing and writes little."""
    began = time.monotonic()
    daemon.create("huge", size="4T", fstype=fstype)
    assert time.monotonic() - began < patience(15)
    assert world.cluster.info("huge")["size"] == 4 << 40
    point = daemon.mount("huge", "a")
    assert os.statvfs(point).f_blocks * os.statvfs(point).f_frsize > 3 << 40
    daemon.unmount("huge", "a")
