# SPDX-License-Identifier: MIT
"""Containers on volumes of the kernel's mappers, with a dockerd in the guest."""

import pytest
from waiting import until

DRIVER = "rbd"


@pytest.fixture(params=["krbd", "nbd"])
def docker(request, guest, hosts):
    """The guest's docker command, and a daemon that is its volume driver."""
    if not guest.call("docker_running"):
        guest.call("docker_start")
    daemon = hosts.daemon(name=DRIVER, socket=f"/run/docker/plugins/{DRIVER}.sock", mapper=request.param)

    def run(*words):
        return guest.call("docker", *words)

    run.daemon, run.mapper = daemon, request.param
    yield run
    for container in run("ps", "-aq").split():
        run("rm", "-f", container)
    for volume in run("volume", "ls", "-q").split():
        run("volume", "rm", "-f", volume)


def with_volume(name):
    return "--network=none", f"--volume-driver={DRIVER}", "-v", f"{name}:/data", "box", "sh", "-c"


def test_a_container_writes_and_another_reads(docker, guest, cluster):
    docker("volume", "create", "-d", DRIVER, "-o", "size=1G", "db")
    docker("run", "--rm", *with_volume("db"), "echo hello >/data/file && sync")
    assert guest.call("devices") == guest.call("nbd_devices") == [] and cluster.locks_left() == []
    assert docker("run", "--rm", *with_volume("db"), "cat /data/file") == "hello"
    docker("volume", "rm", "db")
    assert cluster.images() == []


def test_a_container_runs_on_while_the_daemon_dies_and_comes_back(docker, guest):
    docker("run", "-d", "--name=box", *with_volume("db"), "while echo x >>/data/log && sync /data/log; do usleep 50000; done")
    until(lambda: docker("exec", "box", "cat", "/data/log").count("x") > 3, "the container to write", 30)
    device = {"krbd": "/dev/rbd0", "nbd": "/dev/nbd0"}[docker.mapper]
    assert device in docker("exec", "box", "cat", "/proc/mounts")
    docker.daemon.kill()
    docker.daemon.start()
    before = docker("exec", "box", "cat", "/data/log").count("x")
    until(lambda: docker("exec", "box", "cat", "/data/log").count("x") > before, "the container to write on", 30)
    docker("rm", "-f", "box")
    until(lambda: guest.call("devices") == guest.call("nbd_devices") == [], "the volume to go down", 30)
