# SPDX-License-Identifier: MIT
"""Clients that are slow, broken, many, or gone: nobody else notices, and nothing of them is left.

The rows named below are those of ROWS.md."""

import contextlib
import os
import random
import select
import socket
import threading
import time

import mounts
import process
import pytest
import rpc
from pace import patience
from waiting import until

MIB = 1 << 20
IDLE = 30  # seconds until the daemon closes a connection on which nothing comes
LIST = b"POST /VolumeDriver.List HTTP/1.1\r\nHost: \r\nContent-Length: 2\r\n\r\n{}"


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def quick(daemon, seconds=2.0):
    """An ordinary request, and it is not kept waiting by whatever goes on."""
    began = time.monotonic()
    assert daemon.call("Capabilities", b"{}", timeout=10).status == 200
    took = time.monotonic() - began
    assert took < patience(seconds), f"an ordinary request took {took:.1f} s"


@pytest.fixture
def quiet(daemon):
    """A daemon at rest; afterwards it must have no more descriptors and threads than before. Its libraries have made theirs,
    which stay, with the first volume."""
    daemon.create("warm", size="64M", fstype="ext4")
    daemon.mount("warm", "a")
    daemon.unmount("warm", "a")
    daemon.remove("warm")
    until(lambda: daemon.connections() == 0, "the daemon to be at rest")
    before = descriptors(daemon.pid), len(process.threads(daemon.pid))
    yield daemon
    until(lambda: descriptors(daemon.pid) <= before[0], f"no more than {before[0]} descriptors")
    until(lambda: len(process.threads(daemon.pid)) <= before[1], f"no more than {before[1]} threads")


def exchange(daemon, data):
    return rpc.parse(rpc.exchange(daemon.socket, data, timeout=20))


# -- slow and cut


def test_half_sent_requests_are_closed_after_the_idle_time_and_harm_nobody(quiet):
    """Row 42: cut in the request line, the headers, before the body and in it; the wait is for all of them at once."""
    whole = rpc.encode("/VolumeDriver.Create", b'{"Name":"half","Opts":null}\n')
    body = whole.index(b"\r\n\r\n") + 4
    cuts = [0, 1, 9, 40, body - 3, body, body + 5, len(whole) - 2]
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        half = [stack.enter_context(rpc.connect(quiet.socket)) for _ in cuts]
        for s, cut in zip(half, cuts):
            s.sendall(whole[:cut])
        quick(quiet)
        quiet.create("meanwhile", size="300M", fstype="ext4")
        open_ones = dict(zip(half, cuts))
        while open_ones:
            left = began + IDLE + 15 - time.monotonic()
            assert left > 0, f"not closed after {IDLE} s: cut at {sorted(open_ones.values())}"
            for s in select.select(list(open_ones), [], [], left)[0]:
                took = time.monotonic() - began
                assert took > IDLE - 3, f"cut at {open_ones[s]}: closed after {took:.0f} s"
                assert rpc.receive(s) == b"" or rpc.parse(b"").status is None
                del open_ones[s]
    assert quiet.names() == ["meanwhile"]


def test_a_request_that_comes_byte_by_byte_is_read(quiet):
    """Row 42."""
    data = rpc.encode("/VolumeDriver.Create", b'{"Name":"slow","Opts":{"size":"300M","fstype":"ext4"}}')
    with rpc.connect(quiet.socket) as s:
        for i in range(len(data)):
            s.sendall(data[i:i + 1])
            if i % 40 == 0:
                quick(quiet)
        assert rpc.parse(rpc.receive(s)).status == 200
    assert quiet.names() == ["slow"]


def test_a_thousand_idle_connections_keep_nobody_waiting(quiet):
    """Row 42."""
    with contextlib.ExitStack() as stack:
        for n in range(1000):
            s = stack.enter_context(rpc.connect(quiet.socket))
            if n % 2:
                s.sendall(LIST[:n % len(LIST)])
        until(lambda: len(process.threads(quiet.pid)) > 900, "the connections to be accepted", 20)
        for _ in range(20):
            quick(quiet)
        quiet.create("db", size="300M", fstype="ext4")
        quiet.mount("db", "a")
        quiet.unmount("db", "a")
        assert "connections are open" in quiet.log_text()
    until(lambda: len(process.threads(quiet.pid)) < 100, "the connections to be gone", 20)


