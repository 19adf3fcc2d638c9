# SPDX-License-Identifier: MIT
"""Compose replaces a container: the second is created before the first stops, and what Docker copies at create gets in the
way of an exclusive volume: facts of Docker Engine, section 5, row copy-up."""

import os
import subprocess

import pytest
from waiting import until

SLEEPS = ("sleep", "1000")


def mount(docker, nocopy):
    return f"type=volume,source=db,target=/data,volume-driver={docker.driver}" + (",volume-nocopy" if nocopy else "")


def begin_first(docker, nocopy, **opts):
    docker.create("db", size="1G", **opts)
    docker("run", "-d", "--network=none", "--stop-timeout=0", "--mount", mount(docker, nocopy), "--name=first", "seeded", *SLEEPS)
    docker("exec", "first", "sh", "-c", "echo of the first >/data/first")


def replace(docker, nocopy):
    """Compose's second version: create, stop the old one, start, remove the old one."""
    docker("create", "--network=none", "--stop-timeout=0", "--mount", mount(docker, nocopy), "--name=second", "seeded", *SLEEPS)
    assert docker("exec", "first", "cat", "/data/first") == "of the first"
    docker("stop", "first")
    docker("start", "second")
    docker("rm", "first")
    assert docker("exec", "second", "cat", "/data/first") == "of the first"


def test_with_nocopy_the_second_is_created_beside_the_first(watched):
    """Row copy-up with volume-nocopy: create mounts nothing."""
    begin_first(watched, nocopy=True)
    replace(watched, nocopy=True)
    assert watched.seen.sequence() == "C M1 U1 M2"
    assert watched("exec", "second", "ls", "/data") == "first"


def test_without_nocopy_the_create_is_refused_with_the_way_out_and_the_first_goes_on(watched):
    """Row copy-up at create beside a container that runs."""
    begin_first(watched, nocopy=False)
    err = watched.refused("create", "--network=none", "--mount", mount(watched, False), "--name=second", "seeded", *SLEEPS)
    assert "nocopy: true" in err and "sharing=host" in err
    assert watched.seen.sequence() == "C M1 U1 M2 M3!"
    assert watched("ps", "-aq", "--filter", "name=second") == ""
    assert watched("exec", "first", "sh", "-c", "cat /data/seed /data/first").split("\n") == ["from the image", "of the first"]
    watched("rm", "-f", "first")
    assert watched.mounted() == []


def test_with_sharing_host_it_works_without_nocopy(watched):
    """Row copy-up at create beside a container that runs, with sharing=host."""
    begin_first(watched, nocopy=False, sharing="host")
    replace(watched, nocopy=False)
    assert watched.seen.sequence() == "C M1 U1 M2 M3 U3 U2 M4"
    assert watched("exec", "second", "cat", "/data/seed") == "from the image"


PROJECT = """\
version: "3.8"
services:
  app:
    image: seeded
    network_mode: none
    stop_grace_period: 0s
    environment: {{"VERSION": "{version}"}}
    command: ["sleep", "1000"]
    volumes:
      - type: volume
        source: db
        target: /data
        volume: {{nocopy: {nocopy}}}
volumes:
  db:
    driver: {driver}
    driver_opts: {{size: 1G, fstype: ext4}}
"""


@pytest.mark.parametrize("nocopy", [True, False])
def test_docker_compose_brings_a_project_up_replaces_and_removes_it(world, docker, nocopy):
    """Row copy-up, with Debian's docker-compose, which stops the old container first."""
    where = os.path.join(world.dir, "project")
    os.mkdir(where)

    def compose(*words, version=1):
        with open(f"{where}/docker-compose.yml", "w", encoding="ascii") as f:
            f.write(PROJECT.format(version=version, driver=docker.driver, nocopy=str(nocopy).lower()))
        done = subprocess.run(["docker-compose", "-p", "shop", *words], cwd=where, env=docker.engine.env(), capture_output=True,
                              text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr

    compose("up", "-d")
    assert world.cluster.images() == ["shop_db"]
    assert docker("exec", "shop_app_1", "ls", "/data").split() == ([] if nocopy else ["below", "seed"])
    docker("exec", "shop_app_1", "sh", "-c", "echo $VERSION >/data/kept")
    first = docker("ps", "-q")
    compose("up", "-d", version=2)
    assert docker("ps", "-q") != first
    assert docker("exec", "shop_app_1", "sh", "-c", "cat /data/kept; echo $VERSION") == "1\n2"
    compose("restart", version=2)
    until(lambda: docker("exec", "shop_app_1", "cat", "/data/kept") == "1", "the container to be up again")
    compose("down", "-v", version=2)
    assert world.cluster.images() == []
    assert docker.mounted() == []
