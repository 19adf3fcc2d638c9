# SPDX-License-Identifier: MIT
"""Who holds a volume: counts per mount ID, callers without one, those who left, and those whom Docker has forgotten.

The rows named below are those of ROWS.md."""

import contextlib
import glob
import json
import os
import signal
import subprocess
import sys
import threading
import time

import mounts
import pytest
import rpc
from process import Process
from pace import patience
from waiting import until

SMALL = {"size": "64M", "fstype": "ext4"}
CALLER = """
import sys
sys.path.insert(0, sys.argv[1])
import rpc
for line in sys.stdin:
    method, _, body = line.strip().partition(" ")
    reply = rpc.call(sys.argv[2], method, body.encode())
    print(reply.status, reply.body.decode(), flush=True)
"""


class Caller:
    """A process of its own that calls the daemon, as dockerd is one: the daemon remembers which process it was."""

    def __init__(self, daemon):
        folder = os.path.dirname(os.path.abspath(rpc.__file__))
        self.child = subprocess.Popen([sys.executable, "-c", CALLER, folder, daemon.socket], stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE, text=True)

    def __call__(self, method, **body):
        self.child.stdin.write(f"{method} {json.dumps(body)}\n")
        self.child.stdin.flush()
        status, _, answer = self.child.stdout.readline().partition(" ")
        assert status == "200", answer
        return json.loads(answer)

    def mount(self, name, holder):
        return self("Mount", Name=name, ID=holder)["Mountpoint"]

    def leave(self):
        self.child.stdin.close()
        self.child.wait(20)
        self.child.stdout.close()


@pytest.fixture
def caller(daemon):
    made = []

    def start():
        made.append(Caller(daemon))
        return made[-1]

    yield start
    for one in made:
        if one.child.poll() is None:
            one.leave()


def holders(daemon, name="db"):
    """ID -> count."""
    return {h["ID"]: h["Count"] for v in daemon.must("/Rbdvol.Status")["Volumes"] if v["Name"].endswith("/" + name)
            for h in v["Holders"]}


@contextlib.contextmanager
def container():
    """A mount namespace of its own that has what is mounted now, as a container has its volume."""
    pin = subprocess.Popen(["unshare", "-m", "--propagation", "private", "sleep", "1000"], cwd="/")
    try:
        until(lambda: os.readlink(f"/proc/{pin.pid}/ns/mnt") != os.readlink("/proc/self/ns/mnt"), "a mount namespace of its own")
        yield pin.pid
    finally:
        Process(pin.pid).kill()
        pin.wait()


def age(daemon, seconds):
    """Makes all holders in the state files of a daemon that does not run older."""
    for path in glob.glob(os.path.join(daemon.path("state-dir"), "volumes", "*.json")):
        with open(path, encoding="utf-8") as f:
            state = json.load(f)
        found = [state]
        changed = 0
        while found:
            one = found.pop()
            for value in one.values() if isinstance(one, dict) else one:
                if isinstance(value, (dict, list)):
                    found.append(value)
            if isinstance(one, dict) and "SinceUnix" in one:
                one["SinceUnix"] -= seconds
                one["SinceBoot"] -= seconds
                changed += 1
        assert changed, "the state file has no holders"
        with open(path, "w", encoding="utf-8") as f:
            json.dump(state, f)


# -- counting


def test_each_id_counts_for_itself(daemon):
    """Row 15: docker cp mounts and unmounts with the ID of a container that runs."""
    daemon.create("db", sharing="host", **SMALL)
    point = daemon.mount("db", "a")
    for holder in ("a", "b", "b", "b"):
        assert daemon.mount("db", holder) == point
    assert holders(daemon) == {"a": 2, "b": 3}
    for holder in ("b", "a", "b", "b"):
        daemon.unmount("db", holder)
        assert mounts.at(point)
    assert holders(daemon) == {"a": 1}
    daemon.unmount("db", "a")
    assert mounts.at(point) is None and holders(daemon) == {}


@pytest.mark.parametrize("first", ["a", "b"])
def test_of_two_containers_either_may_stop_first(daemon, first):
    """Row 13: with sharing=host."""
    daemon.create("db", sharing="host", **SMALL)
    point = daemon.mount("db", "a")
    daemon.mount("db", "b")
    daemon.unmount("db", first)
    assert mounts.at(point)
    with open(os.path.join(point, "file"), "w", encoding="ascii") as f:
        f.write("still writable")
    daemon.unmount("db", "b" if first == "a" else "a")
    assert mounts.at(point) is None


