# SPDX-License-Identifier: MIT
"""Docker forgets a volume when Get answers an error: facts of Docker Engine, section 7. So with the cluster away nothing is
answered that Docker could take for "does not exist", and when it is back everything is as it was."""

import json
import time

import pytest
from pace import patience

NAMES = ("known", "used", "removed", "again", "mounted")


@pytest.fixture
def full(docker):
    """Volumes with labels and options: one mounted, one used by a container that does not run, others unused."""
    docker.daemon.options["ceph-timeout"] = "2s"
    docker.daemon.restart().await_cluster()
    for name in NAMES:
        docker("volume", "create", "-d", docker.driver, "--label", f"of={name}", "-o", "size=400M", "-o", "fstype=ext4", name)
    docker("create", *docker.with_volume("used"), "--name=uses", "box", "sleep", "1000")
    docker.start("mounted", "exec sleep 1000", "runs", more=["--stop-timeout=0"])
    return docker


def away(cluster):
    cluster.pause("osd")
    cluster.pause("mon")


def back(cluster, docker):
    cluster.resume("mon")
    cluster.resume("osd")
    docker.daemon.await_cluster()


def nothing_is_forgotten(docker, references=("used", "mounted")):
    """Labels, options and references are what they were."""
    for name in NAMES:
        about = json.loads(docker("volume", "inspect", name))[0]
        assert about["Driver"] == docker.driver
        assert about["Labels"] == {"of": name}
        assert about["Options"] == {"size": "400M", "fstype": "ext4"}
    for name in references:
        assert "in use" in docker.refused("volume", "rm", name)
    docker("start", "uses")
    assert docker.writes("uses")
    assert docker.writes("runs")


def test_with_the_cluster_away_commands_fail_and_docker_forgets_nothing(world, full):
    """Rows Get error of a volume in use, of `docker run` without a driver, at `docker start`, in `create -d`.

    A volume that Docker has never seen it makes a local one, whatever the plugin does: that is not for us to decide."""
    away(world.cluster)
    # what is mounted here is answered from memory at once
    began = time.monotonic()
    assert json.loads(full("volume", "inspect", "mounted"))[0]["Status"]["state"] == "mounted"
    assert "in use" in full.refused("volume", "rm", "mounted")
    assert "in use" in full.refused("volume", "rm", "-f", "mounted")
    assert time.monotonic() - began < patience(3)
    # Docker asks for the others again and again for 15 s
    network = "--network=none"
    commands = [full.begin(*words) for words in (
        ("volume", "inspect", "known"),
        ("run", "--rm", network, "-v", "again:/data", "box", "true"),
        ("start", "uses"),
        ("volume", "rm", "removed"),
        ("volume", "create", "-d", full.driver, "never"),
    )]
    for command in commands:
        said = command.communicate(timeout=120)
        assert command.returncode, f"{command.args} succeeded without the cluster: {said}"
        assert "no such volume" not in said[1].lower(), f"{command.args}: {said}"
    back(world.cluster, full)
    nothing_is_forgotten(full)
    full("volume", "rm", "removed")
    assert "never" not in world.cluster.images()


def test_docker_restarted_with_the_cluster_away_forgets_nothing_but_what_no_plugin_can_keep(world, full):
    """Row Get error at dockerd start: the DB entry (labels, options) is removed, and what is mounted here is forgotten.

    The reference of a container that does not run is lost whenever Get has no answer at dockerd's start; it comes back with
    the container's next one."""
    full.engine.stop_dockerd()
    full.engine.start_dockerd(live_restore=True)
    full("start", "runs")
    before = full.holders("mounted")
    away(world.cluster)
    full.engine.kill_dockerd()
    full.engine.start_dockerd(live_restore=True, wait=False)
    full.engine.await_dockerd(90)
    assert full.running("runs")
    assert "in use" in full.refused("volume", "rm", "mounted")
    back(world.cluster, full)
    assert full.holders("mounted") == before
    nothing_is_forgotten(full, references=["mounted"])
    assert "in use" in full.refused("volume", "rm", "used")
