# SPDX-License-Identifier: MIT
"""The life of volumes on rbd-nbd."""

import contextlib
import json

import pytest
from test_takeover import days_fenced
from waiting import until


@pytest.fixture
def daemon(hosts):
    return hosts.daemon(mapper="nbd")


def test_a_volume_lives_on_nbd(guest, daemon, cluster):
    daemon.create("db", size="1G")
    point = daemon.mount("db", "one")
    assert guest.call("mounted", point)["source"] == "/dev/nbd0"
    (pid,) = guest.call("rbd_nbds")
    (owner,) = cluster.locks(cluster.header("db"))["rbd_lock"]
    (record,) = cluster.locks(cluster.header("db"))["rbdvol"]
    assert record["cookie"].endswith("/" + owner["addr"].removeprefix("v1:")), (record, owner)
    told = daemon.get("db")["Status"]
    assert (told["mapper"], told["device"], told["state"]) == ("nbd", "/dev/nbd0", "mounted")
    words = guest.call("argv", pid)
    assert "--exclusive" in words and "--rbd_cache=false" in words
    checksum = guest.call("fill", f"{point}/data", 4)
    daemon.unmount("db", "one")
    assert guest.call("rbd_nbds") == [] and guest.call("nbd_devices") == []
    assert cluster.locks_left() == []
    daemon.mount("db", "two")
    assert guest.call("checksum", f"{point}/data") == checksum
    daemon.unmount("db", "two")


def test_a_daemon_that_is_killed_finds_its_mapping_again(guest, daemon, cluster):
    daemon.create("db", size="1G")
    point = daemon.mount("db", "one")
    before = guest.call("rbd_nbds")
    guest.call("writer_start", f"{point}/log")
    daemon.kill()
    daemon.start()
    assert daemon.get("db")["Mountpoint"] == point and guest.call("rbd_nbds") == before
    daemon.await_cluster()
    until(lambda: guest.call("writer", f"{point}/log")["acked"] > 5, "the writer", 20)
    guest.call("writer_end", f"{point}/log")
    assert guest.call("writer", f"{point}/log")["error"] is None
    daemon.unmount("db", "one")
    assert guest.call("nbd_devices") == [] and cluster.locks_left() == []


def test_a_mount_in_another_namespace_keeps_the_device(guest, daemon, cluster):
    """The kernel would take the device away from under it."""
    daemon.create("db", size="1G")
    daemon.mount("db", "one")
    pin = int(guest.sh("setsid unshare -m --propagation private sleep 600 >/dev/null 2>&1 & echo $!"))
    until(lambda: "sleep" in guest.sh(f"cat /proc/{pin}/comm"), "the namespace", 10)
    said = daemon.refused("Unmount", Name="db", ID="one")
    assert f"pid {pin}" in said, said
    assert guest.call("nbd_devices") == ["/dev/nbd0"] and cluster.locks(cluster.header("db"))["rbd_lock"]
    guest.sh(f"kill {pin}")
    until(lambda: guest.call("nbd_devices") == [] and cluster.locks_left() == [], "the retry", 40)


GOES_ON = 120  # seconds: what was in flight is sent again when the kernel next looks at it, every 30 s


BUSY = 10  # seconds
MAPS_NOT = '*" map "* | *" attach "*) echo {} >&2 && exit 1 ;;'


def owner_address(cluster):
    (owner,) = cluster.locks(cluster.header("db"))["rbd_lock"]
    return owner["addr"].removeprefix("v1:")


@contextlib.contextmanager
def rbd_nbd_that(guest, *cases):
    """One that does this, and then the rest as it is."""
    guest.sh("cp /usr/bin/rbd-nbd /run/rbd-nbd.real")
    lines = "\n".join(cases)
    guest.call("write", "/run/its-nbd", f"""#!/bin/sh
case " $* " in
{lines}
esac
exec /run/rbd-nbd.real "$@"
""")
    guest.sh("chmod +x /run/its-nbd && mount --bind /run/its-nbd /usr/bin/rbd-nbd")
    try:
        yield
    finally:
        guest.sh("umount /usr/bin/rbd-nbd")


