# SPDX-License-Identifier: MIT
"""The life of volumes on the kernel's rbd driver."""

import json

from image import edited
from waiting import until


def status(daemon):
    done = daemon.cli("status", "--json")
    assert done["code"] == 0, done["err"]
    return json.loads(done["out"])


def test_a_volume_lives_on_krbd(guest, daemon, cluster):
    daemon.create("db", size="1G")
    point = daemon.mount("db", "one")
    assert guest.call("mounted", point)["source"] == "/dev/rbd0"
    (device,) = guest.call("devices")
    assert device["name"] == "db" and device["image_id"] == cluster.info("db")["id"]
    (owner,) = cluster.locks(cluster.header("db"))["rbd_lock"]
    assert owner["addr"] == device["client_addr"], "the lock is not the kernel's"
    (record,) = cluster.locks(cluster.header("db"))["rbdvol"]
    assert record["cookie"].endswith("/" + device["client_addr"])
    told = daemon.get("db")["Status"]
    assert (told["mapper"], told["device"], told["state"]) == ("krbd", "/dev/rbd0", "mounted")
    assert status(daemon)["Mapper"]["Name"] == "krbd"
    checksum = guest.call("fill", f"{point}/data", 4)
    daemon.unmount("db", "one")
    assert guest.call("devices") == [] and guest.call("mounted", point) is None
    assert cluster.locks_left() == []
    assert daemon.mount("db", "two") == point
    assert guest.call("checksum", f"{point}/data") == checksum
    daemon.unmount("db", "two")
    daemon.remove("db")
    assert cluster.images() == []


def test_the_key_is_nowhere_to_be_read(guest, daemon, cluster):
    daemon.create("db", size="64M", fstype="ext4")
    point = daemon.mount("db", "one")
    (device,) = guest.call("devices")
    with open(f"{cluster.dir}/client.{cluster.user}.keyring", encoding="ascii") as f:
        key = f.read().split("key = ")[1].split()[0]
    line = device["config_info"]
    assert "key=client.rbdvol" in line and "secret" not in line and key not in line
    assert ",exclusive" in line and ",noshare" in line and "osd_request_timeout" not in line
    assert key not in guest.call("daemon_log", daemon.name)
    assert key not in guest.sh("dmesg; cat /proc/keys; grep -rs . /run/rbd/rbd.state")
    until(lambda: "ceph" not in guest.sh("cat /proc/keys").split(), "the key to leave the kernel", 5)
    assert guest.call("mounted", point)
    daemon.unmount("db", "one")


def test_a_daemon_that_is_killed_finds_its_mapping_again(guest, daemon, cluster):
    daemon.create("db", size="1G")
    point = daemon.mount("db", "one")
    (before,) = guest.call("devices")
    guest.call("writer_start", f"{point}/log")
    daemon.kill()
    daemon.start()
    assert daemon.get("db")["Mountpoint"] == point
    assert guest.call("devices") == [before]
    daemon.await_cluster()
    assert daemon.mount("db", "one") == point  # twice mounted by one holder
    guest.call("writer_end", f"{point}/log")
    assert guest.call("writer", f"{point}/log")["error"] is None
    daemon.unmount("db", "one")
    daemon.unmount("db", "one")
    assert guest.call("devices") == [] and cluster.locks_left() == []


def test_what_a_killed_daemon_had_only_mapped_is_unmapped(guest, daemon, cluster):
    """Killed between the write and the mount: nobody was told that the volume is mounted."""
    daemon.create("new", size="100M", fstype="ext4")
    edited(cluster, "new", "db", "ssv state 0")  # one that is clean is not checked
    guest.sh("printf '#!/bin/sh\\nexec sleep 600\\n' >/run/e2fsck && chmod +x /run/e2fsck && mount --bind /run/e2fsck /usr/sbin/e2fsck")
    try:
        daemon.begin("call", "Mount", {"Name": "db", "ID": "one"})
        until(lambda: ["sleep", "600"] in guest.call("argvs"), "the check of the file system", 20)
        assert len(guest.call("devices")) == 1
        daemon.kill()
    finally:
        guest.sh("umount /usr/sbin/e2fsck")
        guest.call("kill_all", "sleep", "600")
    daemon.start()
    until(lambda: guest.call("devices") == [], "the mapping to go", 20)
    until(lambda: cluster.locks_left() == [], "the locks to go", 20)
    guest.call("mounted", daemon.mount("db", "two"))
    daemon.unmount("db", "two")