def test_more_connections_than_it_takes_do_not_end_it(quiet):
    """Row 48: beyond its limit connections are turned away; when they are gone everything is as before."""
    with contextlib.ExitStack() as stack:
        for _ in range(1100):
            s = stack.enter_context(socket.socket(socket.AF_UNIX))
            s.settimeout(5)
            s.connect(quiet.socket)
    until(lambda: len(process.threads(quiet.pid)) < 100, "the connections to be gone", 20)
    quick(quiet)


# -- other ways to say it


def test_the_second_of_two_pipelined_requests_has_no_effect(quiet):
    """Row 42: `Connection: close` is said and kept, so that a client knows that the second one was not heard."""
    first = rpc.encode("/VolumeDriver.Capabilities", b"{}")
    second = rpc.encode("/VolumeDriver.Create", b'{"Name":"second"}')
    answer = rpc.exchange(quiet.socket, first + second)
    assert answer.count(b"HTTP/1.1 ") == 1
    assert rpc.parse(answer).status == 200
    quick(quiet)
    assert quiet.names() == []


@pytest.mark.parametrize("headers", [b"", b"Connection: keep-alive\r\n", b"Connection: Keep-Alive, Upgrade\r\n"])
def test_http_1_0_is_answered_and_closed(quiet, headers):
    """Row 42."""
    reply = exchange(quiet, b"POST /VolumeDriver.List HTTP/1.0\r\nContent-Length: 2\r\n" + headers + b"\r\n{}")
    assert (reply.status, reply.json["Volumes"]) == (200, [])
    assert reply.headers["connection"].lower() == "close"


def test_a_client_that_expects_100_continue_gets_it(quiet):
    """Row 42: curl sends it with bodies over a kilobyte."""
    body = b'{"Name":"later","Opts":{"size":"300M","fstype":"ext4"}}'
    with rpc.connect(quiet.socket, timeout=10) as s:
        s.sendall(b"POST /VolumeDriver.Create HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
                  b"Content-Length: %d\r\n\r\n" % len(body))
        assert s.recv(200) == b"HTTP/1.1 100 Continue\r\n\r\n"
        s.sendall(body)
        assert rpc.parse(rpc.receive(s)).status == 200
    assert quiet.names() == ["later"]


@pytest.mark.parametrize("chunks", [[b'{"Na', b'me":"chunky","Opts":{"size":"300M",', b'"fstype":"ext4"}}'],
                                    [bytes([c]) for c in b'{"Name":"chunky","Opts":{"size":"300M","fstype":"ext4"}}']])
def test_chunked_bodies_are_read_whatever_the_pieces(quiet, chunks):
    """Row 42."""
    body = b"".join(b"%x;ext=1\r\n%s\r\n" % (len(c), c) for c in chunks) + b"0\r\nTrailer: x\r\n\r\n"
    reply = exchange(quiet, b"POST /VolumeDriver.Create HTTP/1.1\r\nHost: \r\nTransfer-Encoding: chunked\r\n\r\n" + body)
    assert reply.status == 200, reply.body
    assert quiet.names() == ["chunky"]


def test_a_chunked_body_over_the_limit_is_413(quiet):
    """Row 42."""
    body = b"".join(b"10000\r\n" + b" " * 65536 + b"\r\n" for _ in range(17)) + b"0\r\n\r\n"
    reply = exchange(quiet, b"POST /VolumeDriver.Create HTTP/1.1\r\nHost: \r\nTransfer-Encoding: chunked\r\n\r\n" + body)
    assert reply.status == 413


@pytest.mark.parametrize("size", [b"zz", b"-1", b"ffffffffffffffff", b"100000000000000000000"])
def test_a_chunk_of_a_nonsensical_size_is_refused(quiet, size):
    """Row 42."""
    with rpc.connect(quiet.socket, timeout=20) as s:
        s.sendall(b"POST /VolumeDriver.Create HTTP/1.1\r\nHost: \r\nTransfer-Encoding: chunked\r\n\r\n" + size
                  + b'\r\n{"Name":"no"}\r\n0\r\n\r\n')
        s.shutdown(socket.SHUT_WR)
        assert rpc.parse(rpc.receive(s)).status in (None, 400, 413)
    quick(quiet)
    assert quiet.names() == []


