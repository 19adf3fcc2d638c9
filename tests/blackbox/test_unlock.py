# SPDX-License-Identifier: MIT
"""rbdvol unlock: a person decides over somebody's lock."""

import json
import subprocess

from waiting import until


def report(daemon, name, **more):
    return daemon.must("/Rbdvol.Unlock", Name=name, **more)


def fenced(cluster):
    text = cluster.ceph("osd", "blocklist", "ls", "--format=json")
    return [entry["addr"] for entry in json.JSONDecoder().raw_decode(text.lstrip())[0]]


def lock_by_hand(cluster, image):
    cluster.rbd("lock", "add", image, "mine")
    return json.loads(cluster.rbd("lock", "ls", image, "--format=json"))[0]["address"]


def test_a_free_volume_is_said_to_be_free(daemon):
    daemon.create("db", size="400M")
    done = daemon.cli("unlock", "db")
    assert done.returncode == 0 and "free" in done.stdout
    assert "no image 'none'" in daemon.refused("/Rbdvol.Unlock", Name="none")


def test_a_lock_by_hand_is_shown_and_taken_away(world, daemon):
    daemon.create("db", size="400M")
    address = lock_by_hand(world.cluster, "rbd/db")
    refused = daemon.refused("Mount", Name="db", ID="a")
    assert "advisory lock 'mine'" in refused and "rbdvol unlock rbd/db" in refused
    found = report(daemon, "db")
    assert found["State"] == "by hand" and address in found["Owner"] and not found["Unlocked"]
    assert daemon.refused("Mount", Name="db", ID="a"), "looking takes nothing away"
    done = daemon.cli("unlock", "db")
    assert done.returncode == 0 and "unlocked" in done.stdout and address in done.stdout
    assert address in fenced(world.cluster)
    daemon.mount("db", "a")
    daemon.unmount("db", "a")


def test_a_living_owner_needs_force_and_is_fenced(world):
    holder, rival = world.daemon(), world.daemon(takeover="never")
    holder.create("db", size="400M", fstype="ext4")  # one kernel mounts no xfs twice
    holder.mount("db", "a")
    found = report(rival, "db")
    assert found["State"] == "alive" and f"instance {holder.name}" in found["Owner"] and len(found["Watchers"]) == 1
    done = rival.cli("unlock", "db")
    assert done.returncode == 1 and "is alive" in done.stderr and "--force" in done.stderr
    assert found["Watchers"][0] not in fenced(world.cluster)
    done = rival.cli("unlock", "--force", "db")
    assert done.returncode == 0, done.stderr
    assert found["Watchers"][0] in fenced(world.cluster)
    rival.mount("db", "b")
    rival.unmount("db", "b")
    until(lambda: holder.call("Unmount", {"Name": "db", "ID": "a"}).status == 200, "the fenced one to be taken down", 30)
    until(lambda: not holder.mappers(), "its mapper to end", 30)


def test_a_volume_in_use_here_is_not_unlocked(daemon):
    daemon.create("db", size="400M")
    daemon.mount("db", "a")
    assert "in use on this host" in daemon.refused("/Rbdvol.Unlock", Name="db", Go=True, Force=True)
    daemon.unmount("db", "a")


def test_a_refusal_tells_what_keeps_the_owner_from_letting_go(world):
    """A shell sits in the volume: the owner cannot unmount it, and says so to who is refused."""
    holder, rival = world.daemon(), world.daemon()
    holder.create("db", size="400M", fstype="ext4")
    point = holder.mount("db", "a")
    shell = subprocess.Popen(["sleep", "600"], cwd=point)
    try:
        assert holder.call("Unmount", {"Name": "db", "ID": "a"}).status == 500
        told = until(lambda: [err for err in [rival.refused("Mount", Name="db", ID="b")] if "let go of it" in err],
                     "the refusal to tell what hinders the owner", 20)[0]
        assert f"pid {shell.pid} (sleep)" in told and f"instance {holder.name}" in told
    finally:
        shell.kill()
        shell.wait()
    until(lambda: rival.call("Mount", {"Name": "db", "ID": "b"}).status == 200, "the volume to be let go", 60)
    assert "rbdvol.hindrance" not in world.cluster.rbd("image-meta", "ls", "rbd/db")
    rival.unmount("db", "b")
