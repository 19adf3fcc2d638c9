# SPDX-License-Identifier: MIT
"""What an earlier daemon has written down of a volume that the kernel maps is gone: what is there tells."""

import pytest
from waiting import until


def left(guest, mapper):
    return guest.call("devices" if mapper == "krbd" else "nbd_devices")


def restart_without(guest, daemon, files):
    daemon.kill()
    guest.sh(f"rm /run/{daemon.name}/{daemon.name}.state/{files}")
    daemon.start()
    daemon.await_cluster()


@pytest.mark.parametrize("mapper", ["krbd", "nbd"])
def test_a_lost_state_file_takes_nothing_from_who_uses_the_volume(guest, hosts, cluster, mapper):
    daemon = hosts.daemon(mapper=mapper)
    daemon.create("db", size="1G", fstype="ext4")
    point = daemon.mount("db", "one")
    guest.call("writer_start", f"{point}/log")
    restart_without(guest, daemon, "volumes/*.json")
    until(lambda: [h["ID"] for h in daemon.get("db")["Status"].get("holders", [])] == ["unknown"], "it to be adopted", 40)
    told = daemon.get("db")
    assert told["Mountpoint"] == point and told["Status"]["state"] == "mounted" and told["Status"]["mapper"] == mapper
    before = guest.call("writer", f"{point}/log")["acked"]
    until(lambda: guest.call("writer", f"{point}/log")["acked"] > before + 5, "the writer to go on", 20)
    guest.call("writer_end", f"{point}/log")
    assert guest.call("writer", f"{point}/log")["error"] is None
    daemon.unmount("db", "one")
    assert guest.call("mounted", point) is None and left(guest, mapper) == [] and cluster.locks_left() == []


@pytest.mark.parametrize("mapper", ["krbd", "nbd"])
def test_a_volume_without_a_state_file_that_nobody_uses_goes_down(guest, hosts, cluster, mapper):
    daemon = hosts.daemon(mapper=mapper)
    daemon.create("db", size="1G", fstype="ext4")
    point = daemon.mount("db", "one")
    restart_without(guest, daemon, "volumes/*.json")
    until(lambda: guest.call("mounted", point) is None and left(guest, mapper) == [] and cluster.locks_left() == [],
          "the volume that nobody holds to go down", 40)


def test_without_the_record_of_a_mapping_it_goes_down_with_its_lock(guest, hosts, cluster):
    daemon = hosts.daemon(mapper="krbd")
    daemon.create("db", size="1G", fstype="ext4")
    point = daemon.mount("db", "one")
    restart_without(guest, daemon, "map/*.krbd")
    until(lambda: guest.call("mounted", point) is None and left(guest, "krbd") == [] and cluster.locks_left() == [],
          "the mapping to be taken back", 40)
    daemon.unmount("db", "one")
    daemon.mount("db", "two")
    daemon.unmount("db", "two")
    assert left(guest, "krbd") == [] and cluster.locks_left() == []
