# SPDX-License-Identifier: MIT
"""`rbdvol unlock`: an operator takes a lock away, and is told whose it was and what that did."""

import signal

import pytest
from host import WATCH
from owners import DAY, fenced_for, got, mounted, owner_address, put, unlocked
from process import Process
from threads import at_once
from waiting import let_pass, until


def not_unlocked(d, *words):
    done = d.cli("unlock", *words)
    assert done.returncode == 1, done.stdout
    return done.stderr


def test_a_dead_owners_lock_is_taken_away_after_fencing(host, cluster):
    """Also where the host itself never takes over."""
    owner, other = host().daemon(), host().daemon(takeover="never")
    mounted(owner, "db")
    address = owner_address(cluster, "db")
    owner.host.die()
    until(lambda: not cluster.watchers(cluster.header("db")), "the owner's watch to lapse", WATCH + 5)
    assert "unlock" in other.refused("Mount", Name="db", ID="x")
    said = unlocked(other, "db")
    assert owner.host.name in said and address in said, said
    assert fenced_for(cluster, address) > 29 * DAY
    assert owner_address(cluster, "db") is None
    other.mount("db", "x")
    assert got(other, "db") == f"db of {owner.host.name}"
    other.unmount("db", "x")


def test_a_living_owners_lock_needs_force(host, cluster):
    owner, other = host().daemon(), host().daemon()
    mounted(owner, "db")
    address = owner_address(cluster, "db")
    said = not_unlocked(other, "db")
    assert owner.host.name in said and "--force" in said, said
    assert owner_address(cluster, "db") == address and fenced_for(cluster, address) == 0
    put(owner, "db", "still mine")
    owner.unmount("db", "x")


@pytest.mark.parametrize("after", [0.05, 0.5])
def test_a_living_owner_of_a_slow_cluster_is_not_taken_for_a_dead_one(host, cluster, after):
    """It is slow when it is asked, and the OSDs when it answers: only the second answer tells."""
    owner, other = host().daemon(), host().daemon(takeover="never")
    mounted(owner, "db")
    address = owner_address(cluster, "db")
    (pid,) = owner.mappers()
    mapper = Process(pid)
    mapper.signal(signal.SIGSTOP)

    def stall_in_between():
        let_pass(after)
        for name in ("osd", "osd1"):
            cluster.pause(name)
        mapper.signal(signal.SIGCONT)
        let_pass(4)
        cluster.resume_all()

    said = at_once(lambda: other.refused("/Rbdvol.Unlock", Name="db", Go=True), stall_in_between)[0]
    assert "is alive" in said or "the cluster is slow" in said, said
    assert owner_address(cluster, "db") == address and fenced_for(cluster, address) == 0
    put(owner, "db", "still mine")
    owner.unmount("db", "x")


def test_an_advisory_lock_is_taken_away_and_what_cannot_be_fenced_is_said(host, cluster):
    d = host().daemon()
    d.create("db", size="64M", fstype="ext4")
    cluster.rbd("lock", "add", "rbd/db", "some-plugin")
    assert "some-plugin" in d.refused("Mount", Name="db", ID="x")
    said = unlocked(d, "db")
    assert "some-plugin" in said and "cannot be seen, nor fenced" in said, said
    d.mount("db", "x")
    d.unmount("db", "x")


def test_what_is_not_locked_or_not_there_is_said(host):
    d = host().daemon()
    d.create("db", size="64M", fstype="ext4")
    free = d.cli("unlock", "db")
    assert "free" in free.stdout and "unlocked" not in free.stdout, free.stdout + free.stderr
    assert "no image 'nothing'" in not_unlocked(d, "nothing")


def test_a_volume_of_this_daemon_is_unmounted_not_unlocked(host):
    d = host().daemon()
    mounted(d, "db")
    not_unlocked(d, "db")
    not_unlocked(d, "--force", "db")
    put(d, "db", "still mine")
    d.unmount("db", "x")
