# SPDX-License-Identifier: MIT
"""What a Mount costs beside the two system calls that it cannot do without."""

import statistics

ROUNDS = 9


def test_a_mount_costs_little_more_than_a_bare_one(guest, daemon, cluster):
    """The ratio is printed, not judged: on a guest whose processes cost ten times a host's it says little. Judged is that nothing
    waits for anything."""
    daemon.create("db", size="1G")
    line = guest.call("line", cluster.conf, cluster.user, "db", "exclusive,noshare")
    bare, ours = [], []
    for _ in range(ROUNDS):  # in turns: the machine has other things to do
        bare.append(guest.call("bare_mount", line, "/run/bare", "xfs"))
        ours.append(guest.call("timed_mount", daemon.name, "db"))
    ratio = statistics.median(ours) / statistics.median(bare)
    print(f"bare {statistics.median(bare) * 1e3:.0f} ms, Mount {statistics.median(ours) * 1e3:.0f} ms: {ratio:.2f}")
    assert ratio < 25


def test_a_mount_makes_no_client_of_the_cluster_but_the_kernels(guest, daemon, cluster):
    daemon.create("db", size="1G")
    before = cluster.clients()
    daemon.mount("db", "one")
    (device,) = guest.call("devices")
    assert sorted(set(cluster.clients()) - set(before)) == [device["client_addr"]]
    daemon.unmount("db", "one")
