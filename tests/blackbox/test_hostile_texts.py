# SPDX-License-Identifier: MIT
"""Names, identifiers and options that are made to leave a path, forge a line of the log, or drive somebody's terminal; and other
users of the host."""

import json
import os
import socket
import subprocess

import pytest
import rpc
from pace import patience
from tidy import is_tidy, log_is_whole

# (what stands in the JSON, as bytes between the quotes)
TEXTS = {
    "newline": rb"db\n<3>mounted volume=forged", "return": rb"db\r<3>forged", "escape": rb"\u001b[2J\u001b]0;forged\u0007",
    "nul": rb"db\u0000/../../etc", "c1": "\u009b2Jforged".encode(), "delete": rb"db\u007f", "direction": "db\u202egnp.\u2066".encode(),
    "line-separator": "db\u2028<3>forged".encode(), "overlong": b"\xc0\xae\xc0\xae\xc0\xafetc", "surrogate": rb"\ud800\ud800",
    "raw-latin1": b"d\xe9", "up": b"../../etc/passwd", "up-alone": b"..", "dot": b".", "absolute": b"/etc", "parts": b"rbd/../db",
    "four-parts": b"a/b/c/d", "slashes": b"//db", "at": b"@", "size": b"db@../../x", "percent": b"%s%s%n%n%x", "shell": b"$(touch /tmp/x)`id`;id|id&",
    "dash": b"--pool=x", "glob": b"*", "long": b"n" * 129, "very-long": b"n" * 200000, "ours": b"rbdvol.new.0123456789abcdef",
    "blank": b" ", "fullwidth": "／ｅｔｃ".encode(), "decomposed": "db\u0301".encode(),
}
NAMED = ("Create", "Remove", "Mount", "Unmount", "Get", "Path", "/Rbdvol.Release", "/Rbdvol.Unlock", "/Rbdvol.Resize", "/Rbdvol.Trim",
         "/Rbdvol.Trash.Restore", "/Rbdvol.Snap.Create", "/Rbdvol.Snap.Remove", "/Rbdvol.Snap.Rollback", "/Rbdvol.Remove")
OPTIONS = ("size", "pool", "namespace", "fstype", "mkfs-options", "mount-options", "uid", "mode", "sharing", "ro", "from", "object-size",
           "data-pool", "features", "encrypt", "qos-bps", "remove", "mapper")


def refused_tidily(daemon, method, body):
    reply = daemon.call(method, body, timeout=patience(30))
    assert reply.status in (400, 413, 500), f"{method} {body[:80]!r}: {reply.status} {reply.body[:200]!r}"
    is_tidy(json.loads(reply.body.decode())["Err"], f"the answer to {method}")


@pytest.fixture
def guarded(world, daemon):
    """A daemon with one volume; nothing but that is in its directories and in the pool afterwards."""
    daemon.create("good", size="64M", fstype="ext4")
    folders = sorted(f for f, _, _ in os.walk(world.dir))
    yield daemon
    assert world.cluster.images() == ["good"]
    assert sorted(f for f, _, _ in os.walk(world.dir)) == folders
    assert daemon.state_files() in (["clients.json", "lock"], ["lock"])
    log_is_whole(daemon)


@pytest.mark.parametrize("which", sorted(TEXTS))
def test_a_hostile_name_is_refused_by_every_method_and_reaches_no_path_and_no_log(guarded, which):
    for method in NAMED:
        rest = b"" if method != "/Rbdvol.Resize" else b',"Size":"1G"'
        rest = b',"Snap":"mon"' if "Snap" in method else rest
        body = b'{"Name":"' + TEXTS[which] + b'","ID":"a"' + rest + b"}"
        reply = guarded.call(method, body, timeout=patience(30))
        if method in ("Remove", "Unmount", "/Rbdvol.Trash.Restore", "/Rbdvol.Remove") and reply.status == 200:
            raise AssertionError(f"{method} took the name")
        assert reply.status in (400, 413, 500), f"{method}: {reply.status} {reply.body[:200]!r}"
        is_tidy(json.loads(reply.body.decode())["Err"], f"the answer to {method}")
    assert guarded.names() == ["good"]


@pytest.mark.parametrize("which", sorted(set(TEXTS) - {"dot", "dash", "glob", "at", "up-alone", "up", "absolute", "parts", "four-parts", "slashes",
                                                        "size", "percent", "ours", "shell"}))
def test_a_hostile_id_is_refused(guarded, which):
    """What is printable ASCII without blanks is an identifier like others: it never becomes a part of a path."""
    for method in ("Mount", "Unmount", "/Rbdvol.Release"):
        refused_tidily(guarded, method, b'{"Name":"good","ID":"' + TEXTS[which] + b'"}')


def test_an_id_that_looks_like_a_path_or_a_format_stays_a_text(daemon):
    daemon.create("good", size="64M", fstype="ext4")
    for which in ("up", "absolute", "percent", "dash", "glob"):
        holder = TEXTS[which].decode()
        point = daemon.mount("good", holder)
        assert point == f"{daemon.path('mount-root')}/rbd/good"
        assert holder[:12] in daemon.refused("Mount", Name="good", ID="other")  # as Docker shortens identifiers
        assert [h["ID"] for h in daemon.get("good")["Status"]["holders"]] == [holder]
        daemon.unmount("good", holder)
    log_is_whole(daemon)


