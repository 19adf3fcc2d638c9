# SPDX-License-Identifier: MIT
"""GET /metrics and /healthz, read by the parser that Prometheus' own client library has."""

import contextlib
import fcntl
import socket
import struct
import termios

import process
import pytest
import rpc
from prometheus_client import parser
from waiting import until

TAKES = 16  # connections at least that the TCP server has at a time


def page(daemon):
    reply = rpc.call(daemon.socket, "/metrics", verb="GET")
    assert reply.status == 200 and reply.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return reply.body.decode()


def families(daemon):
    """name -> family, each checked: help, type, no sample twice."""
    text = page(daemon)
    assert text.endswith("\n") and "\n\n" not in text
    found = {}
    for family in parser.text_string_to_metric_families(text):
        assert family.name not in found, f"{family.name} is there twice"
        assert family.documentation and family.type != "unknown", family.name
        keys = [(sample.name, tuple(sorted(sample.labels.items()))) for sample in family.samples]
        assert len(keys) == len(set(keys)), f"{family.name} has a sample twice"
        found[family.name] = family
    return found


def value(daemon, name, **labels):
    """The sample's value; None when there is none."""
    for family in families(daemon).values():
        for sample in family.samples:
            if sample.name == name and sample.labels == labels:
                return sample.value
    return None


def test_what_an_operator_asks_is_there(daemon):
    found = families(daemon)
    for name, kind in {"rbdvol_cluster_up": "gauge", "rbdvol_volumes_mounted": "gauge", "rbdvol_operations": "counter",
                       "rbdvol_operation_seconds": "histogram", "rbdvol_pending_cleanups": "gauge", "rbdvol_volume_lost": "gauge",
                       "rbdvol_io_stuck": "gauge", "rbdvol_fencing_allowed": "gauge", "rbdvol_hidden_images": "gauge",
                       "rbdvol_build_info": "gauge", "process_start_time_seconds": "gauge",
                       "process_resident_memory_bytes": "gauge", "process_open_fds": "gauge"}.items():
        assert name in found and found[name].type == kind, name
    for name, family in found.items():
        assert not name.startswith("rbdvol_") or family.type != "counter" or f"{name}_total" in page(daemon)


def test_a_volume_is_seen_from_its_mount_to_its_unmount(daemon):
    daemon.create("db", size="1G", fstype="ext4")
    assert value(daemon, "rbdvol_volumes_mounted") == 0
    daemon.mount("db", "a")
    assert value(daemon, "rbdvol_volumes_mounted") == 1
    for name, wanted in {"rbdvol_volume_mounted": 1, "rbdvol_volume_lost": 0, "rbdvol_io_stuck": 0, "rbdvol_volume_pending": 0,
                         "rbdvol_volume_holders": 1, "rbdvol_volume_size_bytes": 1 << 30}.items():
        assert value(daemon, name, volume="rbd/db") == wanted, name
    daemon.unmount("db", "a")
    until(lambda: value(daemon, "rbdvol_volume_mounted", volume="rbd/db") is None, "its samples to go", 10)
    assert value(daemon, "rbdvol_volumes_mounted") == 0


def test_requests_are_counted_by_their_result(daemon):
    def count(op, result):
        return value(daemon, "rbdvol_operations_total", op=op, result=result)

    assert count("mount", "ok") == 0, "a counter that begins with 1 has not increased"
    daemon.create("db", size="1G", fstype="ext4")
    daemon.mount("db", "a")
    daemon.refused("Mount", Name="db", ID="b")
    daemon.refused("Get", Name="nobody")
    daemon.refused("Mount", ID="b")
    daemon.unmount("db", "a")
    assert (count("create", "ok"), count("mount", "ok"), count("unmount", "ok")) == (1, 1, 1)
    assert (count("mount", "error"), count("mount", "malformed"), count("get", "absent")) == (1, 1, 1)
    assert value(daemon, "rbdvol_operation_seconds_count", op="mount") == 3
    assert value(daemon, "rbdvol_operation_seconds_bucket", op="mount", le="+Inf") == 3
    total = value(daemon, "rbdvol_operation_seconds_sum", op="mount")
    assert 0 < total < 60


