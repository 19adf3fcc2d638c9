# SPDX-License-Identifier: MIT
"""Images without the exclusive-lock feature: nothing would keep a second writer out."""

import subprocess

import pytest
from owners import got, put
from test_races import contest
from waiting import until


def features(cluster, image):
    return set(cluster.info(image)["features"])


def legacy(cluster, image):
    cluster.rbd("create", f"rbd/{image}", "--size", "64", "--image-feature", "layering")
    assert features(cluster, image) == {"layering"}


@pytest.fixture
def d(host):
    return host().daemon(fstype="ext4")


def test_the_first_mount_adds_the_feature_and_says_so(cluster, d):
    legacy(cluster, "old")
    d.mount("old", "x")
    assert "exclusive-lock" in features(cluster, "old")
    assert any("exclusive-lock" in line and "rbd/old" in line for line in d.log_text().splitlines() if line.startswith("<5>"))
    assert "rbd_lock" in cluster.locks(cluster.header("old"))
    put(d, "old", "kept")
    d.unmount("old", "x")
    d.mount("old", "y")
    assert got(d, "old") == "kept"
    d.unmount("old", "y")


def test_refuse_leaves_the_image_as_it_is_and_names_the_way_out(cluster, host):
    d = host().daemon(fstype="ext4", legacy_images="refuse")
    legacy(cluster, "old")
    said = d.refused("Mount", Name="old", ID="x")
    assert "exclusive-lock" in said and "rbd feature enable" in said, said
    assert features(cluster, "old") == {"layering"}


def test_with_a_watcher_it_is_refused_by_address(cluster, host, d):
    """Whoever has it open may be writing, and goes on without the lock."""
    legacy(cluster, "old")
    other = host()
    with subprocess.Popen([*other.enter(), "rbd", "-c", cluster.conf, "watch", "rbd/old"], stdin=subprocess.PIPE,
                          stdout=subprocess.DEVNULL) as p:
        until(lambda: cluster.watchers(cluster.header("old")), "somebody to watch")
        said = d.refused("Mount", Name="old", ID="x")
        assert other.address in said, said
        p.kill()
    assert features(cluster, "old") == {"layering"}


def test_with_an_advisory_lock_it_is_refused_by_its_cookie(cluster, d):
    legacy(cluster, "old")
    cluster.rbd("lock", "add", "rbd/old", "their-cookie")
    assert "their-cookie" in d.refused("Mount", Name="old", ID="x")
    assert features(cluster, "old") == {"layering"}
    cluster.break_locks("old")


def test_of_two_hosts_that_mount_one_at_once_one_wins(cluster, host):
    daemons = [host().daemon(fstype="ext4") for _ in range(2)]
    for n in range(5):
        legacy(cluster, f"old{n}")
        winner, losers = contest(daemons, f"old{n}")
        assert losers
        assert "exclusive-lock" in features(cluster, f"old{n}")
        winner.unmount(f"old{n}", f"of-{winner.host.name}")
