# SPDX-License-Identifier: MIT
"""What can be done with a volume while krbd has it, and what is refused, with which sentence."""

import json

import pytest
from test_takeover import days_fenced
from waiting import until

MIB = 1 << 20


def done(daemon, *words):
    said = daemon.cli(*words)
    assert said["code"] == 0, said["err"]
    return said["out"]


def not_done(daemon, *words):
    said = daemon.cli(*words)
    assert said["code"] == 1, said["out"]
    return said["err"]


def trouble(daemon, name):
    return daemon.get(name)["Status"].get("trouble", "")


def stored(cluster):
    """How many bytes the volumes' objects have. The kernel frees whole objects, and cuts off what is free at the end of one."""
    return sum(int(cluster.rados("stat", name).split()[-1]) for name in cluster.objects("rbd_data."))


@pytest.mark.parametrize("fstype", ["xfs", "ext4"])
def test_a_volume_grows_at_rest_and_says_why_not_in_use(guest, daemon, cluster, fstype):
    daemon.create("db", size="512M", fstype=fstype)
    point = daemon.mount("db", "one")
    before = guest.call("room", point)
    said = not_done(daemon, "resize", "db", "1G")
    assert "mapped by krbd, which lets nobody change the image" in said and "stop its container" in said, said
    assert cluster.info("db")["size"] == 512 * MIB
    daemon.unmount("db", "one")
    assert "1 GiB now" in done(daemon, "resize", "db", "1G")
    assert guest.call("room", daemon.mount("db", "one")) > before + 400 * MIB
    daemon.unmount("db", "one")
    if fstype == "ext4":  # by the kernel, once it was mounted: resize2fs is for hosts that may not do that
        assert "resized filesystem to" in guest.sh("dmesg | grep 'EXT4-fs' | tail -n 20")
        assert "rbdvol.growing" not in cluster.metadata("db")


def test_snapshots_are_made_at_rest_and_refused_in_use(guest, daemon, cluster):
    cluster.has_snapshots = True
    daemon.create("db", size="512M", fstype="ext4")
    point = daemon.mount("db", "one")
    guest.call("write", f"{point}/file", "before")
    assert "mapped by krbd, which lets nobody change the image" in not_done(daemon, "snap", "create", "db@mon")
    daemon.unmount("db", "one")
    done(daemon, "snap", "create", "db@mon")
    daemon.mount("db", "one")
    guest.call("write", f"{point}/file", "after")
    assert [line.split()[0] for line in done(daemon, "snap", "ls", "db").splitlines()] == ["SNAPSHOT", "mon"]
    assert "mounted on this host; stop its container" in not_done(daemon, "snap", "rollback", "db@mon")
    assert "mapped by krbd" in not_done(daemon, "snap", "rm", "db@mon")
    daemon.unmount("db", "one")
    done(daemon, "snap", "rollback", "db@mon")
    assert guest.call("read", daemon.mount("db", "one") + "/file") == "before"
    daemon.unmount("db", "one")
    done(daemon, "snap", "rm", "db@mon")


def test_a_clone_is_mapped_by_krbd_beside_its_source_and_a_snapshot_by_fuse(guest, daemon, cluster):
    cluster.has_snapshots = True
    daemon.create("db", size="512M")
    point = daemon.mount("db", "one")
    guest.call("write", f"{point}/file", "before")
    daemon.unmount("db", "one")
    done(daemon, "snap", "create", "db@mon")
    daemon.mount("db", "one")
    guest.call("write", f"{point}/file", "after")
    daemon.create("copy", **{"from": "db@mon"})
    copy = daemon.mount("copy", "two")
    assert {guest.call("mounted", path)["source"] for path in (point, copy)} == {"/dev/rbd0", "/dev/rbd1"}
    assert guest.call("read", f"{copy}/file") == "before" and guest.call("read", f"{point}/file") == "after"
    guest.call("write", f"{copy}/file", "changed")
    assert guest.call("read", f"{point}/file") == "after"
    daemon.create("seen", **{"from": "db@mon"}, ro="true")
    seen = daemon.mount("seen", "three")
    assert guest.call("read", f"{seen}/file") == "before"
    assert guest.call("mounted", seen)["source"].startswith("/dev/loop")
    (why,) = [v["MapperWhy"] for v in json.loads(done(daemon, "status", "--json"))["Volumes"] if v["Name"] == "rbd/seen"]
    assert "krbd: a snapshot may be mounted on many hosts" in why, why
    for name, holder in (("seen", "three"), ("copy", "two"), ("db", "one")):
        daemon.unmount(name, holder)
    assert guest.call("read", daemon.mount("copy", "two") + "/file") == "changed"
    daemon.unmount("copy", "two")