def begin_held_mount(guest, daemon):
    """A Mount that gets as far as the write that maps, which waits until the helper goes on; the helper."""
    daemon.create("db", size="1G")
    daemon.mount("db", "one")
    daemon.unmount("db", "one")
    helper = guest.call("hold_helper", daemon.name)
    daemon.begin("call", "Mount", {"Name": "db", "ID": "one"})
    until(lambda: guest.call("records"), "the write to be near", 20)
    return helper


def test_a_daemon_that_is_killed_before_the_write_leaves_nothing(guest, daemon):
    helper = begin_held_mount(guest, daemon)
    daemon.kill()
    guest.call("kill_pid", helper)
    daemon.start()
    daemon.await_cluster()
    daemon.mount("db", "two")  # its own control lock does not stand in the way
    daemon.unmount("db", "two")
    assert guest.call("devices") == [] and guest.call("records") == []


def test_what_a_killed_daemon_was_mapping_is_undone(guest, daemon, cluster):
    """Killed while the write hangs in the kernel, since the OSD does not answer."""
    helper = begin_held_mount(guest, daemon)
    cluster.pause("osd")
    try:
        guest.call("go_on", helper)
        until(lambda: guest.call("argv", helper)[1:2] == ["krbd"], "the write", 10)
        daemon.kill()
        daemon.start()
    finally:
        cluster.resume("osd")
    daemon.await_cluster()
    daemon.mount("db", "two")
    assert len(guest.call("devices")) == 1
    daemon.unmount("db", "two")
    assert guest.call("devices") == [] and guest.call("records") == []


def test_a_daemon_that_is_killed_as_it_unmounts_finishes_it(guest, daemon, cluster):
    """What it had asked for may still be done when it is gone."""
    daemon.create("db", size="1G")
    point = daemon.mount("db", "one")
    checksum = guest.call("fill", f"{point}/data", 2)
    helper = guest.call("hold_helper", daemon.name)
    daemon.begin("call", "Unmount", {"Name": "db", "ID": "one"})
    until(lambda: status(daemon)["Volumes"][0].get("Busy") == "unmounting", "the unmount to be asked for", 10)
    daemon.kill()
    guest.call("go_on", helper)
    daemon.start()
    daemon.await_cluster()
    daemon.unmount("db", "one")
    until(lambda: guest.call("devices") == [] and guest.call("records") == [], "the mapping to go", 20)
    assert cluster.locks_left() == []
    assert guest.call("checksum", daemon.mount("db", "two") + "/data") == checksum
    daemon.unmount("db", "two")


def test_a_helper_that_has_died_idle_is_replaced(guest, daemon):
    daemon.create("db", size="1G")
    daemon.mount("db", "one")
    (before,) = daemon.idle_helpers()
    guest.call("kill_pid", before)
    daemon.unmount("db", "one")
    (now,) = daemon.idle_helpers()
    assert now != before
    daemon.mount("db", "two")
    daemon.unmount("db", "two")
    assert daemon.idle_helpers() == [now], "a Mount on krbd started a helper"


def test_features_that_the_kernel_lacks_are_named_with_the_command_that_takes_them_away(guest, hosts, cluster):
    daemon = hosts.daemon(mapper="krbd")
    cluster.rbd("create", "--size", "1G", "--image-feature", "layering,exclusive-lock,object-map,journaling", "rbd/odd")
    said = daemon.refused("Mount", Name="odd", ID="one")
    command = said.split("`")[1]
    assert command == "rbd feature disable rbd/odd journaling", said
    cluster.rbd(*command.split()[1:])
    assert guest.call("mounted", daemon.mount("odd", "one"))["source"] == "/dev/rbd0"
    daemon.unmount("odd", "one")


def test_without_the_driver_auto_goes_on_and_krbd_says_what_to_do(guest, hosts):
    until(lambda: guest.sh("modprobe -r rbd; grep '^rbd ' /proc/modules || true") == "", "the last mapping to let go of the module")
    try:
        daemon = hosts.daemon(mapper="krbd")
        daemon.create("db", size="1G")
        assert "modprobe rbd" in daemon.refused("Mount", Name="db", ID="one")
        assert "modprobe rbd" in status(daemon)["Mapper"]["Why"]
    finally:
        guest.sh("modprobe rbd single_major=Y")
    assert guest.call("mounted", daemon.mount("db", "one"))["source"] == "/dev/rbd0"  # no restart needed
    daemon.unmount("db", "one")


