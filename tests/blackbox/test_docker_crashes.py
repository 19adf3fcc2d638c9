# SPDX-License-Identifier: MIT
"""Docker and rbdvol are killed and restarted, and Unmounts are lost: facts of Docker Engine, section 6, row by row.

Each test ends with a volume that can be mounted and that, unused, is released."""

import json
import os

import pytest
from dockercli import file_in, tar_of
from engine import Failed
from process import Process
from waiting import until

SLEEPS = "trap exit TERM; sleep 1000 & wait"  # dockerd gives what it finds running at its start 10 s to end
AT_ONCE = ["--stop-timeout=0"]


def released(world, docker, volume="db"):
    """Nothing of it is left on this host, and it can be had by anybody."""
    until(lambda: docker.mounted() == [], "the volume to be unmounted")
    until(lambda: world.cluster.locks(world.cluster.header(volume)) == {}, "its locks to go")
    assert docker.holders(volume) == {}


def usable(world, docker, volume="db"):
    """Another container has it at once, and leaves nothing."""
    assert docker.sh(volume, "echo another >/data/another; cat /data/another") == "another"
    released(world, docker, volume)


@pytest.fixture
def live(docker):
    """With dockerd under live-restore."""
    docker.engine.stop_dockerd()
    docker.engine.start_dockerd(live_restore=True)
    return docker


def killed_docker(docker, live_restore=False):
    docker.engine.kill_dockerd()
    docker.engine.start_dockerd(live_restore)


def test_docker_killed_the_container_starts_again_under_its_old_id(world, docker):
    """Row SIGKILL, no live-restore: no U; the next start sends M(old a), later one U(a)."""
    docker.start("db", SLEEPS, "one")
    before = docker.holders("db")
    killed_docker(docker)
    assert not docker.running("one")
    assert docker.holders("db") == before
    docker("start", "one")
    assert docker.holders("db") == before, "the lost Unmount was counted"
    assert docker.writes("one")
    docker("rm", "-f", "one")
    released(world, docker)


def test_docker_killed_a_container_that_always_restarts_has_its_volume(world, docker):
    """Row SIGKILL, no live-restore, restart=always: M(old a) by dockerd itself."""
    docker.start("db", SLEEPS, "one", more=["--restart=always"])
    before = docker.holders("db")
    killed_docker(docker)
    until(lambda: docker.running("one"), "the container to be started again")
    assert docker.holders("db") == before
    assert docker.writes("one")
    docker("rm", "-f", "one")
    released(world, docker)


@pytest.mark.parametrize("way", ["another container", "volume rm", "rbdvol release"])
def test_docker_killed_the_lost_holder_stands_in_nobodys_way(world, docker, way):
    """Row SIGKILL, no live-restore: the container is never started again."""
    docker.start("db", SLEEPS, "one")
    killed_docker(docker)
    assert len(docker.holders("db")) == 1
    if way == "another container":
        usable(world, docker)
    docker("rm", "one")
    if way == "volume rm":
        docker("volume", "rm", "db")
        assert world.cluster.images() == []
    elif way == "rbdvol release":
        done = docker.daemon.cli("release", "db")
        assert (done.returncode, done.stdout) == (0, "1 dropped, 0 left\n")
        released(world, docker)


def test_docker_stopped_unmounts_on_its_way_down(world, docker):
    """Row dockerd SIGTERM, no live-restore: U(a) on the way down."""
    docker.start("db", SLEEPS, "one", more=AT_ONCE)
    docker.engine.stop_dockerd()
    released(world, docker)
    docker.engine.start_dockerd()
    docker("start", "one")
    assert docker.writes("one")


