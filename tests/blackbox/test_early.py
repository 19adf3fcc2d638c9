# SPDX-License-Identifier: MIT
"""A mapping process starts while its image is still being claimed; what becomes of it when that takes long, fails, or is cut off."""

import threading

import pytest
from process import Process, stat_fields
from waiting import until


@pytest.fixture
def ready(world):
    daemon = world.daemon(ceph_timeout="3s").await_cluster()
    daemon.create("db", size="64M", fstype="ext4")
    daemon.mount("db", "first")  # the connection to the cluster knows all that it needs
    daemon.unmount("db", "first")
    return daemon


def was_early(words):
    return "--late" in words


def claims(daemon):
    """A Mount that waits for the cluster's answer: its thread, and the process that waits with it."""
    answers = []
    thread = threading.Thread(target=lambda: answers.append(daemon.call("Mount", {"Name": "db", "ID": "a"})))
    thread.answers = answers
    thread.start()
    return thread, Process(until(lambda: next(iter(daemon.spares()), None), "a process that waits for the image"))


def test_every_mapping_process_was_started_early(daemon):
    names = [f"v{n}" for n in range(6)]
    for name in names:
        daemon.create(name, size="64M", fstype="ext4")
    threads = [threading.Thread(target=daemon.mount, args=(name, "a")) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [was_early(words) for words in daemon.mappers().values()] == [True] * len(names)
    assert not daemon.spares()
    for name in names:
        daemon.unmount(name, "a")
    until(lambda: not daemon.mappers() and not daemon.zombies(), "the processes to be gone")


def test_it_asks_the_cluster_nothing_before_it_has_an_image(ready, world):
    with world.cluster.paused("osd"):
        thread, early = claims(ready)
        until(lambda: stat_fields(early.pid)[0] == "S", "it to wait")
        assert len(world.cluster.clients()) == 1, "the daemon's own is not the only one"
    thread.join(60)
    assert thread.answers[0].status == 200
    assert ready.mappers().keys() == {early.pid}
    ready.unmount("db", "a")


def test_one_that_is_killed_while_it_waits_is_not_missed(ready, world):
    with world.cluster.paused("osd"):
        thread, early = claims(ready)
        early.kill()
    thread.join(60)
    assert thread.answers[0].status == 200
    (words,) = ready.mappers().values()
    assert not was_early(words)
    ready.unmount("db", "a")


def test_it_ends_with_a_mount_that_is_refused(ready, world):
    with world.cluster.paused("osd"):
        thread, early = claims(ready)
        thread.join(90)
        assert thread.answers[0].status == 500
        early.wait()
    assert not ready.spares() and not ready.zombies()


def test_it_ends_with_its_daemon(ready, world):
    with world.cluster.paused("osd"):
        thread, early = claims(ready)
        ready.kill()
        early.wait()
        thread.join(60)
    ready.start().await_cluster()
    ready.mount("db", "a")
    ready.unmount("db", "a")
