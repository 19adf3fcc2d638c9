# SPDX-License-Identifier: MIT
"""Very many requests, one after the other and side by side: the daemon is afterwards what it was before.

RBDVOL_TEST_REQUESTS: how many in all (`./check hostile` asks a million)."""

import os
import subprocess

import process
import rpc
from daemon import BUILD
from pace import patience
from waiting import until

REQUESTS = int(os.environ.get("RBDVOL_TEST_REQUESTS", "40000")) // int(patience(1))
CLIENTS = 8
GROWTH_KB = 4096  # a leak of 100 bytes in each of 40,000 requests, of 4 in each of a million
# path, body, whether it is answered with 200, how many in a thousand; the cluster is asked for some, and is slower than we are
KINDS = (("/VolumeDriver.Get", '{"Name":"db"}', True, 150), ("/VolumeDriver.Get", '{"Name":"missing"}', False, 10),
         ("/VolumeDriver.List", "{}", True, 10), ("/VolumeDriver.Path", '{"Name":"db"}', True, 150),
         ("/VolumeDriver.Capabilities", "{}", True, 150), ("/Rbdvol.Status", "{}", True, 50),
         ("/VolumeDriver.Unmount", '{"Name":"db","ID":"nobodys"}', True, 10),
         ("/VolumeDriver.Mount", '{"Name":"db","ID":"b"}', False, 10),
         ("/VolumeDriver.Create", '{"Name":"../x","Opts":{"size":"1G"}}', False, 150),
         ("/VolumeDriver.Create", '{"Name":', False, 150),
         ("/VolumeDriver.Create", '{"Name":"db","Opts":{"no such":"option"}}', False, 10), ("/nowhere", "{}", False, 150))


def ask(daemon, n, path, body):
    """How many of n requests were not answered with 200."""
    done = subprocess.run([f"{BUILD}/tests/bench/bench-asker", daemon.socket, str(CLIENTS), f"{n}n", path, body],
                          capture_output=True, text=True, check=True, timeout=patience(240))
    return int(done.stdout.split()[3])


def used(pid):
    """Descriptors, threads, kilobytes in memory."""
    return len(os.listdir(f"/proc/{pid}/fd")), len(process.threads(pid)), int(process.status(pid)["VmRSS"].split()[0])


def rest(daemon):
    until(lambda: daemon.connections() == 0, "no connection to be left", 20)


def test_very_many_requests_leave_the_daemon_as_it_was(world):
    daemon = world.daemon(log_level="info").await_cluster()
    daemon.create("db", size="64M", fstype="ext4")
    daemon.mount("db", "a")
    for path, body, _, share in KINDS:
        ask(daemon, REQUESTS * share // 20000, path, body)  # its libraries have taken what they keep
    rest(daemon)
    fds, threads, memory = used(daemon.pid)
    for path, body, good, share in KINDS:
        each = REQUESTS * share // 1000
        bad = ask(daemon, each, path, body)
        assert bad == (0 if good else each), f"{path} {body}: {bad} of {each} requests were not answered with 200"
    rest(daemon)
    until(lambda: used(daemon.pid)[0] <= fds, f"no more than {fds} descriptors")
    until(lambda: used(daemon.pid)[1] <= threads, f"no more than {threads} threads")
    if patience(1) == 1:  # a sanitizer keeps what was freed
        assert used(daemon.pid)[2] <= memory + GROWTH_KB, f"{used(daemon.pid)[2]} kB of memory, {memory} before"
    assert [(h["ID"], h["Count"]) for h in daemon.get("db")["Status"]["holders"]] == [("a", 1)]
    assert daemon.names() == ["db"]
    daemon.unmount("db", "a")


def test_connections_that_say_nothing_in_great_number_leave_it_as_it_was(daemon):
    """Opened, perhaps a part of a request sent, closed: more of them than it takes at a time, over and over."""
    pieces = (b"", b"P", b"POST /VolumeDriver.Create HTTP/1.1\r\nContent-Length: 99\r\n\r\n{\"Name\":\"half\"")
    rest(daemon)
    for turn in range(3):
        for n in range(REQUESTS // 100):
            with rpc.connect(daemon.socket, timeout=20) as s:
                try:
                    s.sendall(pieces[n % 3])
                except (BrokenPipeError, ConnectionResetError):
                    pass  # turned away: there were too many
        rest(daemon)
        if turn == 0:
            before = used(daemon.pid)
    until(lambda: used(daemon.pid)[0] <= before[0], f"no more than {before[0]} descriptors")
    until(lambda: used(daemon.pid)[1] <= before[1], f"no more than {before[1]} threads", 40)
    assert patience(1) > 1 or used(daemon.pid)[2] <= before[2] + GROWTH_KB
    assert daemon.names() == []
