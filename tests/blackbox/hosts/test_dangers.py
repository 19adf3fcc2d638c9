# SPDX-License-Identifier: MIT
"""A key that cannot fence, and settings of the cluster's that would undo the safety of a lock."""

import re

import pytest
from host import WATCH
from owners import DAY, fenced_for, got, mounted, owner_address
from process import Process
from waiting import let_pass
from writer import Writer

DANGEROUS = {"rbd_blocklist_expire_seconds": 60, "rados_osd_op_timeout": 3, "rados_mon_op_timeout": 3, "rbd_cache": "true",
             "rbd_cache_policy": "writeback", "rbd_cache_writethrough_until_flush": "false", "rbd_blocklist_on_break_lock": "false"}
OLD_CAPS = {"mon": "allow r", "osd": "allow rwx"}


def test_a_key_that_cannot_fence_is_found_at_start_and_named(host, cluster):
    """A dead owner's volume is refused with the missing capability, and left alone."""
    h = host()
    conf = cluster.conf_for("weak", f"{h.dir}/ceph.conf", **OLD_CAPS)
    weak, owner = h.daemon(ceph_conf=conf, user="weak"), host().daemon()
    assert "profile rbd" in weak.log_text() and "blocklist" in weak.log_text()
    assert "profile rbd" in weak.cli("status").stdout
    assert "profile rbd" in weak.cli("status", "--json").stdout
    assert "profile rbd" not in owner.cli("status").stdout + owner.log_text()
    mounted(owner, "db")
    address = owner_address(cluster, "db")
    owner.host.die()
    said = weak.refused("Mount", Name="db", ID="x")
    assert "blocklist" in said and "profile rbd" in said, said
    assert owner_address(cluster, "db") == address, "the lock was broken without fencing"
    able = host().daemon()
    able.mount("db", "x")
    assert got(able, "db") == f"db of {owner.host.name}"
    able.unmount("db", "x")


def test_dangerous_values_in_ceph_conf_are_overridden(host, cluster):
    """With them, a stalled OSD would fail writes, and no dead owner's lock could ever be broken."""
    owner, taker = host(), host()
    conf = cluster.conf_with(f"{owner.dir}/ceph.conf", DANGEROUS)
    a, b = owner.daemon(ceph_conf=conf), taker.daemon(ceph_conf=conf)
    mounted(a, "db")
    w = Writer(owner, f"{a.path('mount-root')}/rbd/db", "w").start()
    for name in ("osd", "osd1"):
        cluster.pause(name)
    let_pass(8)
    cluster.resume_all()
    w.goes_on()
    assert w.errors() == [], "a write was given up while it may still land"
    address = owner_address(cluster, "db")
    owner.die()
    b.mount("db", "x")
    assert fenced_for(cluster, address) > 29 * DAY
    assert got(b, "db") == f"db of {owner.name}"
    b.unmount("db", "x")


@pytest.mark.parametrize("setting", ["rbd_cache", "rbd_cache_writethrough_until_flush", "rbd_blocklist_expire_seconds",
                                     "rbd_blocklist_on_break_lock"])
def test_a_setting_on_the_image_that_undoes_its_safety_is_refused_or_neutralised(host, cluster, setting):
    """Neutralised is what is no longer there."""
    d = host().daemon()
    d.create("db", size="64M", fstype="ext4")
    cluster.rbd("image-meta", "set", "rbd/db", f"conf_{setting}", "60" if "seconds" in setting else "true")
    reply = d.call("Mount", {"Name": "db", "ID": "x"})
    if reply.status == 200:
        assert f"conf_{setting}" not in cluster.metadata("db")
        assert setting in d.log_text()
        d.unmount("db", "x")
    else:
        assert setting in reply.err
        assert cluster.locks(cluster.header("db")) == {}
        cluster.rbd("image-meta", "remove", "rbd/db", f"conf_{setting}")
        d.mount("db", "x")
        d.unmount("db", "x")


def test_a_setting_on_the_image_made_while_it_is_mounted_stops_the_next_owner(host, cluster):
    """It counts when the image is opened next, so it must be seen by whoever takes over."""
    owner, other = host().daemon(), host().daemon()
    mounted(owner, "db")
    cluster.rbd("image-meta", "set", "rbd/db", "conf_rbd_cache", "true")
    mappers = [Process(pid) for pid in owner.mappers()]
    owner.kill()
    for mapper in mappers:
        mapper.kill()
    # `rbd image-meta` took the lock, and fenced its owner for a short time only: the refusal says how to make that last
    for _ in range(5):
        reply = other.call("Mount", {"Name": "db", "ID": "x"}, timeout=WATCH + 30)
        if reply.status == 200:
            break
        fenced = re.search("`ceph (osd blocklist rm [0-9.:/]+)`", reply.err)
        if fenced:
            cluster.ceph(*fenced.group(1).split())
        else:
            assert "rbd_cache" in reply.err
            cluster.rbd("image-meta", "remove", "rbd/db", "conf_rbd_cache")
    assert reply.status == 200, reply.err
    assert "conf_rbd_cache" not in cluster.metadata("db")
    other.unmount("db", "x")
    owner.start().await_cluster()
    owner.unmount("db", "x")
