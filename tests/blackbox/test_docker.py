# SPDX-License-Identifier: MIT
"""Through a real dockerd: what people type, and what they see."""

import io
import json
import tarfile

import mounts
import pytest
from daemon import clean_env, rbdvol
from dockercli import tar_of
from engine import Failed
from waiting import until

FSTYPES = ["xfs", "ext4", "btrfs"]


@pytest.mark.parametrize("fstype", FSTYPES)
def test_create_run_stop_and_run_again_finds_the_data(docker, fstype):
    docker.create("db", size="1G", fstype=fstype)
    docker.start("db", "echo written >/data/file; sleep 1000", "first")
    until(lambda: docker("exec", "first", "cat", "/data/file") == "written", "the container to write")
    point = docker.daemon.get("db")["Mountpoint"]
    assert mounts.at(point).fstype == fstype
    docker("rm", "-f", "first")
    assert mounts.at(point) is None
    assert docker.sh("db", "cat /data/file; echo more >>/data/file") == "written"
    assert docker.sh("db", "cat /data/file") == "written\nmore"


def test_run_alone_makes_the_volume(world, docker):
    assert docker.sh("fresh", "echo hi >/data/x; cat /data/x") == "hi"
    assert world.cluster.images() == ["fresh"]


def test_stop_and_start_of_one_container(docker):
    docker.start("db", "cat /data/file; date >>/data/file; trap exit TERM; while :; do sleep 1 & wait; done", "one")
    for _ in range(2):
        docker("restart", "-t", "2", "one")
    docker("stop", "-t", "2", "one")
    assert mounts.below(docker.daemon.path("mount-root")) == []
    docker("start", "one")
    assert docker.daemon.get("db")["Mountpoint"]
    docker("rm", "-f", "one")
    assert docker.sh("db", "wc -l </data/file") in ("3", "4")


@pytest.mark.parametrize("fstype", FSTYPES)
def test_an_images_content_is_copied_into_a_fresh_volume(docker, fstype):
    docker.create("db", size="1G", fstype=fstype)
    assert docker.sh("db", "cat /data/seed /data/below/deep", image="seeded") == "from the image\ndeeper"
    docker.sh("db", "echo changed >/data/seed", image="seeded")
    assert docker.sh("db", "cat /data/seed", image="seeded") == "changed"


def test_an_anonymous_volume_comes_and_goes_with_its_container(world, docker):
    docker("run", "-d", "--network=none", f"--volume-driver={docker.driver}", "--name=anon", "seeded", "sleep", "1000")
    names = world.cluster.images()
    assert len(names) == 1 and len(names[0]) == 64
    docker("rm", "-f", "-v", "anon")
    assert world.cluster.images() == []


@pytest.mark.parametrize("fstype", ["xfs", "ext4"])
def test_cp_into_and_out_of_a_running_container(docker, fstype):
    docker.create("db", size="1G", fstype=fstype)
    docker.start("db", "sleep 1000", "runs")
    point = docker.daemon.get("db")["Mountpoint"]
    docker("cp", "-", "runs:/data", input=tar_of("in", b"from outside\n"))
    assert docker("exec", "runs", "cat", "/data/in") == "from outside"
    docker("exec", "runs", "sh", "-c", "echo from inside >/data/out")
    data = docker.engine.run("cp", "runs:/data/out", "-").stdout
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert tar.extractfile("out").read() == b"from inside\n"
    assert mounts.at(point), "docker cp took the running container's volume away"
    assert docker("exec", "runs", "cat", "/data/in") == "from outside"
    docker("rm", "-f", "runs")
    assert mounts.at(point) is None


def test_cp_into_a_stopped_container(docker):
    docker.start("db", "true", "stopped")
    until(lambda: docker("inspect", "-f", "{{.State.Running}}", "stopped") == "false", "its end")
    docker("cp", "-", "stopped:/data", input=tar_of("in", b"from outside\n"))
    assert mounts.below(docker.daemon.path("mount-root")) == []
    docker("rm", "stopped")
    assert docker.sh("db", "cat /data/in") == "from outside"


@pytest.mark.parametrize("how", ["SIGTERM", "SIGKILL"])
def test_a_restart_of_rbdvol_does_not_touch_a_running_container(docker, how):
    docker.create("db", size="1G", fstype="ext4")
    docker.start("db", "n=0; while :; do n=$((n+1)); echo $n >>/data/log || exit 1; sync /data/log; usleep 20000; done", "writes")

    def lines():
        return int(docker("exec", "writes", "sh", "-c", "wc -l </data/log"))

    until(lambda: lines() > 3, "the container to write")
    if how == "SIGTERM":
        docker.daemon.stop()
    else:
        docker.daemon.kill()
    before = lines()
    until(lambda: lines() > before + 3, "the container to go on writing without rbdvol")
    docker.daemon.start()
    docker.daemon.await_cluster()
    before = lines()
    until(lambda: lines() > before + 3, "the container to go on writing with the new rbdvol")
    assert docker("inspect", "-f", "{{.State.Running}}", "writes") == "true"
    total = lines()
    docker("stop", "-t", "0", "writes")
    assert mounts.below(docker.daemon.path("mount-root")) == []
    docker("rm", "writes")
    seen = docker.sh("db", "cat /data/log").split()
    assert len(seen) >= total
    assert seen == [str(n + 1) for n in range(len(seen))]


