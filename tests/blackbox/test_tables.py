# SPDX-License-Identifier: MIT
"""What the command line prints, to the letter: tables on a terminal of 80 columns and into a pipe, JSON, progress; the daemon and Docker
are played by sockets with canned answers."""

import contextlib
import fcntl
import json
import os
import pty
import struct
import subprocess
import termios
import threading
import time
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingMixIn, UnixStreamServer

import pytest
from daemon import RBDVOL, clean_env
from pace import patience
from waiting import until

ID = "3f2a91bc0d12" + "0" * 52
OTHER = "77aa00bb11cc" + "0" * 52
NODE = "/var/lib/rbdvol/rbd/mnt/rbd/"


class _Server(ThreadingMixIn, UnixStreamServer):
    daemon_threads = True


class _Handler(BaseHTTPRequestHandler):
    def _answer(self):
        length = int(self.headers.get("Content-Length") or 0)
        self.server.asked.append((self.path, json.loads(self.rfile.read(length) or b"{}")))
        status, body, wait = self.server.answers.get(self.path, (404, {"Err": ""}, None))
        if wait:
            wait.wait(patience(30))
        text = json.dumps(body).encode()
        with contextlib.suppress(BrokenPipeError):
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

    do_GET = do_POST = _answer  # noqa: N815

    def address_string(self):
        return "local"

    def log_message(self, format, *args):  # noqa: A002
        pass


@pytest.fixture
def played(world):
    """played(path=..., answers={path: body}) -> a socket at which somebody answers so."""
    servers = []

    def serve(answers, name="played.sock", wait=None):
        server = _Server(f"{world.dir}/{name}", _Handler)
        server.asked = []
        server.answers = {path: (200, body, wait if path in (wait and wait.paths or ()) else None) for path, body in answers.items()}
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        return server

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def run(server, *words, docker="/nonexistent"):
    env = clean_env(DOCKER_HOST=f"unix://{docker}")
    return subprocess.run([RBDVOL, *words, f"--socket={server.server_address}"], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=60, check=False, env=env)


def on_terminal(server, *words, columns=80, docker="/nonexistent"):
    """What the command writes on a terminal of so many columns: its status, and the text of both of its outputs."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with subprocess.Popen([RBDVOL, *words, f"--socket={server.server_address}"], stdin=its, stdout=its, stderr=its,
                          env=clean_env(DOCKER_HOST=f"unix://{docker}")) as process:
        os.close(its)
        text = b""
        with contextlib.suppress(OSError):  # EIO: its end is closed
            while piece := os.read(ours, 4096):
                text += piece
        os.close(ours)
        return process.wait(60), text.decode().replace("\r\n", "\n")


STATUS = {
    "Version": "0.1.0", "Instance": "rbd",
    "Cluster": {"State": "up", "Fsid": "6a1c5a8e-0000-4000-8000-000000000001", "Since": "2026-01-02T03:04:05Z", "Why": "", "NoFencing": ""},
    "Mapper": {"Name": "fuse", "Why": "krbd: the module rbd is not loaded; nbd: rbd-nbd is not installed"},
    "Pools": ["rbd", "ssd"], "Hidden": {"rbd": 3},
    "Volumes": [
        {"Name": "ssd/a-volume-with-rather-a-long-name", "State": "unmounting", "Mapper": "fuse", "Device": "/dev/loop11",
         "Mountpoint": "", "Holders": [], "Busy": "unmounting", "BusySince": "2026-01-02T03:04:06Z",
         "Pending": "pid 77 (sh) still uses it", "NextTry": "2026-01-02T03:05:00Z"},
        {"Name": "rbd/db", "State": "mounted", "Mapper": "fuse", "Device": "/dev/loop3", "Mountpoint": f"{NODE}db",
         "Holders": [{"ID": ID, "Count": 2, "Since": "2026-01-02T03:04:05Z"}, {"ID": "", "Count": 1, "Since": "2026-01-02T03:04:05Z"}]},
    ],
}

STATUS_HEAD = """\
rbdvol    0.1.0
instance  rbd
cluster   up, fsid 6a1c5a8e-0000-4000-8000-000000000001, since 2026-01-02T03:04:05Z
mapper    fuse: krbd: the module rbd is not loaded; nbd: rbd-nbd is not installed
pools     rbd, ssd
hidden    3 images in pool rbd, which ls leaves out: format 1, or not the name of a volume