def test_an_unmount_that_comes_twice_takes_nobody_elses_share(daemon):
    """Rows 12 and 14: nor does that of a Mount that was refused."""
    daemon.create("db", **SMALL)
    point = daemon.mount("db", "a")
    daemon.refused("Mount", Name="db", ID="b")
    for _ in range(2):
        daemon.unmount("db", "b")
        daemon.must("Unmount", Name="db")
    assert mounts.at(point) and holders(daemon) == {"a": 1}
    for _ in range(3):
        daemon.unmount("db", "a")
    assert mounts.at(point) is None and holders(daemon) == {}


def test_callers_without_an_id_are_one_holder_beside_others(daemon):
    """Row 16: the flag ends with one Unmount, however often it was set, and leaves the counts alone."""
    daemon.create("db", sharing="host", **SMALL)
    point = daemon.mount("db", "a")
    for _ in range(3):
        daemon.must("Mount", Name="db", ID=None)
    assert set(holders(daemon)) == {"", "a"}
    daemon.must("Unmount", Name="db", ID="")
    assert holders(daemon) == {"a": 1} and mounts.at(point)
    daemon.unmount("db", "a")


@pytest.mark.parametrize("holder", ["x" * 129, "a b", "a\nb", "ä", "\x7f"], ids=["long", "blank", "newline", "unicode", "delete"])
def test_an_id_that_docker_would_never_send_is_refused(daemon, holder):
    """Row 39."""
    daemon.create("db", **SMALL)
    assert "ID" in daemon.refused("Mount", Name="db", ID=holder)
    assert "ID" in daemon.refused("Unmount", Name="db", ID=holder)
    assert holders(daemon) == {} and daemon.mappers() == {}


def test_counts_and_the_flag_outlive_the_daemon(daemon):
    """Rows 7 and 9: with two containers the first Unmount after the restart takes nothing away."""
    daemon.create("db", sharing="host", **SMALL)
    point = daemon.mount("db", "a")
    for holder in ("a", "b", ""):
        daemon.must("Mount", Name="db", ID=holder)
    before = daemon.get("db")["Status"]["holders"]
    for how in (daemon.kill, daemon.stop):
        how()
        daemon.start()
        assert daemon.get("db")["Status"]["holders"] == before
    daemon.await_cluster()
    for holder in ("b", "", "a"):
        daemon.unmount("db", holder)
        assert mounts.at(point)
    daemon.unmount("db", "a")
    assert mounts.at(point) is None


def test_a_new_container_mounts_after_a_restart(daemon):
    """Row 8: by a new ID on the same host, when the old one has gone and while it has not."""
    daemon.create("db", **SMALL)
    point = daemon.mount("db", "old")
    daemon.kill()
    daemon.start()
    daemon.await_cluster()
    assert "old" in daemon.refused("Mount", Name="db", ID="new")
    daemon.unmount("db", "old")
    assert daemon.mount("db", "new") == point
    daemon.unmount("db", "new")


def test_a_mount_that_was_not_answered_when_the_daemon_was_killed_does_not_count(world, daemon):
    """Row 12: Docker never sends its Unmount; the one that was answered stays."""
    daemon.create("db", sharing="host", **SMALL)
    daemon.create("other", **SMALL)
    point = daemon.mount("db", "a")
    world.cluster.pause("osd")
    threads = [threading.Thread(target=daemon.call, args=("Mount", {"Name": "other", "ID": "pending"}))]
    threads[0].start()
    until(lambda: holders(daemon, "other") == {"pending": 1}, "the request to be at work")
    daemon.kill()
    threads[0].join()
    world.cluster.resume("osd")
    daemon.start()
    daemon.await_cluster()
    until(lambda: holders(daemon) == {"a": 1} and holders(daemon, "other") == {}, "the pending one to be gone")
    assert mounts.at(point)
    until(lambda: len(daemon.mappers()) == 1, "what it had begun to be undone", 30)
    daemon.unmount("db", "a")


# -- those who left


def test_the_count_of_a_caller_that_is_gone_starts_anew(daemon, caller):
    """Row 12, docker 6: dockerd was killed and mounts again under the same ID, and will unmount once."""
    daemon.create("db", **SMALL)
    killed, again = caller(), caller()
    point = killed.mount("db", "a")
    killed.mount("db", "a")
    assert holders(daemon) == {"a": 2}
    killed.leave()
    again.mount("db", "a")
    assert holders(daemon) == {"a": 1}
    again.mount("db", "a")
    assert holders(daemon) == {"a": 2}, "of a caller that lives, each Mount counts"
    for _ in range(2):
        again("Unmount", Name="db", ID="a")
    assert mounts.at(point) is None


