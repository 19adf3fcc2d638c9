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
SETTINGS = "RBDVOL_NAME=managed RBDVOL_SIZE=2G RBDVOL_FSTYPE=ext4 ceph.source=/etc/ceph"
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
    machine.run(f"docker plugin set {PLUGIN} {SETTINGS}")
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


@pytest.mark.parametrize("fstype", ["xfs", "ext4"])
def test_a_clone_is_mounted_beside_its_source(plugin, fstype):
    """It gets a uuid of its own, with tools that the plugin has to have."""
    for volume, option in ((f"managed-{fstype}", f"fstype={fstype}"), (f"managed-{fstype}-2", f"from=managed-{fstype}")):
        plugin.run(f"docker volume create -d {PLUGIN} -o {option} {volume}")
        plugin.run(f"docker run -d --name {volume} --volume-driver={PLUGIN} -v {volume}:/data box sleep 600")
    uuids = [plugin.ask(f"blkid -c /dev/null -p -s UUID -o value $(awk '$2 ~ /rbd.managed-{fstype}{end}$/ {{print $1; exit}}' /proc/1/mounts)")
             for end in ("", "-2")]
    assert all(uuids) and uuids[0] != uuids[1], uuids
    plugin.run(f"docker rm -f managed-{fstype} managed-{fstype}-2")
    volumes(plugin, f"managed-{fstype}-2", f"managed-{fstype}")


def test_a_passphrase_is_found_beside_the_cephx_key(plugin):
    """As docs/docker.md says."""
    plugin.run("install -d -m 0700 /etc/ceph/keys && (umask 077 && echo 'a long passphrase' > /etc/ceph/keys/k)")
    plugin.run(f"docker volume create -d {PLUGIN} -o encrypt=k -o size=400M managed-secret")
    plugin.run(f"docker run --rm --volume-driver={PLUGIN} -v managed-secret:/data box sh -c 'echo kept > /data/file'")
    assert kept(plugin, "managed-secret") == "kept"
    volumes(plugin, "managed-secret")
    plugin.run("rm -r /etc/ceph/keys")


def mappers(machine):
    return [line for line in machine.ask("ps -eo stat=,args=").splitlines() if "@rbdvol-mapper" in line and "--instance=managed" in line]


def kept(machine, volume):
    """What a container that is started now finds in the volume."""
    return machine.run(f"docker run --rm --volume-driver={PLUGIN} -v {volume}:/data box cat /data/file").strip()


def test_a_restart_of_docker_takes_it_along_and_brings_it_back(plugin, cluster):
    plugin.run(f"docker run -d --name managed --volume-driver={PLUGIN} -v managed-restart:/data box sh -c "
               "'echo kept > /data/file && exec sleep 600'")
    until(lambda: plugin.command("docker exec managed cat /data/file").stdout == "kept\n", "the first write", 20)
    header = f"rbd_header.{cluster.info('managed-restart')['id']}"
    plugin.run("systemctl restart docker", 180)
    until(lambda: "rbd_lock" not in cluster.locks(header), "the lock to be released: its container ended with Docker", 30)
    assert plugin.run(f"docker plugin inspect -f '{{{{.Enabled}}}}' {PLUGIN}").strip() == "true"
    plugin.run("docker start managed && docker rm -f managed")
    assert kept(plugin, "managed-restart") == "kept"
    volumes(plugin, "managed-restart")


def renew(machine):
    """Another version of it, as docs/docker.md says."""
    machine.run(f"docker plugin disable -f {PLUGIN} && docker plugin rm -f {PLUGIN} && "
                f"docker plugin create {PLUGIN} /root/plugin", 300)
    machine.run(f"docker plugin set {PLUGIN} {SETTINGS} && docker plugin enable --timeout 120 {PLUGIN}")


def test_another_version_of_it_has_the_volumes(plugin):
    """Docker can remove it although volumes were mounted: nothing that it made is protected from that."""
    plugin.run(f"docker run --rm --volume-driver={PLUGIN} -v managed-next:/data box sh -c 'echo kept > /data/file'")
    renew(plugin)
    assert kept(plugin, "managed-next") == "kept"
    volumes(plugin, "managed-next")


