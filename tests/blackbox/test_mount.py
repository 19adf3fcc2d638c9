# SPDX-License-Identifier: MIT
"""Mount and Unmount: what is on the way up, what is gone after the way down, and who is turned away."""

import contextlib
import json
import os
import signal
import stat
import struct
import subprocess
import threading
import zlib

import mounts
import pytest
import rpc
from image import checksum, exported, filesystem, import_file, scratch
from process import Process
from waiting import until

M = 1 << 20
FSTYPES = ["xfs", "ext4", "btrfs"]


def lock_names(world, image):
    return set(world.cluster.locks(world.cluster.header(image)))


def write(mountpoint, name, text):
    with open(os.path.join(mountpoint, name), "w", encoding="utf-8") as f:
        f.write(text)


def read(mountpoint, name):
    with open(os.path.join(mountpoint, name), encoding="utf-8") as f:
        return f.read()


@pytest.mark.parametrize("fstype", FSTYPES)
def test_data_persists(daemon, fstype):
    daemon.create("db", size="1G", fstype=fstype)
    point = daemon.mount("db", "first")
    assert mounts.at(point).fstype == fstype
    write(point, "file", "kept\n")
    daemon.unmount("db", "first")
    assert mounts.at(point) is None
    assert daemon.mount("db", "second") == point
    assert read(point, "file") == "kept\n"
    daemon.unmount("db", "second")


def test_the_mountpoint_is_where_the_manual_says(daemon):
    daemon.create("db")
    assert daemon.mount("db", "a") == os.path.join(daemon.path("mount-root"), "rbd", "db")
    daemon.unmount("db", "a")


def test_get_list_and_path_tell_the_mountpoint_only_while_mounted(daemon):
    daemon.create("db")

    def told():
        listed = {v["Name"]: v["Mountpoint"] for v in daemon.must("List")["Volumes"]}
        return {daemon.get("db")["Mountpoint"], daemon.must("Path", Name="db")["Mountpoint"], listed["db"]}

    assert told() == {""}
    point = daemon.mount("db", "a")
    assert told() == {point}
    daemon.unmount("db", "a")
    assert told() == {""}


def test_status_tells_the_holder_the_device_and_the_owner(daemon):
    daemon.create("db", size="1G", fstype="ext4")
    point = daemon.mount("db", "holder-one")
    status = daemon.get("db")["Status"]
    assert (status["pool"], status["image"], status["fstype"], status["mapper"]) == ("rbd", "db", "ext4", "fuse")
    assert mounts.at(point).source == status["device"]
    assert "holder-one" in str(status["holders"])
    assert status["owner"]
    assert status["size"] == 1024 * M
    daemon.unmount("db", "holder-one")
    assert "device" not in daemon.get("db")["Status"] or not daemon.get("db")["Status"]["device"]


def test_the_default_mount_options_are_in_force(daemon):
    daemon.create("db")
    words = mounts.at(daemon.mount("db", "a")).options.split(",")
    assert {"rw", "noatime", "nodev", "nosuid"} <= set(words)
    daemon.unmount("db", "a")


def test_a_volumes_own_mount_options_are_in_force(daemon):
    daemon.create("db", mount_options="noexec+nodiratime", fstype="ext4")
    words = mounts.at(daemon.mount("db", "a")).options.split(",")
    assert "noexec" in words
    daemon.unmount("db", "a")


@pytest.mark.parametrize("fstype", FSTYPES)
def test_the_first_mount_sets_owner_and_mode_and_leaves_an_empty_root(daemon, fstype):
    daemon.create("db", size="1G", fstype=fstype, uid="1234", gid="4321", mode="2770")
    point = daemon.mount("db", "a")
    about = os.stat(point)
    assert (about.st_uid, about.st_gid, stat.S_IMODE(about.st_mode)) == (1234, 4321, 0o2770)
    assert os.listdir(point) == []
    daemon.unmount("db", "a")


def test_only_the_first_mount_sets_owner_and_mode(daemon):
    daemon.create("db", size="1G", fstype="ext4", uid="5", mode="0700")
    point = daemon.mount("db", "a")
    os.chown(point, 6, 7)
    os.chmod(point, 0o711)
    os.mkdir(os.path.join(point, "lost+found"))
    daemon.unmount("db", "a")
    daemon.mount("db", "a")
    about = os.stat(point)
    assert (about.st_uid, about.st_gid, stat.S_IMODE(about.st_mode)) == (6, 7, 0o711)
    assert os.listdir(point) == ["lost+found"]
    daemon.unmount("db", "a")


