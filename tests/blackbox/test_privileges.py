# SPDX-License-Identifier: MIT
"""What the processes are allowed to do, read from the kernel, thread by thread."""

import glob
import os
import resource
import signal
import subprocess

import mounts
import process
import pytest
from daemon import RBDVOL, clean_env
from waiting import until

BITS = {"CHOWN": 0, "DAC_OVERRIDE": 1, "DAC_READ_SEARCH": 2, "FOWNER": 3, "FSETID": 4, "KILL": 5, "SETGID": 6, "SETUID": 7,
        "SETPCAP": 8, "LINUX_IMMUTABLE": 9, "SYS_PTRACE": 19, "SYS_ADMIN": 21, "SYS_RESOURCE": 24}
DOCUMENTED = sum(1 << bit for bit in BITS.values())


def beyond(pid):
    """Every thread's capabilities beyond the documented ones, as lines."""
    found = []
    for tid, status in process.thread_statuses(pid).items():
        for field in ("CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb"):
            extra = int(status[field], 16) & ~(DOCUMENTED if field in ("CapEff", "CapPrm", "CapBnd") else 0)
            if extra:
                found.append(f"thread {tid} ({status['Name']}): {field} {extra:#x}")
    return found


@pytest.fixture
def busy(daemon):
    """A daemon with a mounted volume and some answered requests: all kinds of threads are there."""
    daemon.create("db", size="1G", fstype="ext4")
    daemon.mount("db", "a")
    yield daemon
    daemon.unmount("db", "a")


def test_no_thread_of_the_daemon_has_more_capabilities_than_documented(busy):
    assert len(process.threads(busy.pid)) > 3
    assert beyond(busy.pid) == []


def test_it_has_what_it_needs(busy):
    effective = int(process.status(busy.pid)["CapEff"], 16)
    granted = int(process.status(os.getpid())["CapEff"], 16)
    for name, bit in BITS.items():
        if granted & 1 << bit:
            assert effective & 1 << bit, f"CAP_{name} was dropped"


def test_no_thread_of_a_mapper_has_more_capabilities_than_documented(busy):
    mappers = busy.mappers()
    assert len(mappers) == 1
    for pid in mappers:
        assert beyond(pid) == []


def test_no_mapper_can_gain_privileges(busy):
    for pid in busy.mappers():
        for tid, status in process.thread_statuses(pid).items():
            assert status["NoNewPrivs"] == "1", f"thread {tid} of pid {pid}"


def test_a_mapper_inherits_no_descriptors(busy):
    daemon_sockets = {os.readlink(f"/proc/{busy.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{busy.pid}/fd")
                      if os.readlink(f"/proc/{busy.pid}/fd/{fd}").startswith("socket:")}
    for pid in busy.mappers():
        links = {int(fd): os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}
        assert [links.get(fd) for fd in (0, 1)] == ["/dev/null", "/dev/null"]
        assert not [link for link in links.values() if link.endswith((".log", ".sock"))]
        assert not daemon_sockets & set(links.values())


def test_a_mapper_ignores_sigterm_while_its_volume_is_mounted(busy):
    ignored = 1 << 14  # SIGTERM is 15, bit 14
    for pid in busy.mappers():
        status = process.status(pid)
        assert (int(status["SigIgn"], 16) | int(status["SigBlk"], 16) | int(status["SigCgt"], 16)) & ignored


def test_a_mapper_is_in_a_session_of_its_own_and_its_name_says_whose_it_is(busy):
    for pid, words in busy.mappers().items():
        assert os.getsid(pid) != os.getsid(busy.pid)
        assert words[0].startswith("@")
        assert busy.name in " ".join(words)


def test_no_secret_is_in_an_argument_a_log_or_a_state_file(world, busy):
    with open(os.path.join(world.cluster.dir, "client.rbdvol.keyring"), encoding="ascii") as f:
        key = f.read().split("key = ")[1].split()[0]
    for pid in [busy.pid, *busy.mappers(), *busy.helpers()]:
        assert key not in " ".join(process.argv(pid))
    assert key not in busy.log_text()
    for name in busy.state_files():
        path = os.path.join(busy.path("state-dir"), name)
        if os.path.isfile(path):
            with open(path, "rb") as f:
                assert key.encode() not in f.read(1 << 20)


def test_only_root_reads_what_the_daemon_writes(busy):
    for option in ("state-dir", "scratch-dir"):
        for folder, _, _ in os.walk(busy.path(option)):
            assert os.stat(folder).st_mode & 0o022 == 0, folder
    assert os.stat(busy.path("state-dir")).st_mode & 0o077 == 0


def test_a_core_of_a_process_with_keys_is_not_readable_by_others(busy):
    for pid in [busy.pid, *busy.mappers()]:
        with open(f"/proc/{pid}/status", encoding="ascii") as f:
            assert "Umask:\t0077" in f.read(), f"pid {pid}"


