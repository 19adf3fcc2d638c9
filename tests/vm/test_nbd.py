# SPDX-License-Identifier: MIT
"""The life of volumes on rbd-nbd."""

import json

import pytest
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
    guest.call("writer_stop", f"{point}/log")
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


def test_a_volume_whose_process_died_can_be_taken_down_and_mounted_again(guest, daemon, cluster):
    daemon.create("db", size="1G", fstype="ext4")
    point = daemon.mount("db", "one")
    checksum = guest.call("fill", f"{point}/data", 2)
    (pid,) = guest.call("rbd_nbds")
    guest.sh(f"kill -9 {pid}")
    until(lambda: daemon.get("db")["Status"]["state"] == "lost", "the loss to be seen", 20)
    daemon.unmount("db", "one")
    until(lambda: guest.call("nbd_devices") == [], "the device to go", 30)
    daemon.mount("db", "two")  # the dead one is fenced
    assert guest.call("checksum", f"{point}/data") == checksum
    daemon.unmount("db", "two")


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
    guest.sh("printf '#!/bin/sh\\necho no network block device for you >&2\\nexit 1\\n' >/run/no-nbd && chmod +x /run/no-nbd && "
             "mount --bind /run/no-nbd /usr/bin/rbd-nbd")
    try:
        daemon = hosts.daemon(mapper="nbd")
        assert "rbd-nbd could not map it: no network block device for you" in daemon.refused("Mount", Name="db", ID="one")
    finally:
        guest.sh("umount /usr/bin/rbd-nbd")
    daemon.mount("db", "one")
    daemon.unmount("db", "one")