def test_an_absolute_uri_does_what_its_path_does_or_nothing(quiet):
    """Row 42."""
    for uri in (b"http://plugin/VolumeDriver.Create", b"http:///VolumeDriver.Create", b"//VolumeDriver.Create", b"*"):
        reply = exchange(quiet, b"POST " + uri + b" HTTP/1.1\r\nHost: \r\nContent-Length: 12\r\n\r\n" b'{"Name":"a"}')
        assert reply.status in (400, 404), (uri, reply)
    assert quiet.names() == []


def test_two_lengths_or_a_length_and_chunks_smuggle_nothing(quiet):
    """Row 42: what follows the first request on a connection is never taken for another one."""
    inner = rpc.encode("/VolumeDriver.Create", b'{"Name":"inner"}')
    for headers in (b"Content-Length: 2\r\nContent-Length: %d\r\n" % (2 + len(inner)),
                    b"Content-Length: %d\r\nTransfer-Encoding: chunked\r\n" % (5 + len(inner)),
                    b"Content-Length: 2\r\nContent-Length: 2\r\n", b"Content-Length: +2\r\n", b"Content-Length: 2,2\r\n",
                    b"Content-Length: 0x2\r\n", b"Content-Length: 99999999999999999999\r\n"):
        with rpc.connect(quiet.socket, timeout=20) as s:
            s.sendall(b"POST /VolumeDriver.Capabilities HTTP/1.1\r\nHost: \r\n" + headers + b"\r\n{}" + inner)
            s.shutdown(socket.SHUT_WR)
            assert rpc.receive(s).count(b"HTTP/1.1 200") <= 1
    quick(quiet)
    assert quiet.names() == []


# -- too much


@pytest.mark.parametrize("length,status", [(MIB - 1, 400), (MIB, 400), (MIB + 1, 413), (4 * MIB, 413)])
def test_bodies_at_and_over_the_limit(quiet, length, status):
    """Row 42: what is at the limit is read, and refused for its name; what is over it is not read."""
    body = b'{"Name":"' + b"n" * (length - 11) + b'"}'
    assert len(body) == length
    assert quiet.call("Mount", body).status in ((400, 500) if status == 400 else (413,))
    quick(quiet)


@pytest.mark.parametrize("head", [
    b"X-Long: " + b"x" * 100000 + b"\r\n", b"".join(b"X-%d: y\r\n" % n for n in range(5000)), b"X: " + b"\t" * 60000 + b"\r\n",
    b"no colon here\r\n", b": no name\r\n", b"X: \x00\x01\x02\r\n", b" folded: x\r\n", b"\xff\xfe: \xfd\r\n",
], ids=["long", "many", "tabs", "no-colon", "no-name", "nul", "folded", "binary"])
def test_headers_of_any_kind_end_no_more_than_their_own_connection(quiet, head):
    """Row 42."""
    with rpc.connect(quiet.socket, timeout=20) as s:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            s.sendall(b"POST /VolumeDriver.Create HTTP/1.1\r\nHost: \r\n" + head + b"Content-Length: 12\r\n\r\n{\"Name\":\"\"}  ")
            s.shutdown(socket.SHUT_WR)
        reply = rpc.parse(rpc.receive(s))
    assert reply.status is None or 400 <= reply.status < 600, reply
    quick(quiet)
    assert quiet.names() == []


def test_a_very_long_path_is_refused(quiet):
    """Row 42."""
    for length in (1000, 10000, 100000):
        with rpc.connect(quiet.socket, timeout=20) as s:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                s.sendall(b"POST /" + b"x" * length + b" HTTP/1.1\r\nHost: \r\nContent-Length: 0\r\n\r\n")
                s.shutdown(socket.SHUT_WR)
            assert rpc.parse(rpc.receive(s)).status in (None, 400, 404, 413, 414, 431, 500)
    quick(quiet)


def test_binary_garbage_ends_no_more_than_its_own_connection(quiet):
    """Row 42: random bytes, with and without the look of HTTP."""
    chance = random.Random(42)
    whole = rpc.encode("/VolumeDriver.Create", b'{"Name":"garbled","Opts":null}')
    for n in range(200):
        if n % 2:
            data = bytes(chance.randrange(256) for _ in range(chance.randrange(1, 600)))
        else:
            data = bytearray(whole)
            for _ in range(8):  # in the head: a name that was changed would be a good name, too
                data[chance.randrange(whole.index(b"\r\n\r\n"))] = chance.randrange(128, 256)
        with rpc.connect(quiet.socket, timeout=20) as s:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                s.sendall(bytes(data))
                s.shutdown(socket.SHUT_WR)
            rpc.receive(s)
    quick(quiet)
    assert set(quiet.names()) <= {"garbled"}


