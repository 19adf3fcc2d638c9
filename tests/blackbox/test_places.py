# SPDX-License-Identifier: MIT
"""Where an image lives: an erasure-coded data pool, and a namespace with a key for nothing else."""

import os
import tempfile

import pytest
from cluster import Cluster, Failed
from daemon import rbdvol
from waiting import until

MIB = 1 << 20


@pytest.fixture(scope="module")
def coded():
    """A cluster of three OSDs whose pool "ec" keeps two parts of each object's data and one to restore either from."""
    made = Cluster.start(tempfile.mkdtemp(prefix="rbdvol-ceph-", dir="/tmp"), osds=["127.0.0.1"] * 3,
                         settings={"mon debug no require bluestore for ec overwrites": "true"})
    try:
        made.ceph("osd", "erasure-code-profile", "set", "two-and-one", "k=2", "m=1", "crush-failure-domain=osd")
        made.ceph("osd", "pool", "create", "ec", "8", "8", "erasure", "two-and-one")
        made.ceph("osd", "pool", "set", "ec", "min_size", "2")
        made.ceph("osd", "pool", "set", "ec", "allow_ec_overwrites", "true")
        made.ceph("osd", "pool", "application", "enable", "ec", "rbd")
        yield made
    finally:
        made.stop()


@pytest.mark.parametrize("fstype", ["xfs", "ext4"])
def test_an_erasure_coded_data_pool_takes_the_data(world, coded, fstype):
    """Its data only: such a pool keeps no omap, so that header and lock are in the volume's own pool."""
    d = world.daemon(ceph_conf=coded.conf).await_cluster()
    d.create("db", size="512M", fstype=fstype, data_pool="ec")
    assert coded.info("db")["data_pool"] == "ec"
    pattern = os.urandom(8 * MIB)
    with open(d.mount("db", "a") + "/file", "wb") as f:
        f.write(pattern)
        f.seek(3 * MIB + 512)  # a part of what is there already
        f.write(b"changed")
        os.fsync(f.fileno())
    d.unmount("db", "a")
    assert coded.objects("rbd_data.", pool="ec") and not coded.objects("rbd_data.")
    with open(d.mount("db", "b") + "/file", "rb") as f:
        assert f.read() == pattern[:3 * MIB + 512] + b"changed" + pattern[3 * MIB + 519:]
    d.unmount("db", "b")
    done = d.cli("rm", "db", "--delete")
    assert done.returncode == 0, done.stderr
    assert not coded.images()
    until(lambda: not coded.objects("rbd_data.", pool="ec"), "the purge", 10)


def test_a_pool_that_cannot_take_overwrites_is_refused(world, coded):
    """What Ceph says of an erasure-coded pool as the volume's own."""
    d = world.daemon(ceph_conf=coded.conf, pool="rbd,ec").await_cluster()
    assert "ec" in d.refused_create("ec/db", size="300M", fstype="ext4")
    assert "db" not in d.names()


@pytest.fixture
def tenant(world, cluster):
    """A namespace, and a daemon whose key is for this one only."""
    cluster.rbd("namespace", "create", "rbd/tenant")
    conf = cluster.conf_for("tenant", f"{world.dir}/tenant.conf", mon="profile rbd", osd="profile rbd pool=rbd namespace=tenant")
    yield world.daemon(ceph_conf=conf, user="tenant", namespace="tenant", takeover="silent")
    for name in cluster.images("rbd/tenant"):
        cluster.rbd("rm", "--no-progress", f"rbd/tenant/{name}")
    for entry in cluster.trash("rbd/tenant"):
        cluster.rbd("trash", "rm", "--no-progress", "--force", f"rbd/tenant/{entry['id']}")
    cluster.rbd("namespace", "remove", "rbd/tenant")


