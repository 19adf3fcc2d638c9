# SPDX-License-Identifier: MIT
"""Row 1: several hosts mount one volume at the same instant."""

import os

import pytest
from threads import at_once, timed

# rounds of each test; `./check race` makes many more
ROUNDS = int(os.environ.get("RBDVOL_TEST_ROUNDS", "50"))
LOSES_WITHIN = 2  # seconds


def contest(daemons, name="db"):
    """All mount at once. The winner, and (daemon, seconds, what it was told) of each loser."""
    asked = at_once(*[lambda d=d: timed(d.call, "Mount", {"Name": name, "ID": f"of-{d.host.name}"}) for d in daemons])
    winners = [d for d, (_, reply) in zip(daemons, asked) if reply.status == 200]
    told = [(reply.status, reply.err) for _, reply in asked]
    assert len(winners) == 1, f"{len(winners)} hosts mounted it: {told}"
    return winners[0], [(d, seconds, reply.err) for d, (seconds, reply) in zip(daemons, asked) if reply.status != 200]


@pytest.mark.parametrize("hosts", [2, 3, 4])
def test_of_hosts_that_mount_at_once_exactly_one_wins(host, cluster, hosts):
    rounds = max(1, ROUNDS // 3 + (hosts == 2) * (ROUNDS % 3))
    daemons = [host().daemon() for _ in range(hosts)]
    daemons[0].create("db", size="64M", fstype="ext4")
    header = cluster.header("db")
    won, worst = {}, 0
    for turn in range(rounds):
        winner, losers = contest(daemons)
        won[winner.host.name] = won.get(winner.host.name, 0) + 1
        for loser, seconds, said in losers:
            assert winner.host.name in said, f"round {turn}: {loser.host.name} does not say who has it: {said}"
            assert loser.mappers() == {} and not loser.host.mounts(), f"round {turn}: {loser.host.name} kept something"
            worst = max(worst, seconds)
        with open(winner.host.path(f"{winner.path('mount-root')}/rbd/db/rounds"), "a", encoding="ascii") as f:
            f.write(f"{turn}\n")
            f.flush()
            os.fsync(f.fileno())
        winner.unmount("db", f"of-{winner.host.name}")
        if turn % 10 == 0:
            assert cluster.locks(header) == {}
    print(f"{rounds} rounds of {hosts}: won {won}, the slowest loser was told after {worst:.2f} s")
    assert worst < LOSES_WITHIN
    last = daemons[0].mount("db", "last")
    with open(daemons[0].host.path(f"{last}/rounds"), encoding="ascii") as f:
        assert f.read().split() == [str(turn) for turn in range(rounds)], "a round's write is missing"
    daemons[0].unmount("db", "last")


def test_hosts_that_race_for_different_volumes_all_win(host):
    daemons = [host().daemon() for _ in range(3)]
    for n in range(3):
        daemons[0].create(f"db{n}", size="64M", fstype="ext4")
    for turn in range(max(1, ROUNDS // 10)):
        at_once(*[lambda d=d, n=n: d.mount(f"db{(n + turn) % 3}", "x") for n, d in enumerate(daemons)])
        at_once(*[lambda d=d, n=n: d.unmount(f"db{(n + turn) % 3}", "x") for n, d in enumerate(daemons)])


def test_a_clean_hand_over_takes_no_longer_than_its_steps(host):
    """The same unmount and mount as on one host, to the same order of time."""
    a, b = host().daemon(), host().daemon()
    a.create("db", size="64M", fstype="ext4")
    a.mount("db", "x")

    def pass_on(giver, taker):
        seconds, _ = timed(giver.unmount, "db", "x")
        return seconds + timed(taker.mount, "db", "x")[0]

    alone = sorted(pass_on(a, a) for _ in range(9))
    across = sorted(pass_on(*pair) for pair in [(a, b), (b, a)] * 4 + [(a, b)])
    b.unmount("db", "x")
    print(f"on one host {alone[4] * 1000:.0f} ms, from host to host {across[4] * 1000:.0f} ms")
    assert across[4] < 2 * alone[4] + 0.1
    assert across[-1] < 3
