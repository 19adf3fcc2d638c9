# SPDX-License-Identifier: MIT
"""What a Mount costs beside the two system calls that it cannot do without."""

import statistics

ROUNDS = 8


def test_a_mount_costs_little_more_than_a_bare_one(guest, daemon, cluster):
    """Beside the two system calls alone, and beside those with the questions to the cluster that they cannot do without. The least of
    each is what a quiet machine would take; both ratios are printed; judged is, with much room for a machine that has other things to do,
    that nothing waits for anything."""
    daemon.create("db", size="1G")
    line = guest.call("line", cluster.conf, cluster.user, "db", "exclusive,noshare")
    bare, floor, ours = [], [], []
    guest.call("timed_mount", daemon.name, "db")  # after it there is an idle helper
    for _ in range(ROUNDS):  # in turns: what else this machine does hits all of them
        bare.append(guest.call("bare_mount", line, "/run/bare", "xfs"))
        floor += guest.call("floor_mounts", cluster.conf, "db", line, "xfs", 1)
        ours.append(guest.call("timed_mount", daemon.name, "db"))
    for what, of in (("least", min), ("median", statistics.median)):
        b, f, o = (of(times) * 1e3 for times in (bare, floor, ours))
        print(f"{what}: bare {b:.0f} ms, with its questions {f:.0f} ms, Mount {o:.0f} ms: {o / b:.2f}, {o / f:.2f}")
    assert statistics.median(ours) < 6 * statistics.median(bare)


def test_a_mount_makes_no_client_of_the_cluster_but_the_kernels(guest, daemon, cluster):
    daemon.create("db", size="1G")
    before = cluster.clients()
    daemon.mount("db", "one")
    (device,) = guest.call("devices")
    assert sorted(set(cluster.clients()) - set(before)) == [device["client_addr"]]
    daemon.unmount("db", "one")