def test_a_closed_namespace_is_left_out_without_an_error(world, cluster, daemon, tenant):
    """The collector, List and the trash of a key for one namespace, and of one for two of three."""
    tenant.await_cluster()
    cluster.rbd("namespace", "create", "rbd/closed")
    conf = cluster.conf_for("partly", f"{world.dir}/partly.conf", mon="profile rbd",
                            osd='profile rbd pool=rbd namespace=tenant, profile rbd pool=rbd namespace=""')
    try:
        partly = world.daemon(ceph_conf=conf, user="partly").await_cluster()
        for name in ("db", "rbd/tenant/db", "rbd/closed/db"):
            daemon.create(name, size="64M", fstype="ext4")
        assert sorted(partly.names()) == ["db", "rbd/tenant/db"] and tenant.names() == ["rbd/tenant/db"]
        for name in ("db", "rbd/tenant/db", "rbd/closed/db"):
            daemon.remove(name)
        assert [line.split()[0] for line in partly.does("trash", "ls").splitlines()[1:]] == ["rbd/db", "rbd/tenant/db"]
        assert [line.split()[0] for line in tenant.does("trash", "ls").splitlines()[1:]] == ["rbd/tenant/db"]
        for d in (partly, tenant):
            d.does("trash", "purge")
            assert not [line for line in d.log_text().splitlines() if line[:3] in ("<3>", "<4>") and "key-dir" not in line]
        found = rbdvol("doctor", f"--ceph-conf={conf}", "--user=partly", f"--scratch-dir={world.dir}")
        assert "namespaces of 'rbd' that the key opens: tenant (not: closed)" in found.stdout, found.stdout
    finally:
        for entry in cluster.trash("rbd/closed"):
            cluster.rbd("trash", "rm", "--no-progress", "--force", f"rbd/closed/{entry['id']}")
        cluster.rbd("namespace", "remove", "rbd/closed")


def test_a_tenant_has_its_namespace_and_nothing_else(world, cluster, daemon, tenant):
    """The whole life of a volume with a key that can see no more, a take-over among it."""
    tenant.await_cluster()
    daemon.create("other", size="64M", fstype="ext4")
    tenant.create("db", size="300M")
    assert cluster.images("rbd/tenant") == ["db"] and cluster.images() == ["other"]
    with open(tenant.mount("db", "a") + "/file", "w", encoding="ascii") as f:
        f.write("the tenant's")
    assert tenant.cli("snap", "create", "db@mon").returncode == 0
    assert tenant.cli("clone", "db@mon", "copy").returncode == 0
    tenant.unmount("db", "a")
    with open(tenant.mount("copy", "b") + "/file", encoding="ascii") as f:
        assert f.read() == "the tenant's"
    tenant.unmount("copy", "b")
    assert sorted(tenant.names()) == ["rbd/tenant/copy", "rbd/tenant/db"]
    tenant.remove("copy")
    assert tenant.cli("trash", "purge", "rbd/tenant/copy").returncode == 0, "the trash of its namespace"
    assert tenant.cli("snap", "rm", "db@mon").returncode == 0
    # the others': "rbd/other" is one of its own namespace, which it has not, and another namespace is closed to it
    assert "no image 'other'" in tenant.refused("Mount", Name="rbd/other", ID="a")
    cluster.rbd("namespace", "create", "rbd/closed")
    try:
        for method, more in (("Mount", {"ID": "a"}), ("Create", {}), ("Remove", {})):
            assert "not permitted" in tenant.refused(method, Name="rbd/closed/db", **more), method
    finally:
        cluster.rbd("namespace", "remove", "rbd/closed")
    with pytest.raises(Failed):
        cluster._tool("rbd", "-c", tenant.path("ceph-conf"), "--id", "tenant", "ls", "rbd")
    assert cluster.images() == ["other"]
    found = rbdvol("doctor", f"--ceph-conf={tenant.path('ceph-conf')}", "--user=tenant", "--namespace=tenant", f"--scratch-dir={world.dir}")
    assert "'rbd' can be read, written and locked" in found.stdout and "the key may blocklist clients" in found.stdout