@pytest.mark.parametrize("restart", [False, True], ids=["same-daemon", "restarted"])
def test_a_holder_that_docker_lost_gives_way_to_the_next(daemon, caller, restart):
    """Row 12, docker 6: its process is gone and no container has the volume; also when rbdvol was restarted meanwhile."""
    daemon.create("db", **SMALL)
    lost = caller()
    point = lost.mount("db", "lost")
    lost.leave()
    if restart:
        daemon.kill()
        daemon.start()
        daemon.await_cluster()
    assert holders(daemon) == {"lost": 1}, "it was dropped before it stood in anybody's way"
    assert mounts.at(point)
    assert daemon.mount("db", "next") == point
    assert holders(daemon) == {"next": 1}
    daemon.unmount("db", "next")
    assert mounts.at(point) is None


def test_a_holder_that_docker_lost_gives_way_to_remove(world, daemon, caller):
    """Row 12: the volume is unmounted, then removed."""
    daemon.create("db", **SMALL)
    lost = caller()
    point = lost.mount("db", "lost")
    lost.leave()
    daemon.remove("db")
    assert mounts.at(point) is None and world.cluster.images() == []


def test_a_lost_holder_stays_while_a_container_has_the_volume(daemon, caller):
    """Row 12: live-restore: dockerd was restarted, the container goes on."""
    daemon.create("db", **SMALL)
    lost = caller()
    point = lost.mount("db", "lost")
    with container():
        lost.leave()
        assert "lost" in daemon.refused("Mount", Name="db", ID="next")
        assert "lost" in daemon.refused("Remove", Name="db")
        assert "--force" in daemon.cli("release", "db", "lost").stderr
        assert daemon.cli("release", "db").stdout.startswith("0 dropped, 1 left")
        assert holders(daemon) == {"lost": 1} and mounts.at(point)
    daemon.mount("db", "next")
    assert holders(daemon) == {"next": 1}
    daemon.unmount("db", "next")


def test_a_holder_whose_caller_lives_and_that_is_young_stays(daemon, caller):
    """Row 12: a container may be about to start."""
    daemon.create("db", **SMALL)
    living = caller()
    point = living.mount("db", "young")
    assert "young" in daemon.refused("Mount", Name="db", ID="next")
    assert "young" in daemon.refused("Remove", Name="db")
    assert holders(daemon) == {"young": 1} and mounts.at(point)
    living("Unmount", Name="db", ID="young")


@pytest.mark.parametrize("minutes,dropped", [(9, False), (11, True)])
def test_a_holder_of_ten_minutes_that_no_container_has_gives_way_though_its_caller_lives(daemon, caller, minutes, dropped):
    """Row 12: on newer engines the container of a live-restored dockerd never gets its Unmount."""
    daemon.create("db", **SMALL)
    living = caller()
    living.mount("db", "aged")
    daemon.kill()
    age(daemon, minutes * 60)
    daemon.start()
    daemon.await_cluster()
    if dropped:
        daemon.mount("db", "next")
        assert holders(daemon) == {"next": 1}
        daemon.unmount("db", "next")
    else:
        assert "aged" in daemon.refused("Mount", Name="db", ID="next")
        daemon.unmount("db", "aged")


def test_a_caller_without_an_id_is_never_stale(daemon, caller):
    """Row 16: dvdcli ends after each call."""
    daemon.create("db", **SMALL)
    dvdcli = caller()
    point = dvdcli("Mount", Name="db")["Mountpoint"]
    dvdcli.leave()
    assert daemon.refused("Mount", Name="db", ID="next")
    assert daemon.refused("Remove", Name="db")
    daemon.kill()
    age(daemon, 3600)
    daemon.start()
    daemon.await_cluster()
    assert daemon.refused("Mount", Name="db", ID="next")
    assert mounts.at(point)
    daemon.must("Unmount", Name="db")


def test_with_sharing_host_a_lost_holder_stands_in_nobodys_way_but_removes(world, daemon, caller):
    """Row 12: it is dropped when the last container is gone and the volume is to be removed."""
    daemon.create("db", sharing="host", **SMALL)
    lost = caller()
    lost.mount("db", "lost")
    lost.leave()
    daemon.mount("db", "next")
    assert holders(daemon) == {"lost": 1, "next": 1}
    assert "next" in daemon.refused("Remove", Name="db")
    assert holders(daemon)["next"] == 1
    daemon.unmount("db", "next")
    daemon.remove("db")
    assert world.cluster.images() == []