# -- many


def run_all(jobs):
    threads = [threading.Thread(target=job) for job in jobs]
    for t in threads:
        t.start()
    for t in threads:
        t.join()


def test_twenty_volumes_are_mounted_and_unmounted_at_once(quiet):
    """docker 1.4, row 18: Docker opens as many connections as it has containers to start."""
    names = [f"v{n}" for n in range(20)]
    run_all([lambda n=n: quiet.create(n, size="64M", fstype="ext4") for n in names])
    points = {}
    run_all([lambda n=n: points.update({n: quiet.mount(n, f"id-{n}")}) for n in names])
    assert len(set(points.values())) == len(names)
    assert all(mounts.at(point) for point in points.values())
    run_all([lambda n=n: quiet.unmount(n, f"id-{n}") for n in names])
    assert mounts.below(quiet.path("mount-root")) == []


def test_thirty_first_mounts_of_one_volume_make_one_mapping(quiet):
    """Row 17: with a name of their own each, and one name for all."""
    quiet.create("db", size="64M", fstype="ext4", sharing="host")
    points, replies = [], []
    run_all([lambda n=n: points.append(quiet.mount("db", f"id-{n}")) for n in range(30)])
    assert len(points) == 30 and len(set(points)) == 1
    assert len(quiet.mappers()) == 1
    assert len([m for m in mounts.mounts() if m.point == points[0]]) == 1, "it is mounted twice, one over the other"
    assert len(quiet.get("db")["Status"]["holders"]) == 30
    run_all([lambda n=n: quiet.unmount("db", f"id-{n}") for n in range(30)])
    assert mounts.at(points[0]) is None
    run_all([lambda: replies.append(quiet.call("Mount", {"Name": "db", "ID": "one"})) for _ in range(20)])
    assert [r.status for r in replies] == [200] * 20
    assert [h["Count"] for h in quiet.get("db")["Status"]["holders"]] == [20]
    run_all([lambda: quiet.unmount("db", "one") for _ in range(20)])
    assert mounts.at(points[0]) is None


def test_five_thousand_quick_requests_leave_nothing_behind(quiet):
    """Rows 18 and 42: descriptors and threads are counted by the fixture; Gets of missing volumes crashed a peer."""
    quiet.create("db", size="64M", fstype="ext4")
    quiet.mount("db", "a")
    kinds = [("Get", {"Name": "db"}), ("Get", {"Name": "missing"}), ("List", {}), ("Capabilities", {}), ("Path", {"Name": "db"}),
             ("Unmount", {"Name": "missing", "ID": "x"}), ("Mount", {"Name": "db", "ID": "a"}), ("Unmount", {"Name": "db", "ID": "a"}),
             ("Create", b"{"), ("Get", b"")]
    wrong = []

    def many(seed):
        for n in range(1250):
            method, body = kinds[(seed + n) % 6 if n % 25 else 6 + seed % 4]
            if method == "Mount" or body == {"Name": "db", "ID": "a"}:
                method, body = "Get", {"Name": "db"}
            status = quiet.call(method, body).status
            expected = {"missing": 500 if method == "Get" else 200}.get(body.get("Name"), 200) if isinstance(body, dict) else None
            if expected and status != expected:
                wrong.append((method, body, status))

    run_all([lambda seed=seed: many(seed) for seed in range(4)])
    assert wrong == []
    assert quiet.get("db")["Status"]["holders"][0]["Count"] == 1
    quiet.unmount("db", "a")


