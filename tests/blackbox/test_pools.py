# SPDX-License-Identifier: MIT
"""Names: one volume by several spellings, several pools, namespaces.

The rows named below are those of ROWS.md."""

import ctypes
import os
import struct
import threading
import time

import mounts
import pytest
from pace import patience
from waiting import until

SMALL = {"size": "64M", "fstype": "ext4"}


@pytest.fixture(scope="module")
def pool(cluster):
    """A second pool."""
    cluster.ceph("osd", "pool", "create", "ssd", "8", "8", "replicated")
    cluster.rbd("pool", "init", "ssd")
    yield "ssd"
    cluster.ceph("osd", "pool", "rm", "ssd", "ssd", "--yes-i-really-really-mean-it")


@pytest.fixture
def ssd(cluster, pool):
    yield pool
    cluster.wipe(pool)


@pytest.fixture
def two(world, ssd):
    """A daemon for both pools."""
    return world.daemon(pool=f"rbd,{ssd}").await_cluster()


@pytest.fixture
def namespace(cluster):
    cluster.rbd("namespace", "create", "rbd/tenant")
    yield "tenant"
    for name in cluster.images("rbd/tenant"):
        cluster.rbd("rm", "--no-progress", f"rbd/tenant/{name}")
    for entry in cluster.trash("rbd/tenant"):
        cluster.rbd("trash", "rm", "--no-progress", "--force", f"rbd/tenant/{entry['id']}")
    cluster.rbd("namespace", "remove", "rbd/tenant")


def write(point, name, text):
    with open(os.path.join(point, name), "w", encoding="ascii") as f:
        f.write(text)


def read(point, name):
    with open(os.path.join(point, name), encoding="ascii") as f:
        return f.read()


# -- one volume, several spellings


def test_spellings_of_one_volume_share_its_holders_and_its_mount(world, daemon):
    """Row 40: foo, rbd/foo, foo@1024."""
    daemon.create("foo@1024")
    points = {daemon.mount(name, "a") for name in ("foo", "rbd/foo", "foo@1024", "rbd/foo@2G")}
    assert len(points) == 1 and len(daemon.mappers()) == 1
    for name in ("foo", "rbd/foo", "foo@1024"):
        got = daemon.get(name)
        assert got["Name"] == name and got["Mountpoint"] in points
        assert [h["Count"] for h in got["Status"]["holders"]] == [4]
        assert daemon.must("Path", Name=name)["Mountpoint"] in points
        assert "by mount ID a" in daemon.refused("Mount", Name=name, ID="b")
        assert daemon.refused("Remove", Name=name)
    for name in ("rbd/foo@2G", "foo@1024", "rbd/foo", "foo"):
        daemon.unmount(name, "a")
    assert mounts.at(points.pop()) is None
    assert daemon.names() == ["foo"]
    daemon.remove("rbd/foo@77")
    assert world.cluster.images() == []


def test_the_option_pool_is_the_same_as_the_spelling(world, two):
    """Row 40: a peer forgot the pool at Mount."""
    two.must("Create", Name="foo", Opts={"pool": "rbd", **SMALL})
    two.create("foo", **SMALL)
    assert world.cluster.images() == ["foo"]
    two.must("Create", Name="fast", Opts={"pool": "ssd", **SMALL})
    for name in ("fast", "ssd/fast"):
        assert two.get(name)["Status"]["pool"] == "ssd"
        assert mounts.at(two.mount(name, "a")).point.endswith("/ssd/fast")
        two.unmount(name, "a")
    two.must("Create", Name="fast", Opts={"pool": "ssd"})
    two.create("fast")
    assert world.cluster.images("ssd") == ["fast"]


def test_an_option_pool_that_contradicts_the_spelling_is_refused(world, two):
    """Row 40."""
    err = two.refused_create("rbd/foo", pool="ssd", **SMALL)
    assert "rbd" in err and "ssd" in err
    assert world.cluster.images() == [] and world.cluster.images("ssd") == []