def test_a_second_container_is_refused_with_the_way_out(docker):
    docker.create("db", size="1G")
    docker.start("db", "sleep 1000", "first")
    err = docker.refused("run", "--rm", "--network=none", f"--volume-driver={docker.driver}", "-v", "db:/data", "box", "true")
    assert "sharing=host" in err
    assert docker("exec", "first", "ls", "/data") == ""
    docker("rm", "-f", "first")


def test_two_containers_share_with_sharing_host(docker):
    docker.create("db", size="1G", sharing="host")
    docker.start("db", "sleep 1000", "first")
    docker.start("db", "echo two >/data/two; sleep 1000", "second")
    until(lambda: "two" in docker("exec", "first", "ls", "/data"), "the second's file")
    docker("rm", "-f", "second")
    assert docker("exec", "first", "cat", "/data/two") == "two"
    docker("rm", "-f", "first")


def test_volume_ls_and_inspect(docker):
    docker.create("db", size="1G", fstype="ext4")
    assert f"{docker.driver} db" in " ".join(docker("volume", "ls").split())
    about = json.loads(docker("volume", "inspect", "db"))[0]
    assert about["Driver"] == docker.driver
    assert about["Scope"] == "global"
    assert about["Mountpoint"] == ""
    assert about["CreatedAt"].startswith("20")
    status = about["Status"]
    assert (status["pool"], status["image"], status["fstype"], status["size"]) == ("rbd", "db", "ext4", 1 << 30)
    docker.start("db", "sleep 1000", "runs")
    about = json.loads(docker("volume", "inspect", "db"))[0]
    assert about["Mountpoint"] and about["Status"]["device"].startswith("/dev/")
    docker("rm", "-f", "runs")


def test_status_names_the_containers(docker):
    """Docker is asked by the command line, at the socket that DOCKER_HOST names."""
    docker.create("shared", size="300M", fstype="ext4", sharing="host")
    docker.create("idle", size="300M", fstype="ext4")
    for name in ("web", "worker"):
        docker.start("shared", "sleep 1000", name)
    status = ["status", f"--socket={docker.daemon.socket}"]
    told = rbdvol(*status, "--json", env=clean_env(DOCKER_HOST=docker.engine.host))
    (volume,) = json.loads(told.stdout)["Volumes"]
    assert volume["Name"] == "rbd/shared" and sorted(volume["Containers"]) == ["web", "worker"]
    shown = rbdvol(*status, env=clean_env(DOCKER_HOST=docker.engine.host)).stdout
    assert "web " in shown and "worker " in shown and volume["Holders"][0]["ID"][:12] in shown
    docker("rm", "-f", "web", "worker")


def test_an_image_made_by_others_is_listed_and_mounts(world, docker):
    world.cluster.rbd("create", "rbd/theirs", "--size", "400")
    assert "theirs" in docker("volume", "ls", "-q").split()
    assert docker.sh("theirs", "echo kept >/data/x; cat /data/x") == "kept"


def test_volume_rm(world, docker):
    docker.create("db", size="1G")
    docker.start("db", "sleep 1000", "runs")
    assert "in use" in docker.refused("volume", "rm", "db")
    docker("rm", "-f", "runs")
    docker("volume", "rm", "db")
    assert world.cluster.images() == []
    assert len(world.cluster.trash()) == 1
    assert docker("volume", "ls", "-q") == ""


def test_a_refusal_reaches_the_user_as_a_sentence(docker):
    with pytest.raises(Failed, match="colour"):
        docker.create("db", colour="blue")
    with pytest.raises(Failed, match="ext4"):
        docker.create("db", size="100M", fstype="xfs")
    assert docker("volume", "ls", "-q") == ""


def test_the_volume_is_owned_as_asked_inside_the_container(docker):
    docker.create("db", size="1G", uid="1000", gid="1001", mode="0750")
    assert docker.sh("db", "stat -c '%u %g %a' /data") == "1000 1001 750"


def test_a_read_only_bind_is_dockers_own(docker):
    docker.sh("db", "echo kept >/data/x")
    out = docker("run", "--rm", "--network=none", f"--volume-driver={docker.driver}", "-v", "db:/data:ro", "box", "sh", "-c",
                 "cat /data/x; touch /data/y 2>/dev/null || echo refused")
    assert out == "kept\nrefused"


def test_a_container_that_cannot_start_leaves_nothing_mounted(docker):
    docker.refused("run", "--rm", "--network=none", f"--volume-driver={docker.driver}", "-v", "db:/data", "box", "/no/such/program")
    assert mounts.below(docker.daemon.path("mount-root")) == []


def test_ten_containers_in_turn_on_one_volume(docker):
    for n in range(10):
        docker.sh("db", f"echo {n} >>/data/log")
    assert docker.sh("db", "cat /data/log").split() == [str(n) for n in range(10)]
