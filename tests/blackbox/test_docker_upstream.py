# SPDX-License-Identifier: MIT
"""Moby's own black-box tests of volume plugins (integration-cli/docker_cli_external_volume_driver_test.go), against this one,
and the names that Docker lets through: facts of Docker Engine, sections 10 and 8. Its GetEmptyResponse is about a plugin that
answers "{}", which this one never does."""

import json
import os
import socket
import threading
import time

import pytest
from dockercli import DRIVER, PLUGINS, tar_of
from pace import patience
from waiting import until


def letters(docker, volume=None):
    return "".join(docker.seen.sequence(volume)).split()


def test_named(world, watched):
    """1 Named: C 1, M 1, U 1; `volume rm`: R 1, and the data is gone."""
    assert watched("run", "--rm", *watched.with_volume("named", "/tmp/x"), "box", "sh", "-c", "echo y >/tmp/x/y; cat /tmp/x/y") == "y"
    assert watched.seen.sequence() == "C M1 U1"
    watched("volume", "rm", "named")
    assert watched.seen.sequence() == "C M1 U1 R"
    assert world.cluster.images() == []


def test_unnamed(world, watched):
    """2 Unnamed: the same, and R by --rm."""
    watched("run", "--rm", "--network=none", f"--volume-driver={watched.driver}", "-v", "/tmp/x", "box", "true")
    assert watched.seen.sequence() == "C M1 U1 R"
    assert world.cluster.images() == []


def test_volumes_from(watched):
    """3 VolumesFrom: C1 R1 M2 U2."""
    watched("run", "--name=first", "--network=none", f"--volume-driver={watched.driver}", "-v", "/foo", "box", "touch", "/foo/x")
    assert watched("run", "--rm", "--network=none", "--volumes-from=first", "--name=second", "box", "ls", "/foo") == "x"
    watched("rm", "-fv", "first")
    assert watched.seen.sequence() == "C M1 U1 M2 U2 R"


def test_delete_container(watched):
    """4 DeleteContainer: rm -fv: C1 R1 M1 U1."""
    watched("run", "-d", "--name=one", "--network=none", f"--volume-driver={watched.driver}", "-v", "/foo", "box", "sleep", "1000")
    watched("rm", "-fv", "one")
    assert watched.seen.sequence() == "C M1 U1 R"


@pytest.fixture
def other_driver(docker, world):
    """A second driver for a moment; dockerd is made to forget it afterwards."""
    name = f"{DRIVER}-other"
    daemon = world.daemon(name, start=False, socket=f"{PLUGINS}/{name}.sock")
    yield daemon
    if not daemon.alive():
        return
    docker.clean()
    daemon.stop()
    docker.engine.as_new = False
    docker.engine.renew()


def test_lookup_not_blocked(docker):
    """5 LookupNotBlocked: a dead driver that is being waited for does not hold others up."""
    spec = f"/etc/docker/plugins/{DRIVER}-dead.spec"
    os.makedirs(os.path.dirname(spec), exist_ok=True)
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        with open(spec, "w", encoding="ascii") as f:
            f.write(f"tcp://127.0.0.1:{s.getsockname()[1]}")
    try:
        dead = docker.begin("volume", "create", "-d", f"{DRIVER}-dead", "dead")
        began = time.monotonic()
        docker("volume", "create", "-d", docker.driver, "live")
        assert time.monotonic() - began < patience(5)
        dead.kill()
        dead.communicate()
    finally:
        os.unlink(spec)
        docker.engine.as_new = False


def test_retry_not_immediately_exists(docker, other_driver):
    """6 RetryNotImmediatelyExists: the plugin appears 2 s after the run has started; done within 8 s."""
    began = time.monotonic()
    late = threading.Timer(2, other_driver.start)
    late.start()
    out = docker("run", "--rm", "--network=none", f"--volume-driver={other_driver.name}", "-v", "late:/data", "box", "echo", "ran")
    late.join()
    assert out == "ran" and 2 < time.monotonic() - began < patience(8)
    assert other_driver.log_text().count("mounted volume=") == 2  # mounted, unmounted


