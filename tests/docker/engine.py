#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A private dockerd with its own containerd, data, sockets and no network.

    engine.py start DIR        makes it, with everything it has inside DIR
    engine.py stop DIR         ends its containers and it, and removes DIR
    engine.py docker DIR ...   the docker command, talking to it
"""

import argparse
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time

sys.path.insert(1, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "lib"))
import mounts  # noqa: E402
import process  # noqa: E402
from process import Process  # noqa: E402
from waiting import TookTooLong, until  # noqa: E402

MARK = "rbdvol-private-docker"
BUSYBOX = "/bin/busybox"

CONTAINERD_CONF = """\
version = 2
root = "{dir}/containerd"
state = "{dir}/run/containerd"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs",
                    "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper",
                    "io.containerd.internal.v1.opt"]
[grpc]
address = "{dir}/containerd.sock"
"""


class Failed(Exception):
    """A docker command failed; the text has its words."""


class Engine:
    """A dockerd in a directory: start() makes it, stop() takes it away."""

    def __init__(self, directory, spawn=Process.spawn, cgroup=None):
        """spawn: how processes are started: a test host's, for one that runs there. cgroup: above those of its containers."""
        self.dir = os.path.abspath(directory)
        self.host = f"unix://{self.dir}/docker.sock"
        self._spawn = spawn
        self._cgroup = cgroup
        self.as_new = True  # False: a test has restarted dockerd

    # -- its life

    @classmethod
    def start(cls, directory=None, **how):
        self = cls(directory or tempfile.mkdtemp(prefix="rbdvol-docker-"), **how)
        os.makedirs(self.dir, mode=0o700, exist_ok=True)
        if os.listdir(self.dir):
            raise Failed(f"{self.dir} is not empty")
        open(f"{self.dir}/{MARK}", "w", encoding="ascii").close()
        try:
            self._start_containerd()
            self.start_dockerd()
        except BaseException:
            sys.stderr.write(self.logs())
            self.stop()
            raise
        return self

    def _start_containerd(self):
        with open(f"{self.dir}/containerd.toml", "w", encoding="ascii") as f:
            f.write(CONTAINERD_CONF.format(dir=self.dir))
        containerd = self._spawn(["containerd", "--config", f"{self.dir}/containerd.toml", "--log-level", "warn"],
                                 f"{self.dir}/containerd.log")
        containerd.save(f"{self.dir}/containerd.pid")
        until(lambda: os.path.exists(f"{self.dir}/containerd.sock") or not containerd.alive(), "containerd's socket", 20)
        if not containerd.alive():
            raise Failed("containerd ended at once")

    def _start_dockerd(self, live_restore=False):
        with open(f"{self.dir}/daemon.json", "w", encoding="ascii") as f:
            # 20.10 writes a key that it has no use for, to /etc/docker unless told; later ones do not, nor know the option
            old = " 20." in subprocess.run(["dockerd", "--version"], stdout=subprocess.PIPE, text=True, check=True).stdout
            conf = {"deprecated-key-path": f"{self.dir}/key.json"} if old else {}
            if live_restore:
                conf["live-restore"] = True
            json.dump(conf, f)
        words = ["dockerd", f"--config-file={self.dir}/daemon.json", f"--host={self.host}", f"--data-root={self.dir}/data",
                 f"--exec-root={self.dir}/run/docker", f"--pidfile={self.dir}/dockerd.own.pid",
                 f"--containerd={self.dir}/containerd.sock", f"--storage-driver={self._storage_driver()}",
                 "--exec-opt=native.cgroupdriver=cgroupfs", "--bridge=none", "--iptables=false", "--ip6tables=false",
                 "--ip-forward=false", "--ip-masq=false", "--userland-proxy=false", "--log-level=warn",
                 "--shutdown-timeout=3", *([f"--cgroup-parent={self._cgroup}"] if self._cgroup else [])]
        dockerd = self._spawn(words, f"{self.dir}/dockerd.log")
        dockerd.save(f"{self.dir}/dockerd.pid")

    def await_dockerd(self, seconds=40):
        dockerd = self.daemon("dockerd")
        until(lambda: self.answers() or not dockerd.alive(), "dockerd's answer", seconds)
        if not dockerd.alive():
            raise Failed("dockerd ended at once")

    def start_dockerd(self, live_restore=False, wait=True):
        """dockerd again, after stop_dockerd() or kill_dockerd(). With live_restore it leaves containers alone."""
        self._start_dockerd(live_restore)
        if wait:
            self.await_dockerd()

    def stop_dockerd(self):
        """SIGTERM to dockerd alone: containers end with it, unless it was started with live_restore."""
        self.as_new = False
        self.daemon("dockerd").end(30)

    def kill_dockerd(self):
        """SIGKILL to dockerd alone: containers run on until it starts again, and beyond that with live_restore."""
        self.as_new = False
        self.daemon("dockerd").kill()

    def boot(self):
        """containerd and dockerd again, on a host that died and came back: what is kept in /run is gone."""
        shutil.rmtree(f"{self.dir}/run", ignore_errors=True)
        for name in os.listdir(self.dir):
            if name.endswith((".sock", ".ttrpc", ".pid")):
                os.unlink(f"{self.dir}/{name}")
        self._start_containerd()
        self.start_dockerd()

    def renew(self):
        """After a test: a dockerd that runs, without live-restore, and knows only drivers of which it has volumes. False
        when it is that already."""
        if self.as_new:
            return False
        if self.answers():
            self.stop_dockerd()
        self.start_dockerd()
        self.as_new = True
        return True

    def _storage_driver(self):
        """overlay2 where the file system below takes an overlay; the slow vfs, which needs nothing, elsewhere."""
        probe = f"{self.dir}/probe"
        for name in ("lower", "upper", "work", "merged"):
            os.makedirs(f"{probe}/{name}")
        took = subprocess.run(["mount", "-t", "overlay", "overlay", "-o",
                               f"lowerdir={probe}/lower,upperdir={probe}/upper,workdir={probe}/work", f"{probe}/merged"],
                              capture_output=True, check=False).returncode == 0
        if took:
            subprocess.run(["umount", f"{probe}/merged"], check=True)
        shutil.rmtree(probe)
        return "overlay2" if took else "vfs"

    def answers(self):
        try:
            with socket.socket(socket.AF_UNIX) as s:
                s.settimeout(5)
                s.connect(f"{self.dir}/docker.sock")
                s.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
                return b" 200 " in s.recv(200).split(b"\r\n")[0]
        except OSError:
            return False

    def stop(self):
        """Ends containers, dockerd, containerd and shims by pid, unmounts what they left, removes the directory."""
        if not os.path.exists(f"{self.dir}/{MARK}"):
            raise Failed(f"{self.dir} holds no private dockerd")
        dockerd = self.daemon("dockerd")
        if dockerd and dockerd.alive():
            try:
                names = self.docker("ps", "-aq").split()
                if names:
                    self.docker("rm", "-f", *names)
            except (Failed, subprocess.TimeoutExpired):
                pass
        for name in ("dockerd", "containerd"):
            daemon = self.daemon(name)
            if daemon:
                daemon.end(20)
        for pid in self._shims():
            for child in reversed(process.children(pid)):
                Process(child).signal(signal.SIGKILL)
            shim = Process(pid)
            shim.signal(signal.SIGKILL)
            shim.wait()
        mounts.unmount_below(self.dir)
        shutil.rmtree(self.dir)

    def _shims(self):
        """Each container has a shim of its own, which belongs to nobody once containerd is gone."""
        address = f"{self.dir}/containerd.sock"
        return [pid for pid in process.pids() for words in [process.argv(pid, "containerd-shim")]
                if words and "containerd-shim" in words[0] and address in words]

    def daemon(self, name):
        return Process.load(f"{self.dir}/{name}.pid")

    def logs(self):
        text = ""
        for name in ("containerd.log", "dockerd.log"):
            try:
                with open(f"{self.dir}/{name}", encoding="utf-8", errors="replace") as f:
                    text += f"--- {name}\n" + "".join(f.readlines()[-20:])
            except FileNotFoundError:
                continue
        return text

    # -- its client

    def env(self):
        env = {k: v for k, v in os.environ.items() if not k.startswith("DOCKER_")}
        env.update(DOCKER_HOST=self.host, DOCKER_CONFIG=f"{self.dir}/client", DOCKER_CLI_HINTS="false")
        return env

    def run(self, *words, input=None, timeout=180):
        """A docker command; its result with returncode, stdout and stderr, whatever they are."""
        return subprocess.run(["docker", *words], input=input if input is not None else b"", capture_output=True,
                              timeout=timeout, check=False, env=self.env())

    def docker(self, *words, input=None, timeout=180):
        """A docker command that must succeed; its standard output as text."""
        done = self.run(*words, input=input, timeout=timeout)
        if done.returncode:
            raise Failed(f"docker {' '.join(words)}: exit {done.returncode}: {done.stderr.decode(errors='replace').strip()}")
        return done.stdout.decode(errors="replace")

    def import_image(self, name, files=(), changes=()):
        """An image of busybox alone, with files (path -> text) added to it, without any registry."""
        words = [word for change in changes for word in ("--change", change)]
        self.docker("import", *words, "-", name, input=busybox_tar(dict(files)))


