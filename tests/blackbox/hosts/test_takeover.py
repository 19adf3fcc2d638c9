# SPDX-License-Identifier: MIT
"""Row 2: the owner of a volume is dead, or seems so: who may have it, when, and what is said meanwhile."""

import os
import signal

import pytest
from host import WATCH
from owners import DAY, fenced_for, got, mounted, owner_address, put
from pace import patience
from process import Process
from threads import at_once, timed
from waiting import let_pass, until

DEAD_WITHIN = WATCH + 5
SILENT_WITHIN = 8
OWN_WITHIN = 2
REFUSED_WITHIN = 1


def take_over(d, volume, owner, within):
    """One Mount call, which must succeed in time and find what the owner wrote."""
    seconds, reply = timed(d.call, "Mount", {"Name": volume, "ID": "x"})
    assert reply.status == 200, f"{volume} on {d.host.name} after {seconds:.1f} s: {reply.err}"
    assert got(d, volume) == f"{volume} of {owner.host.name}"
    assert seconds <= within, f"{volume} was mounted after {seconds:.1f} s"
    return seconds


def at_best(play, within):
    """The quickest of up to three rounds: on a busy machine one may be slow."""
    seconds, within = [], patience(within)
    while len(seconds) < 3 and min(seconds, default=within + 1) > within:
        seconds.append(play())
    assert min(seconds) <= within, seconds


@pytest.mark.parametrize("power", [True, False], ids=["power-cut", "killed"])
def test_a_dead_hosts_volume_is_mounted_elsewhere_by_one_call(host, cluster, power):
    """With `dead` as soon as the watch has lapsed, with `silent` sooner, with `never` not."""
    owner = host().daemon()
    takers = {kind: host().daemon(takeover=kind) for kind in ("dead", "silent", "never")}
    for volume in takers:
        mounted(owner, volume)
    addresses = {volume: owner_address(cluster, volume) for volume in takers}
    owner.host.die(power)

    def refuse_never():
        seconds, said = timed(takers["never"].refused, "Mount", Name="never", ID="x")
        assert owner.host.name in said and addresses["never"] in said and "unlock" in said, said
        return seconds

    took = at_once(lambda: take_over(takers["dead"], "dead", owner, DEAD_WITHIN),
                   lambda: take_over(takers["silent"], "silent", owner, SILENT_WITHIN), refuse_never)
    print(f"dead {took[0]:.1f} s, silent {took[1]:.1f} s, never refused after {took[2]:.1f} s")
    until(lambda: not cluster.watchers(cluster.header("never")), "the owner's watch to lapse", DEAD_WITHIN)
    refuse_never()
    take_over(takers["silent"], "never", owner, 5)
    for volume, address in addresses.items():
        left = fenced_for(cluster, address)
        assert left > 29 * DAY, f"{address} is fenced for {left} s"
    for volume, d in (("dead", takers["dead"]), ("silent", takers["silent"]), ("never", takers["silent"])):
        assert f"rbd/{volume} " in d.log_text() and owner.host.name in d.log_text()
        d.unmount(volume, "x")


@pytest.mark.parametrize("power", [True, False], ids=["power-cut", "killed"])
def test_a_host_that_was_restarted_has_its_volumes_at_once(host, cluster, power):
    """Its own watch of before has not lapsed."""
    d = host().daemon()
    mounted(d, "db")

    def play():
        address = owner_address(cluster, "db")
        d.host.reboot(power)
        d.start().await_cluster()
        assert cluster.watchers(cluster.header("db")), "too slow to show anything: its watch has lapsed"
        assert d.get("db")["Mountpoint"] == ""
        took = take_over(d, "db", d, 3 * OWN_WITHIN)
        print(f"after a restart: {took:.2f} s")
        assert fenced_for(cluster, address) > 29 * DAY
        return took

    at_best(play, OWN_WITHIN)
    d.unmount("db", "x")


def test_a_volume_whose_mapper_was_killed_is_mounted_again_at_once(host):
    d = host().daemon()
    mounted(d, "db")

    def play():
        for pid in d.mappers():
            Process(pid).kill()
        until(lambda: d.get("db")["Status"]["state"] == "lost", "the daemon to notice", 10)
        d.unmount("db", "x")
        assert not d.host.mounts()
        return take_over(d, "db", d, 3 * OWN_WITHIN)

    at_best(play, OWN_WITHIN)
    d.unmount("db", "x")


def test_a_volume_whose_mapper_and_daemon_were_killed_is_mounted_again_at_once(host):
    """The next daemon finds a dead mapping, and its holder."""
    d = host().daemon()
    mounted(d, "db")

    def play():
        mappers = list(d.mappers())
        d.kill()
        for pid in mappers:
            Process(pid).kill()
        d.start().await_cluster()
        d.unmount("db", "x")
        return take_over(d, "db", d, 3 * OWN_WITHIN)

    at_best(play, OWN_WITHIN)
    d.unmount("db", "x")


