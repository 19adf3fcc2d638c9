# SPDX-License-Identifier: MIT
"""What Remove does, by policy; what the background purge takes, and what it leaves alone.

The rows named below are those of ROWS.md."""

import json
import os
import random
import re
import subprocess
import threading
import time
from datetime import datetime

import pytest
from cluster import Failed
from waiting import until

SMALL = {"size": "64M", "fstype": "ext4"}
HEX = "0123456789abcdef" * 4
DAY = 86400


def trash(world):
    """Image name -> entry of `rbd trash ls --long`, which fails while one of them is being purged."""
    def ask():
        try:
            return [json.loads(world.cluster.rbd("trash", "ls", "rbd", "--long", "--format", "json"))]
        except Failed:
            return None
    return {t["name"]: t for t in until(ask, "the trash to be listed")[0]}


def kept_for(entry):
    """Seconds from its deletion to the end of its deferment."""
    until_text = re.sub(r"^protected until ", "", entry["status"])
    ends, began = (datetime.strptime(t, "%a %b %d %H:%M:%S %Y") for t in (until_text, entry["deleted_at"]))
    return (ends - began).total_seconds()


def headers(world):
    return world.cluster.objects("rbd_header.")


def collected(world, daemon):
    """Restarts the daemon, and waits until the purge that runs at its start has been through: it takes a marked entry."""
    daemon.create("purge-me-1", **SMALL)
    other = world.daemon(remove="trash", trash_keep="0s").await_cluster()
    other.remove("purge-me-1")
    removed = int(time.time())
    other.stop()
    until(lambda: int(time.time()) > removed, "the second in which it was removed to be over: it is due only then", 3)
    daemon.restart()
    daemon.await_cluster()
    until(lambda: "purge-me-1" not in trash(world), "the purge to take what is due", 20)


# -- rename


@pytest.fixture
def renaming(world):
    return world.daemon(remove="rename").await_cluster()


def test_rename_puts_zz_before_the_name(world, renaming):
    """Row 45: the image stays what it is, and the name is free."""
    renaming.create("db", **SMALL)
    identity = world.cluster.info("db")["id"]
    renaming.remove("db")
    assert world.cluster.images() == ["zz_db"] and world.cluster.info("zz_db")["id"] == identity
    assert "rbdvol.making" not in world.cluster.metadata("zz_db")
    assert "no such volume" in renaming.call("Get", {"Name": "db"}).err
    assert world.cluster.trash() == []
    renaming.create("db", **SMALL)
    assert sorted(world.cluster.images()) == ["db", "zz_db"]


def test_rename_takes_a_number_when_the_name_is_taken(world, renaming):
    """Row 45: by an earlier removal, or by an image of somebody's."""
    ids = []
    world.cluster.rbd("create", "rbd/zz_db.1", "--size", "10")
    for _ in range(3):
        renaming.create("db", **SMALL)
        ids.append(world.cluster.info("db")["id"])
        renaming.remove("db")
    assert sorted(world.cluster.images()) == ["zz_db", "zz_db.1", "zz_db.2", "zz_db.3"]
    assert [world.cluster.info(name)["id"] for name in ("zz_db", "zz_db.2", "zz_db.3")] == ids


def test_what_was_renamed_is_a_volume_with_its_data(world, renaming):
    """Row 45: it can be mounted, and renamed back by hand."""
    renaming.create("db", **SMALL)
    with open(renaming.mount("db", "a") + "/file", "w", encoding="ascii") as f:
        f.write("kept")
    renaming.unmount("db", "a")
    renaming.remove("db")
    assert renaming.names() == ["zz_db"]
    with open(renaming.mount("zz_db", "a") + "/file", encoding="ascii") as f:
        assert f.read() == "kept"
    renaming.unmount("zz_db", "a")
    world.cluster.rbd("rename", "rbd/zz_db", "rbd/db")
    with open(renaming.mount("db", "a") + "/file", encoding="ascii") as f:
        assert f.read() == "kept"
    renaming.unmount("db", "a")