# -- by hand


def release(daemon, *words):
    done = daemon.cli("release", *words)
    return done.returncode, done.stdout + done.stderr


def test_release_drops_what_is_stale_and_only_that(daemon, caller):
    """Row 12: `rbdvol release NAME`."""
    daemon.create("db", sharing="host", **SMALL)
    lost, living = caller(), caller()
    point = lost.mount("db", "lost")
    living.mount("db", "living")
    lost.leave()
    assert release(daemon, "db")[1].startswith("1 dropped, 1 left")
    assert holders(daemon) == {"living": 1} and mounts.at(point)
    assert release(daemon, "db")[1].startswith("0 dropped, 1 left")
    answer = json.loads(daemon.cli("release", "db", "--json").stdout)
    assert answer["Dropped"] == 0 and answer["Holders"][0]["ID"] == "living"
    living("Unmount", Name="db", ID="living")


def test_the_volume_goes_down_when_its_last_holder_is_released(world, daemon, caller):
    """Row 12."""
    daemon.create("db", **SMALL)
    lost = caller()
    point = lost.mount("db", "lost")
    lost.leave()
    assert release(daemon, "db")[1].startswith("1 dropped, 0 left")
    until(lambda: mounts.at(point) is None and not daemon.mappers(), "the volume to go down")
    daemon.remove("db")
    assert world.cluster.images() == []


def test_release_of_one_in_use_needs_its_id_and_force(daemon, caller):
    """Row 12: `rbdvol release NAME ID --force`."""
    daemon.create("db", **SMALL)
    living = caller()
    point = living.mount("db", "living")
    status, said = release(daemon, "db", "living")
    assert status == 1 and "--force" in said and str(living.child.pid) in said
    with container() as pid:
        status, said = release(daemon, "db", "living")
        assert status == 1 and "--force" in said and str(pid) in said
    status, said = release(daemon, "db", "nobody")
    assert status == 1 and "not held" in said
    assert holders(daemon) == {"living": 1}
    assert release(daemon, "db", "living", "--force")[0] == 0
    until(lambda: mounts.at(point) is None, "the volume to go down")
    living("Unmount", Name="db", ID="living")


def test_release_of_a_caller_without_an_id_needs_force(daemon):
    """Row 16: written as `-`."""
    daemon.create("db", **SMALL)
    point = daemon.must("Mount", Name="db")["Mountpoint"]
    assert release(daemon, "db")[1].startswith("0 dropped, 1 left")
    status, said = release(daemon, "db", "-")
    assert status == 1 and "--force" in said
    assert release(daemon, "db", "-", "--force")[0] == 0
    until(lambda: mounts.at(point) is None, "the volume to go down")


def test_release_of_what_nobody_holds_says_so(daemon):
    """Row 12."""
    daemon.create("db", **SMALL)
    for name in ("db", "absent"):
        status, said = release(daemon, name)
        assert status == 1 and "nobody holds it" in said
    assert release(daemon, "db", "--force")[0] == 2
    assert release(daemon)[0] == 2


def test_what_was_released_stays_released_after_a_restart(daemon):
    """Row 7."""
    daemon.create("db", sharing="host", **SMALL)
    daemon.mount("db", "a")
    daemon.mount("db", "b")
    assert release(daemon, "db", "a", "--force")[0] == 0
    daemon.kill()
    daemon.start()
    daemon.await_cluster()
    assert holders(daemon) == {"b": 1}
    daemon.unmount("db", "b")


# -- budgets that ran out


@pytest.fixture
def hurried(world):
    """A daemon whose requests run out of time long before the cluster is given up."""
    return world.daemon(budget="1s", ceph_timeout="30s").await_cluster()


def refused_in_time(daemon, method, seconds, **body):
    began = time.monotonic()
    err = daemon.refused(method, **body)
    assert time.monotonic() - began < patience(seconds)
    assert "try again" in err or "goes on" in err, err
    return err