def test_bind_external_volume(docker):
    """7 BindExternalVolume: `inspect` shows Name and Driver of the mount."""
    docker.start("db", "exec sleep 1000", "one")
    mount, = json.loads(docker("inspect", "-f", "{{json .Mounts}}", "one"))
    assert (mount["Name"], mount["Driver"], mount["Type"]) == ("db", docker.driver, "volume")


def test_list(watched):
    """8 List: one L, and it is shown."""
    watched.create("abc")
    watched.seen.forget()
    assert f"{watched.driver} abc" in " ".join(watched("volume", "ls").split())
    assert watched.seen.letters() == "L"


def test_get(watched):
    """9 Get: an unknown volume is "no such volume" by one Get; Status is shown."""
    assert "no such volume" in watched.refused("volume", "inspect", "dummy").lower()
    assert len(watched.seen.calls("Get")) == 1
    watched.create("db")
    assert json.loads(watched("volume", "inspect", "db"))[0]["Status"]["image"] == "db"


def test_daemon_restart(docker):
    """10 DaemonRestart: the volume is usable after a restart of dockerd."""
    docker.create("db")
    docker.engine.stop_dockerd()
    docker.engine.start_dockerd()
    docker.start("db", "exec sleep 1000", "one")
    assert docker("inspect", "-f", "{{(index .Mounts 0).Driver}}", "one") == docker.driver
    docker("rm", "-f", "one")
    assert docker.mounted() == []


def test_path_calls_and_mount_id(watched):
    """12 PathCalls: 0 Path. 13 MountID: 64 hex digits."""
    watched.sh("db", "true")
    assert watched.seen.calls("Path") == []
    assert [len(a.fields["ID"]) for a in watched.seen.calls("Mount", "Unmount")] == [64, 64]


def test_capabilities(watched):
    """14 Capabilities: once per dockerd; the scope is shown."""
    watched.engine.stop_dockerd()
    watched.engine.start_dockerd()
    watched.seen.forget()
    for n in range(3):
        watched.create(f"db{n}")
        assert json.loads(watched("volume", "inspect", f"db{n}"))[0]["Scope"] == "global"
    assert len(watched.seen.calls("Capabilities")) == 1
    assert len(watched.seen.calls("Plugin.Activate")) == 1


@pytest.mark.parametrize("again", ["other options", "another driver"])
def test_out_of_band_delete(world, docker, again):
    """15 OutOfBandDelete: deleted behind Docker's back, then created again with other options, or another driver."""
    docker.create("db", size="1G")
    world.cluster.rbd("rm", "rbd/db")
    if again == "other options":
        docker.create("db", size="2G", fstype="ext4")
        assert world.cluster.info("db")["size"] == 2 << 30
        assert docker.sh("db", "echo usable") == "usable"
        assert json.loads(docker("volume", "inspect", "db"))[0]["Options"]["size"] == "2G"
    else:
        docker("volume", "create", "-d", "local", "db")
        assert json.loads(docker("volume", "inspect", "db"))[0]["Driver"] == "local"
        assert world.cluster.images() == []


@pytest.mark.parametrize("more", [[], ["-w", "/foo"]])
def test_unmount_on_mount_fail(world, watched, more):
    """16 UnmountOnMountFail: no U after a failed M, with a working directory in the volume, too."""
    world.cluster.rbd("create", "rbd/bad", "--size", "400")
    world.cluster.rbd("lock", "add", "rbd/bad", "somebody")
    watched.refused("run", "--rm", *more, *watched.with_volume("bad", "/foo"), "box", "true")
    assert watched.seen.sequence("bad") in ("M1!", "M1! M2!")
    assert watched.mounted() == []
    world.cluster.break_locks("bad")


