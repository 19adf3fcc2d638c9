# SPDX-License-Identifier: MIT
"""Two hosts remove one volume, or others rename it, while a Remove waits for the volume's control lock."""

import json
import threading

import pytest
from waiting import until

SMALL = {"size": "64M", "fstype": "ext4"}


@pytest.fixture(autouse=True)
def history(cluster):
    """The OSD remembers more than its 20 slowest operations."""
    cluster.set("osd", "osd_op_history_size", 10000)
    yield
    cluster.set("osd", "osd_op_history_size", 20)


class Held:
    """Somebody else has a volume's rbdvol.ctl, and lets go when told to."""

    def __init__(self, cluster, volume):
        self.cluster, self.header = cluster, cluster.header(volume)
        cluster.rados("lock", "get", self.header, "rbdvol.ctl", "--lock-cookie", "the test", "--lock-duration", "60")
        self.before = self._asked()

    def waiting(self):
        """The clients that have asked for it since."""
        return {op.split(".0:")[0] for op in self._asked() - self.before}

    def _asked(self):
        """Client and number of each operation on a lock that the OSD has done."""
        done = json.loads(self.cluster.ceph("tell", "osd.0", "dump_historic_ops"))["ops"]
        return {op["description"].split("(", 1)[1].split(" ")[0] for op in done
                if f":{self.header}:" in op["description"] and "lock.lock" in op["description"]}

    def let_go(self):
        for who in self.cluster.locks(self.header)["rbdvol.ctl"]:
            self.cluster.rados("lock", "break", self.header, "rbdvol.ctl", who["name"], "--lock-cookie", who["cookie"])


def removals(cluster, daemons, volume, meanwhile=lambda: None):
    """The answers of daemons that all remove the volume, and all wait until meanwhile() is done."""
    held, answers = Held(cluster, volume), []
    asked = [threading.Thread(target=lambda d=d: answers.append(d.call("Remove", {"Name": volume}))) for d in daemons]
    for one in asked:
        one.start()
    until(lambda: len(held.waiting()) == len(daemons), "all of them to wait", 9)
    meanwhile()
    held.let_go()
    for one in asked:
        one.join()
    return answers


def two(world, **options):
    return [world.daemon(**options).await_cluster() for _ in range(2)]


def test_a_volume_that_two_hosts_remove_is_in_the_trash_and_ours(world):
    daemons = two(world)
    daemons[0].create("db", **SMALL)
    replies = removals(world.cluster, daemons, "db")
    assert [r.status for r in replies] == [200, 200], [r.err for r in replies]
    (entry,) = world.cluster.trash()
    assert "metadata_rbdvol.trashed" in world.cluster.rados("listomapkeys", f"rbd_header.{entry['id']}")
    for d in daemons:
        assert [one["Id"] for one in json.loads(d.does("trash", "ls", "--json"))] == [entry["id"]]
    daemons[1].does("trash", "restore", "db")
    assert world.cluster.info("db")["id"] == entry["id"]


def test_a_volume_that_two_hosts_delete_is_gone_for_both(world):
    """Also while the one is still deleting its objects, with the image open and locked."""
    daemons = two(world, remove="delete")
    daemons[0].create("db", size="64M", fstype="ext4", object_size="4K")
    world.cluster.rbd("bench", "--io-type", "write", "--io-size", "4096", "--io-threads", "16", "--io-total", "16M", "rbd/db")
    replies = removals(world.cluster, daemons, "db")
    assert [r.status for r in replies] == [200, 200], [r.err for r in replies]
    until(lambda: world.cluster.trash() == [] and not world.cluster.objects("rbd_data."), "the purge", 30)
    assert not world.cluster.objects("rbd_header.") and not world.cluster.objects("rbd_id.")


def test_a_volume_that_two_hosts_rename_away_has_one_name(world):
    daemons = two(world, remove="rename")
    daemons[0].create("db", **SMALL)
    identity = world.cluster.info("db")["id"]
    replies = removals(world.cluster, daemons, "db")
    assert [r.status for r in replies] == [200, 200], [r.err for r in replies]
    assert world.cluster.images() == ["zz_db"] and world.cluster.info("zz_db")["id"] == identity
    assert world.cluster.objects("rbd_id.") == ["rbd_id.zz_db"]
    assert "rbdvol.making" not in world.cluster.metadata("zz_db")


@pytest.mark.parametrize("policy", ["trash", "delete", "rename"])
def test_who_took_the_name_while_a_remove_waited_is_left_alone(world, policy):
    d = world.daemon(remove=policy).await_cluster()
    for volume in ("db", "other"):
        d.create(volume, **SMALL)
    ids = {volume: world.cluster.info(volume)["id"] for volume in ("db", "other")}

    def swap():
        world.cluster.rbd("mv", "rbd/db", "rbd/moved")
        world.cluster.rbd("mv", "rbd/other", "rbd/db")

    (reply,) = removals(world.cluster, [d], "db", swap)
    assert reply.status == 500 and "try again" in reply.err, reply.body
    assert world.cluster.trash() == [] and sorted(world.cluster.images()) == ["db", "moved"]
    assert world.cluster.info("db")["id"] == ids["other"] and world.cluster.info("moved")["id"] == ids["db"]
    for volume in ("db", "moved"):
        assert not {"rbdvol.trashed", "rbdvol.making"} & set(world.cluster.metadata(volume))
