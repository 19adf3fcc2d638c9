# SPDX-License-Identifier: MIT
"""rbdvol doctor on a host that is as it should be, and on hosts that lack one thing each."""

import json
import os
import socket
import subprocess

import pytest
from daemon import RBDVOL, clean_env, rbdvol


@pytest.fixture
def doctor(world):
    """doctor(option=value...) -> (exit status, {check: [(result, text, mend)]})."""
    os.makedirs(f"{world.dir}/scratch", exist_ok=True)

    def run(**options):
        given = {"ceph-conf": world.cluster.conf, "user": "rbdvol", "pool": "rbd", "scratch-dir": f"{world.dir}/scratch",
                 "mount-root": f"{world.dir}/mnt", "socket": f"{world.dir}/doctor.sock", "name": "doctor", "ceph-timeout": "3s"}
        given.update({key.replace("_", "-"): value for key, value in options.items()})
        done = rbdvol("doctor", "--json", *[f"--{key}={value}" for key, value in given.items()])
        found = {}
        for one in json.loads(done.stdout):
            found.setdefault(one["Check"], []).append((one["Result"], one["Text"], one["Mend"]))
        return done.returncode, found

    return run


def problem(found, check, words, mend):
    """That check found a problem which says these words, and how it is mended."""
    problems = [(text, how) for result, text, how in found[check] if result == "problem"]
    assert any(words in text and mend in how for text, how in problems), found[check]


def test_a_sound_host_has_no_problem(world, daemon, doctor):
    status, found = doctor(socket=daemon.socket, name=daemon.name)
    assert status == 0, found
    assert all(result != "problem" for results in found.values() for result, _, _ in results)
    assert found["cluster"][0][0] == "ok" and found["pool"][0][0] == "ok" and found["fencing"][0][0] == "ok"
    assert "answers at" in found["daemon"][0][1]
    assert world.cluster.everything() == set() or not any("doctor" in name for _, name in world.cluster.everything())


def test_for_people_it_prints_a_line_each_and_the_way_out(world):
    done = rbdvol("doctor", f"--ceph-conf={world.cluster.conf}", "--pool=nope", f"--scratch-dir={world.dir}")
    assert done.returncode == 1
    assert "there is no pool 'nope'" in done.stdout and "-> ceph osd pool create nope" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("1 problems")


def test_a_missing_pool(doctor):
    status, found = doctor(pool="rbd,gone")
    assert status == 1
    problem(found, "pool", "no pool 'gone'", "ceph osd pool create gone")


def test_a_key_that_may_not_fence(world, doctor):
    conf = world.cluster.conf_for("nofence", f"{world.dir}/nofence.conf", mon="allow r", osd="allow rwx pool=rbd")
    status, found = doctor(user="nofence", ceph_conf=conf or f"{world.dir}/nofence.conf")
    assert status == 1
    problem(found, "fencing", "may not blocklist", "profile rbd")


def test_a_key_that_may_only_read(world, doctor):
    conf = world.cluster.conf_for("reader", f"{world.dir}/reader.conf", mon="profile rbd", osd="profile rbd-read-only pool=rbd")
    status, found = doctor(user="reader", ceph_conf=conf or f"{world.dir}/reader.conf")
    assert status == 1
    problem(found, "pool", "may not write", "ceph auth caps client.reader")


@pytest.fixture
def ssd(cluster):
    """A second pool."""
    cluster.ceph("osd", "pool", "create", "ssd", "8", "8", "replicated")
    yield
    cluster.ceph("osd", "pool", "rm", "ssd", "ssd", "--yes-i-really-really-mean-it")


@pytest.mark.usefixtures("ssd")
def test_what_it_tells_of_a_key_takes_nothing_else_from_it(world, doctor):
    """`ceph auth caps` replaces all that a key may: the command names each pool that is configured, in its namespace."""
    conf = world.cluster.conf_for("one", f"{world.dir}/one.conf", mon="allow r", osd="allow rwx pool=rbd")
    status, found = doctor(user="one", ceph_conf=conf, pool="rbd,ssd")
    assert status == 1
    assert found["pool"][0][0] == "ok", found
    for check, words in (("pool", "in pool 'ssd'"), ("fencing", "may not blocklist")):
        problem(found, check, words, "ceph auth caps client.one mon 'profile rbd' osd 'profile rbd pool=rbd, profile rbd pool=ssd'")
        problem(found, check, words, "ceph auth get client.one")
    _, found = doctor(user="one", ceph_conf=conf, pool="ssd", namespace="tenant")
    problem(found, "pool", "in pool 'ssd'", "osd 'profile rbd pool=ssd namespace=tenant'")


def test_a_pool_that_does_not_answer_is_no_matter_of_the_key(world, doctor):
    world.cluster.pause("osd")
    status, found = doctor()
    assert status == 1
    problem(found, "pool", "in pool 'rbd'", "ceph health detail")
    assert "auth caps" not in found["pool"][0][2], found["pool"]


def test_a_cluster_that_is_away(world, doctor):
    world.cluster.pause("mon")
    status, found = doctor()
    assert status == 1
    problem(found, "cluster", "monitor", "ceph -s")


