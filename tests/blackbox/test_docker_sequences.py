# SPDX-License-Identifier: MIT
"""Which calls each docker command makes, and what they leave: facts of Docker Engine, sections 4 and 5, row by row.

`sequence()` is what has an effect: C(reate), M(ount), U(nmount), R(emove); M1 and U1 have one mount ID; "!" is a refusal."""

import json
import os
import re

import mounts
import pytest
from dockercli import file_in, tar_of
from waiting import until

FOREVER = ("sleep", "1000")


def test_volume_create_asks_and_creates_and_a_second_one_only_asks(world, watched):
    """Rows 1 and 2: `volume create`, new, and existing with any options."""
    watched.create("db", size="1G", fstype="ext4")
    assert watched.seen.letters() == "G C"
    watched.seen.forget()
    watched.create("db", size="5G", fstype="xfs")
    assert "C" not in watched.seen.sequence()
    assert world.cluster.info("db")["size"] == 1 << 30
    assert watched.daemon.get("db")["Status"]["fstype"] == "ext4"


def test_volume_ls_takes_one_list_with_its_mountpoints(watched):
    """Row `volume ls` (any filter): L alone."""
    watched.create("db", size="1G")
    watched.create("idle", size="1G")
    watched.start("db", "sleep 1000", "runs")
    watched.seen.forget()
    lines = watched("volume", "ls", "--filter", f"driver={watched.driver}", "--format", "{{.Name}} {{.Mountpoint}}").split("\n")
    assert watched.seen.letters() == "L"
    assert sorted(line.split() for line in lines) == [["db", *watched.mounted()], ["idle"]]


def test_volume_inspect_takes_one_get(watched):
    """Row `volume inspect`: G alone."""
    watched.create("db", size="1G")
    watched.seen.forget()
    assert json.loads(watched("volume", "inspect", "db"))[0]["Status"]["state"] == "detached"
    assert watched.seen.letters() == "G"


def test_volume_rm_removes_what_is_unused_and_asks_nothing_for_what_is_used(world, watched):
    """Row `volume rm`: G G R; in use by a container: refused without R, with -f, too; `rm -f nosuch` succeeds."""
    watched("create", *watched.with_volume("db"), "--name=uses", "box", "true")
    watched.seen.forget()
    for words in (("rm", "db"), ("rm", "-f", "db")):
        assert "in use" in watched.refused("volume", *words)
    assert watched.seen.sequence() == ""
    watched("rm", "uses")
    watched("volume", "rm", "db")
    assert watched.seen.sequence() == "R"
    assert world.cluster.images() == []
    watched.seen.forget()
    watched("volume", "rm", "-f", "nosuch")
    assert "no such volume" in watched.refused("volume", "rm", "nosuch").lower()
    assert watched.seen.sequence() == ""


def test_run_of_a_new_volume_creates_mounts_and_unmounts(world, watched):
    """Rows `run -v` and `--rm` of a named volume: G C, G M1, G U1, and no R."""
    assert watched.sh("db", "echo kept >/data/x") == ""
    assert watched.seen.sequence() == "C M1 U1"
    assert watched.mounted() == []
    assert world.cluster.locks(world.cluster.header("db")) == {}
    assert watched.sh("db", "cat /data/x") == "kept"
    assert watched.seen.sequence() == "C M1 U1 M2 U2"
    assert not watched.seen.calls("Path")


def test_run_with_the_long_form_takes_its_options(watched):
    """Row `run --mount type=volume,volume-driver=,volume-opt=`: the same, with options."""
    mount = f"type=volume,source=db,target=/data,volume-driver={watched.driver},volume-opt=size=2G,volume-opt=fstype=ext4"
    watched("run", "--rm", "--network=none", "--mount", mount, "box", "true")
    assert watched.seen.sequence() == "C M1 U1"
    assert watched.seen.calls("Create")[0].fields["Opts"] == {"size": "2G", "fstype": "ext4"}
    status = watched.daemon.get("db")["Status"]
    assert (status["size"], status["fstype"]) == (2 << 30, "ext4")