@pytest.mark.parametrize("how", ["SIGTERM", "SIGKILL"])
def test_live_restore_keeps_the_volume_and_a_later_stop_releases_it(world, live, how):
    """Row live-restore, TERM or KILL: G only; later stop: U(old a); next start M(old a) again."""
    live.start("db", SLEEPS, "one", more=AT_ONCE)
    before = live.holders("db")
    (live.engine.stop_dockerd if how == "SIGTERM" else live.engine.kill_dockerd)()
    live.engine.start_dockerd(live_restore=True)
    assert live.running("one") and live.writes("one")
    assert live.holders("db") == before
    with pytest.raises(Failed, match="in use on this host since"):
        live.sh("db", "true")
    live("stop", "one")
    released(world, live)
    live("start", "one")
    assert live.holders("db") == before
    live("rm", "-f", "one")
    released(world, live)


def test_cp_under_live_restore_leaves_a_holder_that_is_found_stale(world, live):
    """Row live-restore, cp, stop: M(a) U(a) by cp clears the ID in dockerd, further cp M(b) U(b), so stop sends no U."""
    live.start("db", "echo kept >/data/x; exec sleep 1000", "one", more=AT_ONCE)
    until(lambda: live("exec", "one", "ls", "/data") == "x", "the container to write")
    before = live.holders("db")
    killed_docker(live, live_restore=True)
    assert file_in(live.engine.run("cp", "one:/data/x", "-").stdout, "x") == b"kept\n"
    assert live.holders("db") == before, "docker cp took the holder of a running container away"
    assert len(live.mounted()) == 1
    # with an ID that is not the container's, and nothing tells it from another container
    assert "in use on this host since" in live.refused("cp", "one:/data/x", "-")
    with pytest.raises(Failed, match="in use on this host since"):
        live.sh("db", "true")
    assert live.writes("one")
    live("stop", "one")
    assert live.sh("db", "cat /data/x") == "kept"
    released(world, live)
    live("start", "one")
    assert live.writes("one")


def test_cp_under_live_restore_works_on_a_shared_volume(world, live):
    """Row live-restore, cp, stop, with sharing=host: what is left of it goes with `rbdvol release`."""
    live.create("db", size="1G", sharing="host")
    live.start("db", SLEEPS, "one", more=AT_ONCE)
    killed_docker(live, live_restore=True)
    for n in range(2):
        live("cp", "-", "one:/data", input=tar_of("in", b"%d" % n))
        assert live("exec", "one", "cat", "/data/in") == str(n)
    assert live.daemon.cli("release", "db").stdout.startswith("0 dropped, 1 left"), "it is in use"
    live("stop", "one")
    assert live.sh("db", "cat /data/in") == "1"
    assert live.daemon.cli("release", "db").stdout == "1 dropped, 0 left\n"
    released(world, live)


@pytest.mark.parametrize("way", ["another container", "rbdvol release", "start again"])
def test_a_container_that_died_while_docker_was_down_leaves_a_stale_holder(world, live, way):
    """Row live-restore, container died while dockerd was down: no U ever. So it is on engines that send none."""
    live.start("db", SLEEPS, "one")
    sleeps = Process(int(live("inspect", "-f", "{{.State.Pid}}", "one")))
    live.engine.kill_dockerd()
    sleeps.kill()
    live.engine.start_dockerd(live_restore=True)
    live.ended("one")
    if way == "another container":
        usable(world, live)
    elif way == "rbdvol release":
        assert live.daemon.cli("release", "db").returncode == 0
        released(world, live)
    else:
        live("start", "one")
        assert live.writes("one")
        assert list(live.holders("db").values()) == [1]
        live("rm", "-f", "one")
        usable(world, live)


@pytest.mark.parametrize("how", ["SIGTERM", "SIGKILL"])
def test_rbdvol_restarted_while_mounted_gets_the_unmount(world, docker, how):
    """Row plugin restarted while mounted: no Act, no M; U(a) arrives at a plugin that must know it."""
    docker.start("db", SLEEPS, "one", more=AT_ONCE)
    before = docker.holders("db")
    (docker.daemon.stop if how == "SIGTERM" else docker.daemon.kill)()
    docker.daemon.start().await_cluster()
    assert docker.holders("db") == before
    docker("stop", "one")
    released(world, docker)