@pytest.mark.parametrize("victims", ["rbd-nbd", "both"])
def test_a_process_that_died_is_replaced_and_the_io_goes_on(guest, daemon, cluster, victims):
    daemon.create("db", size="1G", fstype="ext4")
    point = daemon.mount("db", "one")
    checksum, log = guest.call("fill", f"{point}/data", 2), f"{point}/log"
    guest.call("writer_start", log)
    until(lambda: guest.call("writer", log)["acked"] > 3, "the writer", 20)
    (pid,), old = guest.call("rbd_nbds"), owner_address(cluster)
    if victims == "both":
        daemon.kill()
    guest.sh(f"kill -9 {pid}")
    if victims == "both":
        daemon.start()
    until(lambda: guest.call("rbd_nbds") not in ([], [pid]), "another process", 40)
    acked = guest.call("writer", log)["acked"]
    until(lambda: guest.call("writer", log)["acked"] > acked + 5, "the I/O to go on", GOES_ON)
    guest.call("writer_end", log)
    assert guest.call("writer", log)["error"] is None
    assert daemon.get("db")["Status"]["state"] == "mounted" and daemon.get("db")["Mountpoint"] == point
    new = owner_address(cluster)
    (record,) = cluster.locks(cluster.header("db"))["rbdvol"]
    assert new != old and days_fenced(cluster, old) >= 29 and record["cookie"].endswith("/" + new)
    lines = guest.call("writer", log)["acked"]
    daemon.unmount("db", "one")
    assert guest.call("nbd_devices") == [] and cluster.locks_left() == []
    daemon.mount("db", "two")
    assert guest.call("checksum", f"{point}/data") == checksum
    assert guest.call("read", log).split() == [str(n) for n in range(1, lines + 1)]
    daemon.unmount("db", "two")


def test_a_volume_whose_process_cannot_be_replaced_is_lost_and_can_be_mounted_again(guest, daemon, cluster):
    daemon.create("db", size="1G", fstype="ext4")
    point = daemon.mount("db", "one")
    checksum = guest.call("fill", f"{point}/data", 2)
    (pid,) = guest.call("rbd_nbds")
    # on a host that is busy rbd-nbd has taken longer than that until it tells the kernel
    with rbd_nbd_that(guest, MAPS_NOT.format("not today"), f'*" unmap "*) sleep {BUSY} ;;'):
        guest.sh(f"kill -9 {pid}")
        until(lambda: daemon.get("db")["Status"]["state"] == "lost", "the loss to be seen", 20)
        assert "not today" in daemon.get("db")["Status"]["trouble"]
        daemon.unmount("db", "one")
    until(lambda: guest.call("nbd_devices") == [], "the device to go", 30)
    daemon.mount("db", "two")  # the dead one is fenced
    assert guest.call("checksum", f"{point}/data") == checksum
    daemon.unmount("db", "two")


def test_what_another_host_had_meanwhile_is_not_attached_again(hosts):
    """Its file system is no longer what this host's kernel knows of it."""
    one, two = hosts.daemon(0, mapper="nbd"), hosts.daemon(1)
    one.create("db", size="1G", fstype="ext4")
    point = one.mount("db", "a")
    one.guest.call("write", f"{point}/file", "of one")
    (pid,) = one.guest.call("rbd_nbds")
    one.kill()
    one.guest.sh(f"kill -9 {pid}")
    there = two.mount("db", "b")
    two.guest.call("write", f"{there}/file", "of two")
    two.unmount("db", "b")
    one.start()
    until(lambda: one.get("db")["Status"]["state"] == "lost", "the loss to be seen", 30)
    assert one.guest.call("rbd_nbds") == []
    assert "not its own any more" in one.get("db")["Status"]["trouble"]
    one.unmount("db", "a")
    until(lambda: one.guest.call("nbd_devices") == [], "the device to go", 30)
    assert one.guest.call("read", one.mount("db", "c") + "/file") == "of two"
    one.unmount("db", "c")


def test_features_that_krbd_lacks_are_mapped_by_nbd(guest, hosts, cluster):
    daemon = hosts.daemon()
    cluster.rbd("create", "--size", "1G", "--image-feature", "layering,exclusive-lock,object-map,journaling", "rbd/odd")
    point = daemon.mount("odd", "one")
    assert guest.call("mounted", point)["source"] == "/dev/nbd0"
    (volume,) = json.loads(daemon.cli("status", "--json")["out"])["Volumes"]
    assert volume["Mapper"] == "nbd" and "krbd: this kernel cannot map" in volume["MapperWhy"], volume
    daemon.unmount("odd", "one")


def test_what_rbd_nbd_says_is_told(guest, hosts, cluster):
    cluster.rbd("create", "--size", "1G", "rbd/db")
    with rbd_nbd_that(guest, MAPS_NOT.format("no network block device for you")):
        daemon = hosts.daemon(mapper="nbd")
        assert "rbd-nbd could not map it: no network block device for you" in daemon.refused("Mount", Name="db", ID="one")
    daemon.mount("db", "one")
    daemon.unmount("db", "one")