def test_names_that_differ_in_case_are_two_volumes(world, daemon):
    """clients A2: a module of Mesos thinks otherwise; RBD decides."""
    daemon.create("Data", **SMALL)
    assert "no such volume" in daemon.call("Get", {"Name": "data"}).err
    daemon.create("data", size="64M", fstype="ext4")
    assert sorted(world.cluster.images()) == ["Data", "data"]


# -- several pools


def test_the_first_pool_is_where_volumes_are_made_and_all_are_searched(world, two):
    """Design 2: search order."""
    two.create("plain", **SMALL)
    assert (world.cluster.images(), world.cluster.images("ssd")) == (["plain"], [])
    world.cluster.rbd("create", "ssd/theirs", "--size", "64")
    assert two.get("theirs")["Status"]["pool"] == "ssd"
    two.create("theirs")
    assert world.cluster.images() == ["plain"], "Create made an image in the first pool although the second one has it"
    assert "no such volume" in two.call("Get", {"Name": "nowhere"}).err
    assert "nowhere" in two.refused("Mount", Name="nowhere", ID="a")
    two.remove("nowhere")


def test_the_order_of_the_pools_is_the_option_s(world, ssd):
    """Design 2."""
    d = world.daemon(pool=f"{ssd} rbd").await_cluster()
    d.create("first", **SMALL)
    assert (world.cluster.images("ssd"), world.cluster.images()) == (["first"], [])
    assert d.names() == ["first"]


def test_an_ambiguous_name_is_refused_with_both_spellings(world, two):
    """Design 2: Create, Mount and Remove refuse, and change nothing; Get answers the first pool's, marked."""
    for name in ("rbd/both", "ssd/both"):
        two.create(name, **SMALL)
    ids = world.cluster.info("rbd/both")["id"], world.cluster.info("ssd/both")["id"]
    for method, more in (("Create", {"Opts": None}), ("Create", {"Opts": SMALL}), ("Mount", {"ID": "a"}), ("Mount", {}),
                         ("Remove", {})):
        err = two.refused(method, Name="both", **more)
        assert "ambiguous" in err and "'rbd/both'" in err and "'ssd/both'" in err, err
    status = two.get("both")["Status"]
    assert status["ambiguous"] is True and status["pool"] == "rbd"
    assert "ambiguous" not in two.get("rbd/both")["Status"] and "ambiguous" not in two.get("ssd/both")["Status"]
    assert two.must("Path", Name="both")["Mountpoint"] == ""
    assert (world.cluster.info("rbd/both")["id"], world.cluster.info("ssd/both")["id"]) == ids
    assert two.mappers() == {}
    two.remove("rbd/both")
    assert two.get("both")["Status"]["pool"] == "ssd"
    two.remove("both")
    assert world.cluster.images() == world.cluster.images("ssd") == []


def test_both_of_an_ambiguous_name_are_usable_by_their_spellings(two):
    """Design 2."""
    points = {}
    for name in ("rbd/both", "ssd/both"):
        two.create(name, **SMALL)
        points[name] = two.mount(name, name.replace("/", "-"))
        write(points[name], "whose", name)
    assert len(set(points.values())) == 2
    for name, point in points.items():
        assert read(point, "whose") == name
        assert two.get(name)["Mountpoint"] == point
        two.unmount(name, name.replace("/", "-"))
    assert all(mounts.at(point) is None for point in points.values())


def test_list_gives_names_that_can_be_used_as_they_stand(two):
    """Row 41, design 2: the image's name for the first pool's when no other has it, the full spelling otherwise."""
    for name in ("rbd/alone", "ssd/fast", "rbd/both", "ssd/both"):
        two.create(name, **SMALL)
    assert sorted(two.names()) == ["alone", "rbd/both", "ssd/both", "ssd/fast"]
    for name in two.names():
        got = two.get(name)
        assert got["Name"] == name and "ambiguous" not in got["Status"]
        point = two.mount(name, "a")
        listed = {v["Name"]: v["Mountpoint"] for v in two.must("List")["Volumes"]}
        assert {n: p for n, p in listed.items() if p} == {name: point}
        two.unmount(name, "a")
    for name in two.names():
        two.remove(name)
    assert two.names() == []


