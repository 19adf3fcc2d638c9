# SPDX-License-Identifier: MIT
"""dvdcli's, Mesos' and Docker's requests, replayed to the byte, in the order in which they send them.

The rows named below are those of ROWS.md."""

import json
import threading

import mounts
import pytest
import rpc
from waiting import until

SMALL = {"size": "300M", "fstype": "ext4"}
METHODS = ["Create", "Remove", "Mount", "Unmount", "Path"]


class Refused(Exception):
    """A command ended with exit status 1."""


class Dvdcli:
    """The calls of one version of dvdcli. Each command is a process that activates the plugin first, and would keep the
    connection if it were let."""

    def __init__(self, daemon):
        self.daemon = daemon
        self.sent = []

    def post(self, method, body=None):
        """One request; body as Go's encoder writes it: no blanks, a newline at the end."""
        path = method if "." in method else f"VolumeDriver.{method}"
        data = b"" if body is None else json.dumps(body, separators=(",", ":")).encode() + b"\n"
        request = (f"POST /{path} HTTP/1.1\r\nHost: \r\nUser-Agent: Go-http-client/1.1\r\nContent-Length: {len(data)}\r\n"
                   "Accept: application/vnd.docker.plugins.v1.2+json\r\n\r\n").encode() + data
        self.sent.append(method)
        reply = rpc.parse(rpc.exchange(self.daemon.socket, request))
        if reply.status is not None:
            assert reply.headers["connection"].lower() == "close"
        return reply

    def begin(self):
        self.sent.clear()
        reply = self.post("Plugin.Activate")
        assert reply.json["Implements"] == ["VolumeDriver"]

    def ask(self, method, body):
        """A call whose failure ends the command."""
        reply = self.post(method, body)
        if reply.status != 200 or reply.err:
            raise Refused(f"{method}: {reply.body.decode()}")
        return reply.json

    def found(self, name):
        """Get, with which each command but create begins: any failure is a failure."""
        reply = self.post("Get", {"Name": name})
        return reply.json["Volume"] if reply.status == 200 and not reply.err else None


class Dvdcli02(Dvdcli):
    def mount(self, name, opts=None, explicit=False):
        self.begin()
        if not self.found(name):
            if explicit:
                raise Refused("Get")
            self.ask("Create", {"Name": name, "Opts": opts or {}})
        return self.ask("Mount", {"Name": name})["Mountpoint"]

    def unmount(self, name):
        self.begin()
        if not self.found(name):
            raise Refused("Get")
        self.ask("Unmount", {"Name": name})

    def path(self, name):
        self.begin()
        volume = self.found(name)
        if not volume:
            raise Refused("Get")
        return volume["Mountpoint"] or self.ask("Path", {"Name": name})["Mountpoint"]

    def list(self):
        self.begin()
        return [volume["Name"] for volume in self.ask("List", {})["Volumes"] or []]

    def remove(self, name):
        self.begin()
        if not self.found(name):
            raise Refused("Get")
        self.ask("Remove", {"Name": name})


class Dvdcli01(Dvdcli):
    """0.1.0: knows no Get; everything begins with Create."""

    def run(self, method, name):
        self.begin()
        self.ask("Create", {"Name": name, "Opts": None})
        return self.ask(method, {"Name": name})

    def mount(self, name):
        return self.run("Mount", name)["Mountpoint"]

    def unmount(self, name):
        self.run("Unmount", name)

    def path(self, name):
        return self.run("Path", name)["Mountpoint"]


@pytest.fixture
def dvdcli(daemon):
    return Dvdcli02(daemon)


@pytest.fixture
def old_dvdcli(daemon):
    return Dvdcli01(daemon)


