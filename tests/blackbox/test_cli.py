# SPDX-License-Identifier: MIT
"""The commands: tables for people, JSON for programs, exit codes for scripts."""

import json
import os

import pytest
from daemon import rbdvol


def ok(done):
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def failed(done, status=1):
    assert done.returncode == status, (done.returncode, done.stdout, done.stderr)
    assert done.stdout == ""
    assert len(done.stderr.split()) >= 3
    return done.stderr


def test_version_is_one_line():
    out = ok(rbdvol("version"))
    assert out.startswith("rbdvol ") and out.count("\n") == 1


def test_help_names_every_command():
    out = ok(rbdvol("help"))
    for command in ("serve", "ls", "show", "create", "rm", "path", "status", "version", "help"):
        assert command in out


def test_help_serve_lists_the_options():
    out = ok(rbdvol("help", "serve"))
    for option in ("--pool", "--ceph-timeout", "--mount-root", "--state-dir"):
        assert option in out


@pytest.mark.parametrize("words", [["nosuch"], ["ls", "--nosuch"], ["show"], ["create"], ["rm"], ["path"], ["create", "a", "-o"],
                                   ["create", "a", "-o", "size"], ["show", "a", "b"]])
def test_wrong_use_is_exit_2(words):
    failed(rbdvol(*words), 2)


def test_no_command_at_all_is_exit_2():
    assert rbdvol().returncode == 2


def test_a_daemon_that_does_not_run_is_exit_1_with_the_sockets_path(world):
    path = os.path.join(world.dir, "nobody.sock")
    assert path in failed(rbdvol("ls", f"--socket={path}"))


def test_a_volumes_life(world, daemon):
    ok(daemon.cli("create", "db", "-o", "size=1G", "-o", "fstype=ext4"))
    assert world.cluster.images() == ["db"]
    assert "db" in ok(daemon.cli("ls"))
    shown = ok(daemon.cli("show", "db"))
    assert "ext4" in shown and "db" in shown
    point = daemon.mount("db", "a")
    assert ok(daemon.cli("path", "db")) == point + "\n"
    daemon.unmount("db", "a")
    ok(daemon.cli("rm", "db"))
    assert world.cluster.images() == []
    assert len(world.cluster.trash()) == 1


def test_json_is_json(daemon):
    ok(daemon.cli("create", "db", "-o", "size=1G"))
    listed = json.loads(ok(daemon.cli("ls", "--json")))
    assert "db" in json.dumps(listed)
    shown = json.loads(ok(daemon.cli("show", "db", "--json")))
    assert "xfs" in json.dumps(shown)
    status = json.loads(ok(daemon.cli("status", "--json")))
    assert isinstance(status, dict)


def test_status_tells_of_the_cluster_the_mapper_and_what_is_mounted(daemon):
    ok(daemon.cli("create", "db", "-o", "size=1G"))
    assert "fuse" in ok(daemon.cli("status"))
    daemon.mount("db", "holder-one")
    out = ok(daemon.cli("status"))
    assert "db" in out and "holder-one" in out and "cluster" in out
    daemon.unmount("db", "holder-one")


def test_status_says_that_the_cluster_is_down(world):
    world.cluster.pause("mon")
    d = world.daemon(ceph_timeout="1s")
    out = ok(d.cli("status"))
    assert "cluster" in out


def test_refusals_are_exit_1_with_the_daemons_sentence(daemon):
    assert "colour" in failed(daemon.cli("create", "db", "-o", "colour=blue"))
    assert "no such volume" in failed(daemon.cli("show", "absent"))
    failed(daemon.cli("path", "absent"))


def test_path_of_an_unmounted_volume_is_exit_1(daemon):
    ok(daemon.cli("create", "db", "-o", "size=1G"))
    assert "mounted" in failed(daemon.cli("path", "db"))


def test_rm_of_a_held_volume_is_exit_1(daemon):
    ok(daemon.cli("create", "db", "-o", "size=1G"))
    daemon.mount("db", "holder-one")
    assert "holder-one" in failed(daemon.cli("rm", "db"))
    daemon.unmount("db", "holder-one")


def test_an_empty_list_is_no_error(daemon):
    ok(daemon.cli("ls"))
    json.loads(ok(daemon.cli("ls", "--json")))