@pytest.mark.usefixtures("snapshots")
def test_what_is_asked_of_the_trash_and_of_snapshots_is_counted_by_itself(daemon):
    def counts():
        return {sample.labels["op"]: sample.value for sample in families(daemon)["rbdvol_operation_seconds"].samples
                if sample.name.endswith("_count")}

    before = counts()
    daemon.create("db", size="64M", fstype="ext4")
    for words in (("snap", "create", "db@s"), ("snap", "ls", "db"), ("snap", "rollback", "db@s"), ("snap", "rm", "db@s"), ("trash", "ls"),
                  ("rm", "db"), ("trash", "restore", "db"), ("rm", "db", "--delete"), ("trash", "purge")):
        daemon.does(*words)
    found = counts()
    for op in ("create", "snap-create", "snap-list", "snap-rollback", "snap-remove", "trash-list", "trash-restore", "trash-purge"):
        assert found.get(op) == 1, (op, found)
    assert found["remove"] == 2 and found["list"] == before["list"]


def test_buckets_only_grow(daemon):
    for _ in range(20):
        daemon.names()
    buckets = [sample for sample in families(daemon)["rbdvol_operation_seconds"].samples
               if sample.name.endswith("_bucket") and sample.labels["op"] == "list"]
    counts = [sample.value for sample in buckets]
    assert counts == sorted(counts) and counts[-1] >= 20
    assert [sample.labels["le"] for sample in buckets][-1] == "+Inf"


def test_without_the_cluster_both_answer_at_once_and_say_so(world):
    daemon = world.daemon().await_cluster()
    assert value(daemon, "rbdvol_cluster_up") == 1
    daemon.create("db", size="1G", fstype="ext4")
    world.cluster.pause("mon")
    world.cluster.pause("osd")
    try:
        reply = rpc.call(daemon.socket, "Get", {"Name": "elsewhere"})
        assert reply.status is None
        until(lambda: value(daemon, "rbdvol_cluster_up") == 0, "the outage to be seen", 40)
        assert value(daemon, "rbdvol_operations_total", op="get", result="unanswered") == 1
        reply = rpc.call(daemon.socket, "/healthz", verb="GET", timeout=2)
        assert reply.status == 200 and b"cluster down" in reply.body
    finally:
        world.cluster.resume_all()


# -- the TCP address, which any local user reaches


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


def resident_mib(daemon):
    return int(process.status(daemon.pid)["VmRSS"].split()[0]) / 1024


def unread(connection):
    """Bytes of what was written that the daemon has not taken into its memory, or the kernel into the little it has for it."""
    return struct.unpack("i", fcntl.ioctl(connection, termios.TIOCOUTQ, bytes(4)))[0]


def write_some(connection, left):
    """What is left to be written. None: the daemon has closed it, having too many."""
    try:
        return left[connection.send(left):]
    except BlockingIOError:
        return left
    except ConnectionError:
        return None


def test_strangers_make_the_daemon_neither_large_nor_deaf(world):
    """50 who send a body of 900 kB, but for its end."""
    port = free_port()
    daemon = world.daemon(metrics_listen=f"127.0.0.1:{port}").await_cluster()
    before = resident_mib(daemon)
    body = b"GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 900000\r\n\r\n" + bytes(899_999)
    with contextlib.ExitStack() as stack:
        left = {}
        for _ in range(50):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            connection.setblocking(False)
            left[connection] = memoryview(body)

        def taken():
            for connection in list(left):
                left[connection] = write_some(connection, left[connection])
                if left[connection] is None:
                    del left[connection]
            return [one for one, rest in left.items() if not rest and not unread(one)]

        until(lambda: len(taken()) >= TAKES, "the daemon to take what was sent")
        assert resident_mib(daemon) < before + 12, "it keeps what it does not want"
        assert daemon.call("Capabilities", b"{}", timeout=5).status == 200
        first = taken()[0]
        first.setblocking(True)
        first.settimeout(20)
        first.sendall(b"x")
        assert first.recv(100).startswith(b"HTTP/1.1 200 OK")
    # as soon as it has seen that they have gone
    reply = rpc.parse(until(lambda: tcp(port, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"), "room for another", 20))
    assert reply.status == 200 and reply.body.startswith(b"ok: ")
    assert rpc.parse(tcp(port, b"POST /VolumeDriver.List HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")).status == 404


def tcp(port, data):
    """What the daemon answers to that, when it has closed the connection; b"" where it took none."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        said = b""
        try:
            connection.sendall(data)
            while more := connection.recv(65536):
                said += more
        except ConnectionError:
            pass
        return said