def test_trim_gives_back_what_was_deleted(guest, daemon, cluster):
    daemon.create("db", size="512M")
    point = daemon.mount("db", "one")
    guest.call("fill", f"{point}/large", 32)
    full = stored(cluster)
    assert full >= 32 * MIB
    guest.sh(f"rm {point}/large && sync -f {point}")
    done(daemon, "trim", "db")
    assert stored(cluster) < full / 2
    daemon.unmount("db", "one")


def test_limits_are_for_another_mapper(guest, hosts):
    daemon = hosts.daemon()
    assert "krbd cannot limit I/O" in daemon.refused_create("slow", size="64M", qos_iops="40", mapper="krbd")
    daemon.create("slow", size="64M", fstype="ext4", qos_iops="400")
    assert guest.call("mounted", daemon.mount("slow", "one"))["source"] == "/dev/nbd0"
    daemon.unmount("slow", "one")


def test_what_was_removed_is_taken_back(guest, daemon):
    daemon.create("db", size="64M", fstype="ext4")
    guest.call("write", daemon.mount("db", "one") + "/file", "kept")
    daemon.unmount("db", "one")
    daemon.remove("db")
    assert done(daemon, "trash", "restore", "db").strip() == "rbd/db"
    assert guest.call("read", daemon.mount("db", "one") + "/file") == "kept"
    daemon.unmount("db", "one")


@pytest.mark.parametrize("mapper", ["krbd", "nbd"])
def test_stuck_io_is_reported_and_goes_on(hosts, cluster, mapper):
    daemon = hosts.daemon(io_stuck="2s", mapper=mapper)
    guest = daemon.guest
    daemon.create("db", size="64M", fstype="ext4")
    point = daemon.mount("db", "one")
    guest.call("writer_start", f"{point}/log")
    until(lambda: guest.call("writer", f"{point}/log")["acked"] > 3, "the writer", 20)
    assert "stuck" not in trouble(daemon, "db")
    cluster.pause("osd")
    try:
        until(lambda: "stuck: none of its I/O was answered" in trouble(daemon, "db"), "the report", 20)
    finally:
        cluster.resume("osd")
    until(lambda: "stuck" not in trouble(daemon, "db"), "its end to be seen", 30)
    guest.call("writer_end", f"{point}/log")
    assert guest.call("writer", f"{point}/log")["error"] is None
    daemon.unmount("db", "one")


def test_a_client_whose_io_is_to_fail_is_fenced(hosts, cluster):
    """The kernel ends no I/O without the cluster. With its client fenced it fails with the next answer, and never lands."""
    daemon = hosts.daemon(io_stuck="2s", io_stuck_action="error", mapper="krbd")
    guest = daemon.guest
    daemon.create("db", size="64M", fstype="ext4")
    point = daemon.mount("db", "one")
    (device,) = guest.call("devices")
    guest.call("writer_start", f"{point}/log")
    until(lambda: guest.call("writer", f"{point}/log")["acked"] > 3, "the writer", 20)
    cluster.pause("osd")
    try:
        until(lambda: daemon.get("db")["Status"]["state"] == "lost", "the loss", 20)
        assert "its client is fenced (io-stuck-action=error)" in trouble(daemon, "db")
        until(lambda: device["client_addr"] in cluster.blocklist(), "the fence", 20)
    finally:
        cluster.resume("osd")
    until(lambda: guest.call("writer", f"{point}/log")["error"], "the writer's end", 60)
    assert days_fenced(cluster, device["client_addr"]) >= 29
    until(lambda: guest.call("devices") == [], "the mapping to go", 60)
    daemon.unmount("db", "one")
    daemon.mount("db", "two")
    daemon.unmount("db", "two")