def begin(machine, volume):
    """A container with something synced, and something that is not, on the volume."""
    machine.run(f"docker run -d --name managed --volume-driver={PLUGIN} -v {volume}:/data box sh -c "
                "'echo kept | dd conv=fsync of=/data/file && dd if=/dev/urandom of=/data/dirty bs=1M count=16 && exec sleep 600'")
    until(lambda: machine.command("docker exec managed ls /data/dirty").returncode == 0, "the writes", 20)
    assert len(mappers(machine)) == 1


def state(machine, volume):
    return json.loads(machine.run(f"docker volume inspect {volume}"))[0]["Status"]["state"]


def mounts(machine, volume):
    """Of this volume, wherever the machine's own mount namespace has it."""
    return machine.ask(f"grep '/rbd/{volume} ' /proc/1/mountinfo")


def test_a_daemon_that_is_killed_is_started_again_by_docker(plugin):
    """Its mappers go with it: the volume is lost, until its container is restarted."""
    begin(plugin, "managed-kill")
    plugin.run("for p in $(pgrep -x rbdvol); do grep -qz RBDVOL_NAME=managed /proc/$p/environ && kill -9 $p; done")
    until(lambda: plugin.command("docker volume inspect managed-kill").returncode == 0 and state(plugin, "managed-kill") == "lost",
          "Docker to start it, and the loss to be seen", 60)
    until(lambda: not mounts(plugin, "managed-kill"), "the dead mount to be taken down", 20)
    plugin.run("docker restart -t 1 managed && docker exec managed cat /data/file | grep kept", 60)
    plugin.run("docker rm -f managed")
    volumes(plugin, "managed-kill")


def test_ended_by_force_under_a_container_it_leaves_nothing_that_hangs_and_is_usable_again(plugin):
    """All its processes are killed, and with them its mount namespace. What was synced is there afterwards."""
    begin(plugin, "managed-force")
    plugin.run(f"docker plugin disable -f {PLUGIN}", 90)
    until(lambda: not mappers(plugin), "the mapper to be gone, and not to wait for itself", 30)
    plugin.run("docker rm -f managed", 60)
    assert not mounts(plugin, "managed-force")
    plugin.run(f"docker plugin enable --timeout 120 {PLUGIN}")
    # Docker's Unmount found no plugin: its holder is on record, but nothing is mounted for it
    until(lambda: state(plugin, "managed-force") == "lost", "the loss to be seen", 30)
    assert not mappers(plugin) and not mounts(plugin, "managed-force")
    until(lambda: plugin.command(f"docker run --rm --volume-driver={PLUGIN} -v managed-force:/data box true").returncode == 0,
          "the holder to give way, a minute after its Mount", 90, 1)
    assert kept(plugin, "managed-force") == "kept"
    volumes(plugin, "managed-force")


def test_ended_by_force_and_enabled_again_under_a_container_that_is_then_restarted(plugin):
    begin(plugin, "managed-on")
    plugin.run(f"docker plugin disable -f {PLUGIN} && docker plugin enable --timeout 120 {PLUGIN}", 200)
    assert plugin.command("docker exec managed cat /data/dirty > /dev/null").returncode in (0, 1)
    refused = plugin.command(f"docker run --rm --volume-driver={PLUGIN} -v managed-on:/data box true")
    assert refused.returncode != 0 and "lost" in refused.stderr, refused.stderr
    plugin.run("docker restart -t 1 managed && docker exec managed cat /data/file | grep kept", 60)
    plugin.run("docker rm -f managed")
    volumes(plugin, "managed-on")


def test_another_version_by_force_under_a_container(plugin):
    """Nothing is known to it of the one before."""
    begin(plugin, "managed-over")
    renew(plugin)
    plugin.run("docker rm -f managed", 60)
    assert kept(plugin, "managed-over") == "kept"
    volumes(plugin, "managed-over")
