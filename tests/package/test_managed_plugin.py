# SPDX-License-Identifier: MIT
"""The managed plugin, in the real dockerd of the machine."""

import json
import os
import subprocess

import process
import pytest
from waiting import until

ROOT = os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, os.pardir))
PLUGIN = "rbdvol/rbd:test"
SYS_RESOURCE = 24


def volumes(machine, *names):
    machine.run("docker volume rm " + " ".join(names))


def leave_out_what_this_host_lacks(path):
    """A container's runtime refuses to start what asks for a capability that the host itself was not given."""
    with open(path, encoding="utf-8") as f:
        config = json.load(f)
    if not int(process.status(os.getpid())["CapBnd"], 16) & 1 << SYS_RESOURCE:
        config["linux"]["capabilities"].remove("CAP_SYS_RESOURCE")
    with open(path, "w", encoding="utf-8") as f:
        json.dump(config, f)


@pytest.fixture(scope="module")
def plugin(machine, work):
    """Created, with its settings set, and enabled, as docs/docker.md says."""
    made = f"{machine.root}/root/plugin"
    done = subprocess.run([f"{ROOT}/packaging/docker-plugin/build", made], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    leave_out_what_this_host_lacks(f"{made}/config.json")
    # its own name on the machine that has the package, too
    machine.run(f"docker plugin create {PLUGIN} /root/plugin", 300)
    machine.run(f"docker plugin set {PLUGIN} RBDVOL_NAME=managed RBDVOL_SIZE=2G RBDVOL_FSTYPE=ext4 ceph.source=/etc/ceph")
    machine.run(f"docker plugin enable --timeout 120 {PLUGIN}")
    yield machine
    machine.command(f"docker plugin disable -f {PLUGIN}; docker plugin rm -f {PLUGIN}")


def test_a_container_uses_it_and_the_next_finds_its_data(plugin):
    plugin.run(f"docker run --rm --volume-driver={PLUGIN} -v managed-db:/data box sh -c 'echo kept > /data/file'")
    said = plugin.run(f"docker run --rm --volume-driver={PLUGIN} -v managed-db:/data box sh -c 'cat /data/file; grep /data /proc/mounts'")
    assert said.splitlines()[0] == "kept"
    assert " ext4 " in said.splitlines()[1], "the container does not see the volume, but the directory below it"
    volumes(plugin, "managed-db")


def test_its_settings_are_those_that_were_set(plugin):
    plugin.run(f"docker volume create -d {PLUGIN} managed-set")
    status = json.loads(plugin.run("docker volume inspect managed-set"))[0]["Status"]
    assert status["size"] == 2 << 30 and status["fstype"] == "ext4"
    volumes(plugin, "managed-set")


def test_what_a_container_has_is_let_go_when_it_ends(plugin, cluster):
    plugin.run(f"docker run -d --name managed --volume-driver={PLUGIN} -v managed-end:/data box sleep 600")
    header = f"rbd_header.{cluster.info('managed-end')['id']}"
    assert "rbd_lock" in cluster.locks(header)
    assert plugin.command(f"docker plugin disable {PLUGIN}").returncode != 0, "it can be disabled while a container uses it"
    plugin.run("docker rm -f managed")
    until(lambda: "rbd_lock" not in cluster.locks(header), "the lock to be released", 20)
    volumes(plugin, "managed-end")


def test_it_can_be_disabled_and_enabled_again(plugin):
    plugin.run(f"docker run --rm --volume-driver={PLUGIN} -v managed-again:/data box sh -c 'echo kept > /data/file'")
    plugin.run(f"docker plugin disable -f {PLUGIN} && docker plugin enable --timeout 120 {PLUGIN}")
    said = plugin.run(f"docker run --rm --volume-driver={PLUGIN} -v managed-again:/data box cat /data/file")
    assert said.strip() == "kept"
    volumes(plugin, "managed-again")
