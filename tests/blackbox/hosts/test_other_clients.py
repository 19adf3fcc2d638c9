# SPDX-License-Identifier: MIT
"""Administrators and other clients at work on an image that rbdvol has, or is about to have."""

import subprocess

import pytest
import rpc
from cluster import Failed
from owners import got, mounted, owner_address, put, state
from threads import timed
from waiting import until
from writer import Writer

M = 1 << 20


def test_a_dead_watcher_delays_nothing_beyond_its_bound(host, cluster):
    """Somebody who only looked, and was killed."""
    d, looker = host().daemon(), host()
    d.create("db", size="64M", fstype="ext4")
    # it watches until its input ends
    with subprocess.Popen([*looker.enter(), "rbd", "-c", cluster.conf, "watch", "rbd/db"], stdin=subprocess.PIPE,
                          stdout=subprocess.DEVNULL) as p:
        until(lambda: cluster.watchers(cluster.header("db")), "somebody to watch")
        p.kill()
    seconds = timed(d.mount, "db", "x")[0]
    assert cluster.watchers(cluster.header("db"))
    down = timed(d.unmount, "db", "x")[0]
    print(f"mounted in {seconds:.2f} s, unmounted in {down:.2f} s")
    assert seconds < 8 and down < 20  # releasing tells all watchers, and waits for 5 s, twice


def test_rbd_rm_and_trash_of_a_mounted_image_are_refused_and_do_no_harm(host, cluster):
    d = host().daemon()
    mounted(d, "db")
    w = Writer(d.host, f"{d.path('mount-root')}/rbd/db", "w").start()
    for words in (("rm", "--no-progress", "rbd/db"), ("trash", "mv", "rbd/db")):
        with pytest.raises(Failed):
            cluster.rbd(*words)
    w.goes_on()
    w.stop()
    assert w.errors() == []
    assert got(d, "db") == f"db of {d.host.name}"
    d.unmount("db", "x")


def test_growing_a_mounted_image_does_it_no_harm(host, cluster):
    d = host().daemon()
    mounted(d, "db", size="300M", fstype="xfs")
    cluster.rbd("resize", "--no-progress", "rbd/db", "--size", "400")
    put(d, "db", "after the growth")
    d.unmount("db", "x")
    d.mount("db", "x")
    assert got(d, "db") == "after the growth"
    d.unmount("db", "x")


def test_an_image_that_is_shrunk_while_mounted_does_not_shrink_under_the_file_system(host, cluster):
    """What the file system had is gone, but rbdvol makes it no worse and says so at the next mount."""
    d = host().daemon()
    d.create("db", size="128M", fstype="ext4")
    d.mount("db", "x")
    try:
        cluster.rbd("resize", "--no-progress", "rbd/db", "--size", "64", "--allow-shrink")
    except (Failed, subprocess.TimeoutExpired):
        pass
    assert state(d, "db") in ("mounted", "lost")
    device = d.get("db")["Status"]["device"].rpartition("/")[2]
    with open(f"/sys/block/{device}/size", encoding="ascii") as f:
        assert int(f.read()) * 512 == 128 * M
    d.call("Unmount", {"Name": "db", "ID": "x"})


def test_a_key_that_is_revoked_stops_no_container(host, cluster):
    """The next mount says what is wrong; with the key back, all is well."""
    h = host()
    conf = cluster.conf_for("fleeting", f"{h.dir}/ceph.conf", mon="profile rbd", osd="profile rbd")
    d = h.daemon(ceph_conf=conf, user="fleeting")
    mounted(d, "db")
    d.create("other", size="64M", fstype="ext4")
    w = Writer(d.host, f"{d.path('mount-root')}/rbd/db", "w").start()
    cluster.ceph("auth", "export", "client.fleeting", "-o", f"{h.dir}/key")
    cluster.ceph("auth", "del", "client.fleeting")
    d.restart()
    point = f"{d.path('mount-root')}/rbd/db"
    assert d.get("db")["Mountpoint"] == point
    said = d.refused("Mount", Name="other", ID="y")
    assert "no such volume" not in said, said
    reply = rpc.call(d.socket, "Get", {"Name": "other"})
    assert reply.status is None, reply.body
    w.goes_on()
    cluster.ceph("auth", "import", "-i", f"{h.dir}/key")
    d.await_cluster()
    w.stop()
    assert w.errors() == []
    d.unmount("db", "x")
    d.mount("other", "y")
    d.unmount("other", "y")


def test_held_absent_and_no_pool_are_three_answers(host, cluster):
    """Row 51."""
    d = host().daemon()
    d.create("db", size="64M", fstype="ext4")
    cluster.rbd("lock", "add", "rbd/db", "their-cookie")
    locked = d.refused("Mount", Name="db", ID="x")
    absent = d.refused("Mount", Name="nothing", ID="x")
    elsewhere = d.refused("Mount", Name="nowhere/db", ID="x")
    assert "their-cookie" in locked
    assert "no image 'nothing'" in absent
    assert "nowhere" in elsewhere and "pool" in elsewhere and "no such volume" not in elsewhere
    cluster.break_locks("db")


def test_a_lock_whose_owner_only_passed_by_is_not_taken_for_a_dead_ones(host, cluster):
    """Row 50: `rbd lock add` has no watcher from the beginning; its plugin may be writing all the same."""
    owner = host()
    cluster.rbd("create", "rbd/theirs", "--size", "64")
    owner.run("rbd", "-c", cluster.conf, "lock", "add", "rbd/theirs", "plugin-of-host")
    before = cluster.locks(cluster.header("theirs"))
    for kind in ("dead", "silent"):
        d = host().daemon(takeover=kind)
        seconds, said = timed(d.refused, "Mount", Name="theirs", ID="x")
        assert "plugin-of-host" in said and owner.address in said, said
        assert seconds < 2
    assert cluster.locks(cluster.header("theirs")) == before
    cluster.break_locks("theirs")


def test_an_automatic_owner_is_refused_and_never_stolen_from(host, cluster):
    """`rbd bench` on another host, as qemu would."""
    theirs = host()
    cluster.rbd("create", "rbd/theirs", "--size", "1024")
    words = ["rbd", "-c", cluster.conf, "bench", "--io-type", "write", "--io-size", "4096", "--io-threads", "2", "--io-total", "100G",
             "rbd/theirs"]
    p = theirs.spawn(words, f"{theirs.dir}/bench.log")
    until(lambda: owner_address(cluster, "theirs"), "rbd bench to have the lock", 20)
    address = owner_address(cluster, "theirs")
    for kind in ("dead", "silent"):
        d = host().daemon(takeover=kind)
        times = []
        for _ in range(3):
            seconds, said = timed(d.refused, "Mount", Name="theirs", ID="x")
            assert address in said, said
            times.append(seconds)
        assert min(times) < 1, times
    assert p.alive() and owner_address(cluster, "theirs") == address
    p.kill()
    cluster.break_locks("theirs")