"""
STATUS_TAIL = """
pending
ssd/a-volume-with-rather-a-long-name: unmounting since 2026-01-02T03:04:06Z; pid 77 (sh) still uses it; next try at 2026-01-02T03:05:00Z
"""
STATUS_TABLE = """\
NAME                                  STATE       MAPPER  DEVICE       HOLDERS                   MOUNTED AT
rbd/db                                mounted     fuse    /dev/loop3   3f2a91bc0d12 x2, (no ID)  /var/lib/rbdvol/rbd/mnt/rbd/db
ssd/a-volume-with-rather-a-long-name  unmounting  fuse    /dev/loop11  -                         -
"""
STATUS_80 = """\
NAME            STATE       MAPPER  DEVICE       HOLDERS         MOUNTED AT
rbd/db          mounted     fuse    /dev/loop3   3f2a91bc0d1...  /var/lib/rbd...
ssd/a-volum...  unmounting  fuse    /dev/loop11  -               -
"""


def test_status_is_plain_in_a_pipe(played):
    done = run(played({"/Rbdvol.Status": STATUS}), "status")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == STATUS_HEAD + STATUS_TABLE + STATUS_TAIL


def test_status_fits_80_columns_on_a_terminal(played):
    """The table does; a sentence of trouble is never cut."""
    status, text = on_terminal(played({"/Rbdvol.Status": STATUS}), "status")
    assert status == 0
    assert text == STATUS_HEAD + STATUS_80 + STATUS_TAIL
    assert all(len(line) <= 80 for line in STATUS_80.splitlines())


def test_status_json_is_what_the_daemon_said(played):
    done = run(played({"/Rbdvol.Status": STATUS}), "status", "--json")
    assert json.loads(done.stdout) == STATUS and done.stdout.startswith('{\n  "')


CONTAINERS = [
    {"Id": "1" * 64, "Names": ["/web"], "Mounts": [{"Type": "volume", "Name": "db@20G", "Driver": "rbd", "Destination": "/data"}]},
    {"Id": "2" * 64, "Names": ["/other"], "Mounts": [{"Type": "volume", "Name": "db", "Driver": "local", "Destination": "/data"},
                                                      {"Type": "bind", "Source": "/db", "Destination": "/x"}]},
    {"Id": "3" * 64, "Names": ["/half"], "Mounts": [{"Type": "volume", "Name": "b", "Driver": "rbd", "Destination": "/data"}]},
    {"Id": "4" * 64, "Names": ["/long"], "Mounts": [{"Type": "volume", "Name": "ssd/a-volume-with-rather-a-long-name", "Driver": "rbd"}]},
]


def test_containers_have_names_where_docker_answers(played):
    docker = played({"/containers/json": CONTAINERS}, name="docker.sock")
    server = played({"/Rbdvol.Status": STATUS})
    done = run(server, "status", "--json", docker=docker.server_address)
    assert [v["Containers"] for v in json.loads(done.stdout)["Volumes"]] == [["long"], ["web"]]
    assert "web 3f2a91bc0d12 x2, (no ID)" in run(server, "status", docker=docker.server_address).stdout


class _Held(threading.Event):
    """What holds the answers to these paths back."""

    def __init__(self, *paths):
        super().__init__()
        self.paths = paths


@pytest.mark.parametrize("says", ["nothing", "no JSON", "an error"])
def test_a_docker_that_does_not_answer_is_waited_for_for_a_second(played, says):
    held = _Held("/containers/json")
    if says != "nothing":
        held.set()
    docker = played({"/containers/json": "?" if says == "no JSON" else []}, name="docker.sock", wait=held)
    if says == "an error":
        docker.answers["/containers/json"] = (500, {"message": "broken"}, None)
    began = time.monotonic()
    done = run(played({"/Rbdvol.Status": STATUS}), "status", docker=docker.server_address)
    assert time.monotonic() - began < patience(4)
    held.set()
    assert done.returncode == 0 and STATUS_TABLE in done.stdout


LIST = [{"Name": "logs", "Mountpoint": ""}, {"Name": "db", "Mountpoint": f"{NODE}db"}, {"Name": "n" * 70, "Mountpoint": f"{NODE}{'n' * 70}"}]


def test_ls(played):
    server = played({"/VolumeDriver.List": {"Volumes": LIST, "Err": ""}})
    assert run(server, "ls").stdout == (f"{'NAME':70}  MOUNTED AT\n{'db':70}  {NODE}db\n{'logs':70}  -\n"
                                        f"{'n' * 70}  {NODE}{'n' * 70}\n")
    assert on_terminal(server, "ls") == (0, f"{'NAME':39}  MOUNTED AT\n{'db':39}  {NODE}db\n{'logs':39}  -\n"
                                            f"{'n' * 36}...  {NODE}{'n' * 8}...\n")
    assert json.loads(run(server, "ls", "--json").stdout) == LIST


VOLUME = {"Name": "db", "Mountpoint": f"{NODE}db", "CreatedAt": "2026-01-02T03:04:05Z",
          "Status": {"pool": "rbd", "namespace": "", "image": "db", "size": 20 << 30, "fstype": "xfs", "mapper": "fuse",
                     "device": "/dev/loop3", "state": "mounted", "owner": "host1 (this host)",
                     "features": "layering+exclusive-lock", "options": "noatime+nodev+nosuid", "remove": "trash",
                     "holders": [{"ID": ID, "Count": 2, "Since": "2026-01-02T03:04:05Z"},
                                 {"ID": OTHER, "Count": 1, "Since": "2026-01-02T03:04:06Z"}]}}


def test_show(played):
    server = played({"/VolumeDriver.Get": {"Volume": VOLUME, "Err": ""}})
    assert run(server, "show", "db").stdout == f"""\