def test_an_image_of_others_is_mounted_and_left_as_it_is(guest, daemon, cluster):
    cluster.rbd("create", "--size", "1G", "rbd/theirs")
    device = guest.call("sysfs_map", guest.call("line", cluster.conf, cluster.user, "theirs"))
    guest.sh(f"mkfs.ext4 -q {device} && mount {device} /mnt && echo theirs >/mnt/file && umount /mnt")
    said = daemon.refused("Mount", Name="theirs", ID="one")
    assert "in use" in said or "locked" in said or "mapped on this host" in said, said
    assert guest.call("devices"), "the mapping of others was taken away"
    guest.call("sysfs_unmap", 0)
    point = daemon.mount("theirs", "one")
    assert guest.call("mounted", point)["fstype"] == "ext4" and guest.call("read", f"{point}/file") == "theirs\n"
    daemon.unmount("theirs", "one")


def test_a_blank_image_of_others_is_formatted(guest, daemon, cluster):
    cluster.rbd("create", "--size", "1G", "rbd/blank")
    point = daemon.mount("blank", "one")
    assert guest.call("mounted", point) == {**guest.call("mounted", point), "source": "/dev/rbd0", "fstype": "xfs"}
    daemon.unmount("blank", "one")


def test_an_image_with_an_unknown_content_is_left_alone(guest, daemon, cluster):
    cluster.rbd("create", "--size", "64M", "rbd/odd")
    cluster.rbd("bench", "--io-type", "write", "--io-total", "64K", "rbd/odd")
    assert "not blank" in daemon.refused("Mount", Name="odd", ID="one")
    assert guest.call("devices") == []


def test_a_namespace_has_its_own_images(guest, hosts, cluster):
    cluster.rbd("namespace", "create", "rbd/tenant")
    try:
        daemon = hosts.daemon(namespace="tenant")
        daemon.create("db", size="1G")
        daemon.mount("db", "one")
        (device,) = guest.call("devices")
        assert device["pool_ns"] == "tenant" and device["image_id"] == cluster.info("rbd/tenant/db")["id"]
        daemon.kill()
        daemon.start()
        daemon.await_cluster()
        daemon.unmount("db", "one")
        assert guest.call("devices") == []
        daemon.remove("db")
    finally:
        for name in cluster.images("rbd/tenant"):
            cluster.rbd("rm", f"rbd/tenant/{name}")
        for entry in cluster.trash("rbd/tenant"):
            cluster.rbd("trash", "rm", f"rbd/tenant/{entry['id']}", "--force")
        cluster.rbd("namespace", "remove", "rbd/tenant")


def test_a_mount_in_another_namespace_keeps_the_lock(guest, daemon, cluster):
    daemon.create("db", size="1G")
    daemon.mount("db", "one")
    pin = int(guest.sh("setsid unshare -m --propagation private sleep 600 >/dev/null 2>&1 & echo $!"))
    until(lambda: "sleep" in guest.sh(f"cat /proc/{pin}/comm"), "the namespace", 10)
    said = daemon.refused("Unmount", Name="db", ID="one")
    assert f"pid {pin}" in said, said
    assert len(guest.call("devices")) == 1 and cluster.locks(cluster.header("db"))["rbd_lock"]
    guest.sh(f"kill {pin}")
    until(lambda: guest.call("devices") == [] and cluster.locks_left() == [], "the retry", 40)


def test_map_options_reach_the_kernel(guest, hosts):
    daemon = hosts.daemon(map_options="queue_depth=64,ms_mode=secure")
    daemon.create("db", size="1G")
    daemon.mount("db", "one")
    (device,) = guest.call("devices")
    assert ",queue_depth=64,ms_mode=secure" in device["config_info"]
    daemon.unmount("db", "one")


def test_eight_volumes_at_once(guest, daemon):
    names = [f"v{n}" for n in range(8)]
    for name in names:
        daemon.create(name, size="64M", fstype="ext4")
    for waiting in [daemon.begin("mount", name, "one") for name in names]:
        daemon.end(waiting)
    assert len(guest.call("devices")) == 8
    assert len({device["client_addr"] for device in guest.call("devices")}) == 8, "clients are shared"
    for waiting in [daemon.begin("unmount", name, "one") for name in names]:
        daemon.end(waiting)
    assert guest.call("devices") == []