def test_a_missing_configuration_and_a_wrong_option(doctor):
    status, found = doctor(ceph_conf="/nonexistent/ceph.conf")
    assert status == 1
    problem(found, "ceph.conf", "/nonexistent/ceph.conf", "ceph-conf")
    status, found = doctor(nonsense="1")
    assert status == 1
    problem(found, "configuration", "--nonsense", "correct")


def test_dangerous_values_in_ceph_conf_are_told(world, doctor):
    path = f"{world.dir}/danger.conf"
    with open(world.cluster.conf, encoding="utf-8") as f, open(path, "w", encoding="utf-8") as out:
        out.write(f.read().replace("[client]", "[client]\nrbd blocklist expire seconds = 60\nrados osd op timeout = 3", 1))
    status, found = doctor(ceph_conf=path)
    assert status == 0
    told = " ".join(text for _, text, _ in found["ceph.conf"])
    assert "rbd_blocklist_expire_seconds=60" in told and "rados_osd_op_timeout=3" in told


def test_a_stale_socket(world, doctor):
    path = f"{world.dir}/stale.sock"
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(path)
    status, found = doctor(socket=path)
    assert status == 1
    problem(found, "daemon", "nobody listens", "replaces it")


def test_a_missing_mkfs(world):
    """In a mount namespace in which a file that cannot be run lies over it."""
    done = subprocess.run(["unshare", "--mount", "sh", "-c", 'mount --bind /dev/null "$(command -v mkfs.xfs)" && exec "$@"', "sh",
                           RBDVOL, "doctor", f"--ceph-conf={world.cluster.conf}", f"--scratch-dir={world.dir}"],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False, env=clean_env())
    assert done.returncode == 1, done.stdout
    assert "mkfs.xfs is not installed" in done.stdout and "install xfsprogs" in done.stdout


def test_a_scratch_dir_that_takes_no_file(doctor):
    status, found = doctor(scratch_dir="/proc")
    assert status == 1
    problem(found, "scratch-dir", "/proc", "scratch-dir")


def test_the_administrator_s_key_is_warned_of(doctor):
    _, found = doctor(user="admin")
    assert "client.admin" in found["user"][0][1]


def elsewhere(world, prepare, *options):
    """Doctor in a mount namespace of its own, in which a shell has prepared something."""
    done = subprocess.run(["unshare", "--mount", "sh", "-c", f'{prepare} && exec "$@"', "sh", RBDVOL, "doctor",
                           f"--ceph-conf={world.cluster.conf}", f"--scratch-dir={world.dir}", *options],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False, env=clean_env())
    return done.returncode, done.stdout


def test_a_mount_root_that_docker_cannot_see(world):
    """Mounts that do not propagate: a container would get an empty directory."""
    for name in ("host", "mnt"):
        os.makedirs(f"{world.dir}/{name}")
    prepare = "mount -t tmpfs tmpfs host && mount --make-shared host && mount --bind host mnt && mount --make-slave mnt"
    status, told = elsewhere(world, f"cd {world.dir} && {prepare}", f"--mount-root={world.dir}/mnt")
    assert status == 1
    assert "invisible to Docker" in told and "run it where Docker runs" in told, told


def test_a_missing_module(world, doctor):
    """Asked for by name; and with nothing at all that could map."""
    if not os.path.exists("/sys/bus/rbd"):
        status, found = doctor(mapper="krbd")
        assert status == 1
        problem(found, "mapper", "mapper=krbd cannot be used here", "modprobe rbd")
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(f"{world.dir}/no-device")  # which cannot be opened
    status, told = elsewhere(world, f"mount --bind {world.dir}/no-device /dev/fuse", "--mapper=fuse")
    assert status == 1 and "mapper=fuse cannot be used here" in told and "modprobe fuse" in told, told


def test_a_second_plugin_of_the_same_name(world):
    """Docker would take the other one's socket, or its spec file."""
    prepare = f"mkdir -p /etc/docker/plugins {world.dir}/specs && mount --bind {world.dir}/specs /etc/docker/plugins && " \
              "echo unix:///elsewhere.sock >/etc/docker/plugins/twice.spec"
    made = [folder for folder in ("/etc/docker", "/etc/docker/plugins") if not os.path.isdir(folder)]
    try:
        _, told = elsewhere(world, prepare, "--name=twice", f"--socket={world.dir}/doctor.sock")
    finally:
        for folder in reversed(made):
            os.rmdir(folder)
    assert "/etc/docker/plugins/twice.spec also tells Docker of a plugin 'twice'" in told, told


def test_it_says_when_nothing_gives_space_back(doctor):
    """No timer of that name is active here."""
    _, found = doctor()
    ((result, text, mend),) = found["trim"]
    assert result == "warning" and "rbdvol-trim@doctor.timer is not active" in text
    assert "systemctl enable --now rbdvol-trim@doctor.timer" in mend and "rbdvol trim --all --name=doctor" in mend
    assert "rbdvol-trim.timer" in doctor(name="rbd")[1]["trim"][0][2]
    for words, result in (("noatime+discard", "ok"), ("nodiscard", "warning")):
        assert doctor(mount_options=words)[1]["trim"][0][0] == result, words
