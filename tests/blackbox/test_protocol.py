# SPDX-License-Identifier: MIT
"""The plugin protocol on the wire: what Docker sends, what it never should, and what comes back."""

import os
import signal
import socket
import stat
import threading
import time

import pytest
import rpc
from daemon import rbdvol
from pace import patience
from waiting import until

NEEDS_NAME = ["Create", "Remove", "Mount", "Unmount", "Path"]
ROUTES = ["/Plugin.Activate", "/VolumeDriver.Create", "/VolumeDriver.Remove", "/VolumeDriver.Mount", "/VolumeDriver.Unmount",
          "/VolumeDriver.Path", "/VolumeDriver.Get", "/VolumeDriver.List", "/VolumeDriver.Capabilities"]
MIB = 1 << 20


def holds_a_sentence(err, *words):
    assert len(err.split()) >= 3, f"not a sentence: {err!r}"
    for word in words:
        assert word.lower() in err.lower(), f"{word!r} is not named in: {err}"


def test_activate_names_the_volume_driver(daemon):
    reply = daemon.call("/Plugin.Activate")
    assert (reply.status, reply.err, reply.json["Implements"]) == (200, "", ["VolumeDriver"])


def test_capabilities_are_global(daemon):
    reply = daemon.call("Capabilities", b"{}\n")
    assert reply.status == 200
    assert reply.json["Capabilities"] == {"Scope": "global"}
    assert not reply.err


def test_list_of_an_empty_pool_is_an_empty_list(daemon):
    assert daemon.must("List")["Volumes"] == []


def test_an_unknown_path_is_404(daemon):
    for path in ("/", "/VolumeDriver.Format", "/VolumeDriver.Get/x", "/volumedriver.get"):
        assert daemon.call(path, b"{}").status == 404, path


@pytest.mark.parametrize("route", ROUTES)
def test_a_get_on_a_post_route_is_405(daemon, route):
    for verb in ("GET", "PUT", "DELETE"):
        assert daemon.call(route, verb=verb).status == 405, verb


def test_a_post_on_healthz_and_metrics_is_405(daemon):
    for path in ("/healthz", "/metrics"):
        assert daemon.call(path, verb="POST").status == 405


def test_healthz_answers(daemon):
    reply = daemon.call("/healthz", verb="GET")
    assert reply.status == 200
    assert b"cluster" in reply.body


def test_metrics_are_prometheus_text(daemon):
    reply = daemon.call("/metrics", verb="GET")
    assert reply.status == 200
    assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = reply.body.decode().splitlines()
    assert any(line.startswith("# TYPE rbdvol_") for line in lines)
    assert reply.body.endswith(b"\n")


def test_a_query_string_does_not_change_the_route(daemon):
    assert daemon.call("/VolumeDriver.Capabilities?x=1", b"{}").status == 200


# -- bodies


def test_a_body_over_one_mebibyte_is_413(daemon):
    name = b"x" * (MIB + 1 - len(b'{"Name":""}'))
    reply = daemon.call("Get", b'{"Name":"' + name + b'"}')
    assert reply.status == 413
    holds_a_sentence(reply.err)


def test_a_body_of_exactly_one_mebibyte_is_read(daemon):
    name = b"x" * (MIB - len(b'{"Name":""}'))
    body = b'{"Name":"' + name + b'"}'
    assert len(body) == MIB
    reply = daemon.call("Create", body)
    assert reply.status in (400, 500)
    holds_a_sentence(reply.err, "name")


def test_a_much_too_large_body_is_kept_nowhere(daemon):
    def resident():
        with open(f"/proc/{daemon.pid}/statm", encoding="ascii") as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGESIZE")

    before = resident()
    assert daemon.call("Get", b" " * (8 * MIB)).status == 413
    # whoever sends as much as this would not read an answer either
    assert daemon.call("Get", b" " * (64 * MIB)).status in (413, None)
    assert resident() - before < 8 * MIB


@pytest.mark.parametrize("body", [b"{", b"[]", b'"x"', b"null", b'{"Name":"x"', b'{"Name":"x"} {"Name":"y"}', b"{Name:1}",
                                  b'{"Name":"\xff\xfe"}', b'{"Name":"\\ud800"}', b"{'Name':'x'}", b"\x00"])
def test_malformed_json_is_400(daemon, body):
    reply = daemon.call("Create", body)
    assert reply.status == 400
    holds_a_sentence(reply.err)
    assert daemon.names() == []