def test_the_captured_bytes_are_what_the_tests_send():
    """clients A1: the raw capture; rpc.call, which the other tests use, sends the same."""
    assert rpc.encode("/Plugin.Activate") == (
        b"POST /Plugin.Activate HTTP/1.1\r\nHost: \r\nUser-Agent: Go-http-client/1.1\r\nContent-Length: 0\r\n"
        b"Accept: application/vnd.docker.plugins.v1.2+json\r\n\r\n")
    assert rpc.encode("/VolumeDriver.Get", b'{"Name":"db"}\n') == (
        b"POST /VolumeDriver.Get HTTP/1.1\r\nHost: \r\nUser-Agent: Go-http-client/1.1\r\nContent-Length: 14\r\n"
        b'Accept: application/vnd.docker.plugins.v1.2+json\r\n\r\n{"Name":"db"}\n')


def test_mount_makes_what_is_absent_and_prints_its_path(world, dvdcli):
    """clients A1, row 22: Get fails, Create with the options, Mount without an ID."""
    point = dvdcli.mount("db", SMALL)
    assert dvdcli.sent == ["Plugin.Activate", "Get", "Create", "Mount"]
    assert mounts.at(point).fstype == "ext4"
    assert world.cluster.images() == ["db"]
    dvdcli.unmount("db")
    assert mounts.at(point) is None


def test_no_options_are_an_empty_object(world, dvdcli):
    """clients A1: dvdcli sends {} where Docker sends null."""
    dvdcli.mount("plain")
    assert world.cluster.info("plain")["size"] == 20 << 30
    dvdcli.unmount("plain")


def test_an_explicit_mount_of_an_absent_volume_makes_nothing(world, dvdcli):
    """clients A1: --explicitcreate."""
    with pytest.raises(Refused):
        dvdcli.mount("typo", explicit=True)
    assert world.cluster.images() == []


def test_many_mounts_are_undone_by_one_unmount(dvdcli):
    """clients A2, row 16: the isolator mounts for each container, and unmounts when the last one goes."""
    points = {dvdcli.mount("db", SMALL) for _ in range(4)}
    assert len(points) == 1
    assert dvdcli.sent == ["Plugin.Activate", "Get", "Mount"]
    assert len(dvdcli.daemon.get("db")["Status"]["holders"]) == 1
    dvdcli.unmount("db")
    assert mounts.at(points.pop()) is None
    assert not dvdcli.daemon.get("db")["Status"].get("holders")


def test_an_isolators_unmount_of_what_was_never_mounted_succeeds(dvdcli):
    """clients A2, row 14: the recovery of orphans unmounts what it only meant to mount."""
    dvdcli.daemon.create("db", **SMALL)
    for _ in range(2):
        dvdcli.unmount("db")
        assert dvdcli.sent == ["Plugin.Activate", "Get", "Unmount"]
    assert dvdcli.path("db") == ""


def test_an_isolators_unmount_takes_nothing_from_a_container_of_docker(dvdcli):
    """clients A2, row 14: one volume in both containerizers."""
    dvdcli.daemon.create("db", **SMALL)
    point = dvdcli.daemon.mount("db", "a" * 64)
    dvdcli.unmount("db")
    assert mounts.at(point)
    dvdcli.daemon.unmount("db", "a" * 64)


def test_unmount_of_an_absent_volume_ends_at_get_and_changes_nothing(world, dvdcli):
    """clients A1: Get failed, so Unmount is never sent."""
    with pytest.raises(Refused):
        dvdcli.unmount("absent")
    assert dvdcli.sent == ["Plugin.Activate", "Get"]
    assert world.cluster.images() == []


def test_unmount_without_the_cluster_gets_as_far_as_unmount(world, dvdcli):
    """clients A1, row 20: Get of what is mounted needs no cluster; otherwise dvdcli would leave the volume mounted for ever."""
    point = dvdcli.mount("db", SMALL)
    world.cluster.pause("osd")
    thread = threading.Thread(target=dvdcli.unmount, args=("db",))
    thread.start()
    until(lambda: "Unmount" in dvdcli.sent, "Get to be answered", 5)
    until(lambda: not dvdcli.daemon.get("db")["Status"].get("holders"), "the holder to go", 5)
    world.cluster.resume("osd")
    thread.join(30)
    assert mounts.at(point) is None


