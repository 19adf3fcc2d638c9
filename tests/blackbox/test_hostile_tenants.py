# SPDX-License-Identifier: MIT
"""Somebody else with access to the same pool, who writes what rbdvol reads: metadata, locks, names, the trash, its notes on what is
pending, and the file system itself. The daemon lives, its other volumes work, nothing is mounted that should not be, and no
terminal and no log sees what it should not."""

import json
import os
import re
import shutil
import stat
import subprocess

import image
import mounts
import pytest
from tidy import ESCAPE, doctor_is_tidy, everything_is_tidy, is_tidy, works
from waiting import until

SMALL = {"size": "64M", "fstype": "ext4"}


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


@pytest.mark.parametrize("key", ["rbdvol.making", "rbdvol.rolling", "rbdvol.trashed", "rbdvol.hindrance", "rbdvol.growing", "rbdvol.later", "conf_rbd_cache", "conf_x",
                                 ESCAPE.replace("\n", "")], ids=lambda key: key if key.isprintable() else "escapes")
def test_other_metadata_of_any_kind_ends_no_daemon_and_does_not_format(tenants, key):
    daemon, cluster, header = tenants
    before = image.checksum(cluster, "rbd/theirs")
    for value in (b"", b"\0" * 1000, b"%s%n" * 100, ESCAPE.encode(), b'{"final":"mine","temp":"theirs","since":1}',
                  b'{"final":"../../x","temp":"' + b"t" * 4000 + b'","since":-1}', b'{"address":"x","what":"\\u001b[2J","since":1}',
                  b"[" * 4000, b"A" * (1 << 20)):
        put(cluster, header, key, value)
        reply = daemon.call("Mount", {"Name": "theirs", "ID": "a"})
        is_tidy(reply.body.decode(), "the answer")
        assert reply.status in (200, 500)
        daemon.unmount("theirs", "a")
        assert "mine" in daemon.names()
        daemon.get("mine")
    until(lambda: not daemon.mappers(), "the mapping to be taken down", 30)
    if reply.status == 500:
        assert image.checksum(cluster, "rbd/theirs") == before


def record(cluster, header, lock, cookie, seconds=0):
    """What the owner of an image, or who is at work on it, says of itself."""
    subprocess.run(["rados", "-c", cluster.conf, "-p", "rbd", "lock", "get", header, lock, "--lock-cookie", cookie, "--lock-duration",
                    str(seconds)], capture_output=True, check=True, timeout=60)


COOKIES = (ESCAPE, "%s%n/%s/%s/%s/%s/%s", "h" * 4000 + "/m/b/i/0123456789abcdef/1.2.3.4:0/5", f"{ESCAPE}/m/b/i/0123456789abcdef/1.2.3.4:0/5",
           "h/m/b/i/m/; ceph osd blocklist add 0.0.0.0/0", "h/m/b/i/m/0.0.0.0:0/0", "h/m/b/i/m/1.2.3.0/24", "host/m/b/i/../../../x",
           "/" * 200, "host/m/b/i/m/")


@pytest.mark.parametrize("lock, cookies", [("rbdvol", COOKIES[:5]), ("rbdvol", COOKIES[5:]), ("rbdvol.ctl", COOKIES[:4])],
                         ids=["owner", "odd-owner", "at-work"])
def test_hostile_records_of_owners_are_told_tidily(tenants, lock, cookies):
    daemon, cluster, header = tenants
    for cookie in cookies:
        record(cluster, header, lock, cookie, 1 if lock == "rbdvol.ctl" else 0)
        reply = daemon.call("Mount", {"Name": "theirs", "ID": "a"})
        is_tidy(reply.body.decode(), "the answer")
        daemon.call("Get", {"Name": "theirs"})
        is_tidy(daemon.cli("status").stdout + daemon.cli("show", "theirs").stdout, "what is shown")
        daemon.unmount("theirs", "a")
        until(lambda: not daemon.mappers(), "the mapping to be taken down", 30)
        for name, lockers in cluster.locks(header).items():
            for one in lockers:
                subprocess.run(["rados", "-c", cluster.conf, "-p", "rbd", "lock", "break", header, name, one["name"], "--lock-cookie", one["cookie"]],
                               capture_output=True, check=False, timeout=60)
        # nobody was fenced for a word of theirs: not the whole world, and not a network
        assert not [entry for entry in cluster.blocklist() if re.match(r"0\.0\.0\.0\b|.*/24$", str(entry))]


