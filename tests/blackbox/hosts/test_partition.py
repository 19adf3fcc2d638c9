# SPDX-License-Identifier: MIT
"""A host is cut off, and nobody else wants its volume: what it wrote is written, and what it writes is written later."""

import stamps
from host import WATCH
from image import exported
from threads import at_once
from waiting import let_pass
from writer import Writer


def stamps_of(cluster, image):
    with exported(cluster, image) as path:
        return stamps.found(path)


def cut_for(seconds, d, volume):
    """Cuts a host off under a writer. Returns the writer."""
    d.create(volume, size="64M", fstype="ext4")
    w = Writer(d.host, d.mount(volume, "x"), volume).start()
    d.host.link_down()
    began = len(w.answers())
    let_pass(seconds)
    stalled = len(w.answers())
    d.host.link_up()
    assert stalled - began <= 2 * stamps.THREADS, "it was not cut off"
    w.goes_on(60)
    return w


def test_a_cut_of_10_and_of_45_seconds_is_no_more_than_a_pause(host, cluster):
    """Also when the watch has lapsed in the meantime, if nobody took the lock."""
    short, long = host().daemon(), host().daemon()
    assert 45 > 3 * WATCH > 10
    writers = at_once(lambda: cut_for(10, short, "short"), lambda: cut_for(45, long, "long"))
    for d, w in zip((short, long), writers):
        d.await_cluster()
        got = d.get(w.who)
        assert got["Mountpoint"] and got["Status"]["state"] == "mounted", got
        assert w.errors() == []
        w.stop()
        d.unmount(w.who, "x")
        assert stamps_of(cluster, w.who) == {w.who: w.blocks}


def test_a_host_that_is_cut_off_still_answers_for_what_it_has(host):
    d = host().daemon()
    d.create("db", size="64M", fstype="ext4")
    point = d.mount("db", "x")
    d.host.link_down()
    assert d.get("db")["Mountpoint"] == point
    assert d.must("Path", Name="db")["Mountpoint"] == point
    assert "db" in d.cli("status").stdout
    d.host.link_up()
    d.await_cluster()
    d.unmount("db", "x")