def test_create_of_what_is_there_succeeds_after_a_failed_get(world, dvdcli):
    """clients A1, row 22: whatever made Get fail, Create follows, with the options of the first time or none."""
    dvdcli.daemon.create("db", **SMALL)
    before = world.cluster.info("db")["id"]
    for opts in ({}, SMALL):
        dvdcli.ask("Create", {"Name": "db", "Opts": opts})
    with pytest.raises(Refused, match="xfs"):
        dvdcli.ask("Create", {"Name": "db", "Opts": {"fstype": "xfs"}})
    assert world.cluster.info("db")["id"] == before


def test_create_succeeds_while_the_volume_is_mounted(dvdcli):
    """clients A1, row 22."""
    point = dvdcli.mount("db", SMALL)
    dvdcli.ask("Create", {"Name": "db", "Opts": SMALL})
    assert mounts.at(point)
    dvdcli.unmount("db")


def test_path_tells_where_it_is_mounted_and_nothing_otherwise(dvdcli):
    """clients A1."""
    point = dvdcli.mount("db", SMALL)
    assert dvdcli.path("db") == point
    assert dvdcli.sent == ["Plugin.Activate", "Get"]
    dvdcli.unmount("db")
    assert dvdcli.path("db") == ""
    assert dvdcli.sent == ["Plugin.Activate", "Get", "Path"]


def test_list_and_remove(dvdcli):
    """clients A1: List has the body {}."""
    dvdcli.daemon.create("db", **SMALL)
    assert dvdcli.list() == ["db"]
    dvdcli.remove("db")
    assert dvdcli.list() == []
    with pytest.raises(Refused):
        dvdcli.remove("db")


def test_the_old_one_creates_before_mount_path_and_unmount(world, old_dvdcli):
    """clients A1, rows 16 and 22: dvdcli 0.1.0, which Mesos' documentation asks for."""
    point = old_dvdcli.mount("db")
    assert mounts.at(point)
    assert old_dvdcli.path("db") == point
    assert old_dvdcli.mount("db") == point
    old_dvdcli.unmount("db")
    assert old_dvdcli.sent == ["Plugin.Activate", "Create", "Unmount"]
    assert mounts.at(point) is None
    assert old_dvdcli.path("db") == ""
    old_dvdcli.unmount("db")
    assert world.cluster.images() == ["db"]


def test_the_old_ones_create_without_options_takes_a_volume_of_any_shape(old_dvdcli):
    """clients A1, row 22: Opts is null."""
    old_dvdcli.daemon.create("db", size="512M", fstype="ext4", sharing="host", uid="77")
    old_dvdcli.mount("db")
    old_dvdcli.unmount("db")


def test_a_dvdcli_that_mesos_killed_leaves_no_mount_and_the_next_one_succeeds(world, dvdcli):
    """clients A2, row 12: SIGKILL after 120 s leaves the request running; a new one for the same volume follows."""
    dvdcli.daemon.create("db", **SMALL)
    world.cluster.pause("osd")
    killed = rpc.connect(dvdcli.daemon.socket)
    killed.sendall(rpc.encode("/VolumeDriver.Mount", b'{"Name":"db"}\n'))
    until(lambda: any(h["ID"] == "" for h in holders(dvdcli.daemon, "db")), "the request to be at work")
    answers = []
    second = threading.Thread(target=lambda: answers.append(dvdcli.ask("Mount", {"Name": "db"})))
    second.start()
    until(lambda: any(h["Count"] == 2 for h in holders(dvdcli.daemon, "db")), "the second request to be at work")
    killed.close()
    until(lambda: all(h["Count"] == 1 for h in holders(dvdcli.daemon, "db")), "the first one's share to go")
    world.cluster.resume("osd")
    second.join(30)
    point = answers[0]["Mountpoint"]
    assert mounts.at(point)
    dvdcli.unmount("db")
    assert mounts.at(point) is None