def test_unmount_on_cp(watched):
    """17 UnmountOnCp: the container's own mount is left when docker cp's is taken back."""
    watched.start("db", "exec sleep 1000", "one")
    watched("cp", "-", "one:/tmp", input=tar_of("in", b"x"))
    words = letters(watched)
    assert words.count("M1") == words.count("U1") + 1
    watched("kill", "one")
    watched.ended("one")
    until(lambda: letters(watched).count("M1") == letters(watched).count("U1"), "the last unmount")
    assert watched.mounted() == []


def test_cli_create_option_conflict(docker, other_driver):
    """18 CLICreateOptionConflict: another driver with the same name, the local one, and one of our own kind."""
    docker.create("db")
    other_driver.start().await_cluster()
    for driver in ("local", other_driver.name):
        assert "must be unique" in docker.refused("volume", "create", "-d", driver, "db")


REFUSED = [".", "..", "../x", "/abs", "/", "//", "x y", " x", "x ", "a:b", "ünï", "日本", "%2F", 'a"b\\c', "a\nb", "a\tb", "a\x1bb", "-a", "_a",
           "a/", "a//b", "a/b/c/d", "a/../b", "../../etc/x", "a/.b", "a@", "a@x", "a@1X", "a@-1", "a@1@2", "x" * 129, "x" * 300, "x" * 5000,
           "rbdvol.x", "rbdvol.new.x", "a b/c", "a;b", "a&b", "<a>", "a'b", "$(a)", "*", "a\\b", "a=b", "a,b", "\u202ea"]


def test_a_name_that_is_none_is_refused_with_a_sentence(world, docker):
    """Section 8, rows of what dockerd passes through: nothing is created, mounted, or looked for by such a name."""
    for name in REFUSED:
        done = docker.engine.run("volume", "create", "-d", docker.driver, "--", name)
        said = done.stderr.decode()
        assert done.returncode and "volume name" in said and "[POOL/[NAMESPACE/]]IMAGE[@SIZE]" in said, f"{name!r}: {said}"
        mount = f'type=volume,"source={name}",target=/data,volume-driver={docker.driver}'
        if '"' not in name and len(name) < 5000 and name == name.strip():
            said = docker.refused("run", "--rm", "--network=none", "--mount", mount, "box", "true")
            assert "volume name" in said or "invalid" in said, f"{name!r}: {said}"
    assert world.cluster.everything() in ([], [(n, o) for n, o in world.cluster.everything() if o in ("rbd_info", "rbd_directory", "rbd_namespace")])
    assert docker.mounted() == []
    assert docker("volume", "ls", "-q") == ""


def test_a_name_of_any_allowed_spelling_works_through_docker(world, docker):
    """Section 8, rows that `volume rm`, `inspect` and -v take: pool/image, pool/ns/image, a@size, a.b.c, one letter, 128."""
    world.cluster.rbd("namespace", "create", "rbd/ns")
    longest = "x" * 128
    for name, image in (("rbd/img", "rbd/img"), ("rbd/ns/img", "rbd/ns/img"), ("sized@400", "rbd/sized"), ("a.b.c", "rbd/a.b.c"),
                        ("x", "rbd/x"), (longest, f"rbd/{longest}"), ("A-b_C.9", "rbd/A-b_C.9")):
        docker("volume", "create", "-d", docker.driver, name)
        info = world.cluster.info(image)
        assert info["size"] == (400 << 20 if "@" in name else 20 << 30)
        assert json.loads(docker("volume", "inspect", name))[0]["Name"] == name
        mount = f"type=volume,source={name},target=/data,volume-driver={docker.driver}"  # to -v, x:/data is a path on a drive x
        assert docker("run", "--rm", "--network=none", "--mount", mount, "box", "sh", "-c", "echo in >/data/x; cat /data/x") == "in"
        docker("volume", "rm", name)
        assert image.rpartition("/")[2] not in world.cluster.images(image.rpartition("/")[0])
    world.cluster.rbd("trash", "purge", "rbd/ns")