def test_a_host_of_the_same_name_is_another_host(host, cluster):
    """Row 47: a name alone makes nobody the owner."""
    first, second = host("twin").daemon(), host("twin").daemon()
    mounted(first, "db")
    said = second.refused("Mount", Name="db", ID="x")
    assert "twin" in said and owner_address(cluster, "db") in said, said
    assert "this host" not in said, said
    first.host.die()
    took = take_over(second, "db", first, DEAD_WITHIN)
    assert took > OWN_WITHIN, "it was taken for the host's own"
    second.unmount("db", "x")


def test_a_second_daemon_of_the_host_is_another_owner(host, cluster):
    h = host()
    one, two = h.daemon("one"), h.daemon("two")
    mounted(one, "db")
    said = two.refused("Mount", Name="db", ID="x")
    assert h.name in said and "one" in said, said
    assert two.mappers() == {}
    mappers = list(one.mappers())
    one.kill()
    for pid in mappers:
        Process(pid).kill()
    seconds = take_over(two, "db", one, DEAD_WITHIN)
    assert seconds > OWN_WITHIN, "it was taken for the daemon's own"
    two.unmount("db", "x")
    one.start().await_cluster()
    one.unmount("db", "x")
    assert cluster.locks(cluster.header("db")) == {}


def test_a_living_owner_is_named_within_a_second(host, cluster):
    owner = host().daemon()
    mounted(owner, "db")
    for kind in ("dead", "silent", "never"):
        d = host().daemon(takeover=kind)
        times = []
        for _ in range(3):
            seconds, said = timed(d.refused, "Mount", Name="db", ID="x")
            assert owner.host.name in said and owner_address(cluster, "db") in said, said
            times.append(seconds)
        assert min(times) < REFUSED_WITHIN, times
        status = d.get("db")["Status"]
        assert owner.host.name in str(status["owner"]), status
    put(owner, "db", "still")
    owner.unmount("db", "x")


class Untouched:
    """The owner of a volume before and after: the same client, not fenced, and at work."""

    def __init__(self, cluster, d, volume):
        self.cluster, self.owner, self.volume = cluster, d, volume
        self.address = owner_address(cluster, volume)

    def check(self):
        assert owner_address(self.cluster, self.volume) == self.address
        assert fenced_for(self.cluster, self.address) == 0, "a living owner was fenced"
        put(self.owner, self.volume, "at work")


def test_a_living_owner_is_never_taken_for_a_silent_one(host, cluster):
    """Its disks saturated, its daemon stopped, its daemon gone, the OSDs stalled for six seconds."""
    busy, stopped, gone = host().daemon(), host().daemon(), host().daemon()
    owners = {"busy": busy, "stopped": stopped, "gone": gone}
    taker = host().daemon(takeover="silent")
    for volume, d in owners.items():
        d.create(volume, size="512M", fstype="ext4")
        d.mount(volume, "x")
    before = [Untouched(cluster, d, volume) for volume, d in owners.items()]
    point = f"{busy.path('mount-root')}/rbd/busy"
    load = [busy.host.spawn(["sh", "-c", f"while dd if=/dev/zero of={point}/{n} bs=1M count=40 oflag=direct conv=notrunc; do :; done"],
                            f"{busy.host.dir}/load.log") for n in range(8)]
    stopped.process.signal(signal.SIGSTOP)
    gone.kill()
    until(lambda: os.path.exists(busy.host.path(f"{point}/7")), "the load to begin", 30)
    for _ in range(3):
        at_once(*[lambda v=volume: taker.refused("Mount", Name=v, ID="x") for volume in owners])

    def stall():
        for name in ("osd", "osd1"):
            cluster.pause(name)
        let_pass(6)
        cluster.resume_all()

    at_once(stall, *[lambda v=volume: taker.refused("Mount", Name=v, ID="x") for volume in list(owners) * 2])
    # and between the ping and its answer, which takes an owner that was slow just then
    slow = [Process(pid) for pid in gone.mappers()]
    for mapper in slow:
        mapper.signal(signal.SIGSTOP)

    def stall_in_between():
        let_pass(0.7)
        for name in ("osd", "osd1"):
            cluster.pause(name)
        for mapper in slow:
            mapper.signal(signal.SIGCONT)
        let_pass(6)
        cluster.resume_all()

    at_once(stall_in_between, lambda: taker.refused("Mount", Name="gone", ID="x"))
    for process in load:
        assert process.alive(), "the load ended early"
        os.killpg(process.pid, signal.SIGKILL)
    stopped.process.signal(signal.SIGCONT)
    gone.start().await_cluster()
    for one in before:
        one.check()
    for volume, d in owners.items():
        d.unmount(volume, "x")