@pytest.mark.parametrize("how", ["run --rm", "rm -v", "rm -fv"])
def test_an_anonymous_volume_goes_with_its_container_and_a_named_one_stays(world, watched, how):
    """Row anonymous volume: a 64-hex name, removed by --rm and rm -v; a named one never is."""
    both = (f"--volume-driver={watched.driver}", "--network=none", "-v", "/anon", "-v", "named:/data")
    if how == "run --rm":
        watched("run", "--rm", *both, "box", "true")
    else:
        watched("run", "-d", "--name=one", *both, "box", *(FOREVER if how == "rm -fv" else ("true",)))
        if how == "rm -v":
            watched.ended("one")
        watched(*how.split(), "one")
    anonymous, = {a.volume for a in watched.seen.calls("Remove")}
    assert re.fullmatch("[0-9a-f]{64}", anonymous)
    assert watched.seen.sequence(anonymous) == "C M1 U1 R"
    assert watched.seen.sequence("named") == "C M1 U1"
    assert world.cluster.images() == ["named"]


def test_an_images_content_is_copied_at_create_with_a_mount_of_its_own(watched):
    """Row copy-up: M1 U1 at each create, M2 at start; only into an empty volume; the owner of the directory, too."""
    watched.engine.import_image("owned", {"data/seed": "from the image\n"}, ["USER root"])
    watched("run", "--name=maker", "--network=none", "owned", "sh", "-c", "chown -R 1234:1235 /data; chmod 0751 /data")
    watched("commit", "-c", "VOLUME /data", "maker", "owned")
    watched("rm", "maker")
    watched("create", *watched.with_volume("db"), "--name=one", "owned", "sh", "-c",
            "cat /data/seed; stat -c '%u %g %a' /data; echo mine >/data/seed")
    assert watched.seen.sequence() == "C M1 U1"
    assert watched.mounted() == []
    assert watched("start", "-a", "one") == "from the image\n1234 1235 751"
    watched.ended("one")
    until(lambda: watched.seen.sequence() == "C M1 U1 M2 U2", "the unmount")
    assert watched.sh("db", "cat /data/seed", image="owned") == "mine"
    assert watched.seen.sequence() == "C M1 U1 M2 U2 M3 U3 M4 U4"


@pytest.mark.parametrize("how", ["stop", "kill", "exit", "rm -f"])
def test_the_end_of_a_container_unmounts_with_its_id(world, watched, how):
    """Row `stop`/`kill`/exit/`rm -f`: U with the ID of the mount, and nothing is left."""
    script = "until [ -e /data/end ]; do usleep 10000; done" if how == "exit" else "exec sleep 1000"
    watched.start("db", script, "one", more=["--stop-timeout=0"])
    if how == "exit":
        watched("exec", "one", "touch", "/data/end")
        watched.ended("one")
    else:
        watched(*how.split(), "one")
    until(lambda: watched.seen.sequence() == "C M1 U1", "the unmount")
    until(lambda: watched.mounted() == [], "the volume to go")
    assert world.cluster.locks(world.cluster.header("db")) == {}
    assert watched.holders("db") == {}


def test_start_again_and_restart_mount_with_new_ids(watched):
    """Rows `start` again: M with a new ID; `restart`: U of the old one, M of a new one."""
    watched.start("db", "echo x >>/data/log; exec sleep 1000", "one", more=["--stop-timeout=0"])
    watched("stop", "one")
    watched("start", "one")
    assert watched.seen.sequence() == "C M1 U1 M2"
    watched("restart", "one")
    assert watched.seen.sequence() == "C M1 U1 M2 U2 M3"
    until(lambda: watched("exec", "one", "cat", "/data/log") == "x\nx\nx", "the third start's line")
    watched("rm", "-f", "one")
    assert watched.mounted() == []