def test_a_mount_whose_budget_ran_out_is_rolled_back_and_a_later_one_joins(world, hurried):
    """Rows 12 and 19, docker 2: no Unmount follows; the retry comes with a new ID."""
    hurried.create("db", **SMALL)
    world.cluster.pause("osd")
    refused_in_time(hurried, "Mount", 3, Name="db", ID="first")
    assert "first" not in holders(hurried)
    answers = []
    later = threading.Thread(target=lambda: answers.append(hurried.call("Mount", {"Name": "db", "ID": "later"})))
    later.start()
    until(lambda: "later" in holders(hurried), "the later one to be at work")
    world.cluster.resume("osd")
    later.join(20)
    assert answers[0].status == 200, answers[0].body
    assert holders(hurried) == {"later": 1}
    assert len(hurried.mappers()) == 1
    hurried.unmount("db", "later")


def test_a_mount_whose_budget_ran_out_happens_at_no_later_time(world, hurried):
    """Row 21."""
    hurried.create("db", **SMALL)
    world.cluster.pause("osd")
    refused_in_time(hurried, "Mount", 3, Name="db", ID="first")
    world.cluster.resume("osd")
    until(lambda: hurried.must("/Rbdvol.Status")["Volumes"] == [], "everything to be undone", 20)
    assert hurried.mappers() == {} and mounts.below(hurried.path("mount-root")) == []


def test_an_unmount_whose_budget_ran_out_has_released_and_goes_on(world, hurried):
    """Rows 12 and 21, docker 11.1a: an Unmount always takes its holder away."""
    hurried.create("db", **SMALL)
    point = hurried.mount("db", "a")
    world.cluster.pause("osd")
    refused_in_time(hurried, "Unmount", 2.5, Name="db", ID="a")
    assert holders(hurried) == {}
    world.cluster.resume("osd")
    until(lambda: mounts.at(point) is None and not hurried.mappers(), "the volume to go down", 20)
    hurried.unmount("db", "a")
    hurried.mount("db", "b")
    hurried.unmount("db", "b")


def test_a_mount_that_comes_during_an_unmount_turns_it_round(world, daemon):
    """docker 2 (sl09): after `docker stop` timed out, the next start mounts with the same ID while the Unmount is still at
    work."""
    daemon.create("db", **SMALL)
    point = daemon.mount("db", "a")
    world.cluster.pause("osd")
    replies = {}
    threads = [threading.Thread(target=lambda m=m: replies.update({m: daemon.call(m, {"Name": "db", "ID": "a"})}))
               for m in ("Unmount", "Mount")]
    threads[0].start()
    until(lambda: holders(daemon) == {}, "the Unmount to be at work")
    threads[1].start()
    until(lambda: holders(daemon) == {"a": 1}, "the Mount to be at work")
    world.cluster.resume("osd")
    for t in threads:
        t.join(30)
    assert (replies["Unmount"].status, replies["Mount"].status) == (200, 200)
    assert mounts.at(point) and holders(daemon) == {"a": 1}
    daemon.unmount("db", "a")
    assert mounts.at(point) is None


def test_a_create_whose_budget_ran_out_goes_on_and_a_later_one_finds_its_volume(world, hurried):
    """Rows 22 and 23, docker 2: the user saw an error; the repetition succeeds, and there is one image."""
    world.cluster.pause("osd")
    refused_in_time(hurried, "Create", 3, Name="db", Opts=SMALL)
    world.cluster.resume("osd")
    until(lambda: hurried.call("Create", {"Name": "db", "Opts": SMALL}).status == 200, "the repetition to succeed", 20)
    assert world.cluster.images() == ["db"]
    hurried.mount("db", "a")
    hurried.unmount("db", "a")


def test_a_slow_volume_delays_no_other(world, daemon):
    """Row 19: one volume's steps hang in the kernel; others are made, mounted, listed and unmounted."""
    for name in ("slow", "quick"):
        daemon.create(name, **SMALL)
    daemon.mount("slow", "a")
    (mapper,) = [Process(pid) for pid in daemon.mappers()]
    mapper.signal(signal.SIGSTOP)
    replies = []
    thread = threading.Thread(target=lambda: replies.append(daemon.call("Unmount", {"Name": "slow", "ID": "a"})))
    thread.start()
    until(lambda: holders(daemon, "slow") == {}, "the Unmount to be at work")
    began = time.monotonic()
    daemon.create("new", **SMALL)
    for name in ("quick", "new"):
        daemon.mount(name, "b")
        assert daemon.get(name)["Mountpoint"]
        daemon.unmount(name, "b")
    assert sorted(daemon.names()) == ["new", "quick", "slow"]
    assert daemon.get("slow")["Name"] == "slow"
    assert time.monotonic() - began < patience(5)
    assert thread.is_alive()
    mapper.signal(signal.SIGCONT)
    thread.join(30)
    assert replies[0].status == 200