def crash(words, folder, ready):
    """Runs a program that may leave a core of any size in this folder, and crashes it: has the kernel written one?"""
    with open(f"{folder}/log", "ab") as log:
        child = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder, env=clean_env(),
                                 preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, 2 * resource.getrlimit(resource.RLIMIT_CORE)[1:]))
    with child:
        try:
            ready()
        finally:
            os.kill(child.pid, signal.SIGABRT)  # a sanitizer would catch SIGSEGV
            status = os.waitpid(child.pid, 0)[1]
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGABRT, status
    return os.WCOREDUMP(status)


def test_a_crash_of_the_daemon_leaves_no_core(world):
    """The cluster's key would be in it. A program that is allowed to leave one does, here and now."""
    folder = f"{world.dir}/crash"
    os.makedirs(folder)
    assert crash(["sleep", "60"], folder, lambda: None), "this host writes no cores: the test shows nothing"
    for core in glob.glob(f"{folder}/core*"):
        os.unlink(core)
    daemon = world.daemon(start=False)

    def ready():
        until(lambda: os.path.exists(daemon.socket), "its socket", 20)
        daemon.create("db", size="64M", fstype="ext4")
        daemon.mount("db", "a")

    assert not crash([RBDVOL, "serve", *daemon.flags], folder, ready)
    assert not glob.glob(f"{folder}/core*")
    daemon.start()
    daemon.unmount("db", "a")


def test_a_mapper_and_an_idle_helper_have_less_than_the_daemon(busy):
    """A mapper carries the I/O, and may do nothing else; a helper mounts for the daemon."""
    def effective(pid):
        return int(process.status(pid)["CapEff"], 16)

    assert {effective(pid) for pid in busy.mappers()} == {0}
    for pid in until(busy.idle_helpers, "the helper that is kept for the next Mount", 20):
        assert effective(pid) & ~effective(busy.pid) == 0 and effective(pid) < effective(busy.pid)


def test_who_asked_is_in_the_log(busy):
    assert f"mounted volume=rbd/db id=a peer={os.getpid()} " in busy.log_text()


WITHOUT_PTRACE = ["setpriv", "--bounding-set=-sys_ptrace", "--"]


class WithoutPtrace:
    """What Daemon asks of a host: its processes may not look into others whatever these are, nor have more than who looks."""

    name = "without ptrace"

    def __init__(self):
        self.namespace = process.namespace(os.getpid())

    @staticmethod
    def enter():
        return WITHOUT_PTRACE


def test_no_core_is_written_of_a_process_with_keys_and_no_other_reads_its_memory(world):
    """Both go by PR_SET_DUMPABLE, which shows itself in who may follow /proc/PID/exe."""
    def readable(pid):
        return subprocess.run([*WITHOUT_PTRACE, "readlink", f"/proc/{pid}/exe"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                              timeout=20, check=False).returncode == 0

    with subprocess.Popen([*WITHOUT_PTRACE, "sleep", "60"]) as control:
        until(lambda: process.argv(control.pid)[:1] == ["sleep"], "the control")
        assert readable(control.pid)
        control.kill()
    daemon = world.daemon(host=WithoutPtrace())
    daemon.await_cluster()
    daemon.create("db", size="64M", fstype="ext4")
    daemon.mount("db", "a")
    keepers = [daemon.pid, *daemon.mappers()]
    assert len(keepers) == 2
    assert [pid for pid in keepers if readable(pid)] == []
    for pid in daemon.mappers():
        with open(f"/proc/{pid}/limits", encoding="ascii") as f:
            assert [line.split()[4:6] for line in f if line.startswith("Max core file size")] == [["0", "0"]]
    daemon.unmount("db", "a")


def test_without_ptrace_a_mount_elsewhere_is_named_and_a_working_directory_is_not(world):
    """What the unit gives up, as docs/operations.md says."""
    daemon = world.daemon(host=WithoutPtrace())
    daemon.await_cluster()
    daemon.create("db", size="64M", fstype="ext4")
    for words, named in ((["sleep", "600"], False), (["unshare", "-m", "--propagation", "private", "sleep", "600"], True)):
        path = daemon.mount("db", "a")
        with subprocess.Popen(words, cwd="/" if named else path) as user:
            until(lambda: process.argv(user.pid)[:1] == ["sleep"], "who uses it")
            said = daemon.refused("Unmount", Name="db", ID="a")
            assert "cannot un" in said and (str(user.pid) in said) == named, said
            user.kill()
        until(lambda: not daemon.mappers() and not mounts.at(path), "the unmount", 60)


def test_helpers_are_gone_when_the_work_is_done(busy):
    until(lambda: not busy.zombies(), "the children to be reaped", 5)
