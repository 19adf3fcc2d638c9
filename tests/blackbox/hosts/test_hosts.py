# SPDX-License-Identifier: MIT
"""The test hosts themselves: are they what the other tests take them for?"""

import errno

import process
from waiting import until


def test_a_host_has_its_own_name_identity_and_address(host):
    one, two = host(), host("same")
    three = host("same")
    for h in (one, two, three):
        assert h.run("hostname").stdout.strip() == h.name
        assert h.run("cat", "/proc/sys/kernel/random/boot_id").stdout.strip() == h.boot_id
        assert h.run("cat", "/etc/machine-id").stdout.strip() == h.machine_id
        assert h.address in h.run("ip", "addr", "show", "eth0").stdout
    assert len({h.address for h in (one, two, three)}) == len({h.machine_id for h in (one, two, three)}) == 3


def test_a_volume_goes_from_host_to_host(host):
    a, b = host().daemon(), host().daemon()
    a.create("db", size="64M", fstype="ext4")
    point = a.mount("db", "one")
    with open(a.host.path(f"{point}/file"), "w", encoding="ascii") as f:
        f.write("from a")
    assert a.host.mounted_at(point)
    assert not b.host.mounted_at(point), "a host sees another one's mounts"
    assert a.host.name in b.refused("Mount", Name="db", ID="two")
    a.unmount("db", "one")
    point = b.mount("db", "two")
    with open(b.host.path(f"{point}/file"), encoding="ascii") as f:
        assert f.read() == "from a"
    b.unmount("db", "two")


def test_a_host_that_dies_leaves_its_locks_and_nothing_on_this_machine(host, network, cluster):
    h = host()
    d = h.daemon()
    d.create("db", size="64M", fstype="ext4")
    d.mount("db", "one")
    mappers = list(d.mappers())
    assert mappers
    h.die()
    assert not any(process.argv(pid) for pid in [d.pid, *mappers])
    until(lambda: len(network.links()) == 0, "the link to be gone")
    header = cluster.header("db")
    assert set(cluster.locks(header)) == {"rbd_lock", "rbdvol"}
    for name, holders in cluster.locks(header).items():
        cluster.rados("lock", "break", header, name, holders[0]["name"], "--lock-cookie", holders[0]["cookie"])
    first = h.boot_id
    h.reboot()
    assert h.run("cat", "/proc/sys/kernel/random/boot_id").stdout.strip() != first
    assert d.state_files() == []


def reaches(h, address):
    """Is a connection to a port that nobody listens on refused?"""
    probe = "import socket, sys; s = socket.socket(); s.settimeout(0.5); print(s.connect_ex((sys.argv[1], 9)))"
    return int(h.run("/usr/bin/python3", "-c", probe, address).stdout) == errno.ECONNREFUSED


def test_a_host_can_be_cut_off_from_everything_or_from_one(host, network):
    h = host()
    one, two, _ = network.addresses
    assert reaches(h, one) and reaches(h, two)
    h.cut_from(two)
    assert reaches(h, one) and not reaches(h, two)
    h.heal_from(two)
    assert reaches(h, two)
    h.link_down()
    assert not reaches(h, one)
    h.link_up()
    until(lambda: reaches(h, one), "the link to be back")


def test_the_cluster_has_two_osds_on_addresses_of_their_own(cluster, network):
    where = {number: {a.rsplit(":", 1)[0] for a in addresses} for number, addresses in cluster.osd_addresses().items()}
    assert where == {0: {network.addresses[1]}, 1: {network.addresses[2]}}
    assert {cluster.primary(f"object{n}") for n in range(40)} == {0, 1}
