# SPDX-License-Identifier: MIT
"""What systemd is given, and what it is told: the units, the watchdog, the socket."""

import ctypes
import os
import re
import select
import signal
import socket
import subprocess
import time

import process
import pytest
from daemon import BUILD, RBDVOL, clean_env
from process import Process
from waiting import until

UNITS = os.path.join(BUILD, "systemd")
SERVICES = ("rbdvol.service", "rbdvol@.service")
EXPOSURE_MAX = 5.0
# Each gives a service a mount namespace of its own (systemd.exec(5)): what it mounts is then invisible to the host, without any
# error. Seen with systemd 252, one by one.
HIDING = """
    PrivateMounts PrivateTmp PrivateDevices PrivateIPC PrivateUsers DynamicUser ProtectSystem ProtectHome ProtectProc ProcSubset
    ProtectKernelTunables ProtectKernelModules ProtectKernelLogs ProtectControlGroups ReadWritePaths ReadOnlyPaths
    InaccessiblePaths ExecPaths NoExecPaths BindPaths BindReadOnlyPaths TemporaryFileSystem MountImages ExtensionImages
    ExtensionDirectories RootDirectory RootImage RootEphemeral IPCNamespacePath LogNamespace MountFlags MountAPIVFS
""".split()
# What breaks other things that volumes need.
BREAKING = ["PrivateNetwork", "NetworkNamespacePath", "RestrictSUIDSGID", "RestrictFileSystems", "IPAddressDeny"]


def unit(name):
    with open(os.path.join(UNITS, name), encoding="utf-8") as f:
        return f.read()


def settings(text):
    """[(option, value)] of a unit, without comments."""
    return [tuple(part.strip() for part in line.split("=", 1)) for line in text.splitlines()
            if "=" in line and not line.lstrip().startswith(("#", ";"))]


def forbidden(text):
    return sorted({option for option, value in settings(text) if option in HIDING + BREAKING and value not in ("", "no", "false")})


def installed(tmp_path, name):
    """The unit as it would be installed, but for where the program is: verify looks whether it can be run."""
    path = tmp_path / name
    path.write_text(re.sub(r"^(ExecStart)=\S+", rf"\1={RBDVOL}", unit(name), flags=re.M), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("name", [f"rbdvol{at}.{kind}" for at in ("", "@") for kind in ("service", "socket")] +
                         [f"rbdvol-trim{at}.{kind}" for at in ("", "@") for kind in ("service", "timer")])
def test_systemd_finds_nothing_wrong_with_the_units(tmp_path, name):
    for one in os.listdir(UNITS):
        if one.startswith("rbdvol"):
            path = installed(tmp_path, one)
            if one == name:
                checked = path.replace("@.", "@other.") if "@" in one else path
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", checked], capture_output=True, text=True,
                          timeout=60, check=False, env=clean_env(SYSTEMD_UNIT_PATH=f"{tmp_path}:"))
    assert done.returncode == 0 and done.stderr == ""


