# SPDX-License-Identifier: MIT
"""What else a user of Docker expects of a volume: several pools and namespaces, snapshots on two hosts, owners, coded pools."""

import json

import pytest
from daemon import clean_env, rbdvol
from dockercli import DRIVER, PLUGINS, Docker
from test_places import coded  # noqa: F401  (a fixture) # pylint: disable=unused-import
from test_pools import namespace, pool, ssd  # noqa: F401  (fixtures) # pylint: disable=unused-import

# pylint: disable=redefined-outer-name


@pytest.fixture
def on(engine, world):
    """The private dockerd with a daemon of these options: on(pool="rbd,ssd")."""
    made = []

    def start(**options):
        made.append(Docker(engine, world.daemon(DRIVER, socket=f"{PLUGINS}/{DRIVER}.sock", **options).await_cluster()))
        return made[0]

    yield start
    made[0].clean()


@pytest.mark.usefixtures("namespace")
def test_what_docker_lists_is_what_it_inspects_runs_and_removes(on, cluster, ssd):  # noqa: F811
    """Of two pools, with one name in both, and of another namespace."""
    docker = on(pool=f"rbd,{ssd}")
    made = ["alone", "rbd/both", "rbd/tenant/db", "ssd/both", "ssd/fast"]
    for name in made:
        docker.daemon.create(name, size="64M", fstype="ext4")  # on another host, for all that Docker knows
    assert sorted(docker("volume", "ls", "-q").split()) == made
    for name in made:
        (about,) = json.loads(docker("volume", "inspect", name))
        assert about["Name"] == name and about["Driver"] == docker.driver and "ambiguous" not in about["Status"]
        docker.sh(name, f"echo {name} >/data/whose")
    for name in made:
        assert docker("run", "--rm", "--network=none", "--mount", f"type=volume,src={name},dst=/data", "box", "cat", "/data/whose") == name
    assert "ambiguous" in docker.refused("run", "--rm", *docker.with_volume("both"), "box", "true")
    docker("volume", "create", "-d", docker.driver, "-o", "size=64M", "-o", "fstype=ext4", "rbd/tenant/new")
    assert cluster.images("rbd/tenant") == ["db", "new"]
    docker("volume", "rm", *made, "rbd/tenant/new")
    assert docker("volume", "ls", "-q") == "" and cluster.images() == cluster.images(ssd) == cluster.images("rbd/tenant") == []


@pytest.mark.usefixtures("snapshots")
@pytest.mark.parametrize("fstype", ["xfs", "ext4"])
def test_a_snapshot_is_read_by_containers_here_and_on_another_host_while_its_source_is_written(world, docker, fstype):
    docker.create("db", size="512M", fstype=fstype)
    docker.start("db", "echo before >/data/file; sync; sleep 1000", "writer")
    docker("exec", "writer", "sh", "-c", "while ! grep -q before /data/file; do sleep 0.1; done")
    docker.daemon.does("snap", "create", "db@mon")
    docker("exec", "writer", "sh", "-c", "echo after >/data/file")
    docker("volume", "create", "-d", docker.driver, "-o", "from=db@mon", "-o", "ro=true", "-o", "sharing=host", "seen")
    for name in ("one", "two"):
        docker.start("seen", "sleep 1000", name)
    elsewhere = world.daemon().await_cluster()
    with open(elsewhere.mount("seen", "a") + "/file", encoding="ascii") as f:
        assert f.read() == "before\n"
    for name in ("one", "two"):
        assert docker("exec", name, "sh", "-c", "cat /data/file; touch /data/x 2>/dev/null || echo refused") == "before\nrefused"
    assert docker("exec", "writer", "cat", "/data/file") == "after"
    elsewhere.unmount("seen", "a")
    docker("rm", "-f", "one", "two", "writer")
    docker("volume", "rm", "seen")
    docker.daemon.does("trash", "purge", "seen")  # what is left in the trash has no snapshot, so that it can be cleared away
    docker.daemon.does("snap", "rm", "db@mon")


def test_a_container_of_a_user_writes_into_a_volume_of_its_group(docker):
    """With setgid what it makes is the group's; others get nothing."""
    docker.create("db", size="300M", fstype="ext4", uid="1000", gid="1001", mode="2770")
    words = ["run", "--rm", *docker.with_volume("db")]
    assert docker(*words, "--user=1000:1000", "box", "sh", "-c", "umask 007; echo mine >/data/f; stat -c '%u %g %a' /data /data/f") == \
        "1000 1001 2770\n1000 1001 660"
    assert docker(*words, "--user=2000:2000", "--group-add=1001", "box", "sh", "-c", "cat /data/f; mkdir /data/d; stat -c '%g' /data/d") == \
        "mine\n1001"
    assert "ermission denied" in docker.refused(*words, "--user=2000:2000", "box", "cat", "/data/f")


def test_the_copy_of_an_images_content_wins_over_the_owner_and_nocopy_does_not_copy(docker):
    for name in ("copied", "bare"):
        docker.create(name, size="300M", fstype="ext4", uid="1000", gid="1001", mode="2770")
    look = ["seeded", "sh", "-c", "stat -c '%u %g %a' /data; ls /data"]
    assert docker("run", "--rm", *docker.with_volume("copied"), *look) == "0 0 755\nbelow\nseed"
    assert docker("run", "--rm", *docker.with_volume("bare", "/data:nocopy"), *look) == "1000 1001 2770"


def test_a_container_writes_to_an_erasure_coded_pool(on, coded):  # noqa: F811
    docker = on(ceph_conf=coded.conf)
    docker.create("db", size="512M", data_pool="ec")
    docker.sh("db", "dd if=/dev/urandom of=/data/f bs=1M count=8 2>/dev/null; md5sum /data/f >/data/sum")
    docker.sh("db", "md5sum -c /data/sum >/dev/null")
    assert coded.objects("rbd_data.", pool="ec") and not coded.objects("rbd_data.")
    docker("volume", "rm", "db")
    done = rbdvol("trash", f"--socket={docker.daemon.socket}", "purge", "db", env=clean_env())
    assert done.returncode == 0, done.stderr
    assert not coded.objects("rbd_data.", pool="ec")
