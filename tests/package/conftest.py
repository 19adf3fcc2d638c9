# SPDX-License-Identifier: MIT
"""Fixtures: the packages, built once, and a booted machine with a cluster to talk to."""

import os
import re
import shutil
import subprocess
import sys
import tempfile

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
TESTS = os.path.dirname(HERE)
sys.path[:0] = [os.path.join(TESTS, name) for name in ("lib", "ceph", "docker", "blackbox", "package")]

import engine as docker_engine  # noqa: E402
from cluster import Cluster  # noqa: E402
from machine import Machine  # noqa: E402

NEXT = "0.1.1~next"


def pytest_configure(config):
    if os.geteuid() != 0:
        pytest.exit("these tests boot machines: run them as root", returncode=2)


@pytest.fixture(scope="session")
def work():
    made = tempfile.mkdtemp(prefix="rbdvol-package-", dir="/var/tmp")
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture(scope="session")
def deb(work):
    """The Debian package, after lintian has looked at it."""
    done = subprocess.run([f"{HERE}/build-deb", work], capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip().splitlines()[-1]


@pytest.fixture(scope="session")
def next_deb(work, deb):
    """The same, with a later version number."""
    tree = f"{work}/next"
    subprocess.run(["dpkg-deb", "-R", deb, tree], check=True)
    control = f"{tree}/DEBIAN/control"
    with open(control, encoding="utf-8") as f:
        lines = [f"Version: {NEXT}\n" if line.startswith("Version:") else line for line in f]
    with open(control, "w", encoding="utf-8") as f:
        f.writelines(lines)
    made = f"{work}/rbdvol_{NEXT}.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "-b", tree, made], check=True, stdout=subprocess.DEVNULL)
    return made


@pytest.fixture(scope="session")
def cluster():
    made = Cluster.start(tempfile.mkdtemp(prefix="rbdvol-ceph-", dir="/tmp"))
    yield made
    made.stop()


@pytest.fixture(scope="session")
def machine(work, deb, next_deb, cluster):
    """Booted, with Docker, what /etc/ceph needs, and the package installed as a person installs it."""
    ceph = f"{work}/ceph"
    os.makedirs(ceph)
    with open(cluster.conf, encoding="utf-8") as conf, open(f"{ceph}/ceph.conf", "w", encoding="utf-8") as copy:
        # as on a real host: what the managed plugin sees of it is /etc/ceph
        copy.write(re.sub(r"(?m)^\s*keyring\s*=.*client.*\n", "", conf.read()))
    shutil.copyfile(f"{cluster.dir}/client.rbdvol.keyring", f"{ceph}/ceph.client.rbdvol.keyring")
    made = Machine(f"{work}/machine", [f"{ceph}:/etc/ceph", f"{cluster.dir}:{cluster.dir}"])
    try:
        with open(f"{made.root}/root/box.tar", "wb") as f:
            f.write(docker_engine.busybox_tar({}))
        shutil.copyfile(deb, f"{made.root}/root/rbdvol.deb")
        shutil.copyfile(next_deb, f"{made.root}/root/rbdvol-next.deb")
        made.boot()
        made.run("docker import - box < /root/box.tar")
        made.run("apt-get install -qy --no-install-recommends /root/rbdvol.deb", 300)
        yield made
    finally:
        made.remove()
