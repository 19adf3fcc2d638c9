# SPDX-License-Identifier: MIT
"""For people who come from rbd-docker-plugin, docker-volume-rbd and REX-Ray: their options, units, names, images and locks."""

import pytest
from test_pools import pool, ssd  # noqa: F401  (fixtures) # pylint: disable=unused-import

MIB = 1 << 20


def legacy(world, daemon, name="old", fstype="xfs"):
    """An image as rbd-docker-plugin leaves it: a file system, no exclusive-lock, nothing of ours."""
    daemon.create(name, size="512M", fstype=fstype)
    with open(daemon.mount(name, "a") + "/file", "w", encoding="ascii") as f:
        f.write("theirs")
    daemon.unmount(name, "a")
    full = name if "/" in name else f"rbd/{name}"
    world.cluster.rbd("image-meta", "remove", full, "rbdvol.spec")
    world.cluster.rbd("feature", "disable", full, "fast-diff", "object-map", "exclusive-lock")


@pytest.mark.parametrize("opts, fstype, size", [
    ({"size": "2048"}, "xfs", 2048),                                      # rbd-docker-plugin, docker-volume-rbd: MiB
    ({"size": "2G", "newfstype": "ext4"}, "ext4", 2048),                  # REX-Ray
    ({"size": "2048", "fstype": "ext4", "mkfsOptions": "-m+0"}, "ext4", 2048),
    ({"size": "2048", "mountOptions": "discard", "order": "22"}, "xfs", 2048),
])
def test_their_options_are_understood(world, daemon, opts, fstype, size):
    daemon.must("Create", Name="db", Opts=opts)
    assert world.cluster.info("db")["size"] == size * MIB
    assert daemon.get("db")["Status"]["fstype"] == fstype


def test_sizes_of_rexray_are_gib_when_the_host_says_so(world):
    daemon = world.daemon(size_unit="G").await_cluster()
    daemon.create("db", size="2", fstype="ext4")
    assert world.cluster.info("db")["size"] == 2048 * MIB


def test_the_name_may_carry_pool_and_size(world, daemon):
    daemon.must("Create", Name="rbd/db@1024", Opts=None)
    assert world.cluster.info("db")["size"] == 1024 * MIB
    assert daemon.names() == ["db"]
    assert daemon.get("db@1024")["Name"] == "db@1024"


@pytest.mark.parametrize("fstype", ["xfs", "ext4"])
def test_their_images_are_mounted_as_they_are_and_locked_from_then_on(world, daemon, fstype):
    legacy(world, daemon, fstype=fstype)
    with open(daemon.mount("old", "a") + "/file", encoding="ascii") as f:
        assert f.read() == "theirs"
    assert "exclusive-lock" in world.cluster.info("old")["features"]
    daemon.unmount("old", "a")


def test_rexrays_name_of_a_volume_in_another_pool_leads_to_it(world, ssd):  # noqa: F811 # pylint: disable=redefined-outer-name
    """POOL.NAME is a name here as any other: but who means what is there does not get an empty one."""
    daemon = world.daemon(pool=f"rbd,{ssd}").await_cluster()
    legacy(world, daemon, name="ssd/old", fstype="ext4")
    assert "'ssd/old', as it is written here" in daemon.refused_create("ssd.old", size="64M", fstype="ext4")
    assert world.cluster.images() == [] and daemon.names() == ["ssd/old"]
    for name in ("ssd/old", "old"):
        with open(daemon.mount(name, "a") + "/file", encoding="ascii") as f:
            assert f.read() == "theirs"
        daemon.unmount(name, "a")
    daemon.create("rbd/ssd.old", size="64M", fstype="ext4")
    daemon.create("ssd.other", size="64M", fstype="ext4")
    assert world.cluster.images() == ["ssd.old", "ssd.other"]


def test_an_image_that_another_plugin_renamed_away_is_a_volume_like_any_other(world, daemon):
    legacy(world, daemon, name="zz_old")
    assert daemon.names() == ["zz_old"]
    daemon.mount("zz_old", "a")
    daemon.unmount("zz_old", "a")


def test_a_stale_advisory_lock_is_shown_and_taken_away_on_request(world, daemon):
    legacy(world, daemon)
    world.cluster.rbd("lock", "add", "rbd/old", "host7.example")  # rbd-docker-plugin: the host's name, for ever
    err = daemon.refused("Mount", Name="old", ID="a")
    assert "host7.example" in err and "rbdvol unlock" in err
    done = daemon.cli("unlock", "old")
    assert done.returncode == 0 and "host7.example" in done.stdout, done.stderr
    daemon.mount("old", "a")
    daemon.unmount("old", "a")