@pytest.mark.parametrize("first,then", [("rbd", "ssd"), ("ssd", "rbd")])
def test_a_held_volume_keeps_its_meaning_when_another_pool_gets_its_name(world, two, first, then):
    """Design 2: Unmount, and what else Docker says of it, must reach the volume that it has."""
    two.create(f"{first}/db", **SMALL)
    point = two.mount("db", "a")
    world.cluster.rbd("create", f"{then}/db", "--size", "64")
    got = two.get("db")
    assert (got["Mountpoint"], got["Status"]["pool"]) == (point, first)
    assert "ambiguous" not in got["Status"]
    two.create("db")
    assert two.mount("db", "a") == point
    two.unmount("db", "a")
    assert two.must("Path", Name="db")["Mountpoint"] == point
    assert first in two.refused("Remove", Name="db")
    two.restart()
    two.await_cluster()
    assert two.get("db")["Mountpoint"] == point
    two.unmount("db", "a")
    assert mounts.at(point) is None
    assert "ambiguous" in two.refused("Mount", Name="db", ID="b")


def test_creates_of_one_name_in_two_pools_at_once_are_two_volumes(world, two):
    """Design 2: full spellings are never ambiguous."""
    threads = [threading.Thread(target=two.create, args=(name,), kwargs=SMALL) for name in ("rbd/x", "ssd/x") * 3]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert (world.cluster.images(), world.cluster.images("ssd")) == (["x"], ["x"])


def test_a_pool_that_is_not_configured_can_be_named_but_is_not_listed(world, daemon, ssd):
    """Design 2: the full spelling says which; search and List keep to the configured ones."""
    world.cluster.rbd("create", "ssd/theirs", "--size", "64")
    assert daemon.names() == []
    assert "no such volume" in daemon.call("Get", {"Name": "theirs"}).err
    assert daemon.get("ssd/theirs")["Status"]["pool"] == "ssd"


def test_one_pool_that_cannot_be_asked_makes_no_guess(world, ssd):
    """Row 49: a name may be in the pool that is missing, so it is neither found absent nor taken from the other."""
    d = world.daemon(pool=f"{ssd},nosuchpool")
    until(lambda: "nosuchpool" in d.call("List", {}).err, "the connection", 20)
    d.create("ssd/there", **SMALL)
    assert d.get("ssd/there")["Status"]["pool"] == "ssd"
    for name in ("there", "nowhere"):
        assert d.call("Get", {"Name": name}).status is None
        for method, more in (("Mount", {"ID": "a"}), ("Remove", {}), ("Create", {})):
            assert "nosuchpool" in d.refused(method, Name=name, **more)
    assert world.cluster.images("ssd") == ["there"]


# -- namespaces


def test_a_namespace_is_a_place_of_its_own(world, daemon, namespace):
    """Row 40: rbd/db and rbd/tenant/db are two volumes with a mountpoint each; -o namespace= says the same as the spelling."""
    daemon.create("db", **SMALL)
    daemon.must("Create", Name="rbd/tenant/db", Opts={"namespace": namespace, **SMALL})
    daemon.create("rbd/tenant/db", **SMALL)
    points = {name: daemon.mount(name, f"id-{i}") for i, name in enumerate(("db", "rbd/tenant/db"))}
    for name, point in points.items():
        write(point, "whose", name)
    assert points["rbd/tenant/db"].endswith("/rbd+tenant/db")
    listed = {v["Name"]: v["Mountpoint"] for v in daemon.must("List")["Volumes"]}
    assert listed == points, "each is listed by the name that it is used by"
    for i, (name, point) in enumerate(points.items()):
        assert read(point, "whose") == name
        daemon.unmount(name, f"id-{i}")
    daemon.remove("rbd/tenant/db")
    assert world.cluster.images("rbd/tenant") == [] and world.cluster.images() == ["db"] and daemon.names() == ["db"]


def test_a_place_that_the_name_does_not_lead_to_is_refused(world, daemon, namespace, ssd):
    """Docker asks for a volume by its name alone: it would find nothing, or another one, and make a new one at the next run."""
    for name in ("db", "rbd/db"):
        assert "name it 'rbd/tenant/db' wherever it is used" in daemon.refused_create(name, namespace=namespace, **SMALL)
    assert "name it 'ssd/db' wherever it is used" in daemon.refused_create("db", pool=ssd, **SMALL)
    daemon.create("ssd/db", pool=ssd, **SMALL)
    assert world.cluster.images() == world.cluster.images("rbd/tenant") == []


