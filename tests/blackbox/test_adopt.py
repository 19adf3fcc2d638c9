# SPDX-License-Identifier: MIT
"""A mapper that is there when the daemon starts, and cannot be asked just then, is alive: its volume stays as it is."""

import contextlib
import json
import os
import signal
import socket
import subprocess

import mounts
import pytest
from process import Process
from waiting import until
from writer import Writer


@pytest.fixture
def used(daemon, world):
    """A volume whose container writes all the time; its mapper is stopped, as one that is swapped out is, while the daemon restarts."""
    daemon.create("db", size="300M", fstype="ext4")
    writer = Writer(Here(world), daemon.mount("db", "a"), "writer")
    writer.start()
    (mapper,) = [Process(pid) for pid in daemon.mappers()]
    yield daemon, writer, mapper
    mapper.signal(signal.SIGCONT)
    writer.stop()


class Here:
    """This host, for a Writer."""

    def __init__(self, world):
        self.dir = world.dir

    @staticmethod
    def run(*words, timeout):
        subprocess.run(words, check=True, timeout=timeout)

    @staticmethod
    def spawn(words, out):
        return Process.spawn(words, out)


def says(daemon, words):
    until(lambda: words in daemon.log_text(), words, 60)


def stays(daemon, writer, mapper):
    """Goes on as if nothing had been."""
    says(daemon, "adopted pool=rbd image=db state=mounted")
    writer.goes_on()
    point = daemon.get("db")["Mountpoint"]
    assert daemon.get("db")["Status"]["state"] == "mounted"
    assert not writer.errors(), writer.errors()[:3]
    assert mounts.at(point) and list(daemon.mappers()) == [mapper.pid]
    writer.stop()
    daemon.await_cluster()
    daemon.unmount("db", "a")
    assert mounts.at(point) is None
    until(lambda: not daemon.mappers(), "the mapper to end")
    assert "lost volume=" not in daemon.log_text()


def test_a_mapper_that_does_not_answer_at_a_start_keeps_its_volume(used):
    daemon, writer, mapper = used
    mapper.signal(signal.SIGSTOP)
    daemon.kill()
    daemon.start()
    says(daemon, "does not answer yet")
    says(daemon, "adopted pool=rbd image=db")
    mapper.signal(signal.SIGCONT)
    stays(daemon, writer, mapper)


def control_of(daemon):
    folder = os.path.join(daemon.path("state-dir"), "map")
    (name,) = [name for name in os.listdir(folder) if name.endswith(".sock")]
    return os.path.join(folder, name)


def connections(mapper):
    """How many sockets the mapper has."""
    folder, found = f"/proc/{mapper.pid}/fd", 0
    for fd in os.listdir(folder):
        with contextlib.suppress(FileNotFoundError):  # closed since
            found += os.readlink(os.path.join(folder, fd)).startswith("socket:")
    return found


def test_a_mapper_that_takes_no_connection_at_a_start_is_connected_to_later(used):
    """So many waited for it, as after restarts one after the other, that it has no room for more."""
    daemon, writer, mapper = used
    before = connections(mapper)
    mapper.signal(signal.SIGSTOP)
    daemon.kill()
    with contextlib.ExitStack() as waiting:
        for _ in range(64):
            s = waiting.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK))
            try:
                s.connect(control_of(daemon))
            except BlockingIOError:
                break
        else:
            raise AssertionError("it has room for any number")
        daemon.start()
        says(daemon, "does not answer yet: cannot connect")
        says(daemon, "adopted pool=rbd image=db")
    mapper.signal(signal.SIGCONT)
    until(lambda: connections(mapper) == before, "the daemon, and nobody else, to be connected")
    stays(daemon, writer, mapper)


def test_a_living_mapper_that_cannot_be_known_keeps_its_volume_until_it_can(used):
    daemon, writer, mapper = used
    control = control_of(daemon)
    daemon.kill()
    os.rename(control, f"{control}.away")
    daemon.start()
    says(daemon, "the volume's mapper is alive, but cannot be asked")
    writer.goes_on()
    daemon.create("other", size="64M", fstype="ext4")
    daemon.mount("other", "b")
    daemon.unmount("other", "b")
    os.rename(f"{control}.away", control)
    stays(daemon, writer, mapper)


def test_a_mapper_that_ends_while_it_cannot_be_known_loses_its_volume(daemon):
    daemon.create("db", size="64M", fstype="ext4")
    point = daemon.mount("db", "a")
    (mapper,) = [Process(pid) for pid in daemon.mappers()]
    control = control_of(daemon)
    daemon.kill()
    os.rename(control, f"{control}.away")
    daemon.start()
    says(daemon, "the volume's mapper is alive, but cannot be asked")
    assert mounts.at(point)
    os.unlink(f"{control}.away")
    mapper.kill()
    says(daemon, "lost volume=rbd/db")
    until(lambda: mounts.at(point) is None, "the dead mount to be cleared", 30)
    daemon.unmount("db", "a")
    daemon.mount("db", "b")
    daemon.unmount("db", "b")


def test_what_nobody_writes_is_known_for_that_without_an_answer(daemon, snapshots):
    daemon.create("base", size="64M", fstype="ext4")
    daemon.does("snap", "create", "base@s")
    daemon.create("fixed", **{"from": "base@s", "ro": "true"})
    daemon.mount("fixed", "a")
    (mapper,) = [Process(pid) for pid in daemon.mappers()]
    mapper.signal(signal.SIGSTOP)
    daemon.kill()
    daemon.start()
    says(daemon, "adopted pool=rbd image=fixed")
    mapper.signal(signal.SIGCONT)
    (told,) = json.loads(daemon.does("status", "--json"))["Volumes"]
    assert told["ReadOnly"]
    daemon.await_cluster()
    daemon.unmount("fixed", "a")