@pytest.mark.parametrize("option", OPTIONS)
def test_hostile_values_of_an_option_are_refused(guarded, option):
    for which, text in sorted(TEXTS.items()):
        if (option, which) in (("mkfs-options", "blank"), ("mount-options", "blank")):
            continue
        refused_tidily(guarded, "Create", b'{"Name":"never","Opts":{"' + option.encode() + b'":"' + text + b'"}}')


def test_hostile_names_of_options_are_refused(guarded):
    for text in TEXTS.values():
        refused_tidily(guarded, "Create", b'{"Name":"never","Opts":{"' + text + b'":"1G"}}')
        refused_tidily(guarded, "Create", b'{"Name":"never","Opts":{"size":{"' + text + b'":1}}}')


def test_hostile_paths_and_verbs_leave_nothing_in_the_log(guarded):
    for text in TEXTS.values():
        for head in (b"POST /" + text, b"GET /" + text, text + b" /Plugin.Activate", b"POST /VolumeDriver.Get?" + text):
            with rpc.connect(guarded.socket, timeout=patience(20)) as s:
                try:
                    s.sendall(head + b" HTTP/1.1\r\nHost: " + text + b"\r\nContent-Length: 2\r\n\r\n{}")
                    s.shutdown(socket.SHUT_WR)
                    reply = rpc.parse(rpc.receive(s))
                except (BrokenPipeError, ConnectionResetError):
                    continue
            assert reply.status is None or reply.status >= 400, (head, reply)


def test_deep_and_wide_json_is_refused(guarded):
    for body in (b"[" * 100000, b'{"Name":' * 50000, b'{"Opts":' + b'{"a":' * 3000 + b"1" + b"}" * 3001, b'{"Name":1e999}',
                 b'{"Name":' + b"9" * 5000 + b"}", b'{"Name":"good","Name":"other"}', b'\xef\xbb\xbf{"Name":"good"}', b'{"Name":"good"}{}',
                 b'{"Name":"never","Opts":{' + b",".join(b'"k%d":"v"' % n for n in range(50000)) + b"}}"):
        for method in ("Create", "Mount"):
            refused_tidily(guarded, method, body)


# -- another user of the host

AS_NOBODY = """
import errno, os, socket, sys
os.setgroups([]); os.setgid(65534); os.setuid(65534)
def tried(what, *words):
    try:
        what(*words)
        print("DONE", words)
    except OSError as e:
        print(errno.errorcode[e.errno])
for path in sys.argv[2:]:
    tried(os.listdir, path)
    tried(lambda p: open(p + "/planted", "w"), path)
kind = socket.SOCK_SEQPACKET if sys.argv[1].endswith(".sock") and "/map/" in sys.argv[1] else socket.SOCK_STREAM
tried(lambda p: socket.socket(socket.AF_UNIX, kind).connect(p), sys.argv[1])
"""


def as_nobody(target, *folders):
    done = subprocess.run(["/usr/bin/python3", "-c", AS_NOBODY, target, *folders], capture_output=True, text=True, check=True, timeout=60)
    return set(done.stdout.split("\n")) - {""}


def test_another_user_can_neither_ask_nor_look_nor_write(world, daemon):
    """The socket is the daemon's and root's; what is behind it, too: the mapper's own socket, the state, what is mounted."""
    os.chmod(world.dir, 0o755)
    daemon.create("db", size="64M", fstype="ext4", mode="0700")
    point = daemon.mount("db", "a")
    folders = [daemon.path("state-dir"), daemon.path("state-dir") + "/map", daemon.path("state-dir") + "/volumes", daemon.path("scratch-dir"),
               daemon.path("mount-root"), daemon.path("mount-root") + "/rbd", point]
    assert as_nobody(daemon.socket, *folders) == {"EACCES"}
    controls = [os.path.join(folder, name) for folder, _, names in os.walk(daemon.path("state-dir")) for name in names if name.endswith(".sock")]
    for control in controls:
        assert as_nobody(control) == {"EACCES"}
    daemon.unmount("db", "a")


def test_a_member_of_the_sockets_group_may_ask_and_nobody_else(world):
    daemon = world.daemon(socket_mode="0660", socket_group="65534").await_cluster()
    os.chmod(world.dir, 0o755)
    assert any(line.startswith("DONE") for line in as_nobody(daemon.socket))
    os.chown(daemon.socket, 0, 0)
    assert as_nobody(daemon.socket) == {"EACCES"}


FLOOD = """
import os, socket, sys
os.setgroups([]); os.setgid(65534); os.setuid(65534)
refused = 0
for n in range(int(sys.argv[2])):
    with socket.socket(socket.AF_UNIX) as s:
        try:
            s.connect(sys.argv[1])
        except PermissionError:
            refused += 1
print(refused)
"""


def test_a_flood_of_another_user_reaches_nobody(world, daemon):
    os.chmod(world.dir, 0o755)
    daemon.create("db", size="64M", fstype="ext4")
    with subprocess.Popen(["/usr/bin/python3", "-c", FLOOD, daemon.socket, "20000"], stdout=subprocess.PIPE, text=True) as flood:
        daemon.mount("db", "a")
        daemon.unmount("db", "a")
        assert int(flood.communicate(timeout=patience(60))[0]) == 20000
    assert daemon.connections() == 0