def test_a_daemon_of_a_namespace_searches_and_lists_that(world, daemon, namespace):
    """Design 2: names mean the namespace's images, and List names them in full, and no others."""
    d = world.daemon(namespace=namespace).await_cluster()
    daemon.create("outside", **SMALL)
    d.create("inside", **SMALL)
    assert world.cluster.images("rbd/tenant") == ["inside"]
    assert "no such volume" in d.call("Get", {"Name": "outside"}).err
    names = d.names()
    assert names == ["rbd/tenant/inside"]
    for name in (*names, "inside"):
        point = d.mount(name, "a")
        assert d.get("inside")["Mountpoint"] == d.get(names[0])["Mountpoint"] == point
        d.unmount(name, "a")
    d.remove(names[0])
    assert d.names() == []


def test_a_namespace_that_is_missing_is_no_absent_volume_to_create(world, daemon):
    """Row 49: Create names the command that makes it."""
    err = daemon.refused_create("rbd/nosuchns/db", **SMALL)
    assert "rbd namespace create rbd/nosuchns" in err
    assert world.cluster.images() == []


# -- what others have in the pool


def fill_directory(cluster, count):
    """So many images in the pool's directory, and only there: List needs no more of them."""
    librados = ctypes.CDLL("librados.so.2")
    handle, io = ctypes.c_void_p(), ctypes.c_void_p()
    assert librados.rados_create2(ctypes.byref(handle), b"ceph", b"client.admin", ctypes.c_uint64(0)) == 0
    assert librados.rados_conf_read_file(handle, cluster.conf.encode()) == 0
    assert librados.rados_connect(handle) == 0
    try:
        assert librados.rados_ioctx_create(handle, b"rbd", ctypes.byref(io)) == 0
        pairs = {}
        for n in range(count):
            name, identity = f"image-{n:05}".encode(), f"{n + 1:x}".encode()
            pairs[b"name_" + name] = struct.pack("<I", len(identity)) + identity
            pairs[b"id_" + identity] = struct.pack("<I", len(name)) + name
        keys, values = (ctypes.c_char_p * len(pairs))(*pairs), (ctypes.c_char_p * len(pairs))(*pairs.values())
        sizes = (ctypes.c_size_t * len(pairs))(*map(len, pairs.values()))
        librados.rados_create_write_op.restype = ctypes.c_void_p
        op = ctypes.c_void_p(librados.rados_create_write_op())
        librados.rados_write_op_omap_set(op, keys, values, sizes, ctypes.c_size_t(len(pairs)))
        assert librados.rados_write_op_operate(op, io, b"rbd_directory", None, 0) == 0
        librados.rados_release_write_op(op)
    finally:
        librados.rados_shutdown(handle)


def test_ten_thousand_images_are_listed_without_being_opened(world, daemon):
    """Row 41."""
    daemon.create("real", **SMALL)
    fill_directory(world.cluster, 10000)
    began = time.monotonic()
    names = daemon.names()
    assert time.monotonic() - began < patience(3)
    assert len(names) == 10001 and {"real", "image-00000", "image-09999"} <= set(names)


def test_what_is_no_volume_is_left_out_of_list_and_counted(world, daemon):
    """Row 41: names that the grammar refuses, and the trash; Ceph makes no images of format 1 any more."""
    daemon.create("good", **SMALL)
    daemon.create("gone", **SMALL)
    daemon.remove("gone")
    for name in ("with blank", "_underscore", "ünï", "-dash"):
        world.cluster.rbd("create", "--size", "10", "--pool", "rbd", "--image", name)
    world.cluster.rbd("create", "rbd/zz_renamed", "--size", "10")
    assert sorted(daemon.names()) == ["good", "zz_renamed"]
    assert daemon.must("/Rbdvol.Status")["Hidden"] == {"rbd": 4}