@pytest.mark.parametrize("cookie", [b"\xff\xfe", b"a" * 59 + "\u00e9".encode()], ids=["no-text", "cut-in-the-middle"])
def test_what_is_no_text_in_a_lock_does_not_make_the_volume_unknown(tenants, cookie):
    """An answer without the volume would be "no such volume" to Docker, which forgets it then."""
    daemon, cluster, _ = tenants
    cluster.rbd("lock", "add", "rbd/theirs", os.fsdecode(cookie))
    told = daemon.get("theirs")["Status"]
    assert told["state"] == "locked by hand" and "advisory lock '" in told["owner"], told
    is_tidy(json.dumps(told), "the answer")
    reply = daemon.must("/Rbdvol.Unlock", Name="theirs")
    assert "advisory lock '" in reply["Owner"] and reply["State"] == "by hand" and not reply["Unlocked"], reply
    assert daemon.must("/Rbdvol.Unlock", Name="theirs", Go=True)["Unlocked"] and cluster.locks_left() == []


def watcher(cluster, name):
    """The address of the one client that has an image open."""
    return re.search(r"watcher=(\S+) ", cluster.watchers(cluster.header(name))[0])[1]


@pytest.mark.parametrize("victim", ["mapper", "daemon"])
def test_a_record_that_names_this_hosts_own_client_does_not_have_it_fenced(tenants, victim):
    """A record whose lock is gone tells of a client that is fenced before anybody else writes. It is what its writer says."""
    daemon, cluster, header = tenants
    point = daemon.mount("mine", "me")
    address = watcher(cluster, "mine")
    if victim == "daemon":
        address, = [a for a in cluster.clients() if a != address]
    record(cluster, header, "rbdvol", f"host9/{'9' * 32}/00000000-0000-0000-0000-000000000009/rbd/0123456789abcdef/{address}")
    err = daemon.refused("Mount", Name="theirs", ID="a")
    is_tidy(err, "the refusal")
    assert address in err, err
    assert address not in cluster.blocklist()
    with open(f"{point}/file", "w", encoding="ascii") as f:
        f.write("x")
        os.fsync(f.fileno())
    assert daemon.get("mine")["Status"]["state"] == "mounted"
    daemon.unmount("mine", "me")
    cluster.rados(*re.search("`rados -p rbd (.*)`", err)[1].split())  # as the message has it
    daemon.mount("theirs", "a")
    daemon.unmount("theirs", "a")


def test_names_of_images_in_the_pool_and_the_trash_are_listed_or_left_out(tenants):
    daemon, cluster, _ = tenants
    names = ["with blank", "-dash", "ünï\u202eforged", "\x1b[2J", "a\x9b1m", "%s%n", "..", "x" * 200, "line\nline", "$(id)", "a;b"]
    for name in names:
        cluster.rbd("create", "--size", "4", "--pool", "rbd", "--image", name)
    assert sorted(daemon.names()) == ["mine", "theirs"]
    everything_is_tidy(daemon)
    for name in names:
        cluster.rbd("trash", "mv", "--pool", "rbd", "--image", name)
    everything_is_tidy(daemon)
    for name in names:
        is_tidy(daemon.cli("trash", "restore", name).stderr, "the refusal")
    assert sorted(daemon.names()) == ["mine", "theirs"]


def test_notes_of_what_is_pending_make_the_collector_touch_nothing_of_ours(world, tenants):
    """The collector finishes what these notes say was begun: at its start, so at the daemon's."""
    daemon, cluster, _ = tenants
    cluster.rbd("snap", "create", "rbd/mine@keep")
    ids = cluster.info("mine")["id"]
    for key in ("", f"{ids}/keep", f"mine@keep", f"{ids}@keep", f"{ids} keep", "../../x", ESCAPE, "%n%s", "k" * 3000):
        for value in (b"0", b"-1", b"99999999999999999999", b"\0\xff", ESCAPE.encode()):
            subprocess.run(["rados", "-c", cluster.conf, "-p", "rbd", "setomapval", "rbdvol.pending", key or "-"], input=value,
                           capture_output=True, check=False, timeout=60)
    daemon.restart().await_cluster()
    works(daemon)
    assert [s["name"] for s in json.loads(cluster.rbd("snap", "ls", "rbd/mine", "--format", "json"))] == ["keep"]
    cluster.rbd("snap", "rm", "--no-progress", "rbd/mine@keep")
    cluster.rados("rm", "rbdvol.pending")


@pytest.mark.parametrize("key, value", [("conf_rbd_cache", ESCAPE.encode()), ("conf_rbd_cache", b"true"), ("conf_" + ESCAPE.replace("\n", ""), b"x"),
                                        ("conf_rbd_blocklist_on_break_lock", b"A" * 100000), ("conf_rbd_cache;reboot", b"%s%n")],
                         ids=["escapes", "unsafe", "escapes-in-key", "large", "shell"])
