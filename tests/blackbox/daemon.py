# SPDX-License-Identifier: MIT
"""The real `rbdvol serve`, with every path of its own below one directory."""

import os
import select
import shutil
import signal
import socket
import subprocess

import process
import rpc
from pace import BUILD, ROOT
from process import Process
from waiting import TookTooLong, until

RBDVOL = os.path.join(BUILD, "src", "main", "rbdvol")
ANSWERS_IN = 10  # seconds from start to READY=1, on a loaded machine


def clean_env(**more):
    """Our environment without what would configure rbdvol or Ceph behind the test's back."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("RBDVOL_", "CEPH_", "NOTIFY_", "LISTEN_", "DOCKER_"))}
    env.update(more)
    return env


def rbdvol(*words, env=None, timeout=60):
    """Runs the command to its end: returncode, stdout, stderr."""
    return subprocess.run([RBDVOL, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout,
                          check=False, env=env or clean_env())


def is_anothers(pid):
    """A mapper of another build's: an argument vector lies in the process's memory, and one that is stuck there keeps who asks."""
    path = process.program(pid)
    return path.endswith("/mapper/rbdvol-mapper") and not path.startswith(BUILD)


class Daemon:
    """One instance. start() may be called again after stop() or kill(): it is the same instance, restarted."""

    def __init__(self, directory, name, ceph_conf, env=None, host=None, **options):
        """host: the test host that it runs on (host.py); None: this one."""
        self.dir = directory
        self.host = host
        self.name = name
        self.log = os.path.join(directory, f"{name}.log")
        self.env = env or {}
        self.process = None
        self.options = {
            "name": name, "socket": f"{directory}/{name}.sock", "state-dir": f"{directory}/{name}.state",
            "mount-root": f"{directory}/{name}.mnt", "scratch-dir": f"{directory}/{name}.scratch",
            "key-dir": f"{directory}/{name}.keys", "ceph-conf": ceph_conf, "user": "rbdvol", "pool": "rbd",
            "log-level": "debug", "config": f"{directory}/{name}.conf",
        }
        self.options.update({key.replace("_", "-"): value for key, value in options.items()})
        open(self.options["config"], "a", encoding="ascii").close()
        self.given = None  # the options that are given as flags; None: all of them

    def path(self, option):
        return self.options[option]

    @property
    def socket(self):
        return self.options["socket"]

    @property
    def flags(self):
        return [f"--{key}={value}" for key, value in self.options.items() if self.given is None or key in self.given]

    @property
    def pid(self):
        return self.process.pid

    def start(self):
        """Starts it and waits for READY=1. Raises with the log when it ends instead."""
        notify = os.path.join(self.dir, f"{self.name}.notify")
        if os.path.exists(notify):
            os.unlink(notify)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
            s.bind(notify)
            enter = self.host.enter() if self.host else []
            self.process = Process.spawn([*enter, RBDVOL, "serve", *self.flags], self.log,
                                         env=clean_env(NOTIFY_SOCKET=notify, **self.env))
            self._wait_ready(s)
        os.unlink(notify)
        return self

    def _wait_ready(self, s):
        def said_ready():
            if not select.select([s], [], [], 0.05)[0]:
                return not self.process.alive()
            return b"READY=1" in s.recv(4096).split(b"\n")

        until(said_ready, f"READY=1 of {self.name}", ANSWERS_IN, interval=0)
        if not self.process.alive():
            raise AssertionError(f"rbdvol ended at start:\n{self.log_text()}")

    def stop(self):
        """SIGTERM: it must end well, and take its socket along."""
        if self.process is None or not self.process.alive():
            return
        self.process.signal(signal.SIGTERM)
        status = self.process.wait(60)
        assert status == 0, f"rbdvol ended with {status} on SIGTERM"
        assert not os.path.exists(self.socket), f"rbdvol left its socket {self.socket} behind"

    def kill(self):
        """SIGKILL, at once."""
        self.process.kill()

    def restart(self):
        self.stop()
        return self.start()

    def alive(self):
        return self.process is not None and self.process.alive()

    def log_text(self):
        try:
            with open(self.log, encoding="utf-8", errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    # -- requests

    def call(self, method, body=None, **how):
        return rpc.call(self.socket, method, body, **how)

    def must(self, method, **body):
        """A request that must succeed; its answer."""
        reply = self.call(method, body)
        assert reply.status == 200 and not reply.err, f"{method} {body}: {reply.status} {reply.body.decode()}"
        return reply.json

    def refused(self, method, **body):
        """A request that must be refused as an operation (500) or as malformed (400); the sentence."""
        reply = self.call(method, body)
        assert reply.status in (400, 500), f"{method} {body} was not refused: {reply.status} {reply.body.decode()}"
        assert reply.err, f"{method} {body}: refused without a word"
        return reply.err

    def create(self, name, **opts):
        self.must("Create", Name=name, Opts={k.replace("_", "-"): v for k, v in opts.items()} or None)

    def refused_create(self, name, **opts):
        return self.refused("Create", Name=name, Opts={k.replace("_", "-"): v for k, v in opts.items()} or None)

    def mount(self, name, holder):
        return self.must("Mount", Name=name, ID=holder)["Mountpoint"]

    def unmount(self, name, holder):
        self.must("Unmount", Name=name, ID=holder)

    def remove(self, name):
        self.must("Remove", Name=name)

    def get(self, name):
        return self.must("Get", Name=name)["Volume"]

    def names(self):
        return [volume["Name"] for volume in self.must("List")["Volumes"] or []]

    def cli(self, *words):
        return rbdvol(words[0], f"--socket={self.socket}", *words[1:])

    def does(self, *words):
        """A command that must succeed; what it prints."""
        done = self.cli(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def declines(self, *words):
        """A command that must fail with an answer of the daemon's; the sentence."""
        done = self.cli(*words)
        assert done.returncode == 1, done.stdout
        return done.stderr

    def await_cluster(self):
        """Until it is connected: List is the cheapest thing that needs the cluster."""
        until(lambda: self.call("List", {}).status == 200, "the connection to the cluster", 20)
        return self

    def connections(self):
        """How many connections it has accepted and not closed, by the kernel's table (state 03 is connected)."""
        with open("/proc/net/unix", encoding="utf-8") as f:
            return sum(1 for line in f if line.rstrip().endswith(" " + self.socket) and line.split()[5] == "03")

    # -- its processes

    def mappers(self, is_spare=False):
        """pid -> argv of its mapping processes."""
        found = {}
        for pid in process.pids():
            words = process.argv(pid, "rbdvol-mapper") if not is_anothers(pid) else []
            if words and "rbdvol-mapper" in words[0] and self._ours <= set(words) and self._is_here(pid) and is_spare == self._waits(words):
                found[pid] = words
        return found

    def spares(self):
        """pid -> argv of the one that waits for an image."""
        return self.mappers(is_spare=True)

    @staticmethod
    def _waits(words):
        return not any(word.startswith("--mapping=") for word in words)

    @property
    def _ours(self):
        """What its mappers' argv has: instances of one name may be at work elsewhere on this machine."""
        return {f"--instance={self.name}", f"--conf={self.options['ceph-conf']}"}

    def _is_here(self, pid):
        return self.host is None or process.namespace(pid) == self.host.namespace

    def zombies(self):
        return [pid for pid in process.pids() if process.parent(pid) == self.pid and process.stat_fields(pid)
                and process.stat_fields(pid)[0] == "Z"]

    def helpers(self):
        """The rbdvol-device processes below it, but for an idle one."""
        return [pid for pid in process.children(self.pid) for words in [process.argv(pid, "rbdvol-device")]
                if "rbdvol-device" in " ".join(words[:1]) and words[1:2] != ["idle"]]

    def idle_helpers(self):
        """The rbdvol-device process that it keeps for the next request, once it has needed one. It says so a moment after the answer."""
        def idle():
            return [pid for pid in process.children(self.pid) if process.argv(pid)[:2] == ["rbdvol-device", "idle"]]
        try:
            until(idle, "an idle helper", 2)
        except TookTooLong:
            pass
        return idle()

    def state_files(self):
        """What lies in its state directory, without directories."""
        return sorted(os.path.relpath(os.path.join(folder, name), self.path("state-dir"))
                      for folder, _, names in os.walk(self.path("state-dir")) for name in names)

    def erase(self):
        for option in ("state-dir", "mount-root", "scratch-dir"):
            for folder, _, _ in os.walk(self.path(option)):
                subprocess.run(["chattr", "-i", folder], capture_output=True, check=False)
            shutil.rmtree(self.path(option), ignore_errors=True)
        if os.path.exists(self.socket):
            os.unlink(self.socket)  # one without a listener costs every Docker of this host 15 s per `volume ls`


__all__ = ["BUILD", "RBDVOL", "ROOT", "Daemon", "TookTooLong", "clean_env", "rbdvol"]