def test_io_that_is_to_fail_fails_although_the_cluster_is_cut_off(hosts, cluster):
    """krbd could not do that, so `auto` passes it over: a process that waits in the kernel has its error within the bound, and can end;
    the lock stays, and the next taker fences."""
    daemon = hosts.daemon(io_stuck="2s", io_stuck_action="error")
    guest = daemon.guest
    daemon.create("db", size="64M", fstype="ext4")
    point = daemon.mount("db", "one")
    assert guest.call("mounted", point)["source"] == "/dev/nbd0"
    why = json.loads(done(daemon, "status", "--json"))["Volumes"][0]["MapperWhy"]
    assert "krbd: it cannot fail stuck I/O before the cluster answers" in why, why
    guest.call("writer_start", f"{point}/log")
    until(lambda: guest.call("writer", f"{point}/log")["acked"] > 3, "the writer", 20)
    guest.cut()
    until(lambda: guest.call("writer", f"{point}/log")["error"], "the writer's end", 20)
    assert guest.call("writer", f"{point}/log")["error"] in (5, 30), "neither EIO nor EROFS"
    until(lambda: daemon.get("db")["Status"]["state"] == "lost", "the loss", 20)
    (owner,) = cluster.locks(cluster.header("db"))["rbd_lock"]
    guest.mend()
    daemon.await_cluster()
    daemon.unmount("db", "one")
    daemon.mount("db", "two")
    assert days_fenced(cluster, owner["addr"]) >= 29
    daemon.unmount("db", "two")


@pytest.mark.parametrize("mapper", ["krbd", "fuse"])
def test_a_writer_with_little_memory_writes_much(hosts, mapper):
    """All that it has dirty is on its way to the cluster again and again; what takes it there must not wait for that memory. It is
    outside of the writer's cgroup, as it is for containers."""
    daemon = hosts.daemon(mapper=mapper)
    guest = daemon.guest
    if "memory" not in guest.sh("cat /sys/fs/cgroup/cgroup.controllers").split():
        pytest.skip("the guest's kernel has no memory controller")
    daemon.create("db", size="512M")
    point = daemon.mount("db", "one")
    guest.sh("echo +memory >/sys/fs/cgroup/cgroup.subtree_control; mkdir -p /sys/fs/cgroup/small && "
             "echo 24M >/sys/fs/cgroup/small/memory.max")
    writing = guest.begin("sh", f"echo $BASHPID >/sys/fs/cgroup/small/cgroup.procs && exec dd if=/dev/zero of={point}/file bs=1M count=160 conv=fsync",
                          timeout=200)
    assert daemon.get("db")["Status"]["state"] == "mounted"
    guest.end(writing, 240)
    assert "oom_kill 0" in guest.sh("cat /sys/fs/cgroup/small/memory.events")
    daemon.unmount("db", "one")
    guest.sh("rmdir /sys/fs/cgroup/small")


def test_ext4_grows_while_it_is_mounted(hosts):
    """With CAP_SYS_RESOURCE, which a machine for development may withhold; krbd and nbd let nobody change the image (above)."""
    daemon = hosts.daemon(mapper="fuse")
    guest = daemon.guest
    daemon.create("db", size="512M", fstype="ext4")
    point = daemon.mount("db", "one")
    guest.call("write", f"{point}/file", "kept")
    before = guest.call("room", point)
    assert "1 GiB now, and so has its file system" in done(daemon, "resize", "db", "1G")
    assert guest.call("room", point) > before + 400 * MIB and guest.call("read", f"{point}/file") == "kept"
    daemon.unmount("db", "one")