def test_a_body_nested_deeply_is_refused_and_the_daemon_lives(daemon):
    for body in (b"[" * 500000, b'{"Name":' * 100000):
        assert daemon.call("Create", body).status == 400
    assert daemon.call("Capabilities", b"{}").status == 200


def test_duplicate_keys_are_refused(daemon):
    reply = daemon.call("Create", b'{"Name":"one","Name":"two","Opts":{}}')
    assert reply.status == 400
    holds_a_sentence(reply.err)
    reply = daemon.call("Create", b'{"Name":"one","Opts":{"size":"1G","size":"2G"}}')
    assert reply.status == 400
    assert daemon.names() == []


@pytest.mark.parametrize("method,body,field", [
    ("Create", {"Name": 5}, "Name"), ("Create", {"Name": None}, "Name"), ("Create", {"Name": ["x"]}, "Name"),
    ("Create", {"Name": "x", "Opts": []}, "Opts"), ("Create", {"Name": "x", "Opts": "size=1G"}, "Opts"),
    ("Create", {"Name": "x", "Opts": {"size": 20}}, "size"), ("Create", {"Name": "x", "Opts": {"size": None}}, "size"),
    ("Create", {"Opts": {}}, "Name"),
    ("Mount", {"Name": "x", "ID": 7}, "ID"), ("Mount", {"Name": {}, "ID": "a"}, "Name"), ("Mount", {"ID": "a"}, "Name"),
    ("Unmount", {"Name": "x", "ID": []}, "ID"), ("Unmount", {"Name": True}, "Name"), ("Unmount", {"ID": "a"}, "Name"),
    ("Remove", {"Name": 1}, "Name"), ("Path", {"Name": {}}, "Name"), ("Get", {"Name": []}, "Name"),
])
def test_a_wrong_type_is_refused_with_the_fields_name(daemon, method, body, field):
    reply = daemon.call(method, body)
    assert reply.status == 400
    holds_a_sentence(reply.err, field)
    assert daemon.names() == []


def test_no_options_may_be_null_absent_or_empty(daemon):
    for number, body in enumerate(({"Opts": None}, {}, {"Opts": {}})):
        daemon.must("Create", Name=f"plain{number}", **body)
    assert sorted(daemon.names()) == ["plain0", "plain1", "plain2"]


def test_unknown_keys_are_ignored(daemon):
    daemon.must("Create", Name="later", Opts=None, Labels={"a": "b"})
    assert daemon.names() == ["later"]


def test_unicode_escapes_are_undone(daemon):
    reply = daemon.call("Create", b'{"Name":"\\u0064\\u0062\\u002D1"}')
    assert reply.status == 200
    assert daemon.names() == ["db-1"]
    assert daemon.get("db-1")["Name"] == "db-1"


@pytest.mark.parametrize("name", [b"a\\u0000b", b"\\u0000", b"a\\nb", b"a\\u001bb", b"a\\tb", b"a\\u007f"])
def test_control_characters_in_a_name_are_refused(daemon, name):
    reply = daemon.call("Create", b'{"Name":"' + name + b'"}')
    assert reply.status in (400, 500)
    holds_a_sentence(reply.err)
    assert all(ord(c) >= 32 and ord(c) != 127 for c in reply.err), "the message repeats the control character"
    assert daemon.names() == []
    assert "\x1b" not in daemon.log_text()


@pytest.mark.parametrize("method", NEEDS_NAME)
def test_an_empty_body_is_refused_without_effect(daemon, method):
    daemon.create("there")
    for body in (b"", b"\n"):
        reply = daemon.call(method, body)
        assert reply.status in (400, 500)
        holds_a_sentence(reply.err)
    assert daemon.names() == ["there"]
    assert daemon.get("there")["Mountpoint"] == ""


def test_a_get_with_an_empty_body_is_closed_without_an_answer(daemon):
    assert daemon.call("Get", b"").status is None
    assert daemon.call("Capabilities", b"{}").status == 200


def test_an_empty_name_is_refused(daemon):
    for method in NEEDS_NAME:
        holds_a_sentence(daemon.refused(method, Name=""), "name")


# -- headers


@pytest.mark.parametrize("headers", [
    (("Host", ""), ("Content-Length", None)),
    (("Content-Length", None),),
    (("Host", "plugin.moby.localhost"), ("Content-Length", None)),
    (("Host", "%2Frun%2Fdocker%2Fplugins%2Frbd.sock"), ("Content-Length", None)),
    (("Host", ""), ("Content-Length", None), ("Content-Type", "application/json")),
    (("Host", ""), ("Content-Length", None), ("Content-Type", "text/html")),
], ids=["empty", "absent", "named", "path", "json", "html"])
def test_host_and_content_type_are_of_no_account(daemon, headers):
    reply = daemon.call("Get", b'{"Name":"nothing"}\n', headers=headers)
    assert reply.status == 500
    assert "no such volume" in reply.err


