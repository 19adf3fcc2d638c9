# SPDX-License-Identifier: MIT
"""Several hosts beside one cluster: a network, and on it a cluster with two OSDs, whose watches and blocklist entries lapse
soon."""

import tempfile

import pytest
from cluster import Cluster
from host import BLOCKLIST, WATCH, Host
from network import Network


@pytest.fixture(scope="session")
def network():
    made = Network(daemons=3)
    yield made
    made.close()


@pytest.fixture(scope="session")
def cluster(network):
    """The monitor and each OSD have an address of their own, so that a host can be cut off from one of them."""
    mon, *osds = network.addresses
    made = Cluster.start(tempfile.mkdtemp(prefix="rbdvol-ceph-", dir="/tmp"), mon, osds,
                         {"osd client watch timeout": WATCH, "mon osd blocklist default expire": BLOCKLIST})
    yield made
    made.stop()


@pytest.fixture
def host(world, network):
    """Makes a host: host(), or host("name")."""

    def make(name=None):
        made = Host(network, world.cluster, world.dir, name)
        world.leaks.hosts.append(made)
        return made

    return make