def test_a_second_container_is_refused_and_the_first_goes_on(watched):
    """Row 2 containers, 1 volume, with sharing=exclusive: the second is refused with a sentence, and leaves no holder."""
    watched.start("db", "exec sleep 1000", "first")
    before = watched.holders("db")
    err = watched.refused("run", "--rm", *watched.with_volume("db"), "box", "true")
    for part in ("rbd/db", "in use on this host since", next(iter(before))[:12], "nocopy", "sharing=host"):
        assert part in err
    assert watched.seen.sequence() == "C M1 M2!"
    assert watched.holders("db") == before
    assert watched.writes("first")
    watched("rm", "-f", "first")
    assert watched.sh("db", "echo free") == "free"


@pytest.mark.parametrize("leaves", ["first", "second"])
def test_of_two_that_share_either_may_stop_first(watched, leaves):
    """Row 2 containers, 1 volume, with sharing=host: M1 M2, U of either; the other keeps its volume."""
    watched.create("db", size="1G", sharing="host")
    watched.start("db", "exec sleep 1000", "first")
    watched.start("db", "exec sleep 1000", "second")
    stays = {"first": "second", "second": "first"}[leaves]
    watched("rm", "-f", leaves)
    assert watched.seen.sequence() == "C M1 M2 " + {"first": "U1", "second": "U2"}[leaves]
    assert watched.writes(stays)
    assert len(watched.holders("db")) == 1
    watched("rm", "-f", stays)
    assert watched.mounted() == []


def test_four_containers_started_at_once_share_one_mount(watched):
    """Row 2 containers, 1 volume: parallel starts are concurrent Mounts of one volume."""
    watched.create("db", size="1G", sharing="host")
    names = ["c1", "c2", "c3", "c4"]
    for name in names:
        watched("create", *watched.with_volume("db"), f"--name={name}", "box", *FOREVER)
    starts = [watched.begin("start", name) for name in names]
    assert [start.communicate(timeout=60)[1] for start in starts] == [""] * 4
    assert len(watched.mounted()) == 1
    assert sorted(watched.holders("db").values()) == [1] * 4
    watched("rm", "-f", *names[:3])
    assert watched.writes("c4")
    watched("rm", "-f", "c4")
    assert watched.mounted() == []


def test_four_containers_started_at_once_on_an_exclusive_volume_leave_one_running(watched):
    """Row 2 containers, 1 volume: of concurrent Mounts exactly one wins, and the others leave no holder."""
    watched.create("db", size="1G")
    names = ["c1", "c2", "c3", "c4"]
    for name in names:
        watched("create", *watched.with_volume("db"), f"--name={name}", "box", *FOREVER)
    starts = {name: watched.begin("start", name) for name in names}
    said = {name: start.communicate(timeout=60)[1] for name, start in starts.items()}
    running, = [name for name in names if said[name] == ""]
    assert all("in use on this host" in said[name] for name in names if name != running)
    assert list(watched.holders("db").values()) == [1]
    assert watched.writes(running)
    watched("rm", "-f", running)
    assert watched.mounted() == []


def two_paths(docker):
    return "--network=none", f"--volume-driver={docker.driver}", "-v", "db:/one", "-v", "db:/two"


def test_one_container_has_a_shared_volume_at_two_paths(watched):
    """Row 1 container, same volume at 2 paths: 2 IDs, with sharing=host."""
    watched.create("db", size="1G", sharing="host")
    assert watched("run", "--rm", *two_paths(watched), "box", "sh", "-c", "echo seen >/one/x; cat /two/x") == "seen"
    words = watched.seen.sequence().split()
    assert words[:3] == ["C", "M1", "M2"] and sorted(words[3:]) == ["U1", "U2"]
    assert watched.mounted() == []


def test_an_exclusive_volume_at_two_paths_is_refused_and_leaves_nothing(watched):
    """Row 1 container, same volume at 2 paths: 2 IDs, which sharing=exclusive does not allow."""
    watched.create("db", size="1G")
    assert "sharing=host" in watched.refused("run", "--rm", *two_paths(watched), "box", "true")
    assert watched.seen.sequence() == "C M1 M2! U1"
    assert watched.mounted() == []
    assert watched.holders("db") == {}