@pytest.mark.parametrize("first", ["rbdvol", "docker"])
def test_both_killed_at_once(world, docker, first):
    """Rows SIGKILL and plugin restarted together; whoever comes back first."""
    docker.start("db", "cat /data/kept; echo kept >>/data/kept; trap exit TERM; sleep 1000 & wait", "one", more=["--restart=always"])
    until(lambda: docker("exec", "one", "cat", "/data/kept") == "kept", "the container to write")
    before = docker.holders("db")
    docker.engine.kill_dockerd()
    docker.daemon.kill()
    if first == "rbdvol":
        docker.daemon.start()
        docker.engine.start_dockerd()
    else:  # dockerd waits up to 15 s for its drivers
        docker.engine.start_dockerd(wait=False)
        docker.daemon.start()
        docker.engine.await_dockerd()
    until(lambda: docker.running("one"), "the container to be started again")
    assert docker.holders("db") == before
    until(lambda: docker("exec", "one", "cat", "/data/kept") == "kept\nkept", "its second line")
    docker("rm", "-f", "one")
    released(world, docker)


def make_older(daemon, seconds):
    """The holders in the state files of a daemon that does not run, as if they had come earlier."""
    for name in daemon.state_files():
        path = os.path.join(daemon.path("state-dir"), name)
        if not os.path.isfile(path) or os.path.getsize(path) > 1 << 20:
            continue  # a mapper's socket, or its image
        with open(path, encoding="utf-8") as f:
            text = f.read()
        if "SinceUnix" in text:
            state = json.loads(text)
            older = json.loads(json.dumps(state), object_hook=lambda o: {**o, "SinceUnix": o["SinceUnix"] - seconds, "SinceBoot": o["SinceBoot"] - seconds}
                               if "SinceUnix" in o else o)
            with open(path, "w", encoding="utf-8") as f:
                json.dump(older, f)


def test_an_unmount_lost_while_rbdvol_was_down_ends_with_time_or_by_hand(world, docker):
    """Row plugin down during stop: stop succeeds after 15.6 s, U lost; later M(same a)."""
    docker.start("db", "exec sleep 1000", "one", more=AT_ONCE)
    docker.start("aged", "exec sleep 1000", "two", more=AT_ONCE)
    before = docker.holders("db")
    docker.daemon.stop()
    stops = [docker.begin("stop", name) for name in ("one", "two")]
    for stop in stops:
        assert stop.communicate(timeout=60) and stop.returncode == 0
    docker.daemon.start().await_cluster()
    assert docker.holders("db") == before
    # nothing tells it from a container that is being started: Docker lives, and the holder is young
    with pytest.raises(Failed, match=f"in use on this host since .* by mount ID {next(iter(before))[:12]}"):
        docker.sh("db", "true")
    docker("start", "one")
    assert docker.writes("one")
    docker("stop", "one")
    holder, = docker.holders("db")
    assert docker.daemon.cli("release", "db").stdout.startswith("0 dropped, 1 left")
    assert "add --force" in docker.daemon.cli("release", "db", holder).stderr
    assert docker.daemon.cli("release", "db", holder, "--force").returncode == 0
    until(lambda: len(docker.mounted()) == 1, "the volume to be unmounted")
    docker.daemon.stop()
    make_older(docker.daemon, 660)
    docker.daemon.start().await_cluster()
    usable(world, docker, "aged")
    usable(world, docker)


def test_rbdvol_killed_while_it_mounts_for_docker(world, docker):
    """Section 2, row retry: the repeated Mount has no body; the container does not start, and nothing is left."""
    docker.create("db", size="1G")
    run = docker.begin("run", "--rm", *docker.with_volume("db"), "box", "true")
    until(lambda: any("Busy" in v for v in docker.daemon.must("/Rbdvol.Status")["Volumes"]), "the mount to begin", interval=0)
    docker.daemon.kill()
    docker.daemon.start().await_cluster()
    said = run.communicate(timeout=60)[1]
    assert run.returncode and "without a body" in said
    usable(world, docker)
