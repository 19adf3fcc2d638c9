# SPDX-License-Identifier: MIT
"""spare-mapper: a mapping process that is connected already, and what may happen to it while it waits."""

import json
import os

import pytest
from process import Process
from waiting import until


@pytest.fixture
def spared(world):
    """A daemon that has a spare mapper."""
    daemon = world.daemon(spare_mapper="yes", mapper="fuse")
    await_spare(daemon, world.cluster)
    daemon.create("db", size="64M", fstype="ext4")
    return daemon


def await_spare(daemon, cluster, but=None):
    """Until one waits, connected: its pid."""
    def connected():
        pids = [pid for pid in daemon.spares() if pid != but]
        # the daemon's own, each mapper's, and its
        return pids[0] if pids and len(cluster.clients()) >= 2 + len(daemon.mappers()) else None

    return until(connected, "a spare mapper", 30)


def only(daemon):
    (pid, words), = daemon.mappers().items()
    return pid, words


def test_the_spare_mapper_takes_the_next_mount_and_another_one_its_place(spared, world):
    spare = await_spare(spared, world.cluster)
    point = spared.mount("db", "a")
    pid, words = only(spared)
    assert pid == spare
    assert {"--image=db", "--pool=rbd", f"--instance={spared.name}"} <= set(words)
    with open(f"{point}/file", "w", encoding="ascii") as f:
        f.write("text")
    await_spare(spared, world.cluster, but=spare)
    spared.unmount("db", "a")
    with open(os.path.join(spared.mount("db", "b"), "file"), encoding="ascii") as f:
        assert f.read() == "text"
    spared.unmount("db", "b")


def test_a_volume_of_a_spare_mapper_outlives_its_daemon(spared):
    spared.mount("db", "a")
    pid, _ = only(spared)
    spared.kill()
    until(lambda: not spared.spares(), "the spare mapper to end with its daemon")
    spared.start().await_cluster()
    until(lambda: spared.get("db")["Status"]["state"] == "mounted", "what is there to have been looked for")
    assert only(spared)[0] == pid
    spared.unmount("db", "a")


def test_a_spare_mapper_that_was_killed_is_not_missed(spared, world):
    spare = await_spare(spared, world.cluster)
    Process(spare).kill()
    spared.mount("db", "a")
    assert only(spared)[0] != spare
    spared.unmount("db", "a")


def test_a_spare_mapper_whose_client_was_fenced_is_not_missed(spared, world):
    spare = await_spare(spared, world.cluster)
    fenced, = [address for address in world.cluster.clients() if address != own_client(spared)]
    world.cluster.ceph("osd", "blocklist", "add", fenced)
    spared.mount("db", "a")
    assert only(spared)[0] != spare
    spared.unmount("db", "a")


def own_client(daemon):
    """The daemon's own address in the cluster, which it wrote down for the next daemon."""
    with open(os.path.join(daemon.path("state-dir"), "clients.json"), encoding="ascii") as f:
        return json.load(f)["clients"][-1]


def test_a_spare_mapper_of_another_configuration_is_replaced(spared, world):
    spare = await_spare(spared, world.cluster)
    os.utime(spared.path("ceph-conf"))
    until(lambda: spare not in spared.spares() and spared.spares(), "another spare mapper")