def test_volumes_from_has_an_id_of_its_own(watched):
    """Row --volumes-from: own ID, no Create; refused beside a running container unless the volume is shared."""
    watched.create("shared", size="1G", sharing="host")
    watched.start("shared", "echo seen >/data/x; exec sleep 1000", "first")
    until(lambda: watched("exec", "first", "ls", "/data") == "x", "the first's file")
    assert watched("run", "--rm", "--network=none", "--volumes-from=first", "box", "cat", "/data/x") == "seen"
    assert watched.seen.sequence("shared") == "C M1 M2 U2"
    assert watched.writes("first")
    watched.start("alone", "exec sleep 1000", "second")
    assert "sharing=host" in watched.refused("run", "--rm", "--network=none", "--volumes-from=second", "box", "true")
    assert watched.seen.sequence("alone") == "C M1 M2!"
    assert watched.writes("second")


@pytest.mark.parametrize("what", ["program", "mountpoint"])
def test_a_container_that_the_runtime_cannot_start_leaves_nothing(world, watched, what):
    """Row runtime start failure: G M ... G U with the same ID."""
    if what == "program":
        watched.refused("run", "--rm", *watched.with_volume("db"), "box", "/no/such/program")
    else:
        watched.refused("run", "--rm", *watched.with_volume("db", "/bin/busybox"), "box", "true")
    assert watched.seen.sequence() == "C M1 U1"
    assert watched.mounted() == []
    assert watched.holders("db") == {}
    assert world.cluster.locks(world.cluster.header("db")) == {}


def test_a_refused_mount_leaves_no_holder_and_releases_the_containers_other_volumes(watched):
    """Row Mount returned Err: no Unmount; volumes mounted before in that container get theirs."""
    watched.start("taken", "exec sleep 1000", "first")
    watched.refused("run", "--rm", f"--volume-driver={watched.driver}", "--network=none", "-v", "other:/a", "-v", "taken:/b", "box",
                    "true")
    assert watched.seen.sequence("taken") == "C M1 M2!"
    assert watched.seen.sequence("other") in ("C M1 U1", "C")  # Docker's order is its own
    assert watched.holders("other") == {}
    assert len(watched.holders("taken")) == 1
    assert watched.mounted() == [watched.daemon.get("taken")["Mountpoint"]]


def test_after_a_failed_unmount_the_container_starts_again_with_its_old_id(watched):
    """Row Unmount returned Err: stop succeeds, never retried, and the next start sends M with the same ID."""
    watched.start("db", "exec sleep 1000", "one", more=["--stop-timeout=0"])
    point, = watched.mounted()
    sits = os.open(point, os.O_RDONLY)
    watched("stop", "one")
    assert watched.seen.sequence() == "C M1 U1!"
    assert watched.daemon.must("/Rbdvol.Status")["Volumes"][0]["Pending"]
    watched("start", "one")
    assert watched.seen.sequence() == "C M1 U1! M1"
    assert list(watched.holders("db").values()) == [1]
    assert watched.writes("one")
    os.close(sits)
    watched("stop", "one")
    assert watched.seen.sequence() == "C M1 U1! M1 U1"
    assert watched.mounted() == []


def test_a_failed_unmount_is_finished_when_what_kept_the_volume_has_gone(world, watched):
    """Row Unmount returned Err: Docker never repeats it, so rbdvol does."""
    watched.start("db", "exec sleep 1000", "one", more=["--stop-timeout=0"])
    point, = watched.mounted()
    sits = os.open(point, os.O_RDONLY)
    watched("stop", "one")
    assert mounts.at(point)
    os.close(sits)
    until(lambda: mounts.at(point) is None, "the volume to go by itself", 30)
    until(lambda: world.cluster.locks(world.cluster.header("db")) == {}, "its locks to go")
    assert watched.seen.sequence() == "C M1 U1!"