name:          db
mounted at:    {NODE}db
created:       2026-01-02T03:04:05Z
pool:          rbd
image:         db
size:          20 GiB
fstype:        xfs
mapper:        fuse
device:        /dev/loop3
state:         mounted
owner:         host1 (this host)
features:      layering+exclusive-lock
options:       noatime+nodev+nosuid
remove:        trash
holders:       ID={ID} Count=2 Since=2026-01-02T03:04:05Z
               ID={OTHER} Count=1 Since=2026-01-02T03:04:06Z
"""
    assert json.loads(run(server, "show", "db", "--json").stdout) == VOLUME


TRASH = [{"Name": "rbd/db", "Id": "10f1a2b3c4d5", "Trashed": "2026-01-02T03:04:05Z", "Until": "2026-01-09T03:04:05Z"}]
SNAPS = [{"Name": "monday", "Size": 20 << 30, "Created": "2026-01-02T03:04:05Z"}]


def test_trash_and_snap_ls(played):
    server = played({"/Rbdvol.Trash.List": {"Volumes": TRASH, "Err": ""}, "/Rbdvol.Snap.List": {"Snapshots": SNAPS, "Err": ""}})
    assert run(server, "trash", "ls").stdout == """\
NAME    ID            REMOVED               KEPT UNTIL
rbd/db  10f1a2b3c4d5  2026-01-02T03:04:05Z  2026-01-09T03:04:05Z
"""
    assert run(server, "snap", "ls", "db").stdout == """\
SNAPSHOT  SIZE    CREATED
monday    20 GiB  2026-01-02T03:04:05Z
"""
    assert json.loads(run(server, "trash", "ls", "--json").stdout) == TRASH
    assert json.loads(run(server, "snap", "ls", "db", "--json").stdout) == SNAPS


def test_resize_release_unlock(played):
    server = played({"/Rbdvol.Resize": {"Size": 40 << 30, "Mounted": True, "Err": ""},
                     "/Rbdvol.Release": {"Dropped": 1, "Holders": [], "Err": ""},
                     "/Rbdvol.Unlock": {"State": "free", "Owner": "", "Watchers": [], "Err": ""}})
    assert run(server, "resize", "db", "40G").stdout == "db has 40 GiB now, and so has its file system\n"
    assert run(server, "release", "db").stdout == "1 dropped, 0 left\n"
    assert run(server, "unlock", "db").stdout == "lock:          free\n"


def test_an_error_is_the_daemons_sentence_and_exit_1(played):
    server = played({"/VolumeDriver.Get": {"Err": "no such volume: 'db'"}})
    done = run(server, "show", "db")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "rbdvol show: no such volume: 'db'\n")


def test_what_takes_longer_than_a_second_says_so_on_a_terminal(played):
    """In a line that is gone at the end; nothing of it in a pipe."""
    held = _Held("/VolumeDriver.Create")
    busy = {**STATUS, "Volumes": [{"Name": "rbd/db", "State": "detached", "Busy": "formatting", "Holders": []}]}
    server = played({"/VolumeDriver.Create": {"Err": ""}, "/Rbdvol.Status": busy}, wait=held)
    released = threading.Thread(target=lambda: (until(lambda: sum(p == "/Rbdvol.Status" for p, _ in server.asked) >= 2,
                                                      "two looks at the daemon's status", 30), held.set()))
    released.start()
    status, text = on_terminal(server, "create", "db")
    released.join()
    assert status == 0
    assert "\r\x1b[Krbdvol create db: formatting it, 1 s\r\x1b[Krbdvol create db: formatting it, 2 s" in text
    assert text.endswith("\r\x1b[Kdb\n")
    assert run(server, "create", "db").stdout == "db\n"
    asked = [path for path, _ in server.asked]
    assert asked[-1] == "/VolumeDriver.Create"