def busybox_tar(files):
    applets = subprocess.run([BUSYBOX, "--list"], stdout=subprocess.PIPE, text=True, check=True).stdout.split()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        def add(path, kind, mode, data=b"", link=""):
            entry = tarfile.TarInfo(path)
            entry.type, entry.mode, entry.size, entry.linkname = kind, mode, len(data), link
            tar.addfile(entry, io.BytesIO(data))

        for directory in ("bin", "etc", "tmp", "proc", "sys", "dev"):
            add(directory, tarfile.DIRTYPE, 0o1777 if directory == "tmp" else 0o755)
        with open(BUSYBOX, "rb") as f:
            add("bin/busybox", tarfile.REGTYPE, 0o755, f.read())
        for applet in applets:
            if applet != "busybox":
                add(f"bin/{applet}", tarfile.SYMTYPE, 0o777, link="busybox")
        files = {"etc/passwd": "root:x:0:0:root:/:/bin/sh\n", "etc/group": "root:x:0:\n", **files}
        made = {"etc"}
        for path, text in files.items():
            above = os.path.dirname(path)
            if above and above not in made:
                add(above, tarfile.DIRTYPE, 0o755)
                made.add(above)
            add(path, tarfile.REGTYPE, 0o644, text.encode())
    return buffer.getvalue()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("start", "stop", "docker"))
    parser.add_argument("dir")
    parser.add_argument("words", nargs=argparse.REMAINDER)
    args = parser.parse_args()
    engine = Engine(args.dir)
    try:
        if args.action == "start":
            began = time.monotonic()
            Engine.start(args.dir)
            print(f"dockerd up in {time.monotonic() - began:.1f} s: DOCKER_HOST={engine.host}")
        elif args.action == "stop":
            engine.stop()
        else:
            os.execvpe("docker", ["docker", *args.words], engine.env())
    except (Failed, TookTooLong) as e:
        sys.exit(f"engine.py: {e}")


if __name__ == "__main__":
    main()