def test_a_chunked_body_is_read(daemon):
    data = (b"POST /VolumeDriver.Create HTTP/1.1\r\nHost: \r\nTransfer-Encoding: chunked\r\n\r\n"
            b"8\r\n{\"Name\":\r\n5\r\n\"chu\"\r\n1\r\n}\r\n0\r\n\r\n")
    assert rpc.parse(rpc.exchange(daemon.socket, data)).status == 200
    assert daemon.names() == ["chu"]


def test_every_reply_closes_the_connection(daemon):
    replies = [daemon.call(route, b"{}") for route in ROUTES if "Get" not in route]
    replies += [daemon.call("Get", {"Name": "x"}), daemon.call("/nothing"), daemon.call("Get", verb="GET"),
                daemon.call("Create", b"{"), daemon.call("Get", b"x" * (MIB + 1)), daemon.call("/healthz", verb="GET"),
                daemon.call("/metrics", verb="GET")]
    for reply in replies:
        assert reply.status is not None
        assert reply.headers.get("connection", "").lower() == "close", reply
        assert int(reply.headers["content-length"]) == len(reply.body)


def test_a_cut_off_request_has_no_effect(daemon):
    whole = rpc.encode("/VolumeDriver.Create", b'{"Name":"half"}')
    for cut in (10, len(whole) - 1):
        with rpc.connect(daemon.socket) as s:
            s.sendall(whole[:cut])
    assert daemon.names() == []


def test_garbage_instead_of_http_harms_nobody(daemon):
    for data in (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"GET\r\n\r\n", b"POST /VolumeDriver.List HTTP/9.9\r\n\r\n",
                 b"POST /VolumeDriver.List HTTP/1.1\r\nContent-Length: -1\r\n\r\n"):
        with rpc.connect(daemon.socket) as s:
            s.settimeout(5)
            s.sendall(data)
            s.shutdown(socket.SHUT_WR)
            rpc.receive(s)
    assert daemon.call("Capabilities", b"{}").status == 200


def test_idle_connections_stop_nobody(daemon):
    idle = [rpc.connect(daemon.socket) for _ in range(100)]
    try:
        assert daemon.call("Capabilities", b"{}", timeout=10).status == 200
    finally:
        for s in idle:
            s.close()


# -- the socket and the life of the daemon


def test_the_socket_has_mode_0600(daemon):
    assert stat.S_IMODE(os.stat(daemon.socket).st_mode) == 0o600


def test_the_sockets_mode_can_be_chosen(world):
    d = world.daemon(socket_mode="0660")
    assert stat.S_IMODE(os.stat(d.socket).st_mode) == 0o660


def test_sigterm_answers_what_runs_and_removes_the_socket(world, daemon):
    """A Create that the OSD holds up is under way when SIGTERM comes."""
    daemon.create("warm")
    world.cluster.pause("osd")
    replies = []
    request = threading.Thread(target=lambda: replies.append(daemon.call("Create", {"Name": "late"})))
    request.start()
    until(lambda: daemon.connections() == 1, "the request to arrive")
    daemon.process.signal(signal.SIGTERM)
    until(lambda: not connects(daemon), "no more connections to be taken")
    assert daemon.alive()
    world.cluster.resume("osd")
    request.join(60)
    assert daemon.process.wait(30) == 0
    assert replies[0].status == 200, replies[0]
    assert not os.path.exists(daemon.socket)
    assert "late" in world.cluster.images()


def connects(daemon):
    try:
        rpc.connect(daemon.socket).close()
        return True
    except (ConnectionRefusedError, FileNotFoundError):
        return False


def test_sigint_ends_it_as_sigterm_does(daemon):
    daemon.process.signal(signal.SIGINT)
    assert daemon.process.wait(20) == 0
    assert not os.path.exists(daemon.socket)


def test_a_stale_socket_is_replaced(world):
    d = world.daemon(start=False)
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(d.socket)
    d.start()
    assert d.call("Capabilities", b"{}").status == 200


def test_the_socket_of_a_killed_daemon_is_replaced(daemon):
    daemon.kill()
    assert os.path.exists(daemon.socket)
    daemon.start()
    assert daemon.call("Capabilities", b"{}").status == 200