def test_the_device_has_the_images_size_and_4k_blocks(daemon):
    daemon.create("db", size="1G")
    daemon.mount("db", "a")
    device = daemon.get("db")["Status"]["device"]
    name = os.path.basename(device)
    with open(f"/sys/block/{name}/size", encoding="ascii") as f:
        assert int(f.read()) * 512 == 1024 * M
    with open(f"/sys/block/{name}/queue/logical_block_size", encoding="ascii") as f:
        assert int(f.read()) == 4096
    daemon.unmount("db", "a")


def test_what_is_deleted_is_given_back_by_fstrim(world, daemon):
    daemon.create("db", size="1G", fstype="ext4")
    point = daemon.mount("db", "a")
    with open(os.path.join(point, "big"), "wb") as f:
        f.write(os.urandom(64 * M))
        f.flush()
        os.fsync(f.fileno())
    full = len(world.cluster.objects("rbd_data."))
    os.unlink(os.path.join(point, "big"))
    subprocess.run(["sync", "-f", point], check=True)
    subprocess.run(["fstrim", point], check=True)
    assert len(world.cluster.objects("rbd_data.")) <= full - 14
    daemon.unmount("db", "a")


# -- holders


def test_a_second_holder_is_refused_with_the_first_ones_name(daemon):
    daemon.create("db")
    daemon.mount("db", "holder-one")
    err = daemon.refused("Mount", Name="db", ID="holder-two")
    assert "holder-one" in err and "nocopy" in err and "sharing=host" in err
    daemon.unmount("db", "holder-one")
    daemon.mount("db", "holder-two")
    daemon.unmount("db", "holder-two")


def test_with_sharing_host_two_containers_share(daemon):
    daemon.create("db", sharing="host")
    point = daemon.mount("db", "one")
    assert daemon.mount("db", "two") == point
    daemon.unmount("db", "one")
    assert mounts.at(point)
    daemon.unmount("db", "two")
    assert mounts.at(point) is None


def test_one_holder_counts_as_docker_cp_needs(daemon):
    daemon.create("db")
    point = daemon.mount("db", "container")
    for _ in range(3):
        assert daemon.mount("db", "container") == point
        daemon.unmount("db", "container")
        assert mounts.at(point), "docker cp took a running container's volume away"
    daemon.unmount("db", "container")
    assert mounts.at(point) is None


def test_a_caller_without_an_id_is_one_holder_however_often_it_mounts(daemon):
    daemon.create("db")
    point = daemon.must("Mount", Name="db")["Mountpoint"]
    assert daemon.must("Mount", Name="db")["Mountpoint"] == point
    assert daemon.must("Mount", Name="db", ID="")["Mountpoint"] == point
    daemon.must("Unmount", Name="db")
    assert mounts.at(point) is None
    daemon.must("Unmount", Name="db")


def test_an_id_beside_a_caller_without_one_is_refused(daemon):
    daemon.create("db")
    daemon.must("Mount", Name="db")
    assert len(daemon.refused("Mount", Name="db", ID="container").split()) > 4
    daemon.must("Unmount", Name="db")


def test_unmount_of_an_unknown_id_succeeds_and_takes_nothing(daemon):
    daemon.create("db")
    daemon.must("Unmount", Name="db", ID="nobody")
    point = daemon.mount("db", "somebody")
    daemon.must("Unmount", Name="db", ID="nobody")
    assert mounts.at(point)
    daemon.unmount("db", "somebody")


def test_mount_of_an_absent_volume_is_refused(daemon):
    err = daemon.refused("Mount", Name="absent", ID="a")
    assert "no image 'absent'" in err or "no such volume" in err


