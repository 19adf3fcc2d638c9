# SPDX-License-Identifier: MIT
"""The lock of a mounted volume is gone, and its host was not even cut off: it notices, says so, and is ready to begin anew."""

import time

from owners import DAY, fenced_for, got, is_lost, mounted, owner_address, put, unlocked
from waiting import until
from writer import Writer

NOTICED_WITHIN = 10


def test_a_lock_that_an_admin_takes_away_is_noticed_even_when_idle(host, cluster):
    """Row 46. By `rbd lock rm`, and by the blocklist alone (for long enough). The host's other volumes go on: each is a client of its own."""
    d, other = host().daemon(), host().daemon()
    for volume in ("broken", "fenced", "fine"):
        mounted(d, volume)
    cluster.break_locks("broken")
    cluster.ceph("osd", "blocklist", "add", owner_address(cluster, "fenced"), str(30 * DAY))
    began = time.monotonic()
    for volume in ("broken", "fenced"):
        until(lambda v=volume: is_lost(d, v), f"the daemon to notice that {volume} is lost",
              began + NOTICED_WITHIN - time.monotonic())
        assert f"rbd/{volume}" in d.log_text() and volume in d.cli("status").stdout
    print(f"noticed within {time.monotonic() - began:.1f} s")
    put(d, "fine", "goes on")
    for volume in ("broken", "fenced"):
        other.mount(volume, "y")
        assert got(other, volume) == f"{volume} of {d.host.name}"
        other.unmount(volume, "y")
        d.unmount(volume, "x")
        d.mount(volume, "again")
        assert got(d, volume) == f"{volume} of {d.host.name}"
        d.unmount(volume, "again")
    d.unmount("fine", "x")


def test_a_client_that_an_admin_fenced_for_a_short_time_is_waited_for(host, cluster):
    """Ceph lengthens no entry of its blocklist: with that one, writes of the old owner could land when it has lapsed."""
    d, other = host().daemon(), host().daemon()
    mounted(d, "db")
    address = owner_address(cluster, "db")
    cluster.ceph("osd", "blocklist", "add", address)
    until(lambda: is_lost(d, "db"), "the daemon to notice", NOTICED_WITHIN)
    said = other.refused("Mount", Name="db", ID="y")
    assert f"ceph osd blocklist rm {address}" in said, said
    cluster.ceph("osd", "blocklist", "rm", address)
    other.mount("db", "y")
    assert fenced_for(cluster, address) > 29 * DAY
    assert got(other, "db") == f"db of {d.host.name}"
    other.unmount("db", "y")
    d.unmount("db", "x")


def test_a_lost_volume_that_nobody_else_took_is_mounted_again(host, cluster):
    d = host().daemon()
    mounted(d, "db")
    cluster.break_locks("db")
    until(lambda: is_lost(d, "db"), "the daemon to notice", NOTICED_WITHIN)
    d.unmount("db", "x")
    d.mount("db", "next")
    assert got(d, "db") == f"db of {d.host.name}"
    d.unmount("db", "next")


def test_an_owner_whose_lock_an_operator_takes_by_force_is_fenced_first(host, cluster):
    owner, other = host().daemon(), host().daemon()
    mounted(owner, "db")
    address = owner_address(cluster, "db")
    w = Writer(owner.host, f"{owner.path('mount-root')}/rbd/db", "old").start()
    said = unlocked(other, "--force", "db")
    assert owner.host.name in said and address in said, said
    assert fenced_for(cluster, address) > 29 * DAY
    assert "unlocked by force" in other.log_text() and "does not answer" not in other.log_text()
    other.mount("db", "x")
    until(w.errors, "the writer's errors", 10)
    until(lambda: is_lost(owner, "db"), "the old owner to notice", 10)
    put(other, "db", "mine now")
    w.stop()
    owner.unmount("db", "x")
    other.unmount("db", "x")
    owner.mount("db", "x")
    assert got(owner, "db") == "mine now"
    owner.unmount("db", "x")
