# SPDX-License-Identifier: MIT
"""Options: flag over file over environment; what is wrong is refused at start, with the place."""

import os
import signal

import pytest
from daemon import clean_env, rbdvol


def serve(*words, **env):
    return rbdvol("serve", *words, env=clean_env(**env), timeout=20)


def refused(done, *words):
    assert done.returncode != 0
    for word in words:
        assert word in done.stderr, done.stderr
    return done.stderr


@pytest.fixture
def file(world):
    """Writes a configuration file and returns its path."""
    def write(text):
        path = os.path.join(world.dir, "some.conf")
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        return path
    return write


def test_an_unknown_flag_is_refused_by_name():
    refused(serve("--colour=blue"), "--colour")


def test_an_unknown_line_is_refused_with_file_and_line(file):
    path = file("# a comment\n\npool = rbd\ncolour = blue\n")
    refused(serve(f"--config={path}"), f"{path}:4", "colour")


def test_an_unknown_variable_is_refused_by_name():
    refused(serve(RBDVOL_COLOUR="blue"), "RBDVOL_COLOUR")


BAD = [("size", "big"), ("ceph-timeout", "10"), ("ceph-timeout", "-1s"), ("budget", "200s"), ("socket-mode", "rw"), ("mode", "9"),
       ("uid", "root"), ("pool", "a/b"), ("pool", ""), ("namespace", "../x"), ("mount-root", "relative"), ("state-dir", ""),
       ("create", "maybe"), ("fstype", "zfs"), ("sharing", "all"), ("remove", "burn"), ("mapper", "usb"), ("takeover", "always"),
       ("name", "a/b"), ("log-level", "loud"), ("metrics-listen", "0.0.0.0:9000"), ("size-unit", "X"), ("mount-root", "/a/../b"),
       ("mkfs-options", "/dev/sda"), ("mount-options", "nosuchoption")]


@pytest.mark.parametrize("option,value", BAD, ids=[f"{o}={v}" for o, v in BAD])
def test_a_bad_value_is_refused_in_every_source(file, option, value):
    refused(serve(f"--{option}={value}"), option)
    path = file(f"log-level = info\n{option} = {value}\n") if option != "log-level" else file(f"\n{option} = {value}\n")
    refused(serve(f"--config={path}"), f"{path}:2", option)
    if value:
        variable = "RBDVOL_" + option.upper().replace("-", "_")
        refused(serve(**{variable: value}), variable)


def test_a_line_without_a_value_and_a_section_are_refused(file):
    for text in ("pool\n", "[section]\npool = rbd\n"):
        path = file(text)
        refused(serve(f"--config={path}"), f"{path}:1")


def test_a_named_file_that_is_absent_is_refused(world):
    path = os.path.join(world.dir, "absent.conf")
    refused(serve(f"--config={path}"), path)


def test_flag_over_file_over_environment(world):
    d = world.daemon(start=False)
    for option, value in (("size", "3G"), ("fstype", "btrfs")):
        with open(d.path("config"), "a", encoding="ascii") as f:
            f.write(f"{option} = {value}\n")
    d.env = {"RBDVOL_SIZE": "2G", "RBDVOL_FSTYPE": "xfs", "RBDVOL_UID": "77"}
    d.options["fstype"] = "ext4"
    d.start()
    d.await_cluster()
    d.create("db")
    assert world.cluster.info("db")["size"] == 3 << 30
    got = d.get("db")["Status"]
    assert got["fstype"] == "ext4"
    point = d.mount("db", "a")
    assert os.stat(point).st_uid == 77
    d.unmount("db", "a")


def test_all_options_may_come_from_the_environment(world):
    d = world.daemon(start=False)
    d.env = {"RBDVOL_" + key.upper().replace("-", "_"): value for key, value in d.options.items() if key != "config"}
    d.given = ["config"]
    d.start().await_cluster()
    d.create("db", size="300M", fstype="ext4")
    assert world.cluster.images() == ["db"]



def test_two_instances_run_side_by_side(world):
    first, second = world.daemon().await_cluster(), world.daemon().await_cluster()
    first.create("one", size="300M", fstype="ext4")
    second.create("two", size="300M", fstype="ext4")
    point_one, point_two = first.mount("one", "a"), second.mount("two", "a")
    assert sorted(first.names()) == sorted(second.names()) == ["one", "two"]
    first.process.signal(signal.SIGKILL)
    assert second.get("two")["Mountpoint"] == point_two
    first.process.wait()
    first.start().await_cluster()
    assert first.get("one")["Mountpoint"] == point_one
    first.unmount("one", "a")
    second.unmount("two", "a")


def test_one_instance_does_not_run_twice(world):
    d = world.daemon()
    options = [flag for flag in d.flags if not flag.startswith("--socket=")]
    refused(rbdvol("serve", *options, f"--socket={world.dir}/other.sock"), d.name)