def test_a_mount_whose_caller_went_away_is_taken_back(world, daemon):
    daemon.create("db")
    world.cluster.pause("osd")
    s = rpc.connect(daemon.socket)
    s.sendall(rpc.encode("/VolumeDriver.Mount", b'{"Name":"db","ID":"gone"}'))
    until(lambda: daemon.connections() == 1, "the request to arrive")
    s.close()
    world.cluster.resume("osd")
    until(lambda: not daemon.mappers() and not daemon.get("db")["Status"].get("holders"), "the abandoned mount to be undone", 30)
    daemon.mount("db", "next")
    daemon.unmount("db", "next")


def test_parallel_mounts_and_unmounts_of_one_volume_end_well(daemon):
    daemon.create("db", sharing="host", size="1G", fstype="ext4")
    errors = []

    def turn(holder):
        for _ in range(3):
            reply = daemon.call("Mount", {"Name": "db", "ID": holder})
            if reply.status != 200:
                errors.append(reply.err)
                continue
            with open(os.path.join(reply.json["Mountpoint"], holder), "a", encoding="ascii") as f:
                f.write("x")
            reply = daemon.call("Unmount", {"Name": "db", "ID": holder})
            if reply.status != 200:
                errors.append(reply.err)

    threads = [threading.Thread(target=turn, args=(f"h{n}",)) for n in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert errors == []
    point = daemon.mount("db", "last")
    assert {name: read(point, name) for name in os.listdir(point)} == {f"h{n}": "xxx" for n in range(4)}
    daemon.unmount("db", "last")


def test_eight_volumes_mount_side_by_side(daemon):
    for n in range(8):
        daemon.create(f"v{n}", size="300M", fstype="ext4")
    points = {}
    threads = [threading.Thread(target=lambda n=n: points.update({n: daemon.mount(f"v{n}", "a")})) for n in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(set(points.values())) == 8
    assert len(daemon.mappers()) == 8
    for n in range(8):
        daemon.unmount(f"v{n}", "a")


# -- the lock


def test_the_managed_lock_and_the_owner_record_are_held_while_mounted(world, daemon):
    daemon.create("db")
    assert lock_names(world, "db") == set()
    daemon.mount("db", "a")
    locks = world.cluster.locks(world.cluster.header("db"))
    assert set(locks) == {"rbd_lock", "rbdvol"}
    assert locks["rbd_lock"][0]["cookie"].startswith("auto ")
    record = locks["rbdvol"][0]["cookie"].split("/")
    assert record[0] == os.uname().nodename and daemon.name in record
    assert "rbd_lock" in lock_names(world, "db") and "client" in world.cluster.rbd("lock", "ls", "rbd/db")
    daemon.unmount("db", "a")
    assert lock_names(world, "db") == set()
    assert world.cluster.watchers(world.cluster.header("db")) == []


def test_another_host_is_refused_with_the_owners_name(world, daemon):
    daemon.create("db", size="1G", fstype="ext4")
    point = daemon.mount("db", "a")
    other = world.daemon().await_cluster()
    err = other.refused("Mount", Name="db", ID="b")
    assert os.uname().nodename in err or daemon.name in err
    write(point, "still", "here")
    assert other.get("db")["Mountpoint"] == ""
    daemon.unmount("db", "a")
    assert read(other.mount("db", "b"), "still") == "here"
    other.unmount("db", "b")


@contextlib.contextmanager
def bench(world, image):
    """A client that writes to the image with the managed lock in automatic mode."""
    child = subprocess.Popen(["rbd", "-c", world.cluster.conf, "bench", "--io-type", "write", "--io-size", "4K", "--io-total", "1T",
                              "--io-threads", "1", f"rbd/{image}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: world.cluster.locks(world.cluster.header(image)), "the writer to take the lock", 20)
        yield child
    finally:
        child.send_signal(signal.SIGINT)
        try:
            child.wait(20)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def test_a_writer_elsewhere_is_refused_by_name_and_never_stolen_from(world, daemon):
    daemon.create("db", size="1G")
    fenced = world.cluster.ceph("osd", "blocklist", "ls")
    with bench(world, "db") as writer:
        before = world.cluster.locks(world.cluster.header("db"))["rbd_lock"]
        err = daemon.refused("Mount", Name="db", ID="a")
        assert before[0]["name"] in err or "127.0.0.1" in err
        after = world.cluster.locks(world.cluster.header("db"))["rbd_lock"]
        assert [w["name"] for w in after] == [w["name"] for w in before]
        assert writer.poll() is None
    now = world.cluster.ceph("osd", "blocklist", "ls")
    assert set(now.splitlines()) <= set(fenced.splitlines())
    world.cluster.break_locks("db")


def test_somebodys_advisory_lock_is_refused_by_name_at_once(world, daemon):
    daemon.create("db", size="1G")
    world.cluster.rbd("lock", "add", "rbd/db", "by-the-operator")
    err = daemon.refused("Mount", Name="db", ID="a")
    assert "by-the-operator" in err and "lock" in err
    assert "by-the-operator" in world.cluster.rbd("lock", "ls", "rbd/db")
    world.cluster.break_locks("db")
    daemon.mount("db", "a")
    daemon.unmount("db", "a")


def test_an_image_without_exclusive_lock_is_refused_and_says_how_to_mend_it(world):
    daemon = world.daemon(legacy_images="refuse")
    world.cluster.rbd("create", "rbd/old", "--size", "300", "--image-feature", "layering")
    err = daemon.refused("Mount", Name="old", ID="a")
    assert "exclusive-lock" in err


def test_an_image_without_exclusive_lock_is_given_it_at_its_first_mount(world, daemon):
    world.cluster.rbd("create", "rbd/old", "--size", "300", "--image-feature", "layering")
    daemon.mount("old", "a")
    assert "exclusive-lock" in json.loads(world.cluster.rbd("info", "rbd/old", "--format=json"))["features"]
    daemon.unmount("old", "a")


def test_a_stale_owner_record_is_replaced(world, daemon):
    daemon.create("db", size="1G")
    world.cluster.rados("lock", "get", world.cluster.header("db"), "rbdvol", "--lock-cookie", "elsewhere/0/0/0/0/1.2.3.4:0/5")
    daemon.mount("db", "a")
    record = world.cluster.locks(world.cluster.header("db"))["rbdvol"]
    assert len(record) == 1 and "elsewhere" not in record[0]["cookie"]
    daemon.unmount("db", "a")


# -- images made by others


def test_a_blank_image_is_formatted_at_its_first_mount(world, daemon):
    world.cluster.rbd("create", "rbd/blank", "--size", "512")
    assert daemon.get("blank")["Mountpoint"] == ""
    point = daemon.mount("blank", "a")
    assert mounts.at(point).fstype == "xfs"
    write(point, "file", "kept")
    daemon.unmount("blank", "a")
    assert "rbdvol.spec" in world.cluster.metadata("blank")
    assert read(daemon.mount("blank", "b"), "file") == "kept"
    daemon.unmount("blank", "b")


def test_with_create_off_a_blank_image_is_not_formatted(world):
    world.cluster.rbd("create", "rbd/blank", "--size", "512")
    d = world.daemon(create="no").await_cluster()
    assert "blank" in d.refused("Mount", Name="blank", ID="a")
    assert world.cluster.objects("rbd_data.") == []


def imported(world, name, size, *mkfs):
    with scratch(size) as path:
        subprocess.run([*mkfs, path], check=True, capture_output=True)
        import_file(world.cluster, path, f"rbd/{name}")


@pytest.mark.parametrize("mkfs,fstype,block", [
    (["mkfs.xfs", "-q", "-s", "size=512"], "xfs", 512),
    (["mkfs.ext4", "-q", "-b", "1024"], "ext4", 512),
    (["mkfs.ext4", "-q", "-b", "4096"], "ext4", 4096),
    (["mkfs.btrfs", "-q"], "btrfs", 4096),
], ids=["xfs-512", "ext4-1k", "ext4-4k", "btrfs"])
def test_a_file_system_made_elsewhere_is_mounted(world, daemon, mkfs, fstype, block):
    imported(world, "theirs", 400 * M, *mkfs)
    point = daemon.mount("theirs", "a")
    assert mounts.at(point).fstype == fstype
    name = os.path.basename(daemon.get("theirs")["Status"]["device"])
    with open(f"/sys/block/{name}/queue/logical_block_size", encoding="ascii") as f:
        assert int(f.read()) <= block
    write(point, "file", "kept")
    daemon.unmount("theirs", "a")
    assert read(daemon.mount("theirs", "b"), "file") == "kept"
    daemon.unmount("theirs", "b")


def test_somebodys_root_directory_keeps_its_owner_and_lost_and_found(world, daemon):
    imported(world, "theirs", 400 * M, "mkfs.ext4", "-q", "-E", "root_owner=77:88")
    point = daemon.mount("theirs", "a")
    assert os.stat(point).st_uid == 77
    assert os.listdir(point) == ["lost+found"]
    daemon.unmount("theirs", "a")


def luks(path):
    subprocess.run(["cryptsetup", "luksFormat", "-q", "--type", "luks1", "--pbkdf-force-iterations", "1000", "--key-file", "/dev/zero",
                    "--keyfile-size", "16", path], check=True, capture_output=True)


def lvm(path):
    """The label of a physical volume, as `pvcreate` writes it to the second sector."""
    body = struct.pack("<I8s32s", 32, b"LVM2 001", b"u" * 32).ljust(492, b"\0")
    crc = zlib.crc32(body, 0xf597a6cf ^ 0xffffffff) ^ 0xffffffff
    with open(path, "r+b") as f:
        f.seek(512)
        f.write(struct.pack("<8sQI", b"LABELONE", 1, crc) + body)
    assert filesystem(path)["TYPE"] == "LVM2_member"


def partition_table(path):
    """A GPT with one partition. By hand: sfdisk ends with sync(2), which waits for every file system of this machine."""
    last = os.path.getsize(path) // 512 - 1
    entries = struct.pack("<16s16sQQQ72s", b"L" * 16, b"u" * 16, 2048, last - 33, 0, "data".encode("utf-16le")).ljust(128 * 128, b"\0")

    def header(own, other, table, crc=0):
        return struct.pack("<8sIIIIQQQQ16sQIII", b"EFI PART", 0x10000, 92, crc, 0, own, other, 34, last - 33, b"d" * 16, table, 128,
                           128, zlib.crc32(entries))

    with open(path, "r+b") as f:
        f.seek(446)  # the protective partition, and the MBR's signature
        f.write(struct.pack("<8BII", 0, 0, 2, 0, 0xee, 255, 255, 255, 1, last).ljust(64, b"\0") + b"\x55\xaa")
        for place in ((1, last, 2), (last, 1, last - 32)):
            f.seek(place[0] * 512)
            f.write(header(*place, crc=zlib.crc32(header(*place))))
            f.seek(place[2] * 512)
            f.write(entries)
    assert filesystem(path)["PTTYPE"] == "gpt"


def random_data(path):
    with open(path, "r+b") as f:
        f.write(os.urandom(M))


def data_far_inside(path):
    with open(path, "r+b") as f:
        f.seek(100 * M)
        f.write(b"precious")


def swap(path):
    subprocess.run(["mkswap", path], check=True, capture_output=True)


def two_file_systems(path):
    """An ext4 over which the head of an xfs was written: either may be meant."""
    subprocess.run(["mkfs.ext4", "-q", "-F", path], check=True)
    with scratch(400 * M) as other:
        subprocess.run(["mkfs.xfs", "-q", other], check=True)
        with open(other, "rb") as source, open(path, "r+b") as target:
            target.write(source.read(512))


@pytest.mark.parametrize("fill,said", [(luks, "LUKS"), (lvm, "LVM2"), (partition_table, "gpt"), (random_data, ""),
                                       (data_far_inside, ""), (swap, "swap"), (two_file_systems, "")],
                         ids=lambda f: getattr(f, "__name__", ""))
def test_what_is_no_file_system_of_ours_is_refused_and_untouched(world, daemon, fill, said):
    with scratch(400 * M) as path:
        fill(path)
        import_file(world.cluster, path, "rbd/theirs")
    before = checksum(world.cluster, "rbd/theirs")
    err = daemon.refused("Mount", Name="theirs", ID="a")
    assert said.lower() in err.lower() and "theirs" in err
    assert checksum(world.cluster, "rbd/theirs") == before
    assert "rbdvol.spec" not in world.cluster.metadata("theirs")


def test_a_blank_image_with_a_snapshot_is_not_formatted(world, daemon):
    world.cluster.rbd("create", "rbd/theirs", "--size", "400")
    world.cluster.rbd("snap", "create", "rbd/theirs@before")
    assert "snapshot" in daemon.refused("Mount", Name="theirs", ID="a")
    assert world.cluster.objects("rbd_data.") == []
    world.cluster.rbd("snap", "purge", "rbd/theirs")


def test_a_clone_that_looks_blank_is_not_formatted(world, daemon):
    world.cluster.rbd("create", "rbd/parent", "--size", "400")
    world.cluster.rbd("snap", "create", "rbd/parent@s")
    world.cluster.rbd("clone", "--rbd-default-clone-format", "2", "rbd/parent@s", "rbd/child")
    assert "clone" in daemon.refused("Mount", Name="child", ID="a")
    world.cluster.rbd("rm", "rbd/child")
    world.cluster.rbd("snap", "purge", "rbd/parent")


def test_an_image_setting_that_would_turn_the_cache_on_is_refused_or_gone(world, daemon):
    daemon.create("db", size="1G")
    world.cluster.rbd("config", "image", "set", "rbd/db", "rbd_cache", "true")
    reply = daemon.call("Mount", {"Name": "db", "ID": "a"})
    if reply.status == 200:
        assert "conf_rbd_cache" not in world.cluster.metadata("db")
        daemon.unmount("db", "a")
    else:
        assert "rbd_cache" in reply.err


# -- the mountpoint


def test_nobody_can_write_below_an_unmounted_mountpoint(daemon):
    daemon.create("db")
    point = daemon.mount("db", "a")
    daemon.unmount("db", "a")
    if os.path.isdir(point):
        with pytest.raises(PermissionError):
            write(point, "stray", "lost")
        with pytest.raises(PermissionError):
            os.mkdir(os.path.join(point, "stray"))
        flags = subprocess.run(["lsattr", "-d", point], capture_output=True, text=True, check=True).stdout.split()[0]
        assert "i" in flags


def test_a_foreign_mount_on_the_mountpoint_is_refused_and_left_alone(world, daemon):
    """Row 33: nothing is mounted over it, and Get and Path do not take it for the volume's."""
    daemon.create("db", size="64M", fstype="ext4")
    point = daemon.mount("db", "a")
    daemon.unmount("db", "a")
    subprocess.run(["mount", "-t", "tmpfs", "foreign", point], check=True)
    try:
        err = daemon.refused("Mount", Name="db", ID="a")
        assert point in err, err
        assert [m.source for m in mounts.mounts() if m.point == point] == ["foreign"]
        assert daemon.get("db")["Mountpoint"] == "" and daemon.must("Path", Name="db")["Mountpoint"] == ""
        daemon.unmount("db", "a")
        daemon.restart().await_cluster()
        assert daemon.get("db")["Mountpoint"] == ""
        assert [m.source for m in mounts.mounts() if m.point == point] == ["foreign"]
    finally:
        subprocess.run(["umount", point], check=True)
    until(lambda: lock_names(world, "db") == set(), "the lock to be let go", 20)
    daemon.mount("db", "a")
    daemon.unmount("db", "a")


def test_unmount_of_a_busy_volume_says_who_and_keeps_the_lock(world, daemon):
    daemon.create("db", size="1G")
    point = daemon.mount("db", "a")
    pin = subprocess.Popen(["unshare", "-m", "--propagation", "private", "sleep", "1000"], cwd="/")
    try:
        until(lambda: os.readlink(f"/proc/{pin.pid}/ns/mnt") != os.readlink("/proc/self/ns/mnt"), "a mount namespace of its own")
        err = daemon.refused("Unmount", Name="db", ID="a")
        assert str(pin.pid) in err
        assert "rbd_lock" in lock_names(world, "db")
    finally:
        Process(pin.pid).signal(signal.SIGKILL)
        pin.wait()
    until(lambda: not lock_names(world, "db"), "the retry to take the volume down", 60)
    assert mounts.at(point) is None


def test_an_unmounted_image_is_clean(world, daemon):
    daemon.create("db", size="400M", fstype="ext4")
    point = daemon.mount("db", "a")
    for n in range(50):
        write(point, f"f{n}", "x" * 10000)
    daemon.unmount("db", "a")
    with exported(world.cluster, "rbd/db") as path:
        assert filesystem(path)["TYPE"] == "ext4"
        assert subprocess.run(["e2fsck", "-fn", path], capture_output=True, check=False).returncode == 0