def holders(daemon, name):
    """Of a volume, as the daemon's own status shows them."""
    for volume in daemon.must("/Rbdvol.Status")["Volumes"]:
        if volume["Name"] in (name, f"rbd/{name}"):
            return volume["Holders"]
    return []


def test_a_caller_without_an_id_beside_one_with_an_id_is_refused(daemon):
    """clients A2, row 16, and the other way round."""
    daemon.create("db", **SMALL)
    daemon.mount("db", "holder-one")
    err = daemon.refused("Mount", Name="db")
    assert "holder-one" in err and "nocopy" in err
    daemon.unmount("db", "holder-one")
    daemon.must("Mount", Name="db")
    err = daemon.refused("Mount", Name="db", ID="holder-one")
    assert "without a mount ID" in err and "sharing=host" in err
    daemon.must("Unmount", Name="db")


def test_with_sharing_host_both_kinds_of_callers_share(daemon):
    """clients A2, row 16."""
    daemon.create("db", sharing="host", **SMALL)
    point = daemon.mount("db", "holder-one")
    assert daemon.must("Mount", Name="db")["Mountpoint"] == point
    daemon.unmount("db", "holder-one")
    assert mounts.at(point)
    daemon.must("Unmount", Name="db")
    assert mounts.at(point) is None


@pytest.mark.parametrize("method", METHODS)
def test_dockers_repetition_with_an_empty_body_has_no_effect(world, daemon, method):
    """docker 2 and 11.4: the repetition of a cut request has lost its body; a mounted volume is left as it is."""
    daemon.create("db", **SMALL)
    point = daemon.mount("db", "a")
    reply = daemon.call(method, b"")
    assert reply.status == 400
    assert "cut off" in reply.err and "try again" in reply.err
    assert "Mountpoint" not in reply.json
    assert holders(daemon, "db")[0]["Count"] == 1 and mounts.at(point)
    assert world.cluster.images() == ["db"]
    daemon.unmount("db", "a")


def test_dockers_repetition_of_get_list_and_activate(daemon):
    """docker 2 and 11.4: an answered error of Get would make Docker forget the volume; the others need no body."""
    assert daemon.call("Get", b"").status is None
    assert daemon.call("List", b"").status == 200
    assert daemon.call("Capabilities", b"").status == 200
    assert daemon.call("Plugin.Activate", b"").status == 200


def test_an_empty_name_is_refused_by_every_method(dvdcli):
    """clients A1: `dvdcli mount --volumename=` sends it. Row 39."""
    with pytest.raises(Refused, match="Name"):
        dvdcli.mount("")
    for method in METHODS:
        with pytest.raises(Refused, match="Name"):
            dvdcli.ask(method, {"Name": ""})


def test_a_container_with_an_anonymous_volume_as_docker_runs_it(world, daemon):
    """clients A2: `docker run --rm -v esdata:/x` of an image with a VOLUME, call by call."""
    anonymous, ids = "0123456789abcdef" * 4, ["1" * 64, "2" * 64]
    assert daemon.call("Plugin.Activate").json["Implements"] == ["VolumeDriver"]
    assert daemon.call("Capabilities", b"{}\n").json["Capabilities"]["Scope"] == "global"
    for name in ("esdata", anonymous):
        assert "no such volume" in daemon.call("Get", {"Name": name}).err
        daemon.must("Create", Name=name, Opts=None)
        assert daemon.get(name)["Mountpoint"] == ""
    for name, holder in zip(("esdata", anonymous), ids):
        assert mounts.at(daemon.mount(name, holder))
    for name, holder in zip(("esdata", anonymous), ids):
        daemon.unmount(name, holder)
    daemon.get(anonymous)
    daemon.remove(anonymous)
    assert world.cluster.images() == ["esdata"]
