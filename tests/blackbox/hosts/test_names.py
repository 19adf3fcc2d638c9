# SPDX-License-Identifier: MIT
"""Another host renames, trashes or removes an image while this one is between looking it up and locking it."""

import threading

import pytest
from cluster import Failed
from owners import got, mounted, put
from process import Process
from signal import SIGCONT, SIGSTOP
from waiting import TookTooLong, until

TRIES = 12


class Between:
    """A Mount whose mapper is stopped before it has the lock."""

    def __init__(self, cluster, d, volume):
        self.cluster, self.d, self.volume = cluster, d, volume
        self.header = cluster.header(volume)

    def _stop_a_mapper(self, asked):
        """The mapper, stopped without the lock; None: too late."""
        try:
            pid = until(lambda: next(iter(self.d.mappers()), None) or not asked.is_alive(), "the mapper", 10, interval=0.001)
        except TookTooLong:
            return None
        if pid is True:
            return None
        mapper = Process(pid)
        mapper.signal(SIGSTOP)
        if "rbd_lock" in self.cluster.locks(self.header):
            mapper.signal(SIGCONT)
            return None
        return mapper

    def mount(self, meanwhile):
        """Calls meanwhile() in between. The answer."""
        for _ in range(TRIES):
            answers = []
            asked = threading.Thread(target=lambda: answers.append(self.d.call("Mount", {"Name": self.volume, "ID": "x"})))
            asked.start()
            mapper = self._stop_a_mapper(asked)
            if mapper:
                try:
                    meanwhile()
                finally:
                    mapper.signal(SIGCONT)
            asked.join()
            if mapper:
                return answers[0]
            self.d.unmount(self.volume, "x")
        pytest.fail("the mapper was never caught in time")


@pytest.fixture
def two(host):
    """A daemon, and the volumes db and other, each of which says which it is."""
    d = host().daemon()
    for volume in ("db", "other"):
        mounted(d, volume)
        put(d, volume, volume)
        d.unmount(volume, "x")
    return d


def test_a_volume_that_was_trashed_in_between_is_not_served(cluster, two):
    reply = Between(cluster, two, "db").mount(lambda: cluster.rbd("trash", "mv", "rbd/db"))
    assert reply.status != 200, "a volume out of the trash was mounted"
    assert not two.mappers() and not two.host.mounts()
    [entry] = [e for e in cluster.trash() if e["name"] == "db"]
    cluster.rbd("trash", "restore", f"rbd/{entry['id']}")
    two.mount("db", "x")
    assert got(two, "db") == "db"
    two.unmount("db", "x")


def test_a_volume_that_was_renamed_in_between_is_not_served_under_its_old_name(cluster, two):
    """And not the one that has its name now, whose lock it has not looked at."""

    def swap():
        cluster.rbd("mv", "rbd/db", "rbd/moved")
        cluster.rbd("mv", "rbd/other", "rbd/db")

    reply = Between(cluster, two, "db").mount(swap)
    if reply.status == 200:
        assert got(two, "db") == "other", "a volume was served under another one's name"
        two.unmount("db", "x")
    until(lambda: not two.mappers(), "the mapper to be gone")
    for volume, text in (("db", "other"), ("moved", "db")):
        two.mount(volume, "y")
        assert got(two, volume) == text
        two.unmount(volume, "y")


def test_a_volume_that_was_removed_in_between_is_not_served(cluster, two):
    def remove():
        try:
            cluster.rbd("rm", "--no-progress", "rbd/db")
        except Failed:
            pass  # somebody has it open

    reply = Between(cluster, two, "db").mount(remove)
    if "db" in cluster.images():
        assert reply.status == 200 and got(two, "db") == "db"
        two.unmount("db", "x")
    else:
        assert reply.status != 200
        assert not two.mappers() and not two.host.mounts()