def test_a_name_too_long_to_be_renamed_is_refused_and_kept(world, renaming):
    """Row 39."""
    name = "n" * 126
    renaming.create(name, **SMALL)
    assert "zz_" in renaming.refused("Remove", Name=name)
    assert world.cluster.images() == [name]


def test_eight_removals_at_once_rename_once(world, renaming):
    """Row 45."""
    renaming.create("db", **SMALL)
    replies = []
    threads = [threading.Thread(target=lambda: replies.append(renaming.call("Remove", {"Name": "db"}))) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert [r.status for r in replies] == [200] * 8
    assert world.cluster.images() == ["zz_db"]


def test_a_rename_that_was_killed_anywhere_is_finished_or_never_began(world, renaming):
    """Row 10: kill -9 at random times within a Remove; the next one finds one image under one name."""
    chance = random.Random(45)
    renaming.create("db", **SMALL)
    identity = world.cluster.info("db")["id"]
    killed_within = 0
    for turn in range(8):
        request = threading.Thread(target=renaming.call, args=("Remove", {"Name": "db"}))
        request.start()
        until(lambda: renaming.connections() or not request.is_alive(), "the request to arrive", interval=0.0005)
        time.sleep(chance.random() * 0.02)  # a random time, not a wait
        killed_within += request.is_alive()
        renaming.kill()
        request.join(30)
        renaming.start()
        renaming.await_cluster()
        renaming.remove("db")
        assert world.cluster.images() == ["zz_db"], turn
        assert world.cluster.info("zz_db")["id"] == identity
        assert world.cluster.objects("rbd_id.") == ["rbd_id.zz_db"]
        assert renaming.get("zz_db")["Status"]["size"] == 64 << 20
        for lock, those in world.cluster.locks(f"rbd_header.{identity}").items():
            for who in those:  # killed after the rename: it would lapse after 30 s
                world.cluster.rados("lock", "break", f"rbd_header.{identity}", lock, who["name"], "--lock-cookie", who["cookie"])
        world.cluster.rbd("rename", "rbd/zz_db", "rbd/db")
    assert killed_within >= 2, "no kill was within a Remove"


def test_the_two_names_of_an_interrupted_rename_are_one_image(world, renaming):
    """Row 10: after each of its three writes, made here by hand."""
    renaming.create("db", **SMALL)
    identity = world.cluster.info("db")["id"]
    mark = json.dumps({"version": 1, "final": "zz_db", "temp": "db", "since": int(time.time()), "host": "h", "boot": "b"})
    marked = world.cluster.metadata("db")
    assert "rbdvol.making" not in marked
    world.cluster.rbd("image-meta", "set", "rbd/db", "rbdvol.making", mark)
    # the first of three writes: the new name's object; the directory still has the old name
    world.cluster.rados("get", "rbd_id.db", f"{world.dir}/id")
    world.cluster.rados("put", "rbd_id.zz_db", f"{world.dir}/id")
    renaming.remove("db")
    assert world.cluster.images() == ["zz_db"] and world.cluster.info("zz_db")["id"] == identity
    assert world.cluster.objects("rbd_id.") == ["rbd_id.zz_db"]


# -- ignore


def test_ignore_leaves_the_image_and_its_data(world):
    """Row 44: Docker forgets it, the cluster does not; the next Create finds it again."""
    d = world.daemon(remove="ignore").await_cluster()
    d.create("db", **SMALL)
    identity = world.cluster.info("db")["id"]
    d.remove("db")
    assert world.cluster.info("db")["id"] == identity and d.names() == ["db"]
    d.create("db", **SMALL)
    d.mount("db", "a")
    d.remove("db")
    assert d.get("db")["Mountpoint"]
    d.unmount("db", "a")
    d.remove("absent")


# -- delete


def test_delete_leaves_nothing_of_it(world):
    """Row 44."""
    d = world.daemon(remove="delete").await_cluster()
    d.create("db", **SMALL)
    with open(d.mount("db", "a") + "/file", "wb") as f:
        f.write(b"x" * (8 << 20))
    d.unmount("db", "a")
    d.remove("db")
    assert world.cluster.images() == []
    until(lambda: trash(world) == {}, "the purge", 10)
    assert headers(world) == [] and world.cluster.objects("rbd_data.") == []


def test_rm_delete_is_for_good_whatever_the_policy(world, daemon):
    """Row 44: `rbdvol rm --delete`."""
    daemon.create("db", **SMALL)
    done = daemon.cli("rm", "db", "--delete")
    assert done.returncode == 0, done.stderr
    assert world.cluster.images() == []
    until(lambda: trash(world) == {}, "the purge", 10)
    assert headers(world) == []


def test_a_large_volume_is_removed_at_once_and_small_ones_do_not_wait_for_it(world):
    """Its thousands of objects are deleted afterwards, while its name is free."""
    d = world.daemon(remove="delete").await_cluster()
    d.create("large", size="64M", fstype="ext4", object_size="4K")
    world.cluster.rbd("bench", "--io-type", "write", "--io-size", "4096", "--io-threads", "16", "--io-total", "32M", "rbd/large")
    large = world.cluster.info("large")["block_name_prefix"]
    d.create("small", **SMALL)
    small = world.cluster.header("small")
    d.remove("large")
    assert world.cluster.objects(large), "it was deleted before the answer"
    d.remove("small")
    d.create("large", **SMALL)
    until(lambda: small not in headers(world), "the small one's purge", 10, interval=0.05)
    assert world.cluster.objects(large), "the small one has waited for the large one"
    until(lambda: not world.cluster.objects(large), "the purge", 60)
    assert world.cluster.images() == ["large"]
    until(lambda: trash(world) == {}, "the trash to be empty", 10)


# -- a policy of the volume's own


@pytest.mark.parametrize("host", ["trash", "delete", "rename", "ignore"])
def test_a_volumes_own_policy_comes_before_the_hosts(world, host):
    """On every host, by Docker's Remove and by rbdvol rm; shown by Get."""
    d = world.daemon(remove=host).await_cluster()
    for policy in ("trash", "delete", "rename", "ignore"):
        d.create(policy, remove=policy, **SMALL)
        assert d.get(policy)["Status"]["remove"] == policy
    d.create("plain", **SMALL)
    assert d.get("plain")["Status"]["remove"] == host
    d.mount("ignore", "a")
    d.restart()
    assert d.get("ignore")["Status"]["remove"] == "ignore"
    d.unmount("ignore", "a")
    for policy in ("trash", "delete", "ignore"):
        d.remove(policy)
    done = d.cli("rm", "rename")
    assert done.returncode == 0, done.stderr
    assert sorted(world.cluster.images()) == ["ignore", "plain", "zz_rename"]
    until(lambda: list(trash(world)) == ["trash"], "the purge", 10)
    done = d.cli("rm", "ignore", "--delete")
    assert done.returncode == 0, done.stderr
    assert sorted(world.cluster.images()) == ["plain", "zz_rename"]
    until(lambda: list(trash(world)) == ["trash"], "the purge", 10)


def test_a_volumes_own_policy_is_not_changed_by_another_create(world, daemon):
    """As with the other options: what is there is what was asked for, or refused."""
    daemon.create("db", remove="ignore", **SMALL)
    daemon.create("db", remove="ignore")
    daemon.create("db")
    err = daemon.refused("Create", Name="db", Opts={"remove": "delete"})
    assert "remove ignore" in err and "delete was asked for" in err
    world.cluster.rbd("create", "rbd/theirs", "--size", "64")
    daemon.create("theirs", remove="rename")
    daemon.remove("theirs")
    assert sorted(world.cluster.images()) == ["db", "zz_theirs"]


def test_a_clone_does_not_inherit_its_sources_policy(world, daemon):
    daemon.create("db", remove="delete", **SMALL)
    daemon.create("copy", **{"from": "db"})
    assert daemon.get("copy")["Status"]["remove"] == "trash"
    daemon.remove("copy")
    assert list(trash(world)) == ["copy"]


# -- trash, and for how long


@pytest.mark.parametrize("options,name,seconds", [
    ({}, "db", 7 * DAY), ({}, HEX, 3600), ({}, HEX[:-1], 7 * DAY), ({}, HEX[:-1] + "g", 7 * DAY),
    ({"trash_keep": "2h"}, "db", 7200), ({"trash_keep": "2h"}, HEX, 7200), ({"trash_keep": "30d"}, "db", 30 * DAY),
], ids=["default", "anonymous", "63-digits", "no-digit", "set", "set-anonymous", "30d"])
def test_the_trash_keeps_it_for_as_long_as_the_option_says(world, options, name, seconds):
    """Row 44: 7 days, an hour for anonymous volumes unless trash-keep is set."""
    d = world.daemon(**options).await_cluster()
    d.create(name, **SMALL)
    d.remove(name)
    assert abs(kept_for(trash(world)[name]) - seconds) <= 2


def test_the_purge_takes_our_own_entries_when_they_are_due_and_no_others(world, daemon):
    """Row 41: an admin's entry is not ours, even when it is due; ours that are not due stay."""
    cluster = world.cluster
    for name in ("ours-later", "admins", "admins-due"):
        daemon.create(name, **SMALL)
    daemon.remove("ours-later")
    cluster.rbd("trash", "mv", "rbd/admins", "--expires-at", "2099-01-01")
    cluster.rbd("trash", "mv", "rbd/admins-due")
    collected(world, daemon)
    assert sorted(trash(world)) == ["admins", "admins-due", "ours-later"]
    assert len(headers(world)) == 3


def test_what_is_not_due_yet_at_the_start_is_purged_soon_after(world, daemon):
    """A daemon that is killed between the move to the trash and the deletion is started again within the second."""
    daemon.create("db", **SMALL)
    other = world.daemon(trash_keep="4s").await_cluster()
    other.remove("db")
    other.kill()
    daemon.restart()
    daemon.await_cluster()
    until(lambda: trash(world) == {}, "the purge", 40)
    assert headers(world) == []


def test_a_deletion_that_was_cut_off_after_its_last_object_is_finished(world, daemon):
    """Then there is no mark any more to tell whose the entry in the trash is."""
    daemon.create("db", **SMALL)
    header, identity = world.cluster.header("db"), world.cluster.info("db")["id"]
    daemon.remove("db")
    world.cluster.rados("rm", header)
    assert "nothing of that name" in daemon.refused("/Rbdvol.Trash.Purge", Name="db"), "nobody has begun to delete this one"
    path = os.path.join(daemon.dir, "entry")
    world.cluster.rados("getomapval", "rbd_trash", f"id_{identity}", path)
    with open(path, "rb") as f:
        entry = f.read()
    subprocess.run(["rados", "-c", world.cluster.conf, "-p", "rbd", "setomapval", "rbd_trash", f"id_{identity}"],
                   input=entry[:-1] + b"\2", check=True, timeout=30)
    daemon.restart()
    until(lambda: trash(world) == {}, "the purge", 40)


def test_the_purge_takes_nothing_that_was_restored_or_trashed_again_by_an_admin(world):
    """Row 41: the mark stays on a restored image; its time says whether it is of this removal."""
    d = world.daemon(trash_keep="0s").await_cluster()
    collected(world, d)  # so that no purge is under way
    for name in ("db", "again"):
        d.create(name, **SMALL)
        identity = world.cluster.info(name)["id"]
        d.remove(name)
        world.cluster.rbd("trash", "restore", f"rbd/{identity}")
        last_week = re.sub(r'"time":\d+', f'"time":{int(time.time()) - 7 * DAY}', world.cluster.metadata(name)["rbdvol.trashed"])
        world.cluster.rbd("image-meta", "set", f"rbd/{name}", "rbdvol.trashed", last_week)
    world.cluster.rbd("trash", "mv", "rbd/again")
    collected(world, d)
    assert world.cluster.images() == ["db"]
    assert "again" in trash(world), "what an admin moved to the trash was purged"
    d.mount("db", "a")
    d.unmount("db", "a")
    d.remove("db")
    collected(world, d)
    assert "db" not in trash(world), "what was removed for a second time was not purged"


def test_an_image_with_a_snapshot_is_trashed_and_never_purged(world):
    """Row 44: the snapshot is somebody's reason to keep it."""
    d = world.daemon(trash_keep="0s").await_cluster()
    d.create("db", **SMALL)
    world.cluster.rbd("snap", "create", "rbd/db@kept")
    d.remove("db")
    collected(world, d)
    entry = trash(world)["db"]
    world.cluster.rbd("trash", "restore", f"rbd/{entry['id']}")
    assert "kept" in world.cluster.rbd("snap", "ls", "rbd/db")
    world.cluster.rbd("snap", "purge", "--no-progress", "rbd/db")


@pytest.mark.parametrize("policy", ["delete", "rename", "trash", "ignore"])
def test_an_image_with_snapshots(world, policy):
    """Row 44: delete refuses and names the command; the others keep the snapshot."""
    d = world.daemon(remove=policy).await_cluster()
    d.create("db", **SMALL)
    world.cluster.rbd("snap", "create", "rbd/db@kept")
    if policy == "delete":
        err = d.refused("Remove", Name="db")
        assert "snapshots" in err and "rbd snap ls rbd/db" in err
    else:
        d.remove("db")
    if policy == "trash":
        world.cluster.rbd("trash", "restore", f"rbd/{trash(world)['db']['id']}")
    name = "zz_db" if policy == "rename" else "db"
    assert "kept" in world.cluster.rbd("snap", "ls", f"rbd/{name}")
    world.cluster.rbd("snap", "purge", "--no-progress", f"rbd/{name}")


def test_an_image_with_a_clone_is_never_deleted(world):
    """Row 44: neither by delete nor by the purge; the clone goes on to read its parent's data."""
    d = world.daemon(remove="delete").await_cluster()
    d.create("db", **SMALL)
    world.cluster.rbd("snap", "create", "rbd/db@s")
    world.cluster.rbd("clone", "--rbd-default-clone-format", "2", "rbd/db@s", "rbd/child")
    assert "snapshots" in d.refused("Remove", Name="db")
    assert sorted(world.cluster.images()) == ["child", "db"]
    world.cluster.rbd("rm", "--no-progress", "rbd/child")
    world.cluster.rbd("snap", "purge", "--no-progress", "rbd/db")


@pytest.mark.parametrize("policy", ["delete", "rename", "trash"])
def test_no_policy_takes_an_image_that_is_not_ours_or_in_use(world, daemon, policy):
    """Rows 41 and 44: by others' making, mounted here, mounted elsewhere."""
    d = world.daemon(remove=policy).await_cluster()
    world.cluster.rbd("create", "rbd/theirs", "--size", "10")
    assert "neither made nor ever mounted" in d.refused("Remove", Name="theirs")
    d.create("db", **SMALL)
    d.mount("db", "holder-one")
    assert "holder-one" in d.refused("Remove", Name="db")
    assert daemon.refused("Remove", Name="db")
    d.unmount("db", "holder-one")
    daemon.mount("db", "holder-two")
    assert d.refused("Remove", Name="db")
    assert sorted(world.cluster.images()) == ["db", "theirs"]
    daemon.unmount("db", "holder-two")