@pytest.mark.parametrize("path", ["/data", "/tmp"])
def test_cp_into_and_out_of_a_running_container_mounts_with_its_id(watched, path):
    """Rows `cp` into RUNNING: M1 U1 twice with the container's own ID, out once, also outside of the volume."""
    watched.start("db", "exec sleep 1000", "one")
    point, = watched.mounted()
    watched.seen.forget()
    for n in range(3):
        watched("cp", "-", f"one:{path}", input=tar_of("in", b"%d" % n))
        assert watched("exec", "one", "cat", f"{path}/in") == str(n)
        assert file_in(watched.engine.run("cp", f"one:{path}/in", "-").stdout, "in") == b"%d" % n
    words = watched.seen.sequence().split()
    assert words and len(words) % 6 == 0 and words == ["M1", "U1"] * (len(words) // 2)
    assert watched.seen.calls("Mount")[0].fields["ID"] in watched.holders("db")
    assert list(watched.holders("db").values()) == [1]
    assert watched.mounted() == [point]
    assert watched.writes("one")
    watched("rm", "-f", "one")
    assert watched.mounted() == []


@pytest.mark.parametrize("state", ["created", "stopped"])
def test_cp_into_and_out_of_a_container_that_does_not_run(watched, state):
    """Row `cp` into STOPPED/created: a fresh ID per round, and nothing stays mounted."""
    watched.engine.run("create" if state == "created" else "run", *watched.with_volume("db"), "--name=one", "box", "cat", "/data/in")
    watched.seen.forget()
    watched("cp", "-", "one:/data", input=tar_of("in", b"from outside"))
    assert file_in(watched.engine.run("cp", "one:/data/in", "-").stdout, "in") == b"from outside"
    words = watched.seen.sequence().split()
    rounds = len(words) // 2
    assert rounds >= 2 and words == [f"{call}{n + 1}" for n in range(rounds) for call in "MU"]
    assert watched.mounted() == []
    assert watched("start", "-a", "one") == "from outside"


def test_what_looks_at_a_container_does_not_touch_its_volume(watched):
    """Row export, diff, commit, exec, logs, inspect: nothing."""
    watched.start("db", "exec sleep 1000", "one")
    watched.seen.forget()
    watched.engine.run("export", "one")
    watched("diff", "one")
    watched("commit", "one", "copied")
    watched("exec", "one", "true")
    watched("logs", "one")
    watched("inspect", "one")
    watched("image", "rm", "copied")
    assert watched.seen.letters() == ""


def test_twenty_volumes_are_created_at_once(world, watched):
    """Section 1, row concurrency: 20 parallel creates are 20 Creates in flight."""
    names = [f"v{n:02}" for n in range(20)]
    creates = [watched.begin("volume", "create", "-d", watched.driver, "-o", "size=400M", name) for name in names]
    assert [create.communicate(timeout=90)[1] for create in creates] == [""] * 20
    assert sorted(world.cluster.images()) == names


@pytest.mark.parametrize("method", ["Create", "Mount", "Unmount"])
def test_a_cut_request_repeated_without_a_body_harms_nothing(world, watched, method):
    """Section 2, row retry: the repetition of a request that was cut off has an empty body."""
    watched.create("db", size="1G")
    if method == "Unmount":
        watched.start("db", "exec sleep 1000", "one", more=["--stop-timeout=0"])
    watched.seen.forget()
    watched.seen.cut(method)
    if method == "Create":
        assert "without a body" in watched.refused("volume", "create", "-d", watched.driver, "other")
    elif method == "Mount":
        assert "without a body" in watched.refused("run", "--rm", *watched.with_volume("db"), "box", "true")
    else:
        watched("stop", "one")
    first, second = watched.seen.calls(method)
    assert first.body and not second.body and second.status == 400
    until(lambda: watched.mounted() == [], "nothing to be mounted")
    until(lambda: watched.holders("db") == {}, "no holder to be left")
    assert watched.sh("other" if method == "Create" else "db", "echo usable") == "usable"
    assert sorted(world.cluster.images()) == (["db", "other"] if method == "Create" else ["db"])