def test_settings_that_somebody_gave_the_pool_or_the_image_are_told_tidily(tenants, key, value):
    daemon, cluster, header = tenants
    for where in (header, "rbd_info"):
        put(cluster, where, key, value)
        reply = daemon.call("Mount", {"Name": "theirs", "ID": "a"})
        is_tidy(reply.body.decode(), "the answer")
        assert reply.status in (200, 500) and "reboot" not in reply.body.decode()
        daemon.unmount("theirs", "a")
        doctor_is_tidy(daemon)
        cluster.rados("rmomapkey", where, f"metadata_{key}")
    daemon.mount("theirs", "a")
    daemon.unmount("theirs", "a")


# -- a file system that was made to harm whoever mounts it


def made_by_others(cluster, name, *words, tree=None):
    with image.scratch(64 << 20) as path:
        subprocess.run(["mkfs.ext4", "-q", "-F", *(["-d", tree] if tree else []), *words, path], check=True, capture_output=True)
        image.import_file(cluster, path, f"rbd/{name}")
    cluster.rbd("feature", "enable", f"rbd/{name}", "exclusive-lock", "--no-progress") if "exclusive-lock" not in cluster.info(name)["features"] else None


@pytest.fixture
def harmful(world):
    """A tree with a setuid program, device nodes, and links that lead out of it."""
    tree = os.path.join(world.dir, "tree")
    os.mkdir(tree, 0o777)
    shutil.copy("/usr/bin/id", f"{tree}/id")
    os.chmod(f"{tree}/id", 0o6755)
    os.mknod(f"{tree}/mem", 0o666 | stat.S_IFCHR, os.makedev(1, 1))
    os.mknod(f"{tree}/null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    os.symlink("/etc", f"{tree}/etc")
    os.chmod(tree, 0o777)
    yield tree
    shutil.rmtree(tree)


def as_nobody(*words):
    return subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *words], capture_output=True, text=True, check=False,
                          timeout=30)


@pytest.mark.parametrize("spec", [None, b'{"version":1,"fstype":"ext4"}', b'{"version":1,"fstype":"ext4","mount-options":"suid+dev+exec"}',
                                  b'{"version":1,"fstype":"ext4","mount-options":"nosuid+nodev+suid+dev","fresh":true,"mode":511}'],
                         ids=["none", "plain", "suid", "both"])
def test_setuid_programs_and_devices_on_an_image_are_not_in_force(world, daemon, harmful, spec):
    """Whatever its spec says: this host's own mount-options are nodev and nosuid."""
    made_by_others(world.cluster, "evil", tree=harmful)
    if spec:
        put(world.cluster, world.cluster.header("evil"), "rbdvol.spec", spec)
    os.chmod(world.dir, 0o755)
    point = daemon.mount("evil", "a")
    assert {"nosuid", "nodev"} <= set(mounts.at(point).options.split(","))
    assert as_nobody(f"{point}/id", "-u").stdout.split() == ["65534"]
    with pytest.raises(PermissionError):
        open(f"{point}/null", "rb")
    daemon.unmount("evil", "a")


def test_a_link_in_place_of_lost_and_found_or_of_the_root_leads_nowhere(world, daemon, harmful):
    """The first mount takes lost+found away, and sets the root's owner and mode."""
    outside = os.path.join(world.dir, "outside")
    os.mkdir(outside, 0o700)
    made_by_others(world.cluster, "evil", tree=harmful)
    with image.exported(world.cluster, "rbd/evil") as path:
        for command in ("rmdir lost+found", f"symlink lost+found {outside}"):
            subprocess.run(["debugfs", "-w", "-R", command, path], check=True, capture_output=True)
        world.cluster.rbd("rm", "--no-progress", "rbd/evil")
        image.import_file(world.cluster, path, "rbd/evil")
    put(world.cluster, world.cluster.header("evil"), "rbdvol.spec", json.dumps(good(fresh=True, uid=77, mode=0o777)).encode())
    reply = daemon.call("Mount", {"Name": "evil", "ID": "a"})
    assert reply.status in (200, 500)
    assert stat.S_IMODE(os.stat(outside).st_mode) == 0o700 and os.stat(outside).st_uid == 0
    assert os.path.isdir(outside)
    daemon.unmount("evil", "a")


@pytest.mark.parametrize("label", [ESCAPE.replace("\n", "")[:12], "%s%n%s%n", "../../../x"], ids=["escapes", "format", "path"])
def test_labels_and_file_systems_that_lie_about_themselves_are_told_tidily(world, daemon, label):
    made_by_others(world.cluster, "evil", "-L", label)
    reply = daemon.call("Mount", {"Name": "evil", "ID": "a"})
    is_tidy(reply.body.decode(), "the answer")
    daemon.unmount("evil", "a")
    everything_is_tidy(daemon, "evil")