def test_thousands_of_questions_while_volumes_come_and_go(quiet):
    """Row 18: none is refused, none shows half a state, and the daemon goes on."""
    for name in ("db", "other"):
        quiet.create(name, size="64M", fstype="ext4")
    point = f"{os.path.realpath(quiet.path('mount-root'))}/rbd/db"
    wrong, done = [], threading.Event()

    def ask():
        while not done.is_set():
            got = quiet.call("Get", {"Name": "db"})
            if got.status != 200 or got.json["Volume"]["Mountpoint"] not in ("", point):
                wrong.append(got)
            listed = quiet.call("List", {})
            if listed.status != 200 or [v["Name"] for v in listed.json["Volumes"]] != ["db", "other"]:
                wrong.append(listed)
            if quiet.call("Get", {"Name": "absent"}).status != 500:
                wrong.append("absent")

    askers = [threading.Thread(target=ask) for _ in range(4)]
    for t in askers:
        t.start()
    try:
        for _ in range(10):
            assert quiet.mount("db", "a") == point
            assert quiet.get("db")["Mountpoint"] == point
            quiet.unmount("db", "a")
            assert quiet.get("db")["Mountpoint"] == ""
    finally:
        done.set()
        for t in askers:
            t.join()
    assert wrong == []


# -- gone


def holders(daemon, name):
    return {h["ID"]: h["Count"] for v in daemon.must("/Rbdvol.Status")["Volumes"] if v["Name"].endswith("/" + name)
            for h in v["Holders"]}


def test_a_client_that_closes_after_sending_mount_leaves_no_holder(quiet):
    """docker 2, row 12: Docker gave up on it, and never sends its Unmount."""
    quiet.create("db", size="64M", fstype="ext4")
    for n in range(5):
        with rpc.connect(quiet.socket) as s:
            s.sendall(rpc.encode("/VolumeDriver.Mount", b'{"Name":"db","ID":"gone-%d"}' % n))
    until(lambda: quiet.connections() == 0 and not quiet.mappers() and not holders(quiet, "db"), "everything to be undone", 20)
    point = quiet.mount("db", "stays")
    assert holders(quiet, "db") == {"stays": 1}
    quiet.unmount("db", "stays")
    assert mounts.at(point) is None


def test_a_client_that_closes_after_sending_mount_leaves_the_count_as_it_was(quiet):
    """docker 6, row 15: the same ID holds it already, as with docker cp."""
    quiet.create("db", size="64M", fstype="ext4")
    point = quiet.mount("db", "runs")
    for _ in range(20):
        with rpc.connect(quiet.socket) as s:
            s.sendall(rpc.encode("/VolumeDriver.Mount", b'{"Name":"db","ID":"runs"}'))
    until(lambda: quiet.connections() == 0 and holders(quiet, "db") == {"runs": 1}, "the count to be what it was", 20)
    assert mounts.at(point)
    quiet.unmount("db", "runs")
    assert mounts.at(point) is None


def test_a_client_that_half_closes_gets_its_answer(quiet):
    """Row 42: it has no more to say, but listens."""
    quiet.create("db", size="64M", fstype="ext4")
    with rpc.connect(quiet.socket) as s:
        s.sendall(rpc.encode("/VolumeDriver.Mount", b'{"Name":"db","ID":"half"}'))
        s.shutdown(socket.SHUT_WR)
        reply = rpc.parse(rpc.receive(s))
    assert reply.status == 200
    assert mounts.at(reply.json["Mountpoint"])
    assert holders(quiet, "db") == {"half": 1}
    quiet.unmount("db", "half")


def test_an_unmount_whose_client_leaves_while_it_is_at_work_is_done(world, quiet):
    """docker 2, row 12: dockerd is killed, or gives up after 60 s; the holder is gone all the same."""
    quiet.create("db", size="64M", fstype="ext4")
    quiet.mount("db", "a")
    world.cluster.pause("osd")
    with rpc.connect(quiet.socket) as s:
        s.sendall(rpc.encode("/VolumeDriver.Unmount", b'{"Name":"db","ID":"a"}'))
        until(lambda: not holders(quiet, "db"), "the holder to go")
    world.cluster.resume("osd")
    until(lambda: not quiet.mappers(), "the volume to be unmounted")


def test_a_create_or_remove_whose_client_leaves_is_whole_or_never_was(quiet):
    """docker 2, row 23: what was begun is finished, though nobody hears of it."""
    for method, body in (("Create", b'{"Name":"db","Opts":{"size":"64M","fstype":"ext4"}}'), ("Remove", b'{"Name":"db"}')) * 5:
        with rpc.connect(quiet.socket) as s:
            s.sendall(rpc.encode(f"/VolumeDriver.{method}", body))
        until(lambda: quiet.connections() == 0, "the daemon to be at rest")
        if quiet.names() == ["db"]:
            quiet.mount("db", "a")
            quiet.unmount("db", "a")