@pytest.mark.parametrize("name", SERVICES)
def test_the_service_is_as_locked_down_as_a_mounter_can_be(name):
    done = subprocess.run(["systemd-analyze", "security", "--offline=yes", f"--threshold={int(EXPOSURE_MAX * 10)}", "--no-pager",
                           os.path.join(UNITS, name)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout.splitlines()[-1] if done.stdout else done.stderr


@pytest.mark.parametrize("name", SERVICES)
def test_no_option_hides_the_mounts(name):
    assert forbidden(unit(name)) == []


@pytest.mark.parametrize("name", ["rbdvol-trim.service", "rbdvol-trim@.service"])
def test_what_trims_holds_no_mounts_and_is_locked_down(name):
    """It talks to a socket; a mount namespace would keep every volume mounted that was when it began."""
    assert sorted({option for option, _ in settings(unit(name)) if option in HIDING}) == []
    done = subprocess.run(["systemd-analyze", "security", "--offline=yes", f"--threshold={int(EXPOSURE_MAX * 10)}", "--no-pager",
                           os.path.join(UNITS, name)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout.splitlines()[-1] if done.stdout else done.stderr


def test_each_instance_trims_its_own():
    assert ("ExecStart", "/usr/local/sbin/rbdvol trim --all") in settings(unit("rbdvol-trim.service"))
    assert ("ExecStart", "/usr/local/sbin/rbdvol trim --all --name=%i") in settings(unit("rbdvol-trim@.service"))
    assert ("OnCalendar", "weekly") in settings(unit("rbdvol-trim.timer"))


@pytest.mark.parametrize("option", HIDING + BREAKING)
def test_an_option_that_hides_mounts_would_be_found(option):
    text = unit("rbdvol.service").replace("[Service]\n", f"[Service]\n{option}=yes\n")
    assert forbidden(text) == [option]


@pytest.mark.parametrize("name", SERVICES)
def test_docker_does_not_stop_with_the_plugin_and_mappers_not_with_the_daemon(name):
    got = settings(unit(name))
    assert not [option for option, _ in got if option == "RequiredBy"]
    assert ("KillMode", "process") in got
    assert ("Type", "notify") in got and ("StartLimitIntervalSec", "0") in got
    after = " ".join(value for option, value in got if option == "After").split()
    assert {"remote-fs.target", "network-online.target"} <= set(after)
    before = " ".join(value for option, value in got if option == "Before").split()
    assert {"docker.service", "mesos-slave.service", "mesos-agent.service", "nomad.service"} <= set(before)


# -- what is told


class Notified:
    """The other end of sd_notify(3)."""

    def __init__(self, directory, watchdog_ms):
        self.path = f"{directory}/notify.sock"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.env = {"NOTIFY_SOCKET": self.path, "WATCHDOG_USEC": str(watchdog_ms * 1000)}

    def told(self, wanted, seconds):
        """Until a message has this line: its text. None: it never came."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if select.select([self.socket], [], [], left)[0]:
                for line in self.socket.recv(4096).decode().split("\n"):
                    if line.startswith(wanted):
                        return line
        return None

    def forget(self):
        while select.select([self.socket], [], [], 0)[0]:
            self.socket.recv(4096)


@pytest.fixture
def watched_by_systemd(world):
    """A daemon, started by hand, that somebody like systemd listens to; its watchdog has 3 s."""
    notified = Notified(world.dir, 3000)
    made = world.daemon(start=False)
    made.process = Process.spawn([RBDVOL, "serve", *made.flags], made.log, env=clean_env(**notified.env))
    assert notified.told("READY=1", 10), made.log_text()
    return made, notified


def test_systemd_is_told_how_it_stands(watched_by_systemd):
    daemon, notified = watched_by_systemd
    assert notified.told("STATUS=cluster up, 0 volumes mounted", 20)
    daemon.create("db", size="1G", fstype="ext4")
    daemon.mount("db", "a")
    assert notified.told("STATUS=cluster up, 1 volume", 10)
    daemon.unmount("db", "a")


@pytest.mark.parametrize("options, words", [
    ({}, []), ({"socket_mode": "0600", "socket_group": "root"}, []), ({"socket_mode": "0660"}, ["socket-mode"]),
    ({"socket_group": "docker", "socket_mode": "0660"}, ["socket-mode", "socket-group"])])
def test_options_of_a_socket_that_systemd_made_are_said_to_do_nothing(world, options, words):
    notified = Notified(world.dir, 3000)
    made = world.daemon(start=False, **options)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(made.socket)
        listening.listen()
        run = f'LISTEN_PID=$$ LISTEN_FDS=1 exec "$@" 3<&{listening.fileno()}'
        made.process = Process.spawn(["bash", "-c", run, "bash", RBDVOL, "serve", *made.flags], made.log, env=clean_env(**notified.env),
                                     pass_fds=(listening.fileno(),))
        assert notified.told("READY=1", 10), made.log_text()
    said = [line for line in made.log_text().splitlines() if "no effect" in line]
    assert [word for word in ("socket-mode", "socket-group") if any(f"'{word}'" in line for line in said)] == words, said
    assert all("unit" in line for line in said) and (not words or os.stat(made.socket).st_mode & 0o777 != 0o660)
    made.process.signal(signal.SIGTERM)
    until(lambda: not made.process.alive(), "its end", 20)
    os.unlink(made.socket)


PTRACE_DETACH, PTRACE_SEIZE, PTRACE_INTERRUPT = 17, 0x4206, 0x4207


class Frozen:
    """One thread of a process, stopped, while the others go on."""

    def __init__(self, tid):
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
        self.tid = tid

    def _ptrace(self, request):
        if self.libc.ptrace(request, self.tid, None, None) < 0:
            raise OSError(ctypes.get_errno(), f"ptrace {request:#x} of {self.tid}")

    def __enter__(self):
        self._ptrace(PTRACE_SEIZE)
        self._ptrace(PTRACE_INTERRUPT)
        os.waitpid(self.tid, 0x40000000)  # __WALL
        return self

    def __exit__(self, *_):
        self._ptrace(PTRACE_DETACH)


def accepting_threads(pid):
    """libmicrohttpd's: those that do not come and go with a connection."""
    return [tid for tid in process.threads(pid) if process.comm(tid).startswith("MHD-listen")]


def test_the_watchdog_is_fed_as_long_as_requests_are_taken(watched_by_systemd):
    daemon, notified = watched_by_systemd
    for _ in range(3):
        assert notified.told("WATCHDOG=1", 5)
    threads = until(lambda: accepting_threads(daemon.pid), "the thread that accepts", 5)
    assert len(threads) == 1
    with Frozen(threads[0]):
        until(lambda: "watchdog: our own socket does not answer" in daemon.log_text(), "a line in the log", 10)
        notified.forget()
        assert notified.told("WATCHDOG=1", 4) is None
    assert notified.told("WATCHDOG=1", 10), "it does not recover"


def test_the_watchdog_is_fed_while_every_connection_is_taken(watched_by_systemd):
    daemon, notified = watched_by_systemd
    taken = []
    try:
        for _ in range(1030):  # beyond what the server takes; idle ones are closed after 30 s
            s = socket.socket(socket.AF_UNIX)
            s.connect(daemon.socket)
            taken.append(s)
        notified.forget()
        assert notified.told("WATCHDOG=1", 5)
        notified.forget()
        assert notified.told("WATCHDOG=1", 5)
    finally:
        for s in taken:
            s.close()


def test_a_socket_that_was_removed_is_told_of_once_and_not_a_reason_to_be_killed(watched_by_systemd):
    daemon, notified = watched_by_systemd
    os.unlink(daemon.socket)
    try:
        notified.forget()
        for _ in range(3):
            assert notified.told("WATCHDOG=1", 5)
        assert daemon.log_text().count("our socket was removed") == 1
    finally:
        daemon.process.signal(signal.SIGTERM)
        assert daemon.process.wait(20) == 0


def test_draining_is_not_watched(watched_by_systemd):
    daemon, notified = watched_by_systemd
    daemon.process.signal(signal.SIGTERM)
    assert notified.told("WATCHDOG_USEC=0", 5)
    assert daemon.process.wait(20) == 0
