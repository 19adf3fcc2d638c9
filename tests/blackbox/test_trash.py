# SPDX-License-Identifier: MIT
"""`rbdvol trash`: what was removed is seen, taken back, deleted; nobody else's entries are touched."""

from waiting import until


def removed(daemon, name, text):
    daemon.create(name, size="300M", fstype="ext4")
    with open(daemon.mount(name, "a") + "/file", "w", encoding="ascii") as f:
        f.write(text)
    daemon.unmount(name, "a")
    daemon.remove(name)


def test_a_removed_volume_is_listed_and_restored_with_its_data(world, daemon):
    removed(daemon, "db", "kept")
    lines = daemon.does("trash", "ls").splitlines()
    assert len(lines) == 2 and lines[1].startswith("rbd/db ") and world.cluster.trash()[0]["id"] in lines[1]
    assert daemon.does("trash", "restore", "db").strip() == "rbd/db"
    assert daemon.does("trash", "ls").count("\n") == 1
    with open(daemon.mount("db", "a") + "/file", encoding="ascii") as f:
        assert f.read() == "kept"
    daemon.unmount("db", "a")
    daemon.remove("db")  # and may be removed again
    assert daemon.does("trash", "restore", "db", "other").strip() == "rbd/other"
    assert daemon.names() == ["other"]


def test_what_is_ambiguous_or_taken_is_refused(world, daemon):
    removed(daemon, "db", "one")
    removed(daemon, "db", "two")
    ids = [entry["id"] for entry in world.cluster.trash()]
    err = daemon.declines("trash", "restore", "db")
    assert "2 times" in err and ids[0] in err and ids[1] in err
    daemon.create("db", size="300M", fstype="ext4")
    assert "there is an image 'db'" in daemon.declines("trash", "restore", ids[0])
    daemon.does("trash", "restore", ids[0], "was")
    assert sorted(daemon.names()) == ["db", "was"]
    assert "nothing of that name" in daemon.declines("trash", "restore", "absent")
    assert daemon.cli("trash", "restore").returncode == 2 and daemon.cli("trash").returncode == 2


def test_purge_deletes_one_or_what_is_overdue_and_nobody_elses(world):
    d = world.daemon(trash_keep="1s").await_cluster()
    world.cluster.rbd("create", "rbd/theirs", "--size", "300")
    world.cluster.rbd("trash", "mv", "rbd/theirs")
    removed(d, "db", "x")
    until(lambda: d.does("trash", "purge") == "" and [t["name"] for t in world.cluster.trash()] == ["theirs"], "the purge", 20)
    keeper = world.daemon().await_cluster()
    removed(keeper, "long", "x")
    keeper.does("trash", "purge")  # it is not overdue
    assert sorted(t["name"] for t in world.cluster.trash()) == ["long", "theirs"]
    keeper.does("trash", "purge", "long")
    assert "nothing of that name or id that rbdvol put there" in keeper.declines("trash", "purge", "theirs")
    assert [t["name"] for t in world.cluster.trash()] == ["theirs"]
    world.cluster.rbd("trash", "rm", "--no-progress", "rbd/" + world.cluster.trash()[0]["id"])