def test_a_live_socket_is_refused_by_name(world, daemon):
    other = world.daemon(start=False, socket=daemon.socket)
    done = rbdvol("serve", *other.flags)
    assert done.returncode not in (0, 2)
    assert daemon.socket in done.stderr
    assert daemon.call("Capabilities", b"{}").status == 200


def test_a_file_that_is_no_socket_is_left_alone(world):
    d = world.daemon(start=False)
    with open(d.socket, "w", encoding="ascii") as f:
        f.write("precious\n")
    done = rbdvol("serve", *d.flags)
    assert done.returncode != 0
    assert d.socket in done.stderr
    with open(d.socket, encoding="ascii") as f:
        assert f.read() == "precious\n"


# -- without the cluster


def first_answer(d):
    """Milliseconds from the start of the process to its first answer."""
    began = time.monotonic()
    thread = threading.Thread(target=d.start)
    thread.start()
    until(lambda: answers(d), "the first answer", 10, interval=0.001)
    took = (time.monotonic() - began) * 1000
    thread.join()
    return took


def answers(d):
    try:
        return d.call("Capabilities", b"{}").status == 200
    except (FileNotFoundError, ConnectionRefusedError):
        return False


def nowhere(world):
    """A ceph.conf whose monitor's port nobody listens at."""
    with open(world.cluster.conf, encoding="ascii") as f:
        lines = ["mon host = [v2:127.0.0.1:1,v1:127.0.0.1:2]\n" if line.startswith("mon host") else line for line in f]
    path = os.path.join(world.dir, "nowhere.conf")
    with open(path, "w", encoding="ascii") as f:
        f.writelines(lines)
    return path


@pytest.mark.parametrize("down", ["stopped", "nowhere"])
def test_it_answers_at_once_with_the_cluster_down(world, down):
    """100 ms is promised; the best of three, since this machine has other things to do."""
    if down == "stopped":
        world.cluster.pause("mon")
    took = []
    for _ in range(3):
        d = world.daemon(start=False, ceph_timeout="1s", ceph_conf=world.cluster.conf if down == "stopped" else nowhere(world))
        took.append(first_answer(d))
        d.stop()
    assert min(took) <= patience(100), took


@pytest.mark.parametrize("down", ["stopped", "nowhere"])
def test_a_down_cluster_is_never_taken_for_an_absent_volume(world, down):
    if down == "stopped":
        world.cluster.pause("mon")
    d = world.daemon(ceph_timeout="1s", ceph_conf=world.cluster.conf if down == "stopped" else nowhere(world))
    began = time.monotonic()
    reply = d.call("Get", {"Name": "unknown"})
    took = time.monotonic() - began
    assert reply.status is None, reply
    assert 0.5 <= took <= patience(8), took
    for method, body in (("List", {}), ("Path", {"Name": "unknown"}), ("Create", {"Name": "unknown"}),
                         ("Mount", {"Name": "unknown", "ID": "a"}), ("Remove", {"Name": "unknown"})):
        reply = d.call(method, body)
        if method == "Path" and reply.status == 200:
            assert reply.json["Mountpoint"] == ""  # not mounted here is all that it says
            continue
        assert reply.status == 500, (method, reply)
        assert "cluster" in reply.err, (method, reply.err)
        assert "no such volume" not in reply.err
    assert d.call("Capabilities", b"{}").status == 200


def test_a_cluster_that_comes_back_is_found(world):
    world.cluster.pause("mon")
    d = world.daemon(ceph_timeout="1s")
    assert d.call("List", {}).status == 500
    world.cluster.resume("mon")
    d.await_cluster()
    d.create("after")
    assert d.names() == ["after"]


def test_a_missing_ceph_conf_is_said_and_no_absent_volume(world):
    d = world.daemon(ceph_timeout="1s", ceph_conf=os.path.join(world.dir, "absent.conf"))
    assert d.call("Get", {"Name": "x"}).status is None
    assert "absent.conf" in d.refused("List")


def test_a_missing_pool_is_no_absent_volume(world):
    d = world.daemon(pool="nosuchpool")
    until(lambda: "nosuchpool" in d.call("List", {}).err, "the pool's name in the refusal", 20)
    assert d.call("Get", {"Name": "x"}).status is None
    assert "no such volume" not in d.refused("Remove", Name="x")


def test_an_absent_volume_is_said_to_be_one(daemon):
    reply = daemon.call("Get", {"Name": "absent"})
    assert reply.status == 500
    assert "no such volume" in reply.err
    assert "absent" in reply.err
