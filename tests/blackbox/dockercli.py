# SPDX-License-Identifier: MIT
"""The docker command with rbdvol as its volume driver."""

import io
import os
import socket
import subprocess
import tarfile

import mounts
from waiting import until

PLUGINS = "/run/docker/plugins"
# one name for the session: dockerd never forgets a driver, and waits 15 s in `volume ls` for one that has gone
DRIVER = f"rbdtest-{os.getpid()}"


def sweep_plugins():
    """Takes away the sockets that a killed run left: one without a listener costs 15 s in each `volume ls`."""
    for name in os.listdir(PLUGINS):
        if name.startswith("rbdtest-") and name.endswith(".sock"):
            with socket.socket(socket.AF_UNIX) as s:
                try:
                    s.connect(f"{PLUGINS}/{name}")
                except ConnectionRefusedError:
                    os.unlink(f"{PLUGINS}/{name}")


class Docker:
    """The private dockerd with a daemon as its volume driver. With a relay between them, `seen` is what was asked."""

    def __init__(self, engine, daemon, relay=None):
        self.engine = engine
        self.daemon = daemon
        self.driver = daemon.name
        self.seen = relay

    def __call__(self, *words, **how):
        return self.engine.docker(*words, **how).strip()

    def refused(self, *words, **how):
        """A command that must fail; what it said."""
        done = self.engine.run(*words, **how)
        assert done.returncode != 0, f"docker {' '.join(words)} was not refused"
        return done.stderr.decode()

    def begin(self, *words):
        """A command in the background; its end is waited for with communicate()."""
        return subprocess.Popen(["docker", *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                text=True, env=self.engine.env())

    # -- what tests say often

    def create(self, name, **opts):
        words = [word for key, value in opts.items() for word in ("-o", f"{key.replace('_', '-')}={value}")]
        return self("volume", "create", "-d", self.driver, *words, name)

    def with_volume(self, volume, path="/data"):
        """The words that give a container a volume of this driver."""
        return "--network=none", f"--volume-driver={self.driver}", "-v", f"{volume}:{path}"

    def sh(self, volume, script, image="box"):
        """Runs a shell in a container with the volume at /data, to its end."""
        return self("run", "--rm", *self.with_volume(volume), image, "sh", "-c", script)

    def start(self, volume, script, name, image="box", more=()):
        """A container that goes on running."""
        self("run", "-d", *self.with_volume(volume), f"--name={name}", *more, image, "sh", "-c", script)

    def running(self, container):
        return self("inspect", "-f", "{{.State.Running}}", container) == "true"

    def ended(self, container):
        until(lambda: not self.running(container), f"the end of container {container}")

    def writes(self, container):
        """Does its volume at /data still take and give back data?"""
        return self("exec", container, "sh", "-c", "echo alive | dd conv=fsync of=/data/.probe 2>/dev/null && cat /data/.probe && rm /data/.probe") == "alive"

    # -- what rbdvol has

    def mounted(self):
        """What is mounted below its mount root."""
        return [m.point for m in mounts.below(self.daemon.path("mount-root"))]

    def holders(self, volume):
        """Mount ID -> count."""
        return {one["ID"]: one["Count"] for one in self.daemon.get(volume)["Status"]["holders"]}

    def clean(self):
        def emptied():
            """Whoever removes a container at the same time (--rm, a test's thread that was left) does it for us."""
            containers = self("ps", "-aq").split()
            if containers:
                self.engine.run("rm", "-f", "-v", *containers)
            return not containers

        until(emptied, "all containers to be removed", 60)
        volumes = self("volume", "ls", "-q").split("\n")
        if volumes != [""]:
            self.engine.run("volume", "rm", "-f", *volumes)


def tar_of(name, data):
    """What `docker cp - CONTAINER:DIR` takes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        entry = tarfile.TarInfo(name)
        entry.size = len(data)
        tar.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def file_in(tar_bytes, name):
    """One file's content out of what `docker cp CONTAINER:FILE -` gives."""
    with tarfile.open(fileobj=io.BytesIO(tar_bytes)) as tar:
        return tar.extractfile(name).read()
