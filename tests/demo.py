# SPDX-License-Identifier: MIT
"""The story that ./demo tells. Every sentence is checked before it is said."""

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, name) for name in ("lib", "ceph", "docker", "blackbox")]

import mounts  # noqa: E402
from cluster import Cluster  # noqa: E402
from daemon import RBDVOL, Daemon  # noqa: E402
from engine import Engine  # noqa: E402
from host import Host  # noqa: E402
from network import Network  # noqa: E402
from process import Process  # noqa: E402

PLUGINS = "/run/docker/plugins"


def say(text):
    print(text, flush=True)


def timed(action, *args, **how):
    began = time.monotonic()
    result = action(*args, **how)
    return result, time.monotonic() - began


def check(condition, complaint):
    if not condition:
        raise AssertionError(complaint)


class Demo:
    """Everything that is up, below one directory."""

    def __init__(self, directory):
        self.dir = directory
        self.driver = "rbd"
        self.cluster = self.daemon = self.engine = self.network = None
        self.hosts = []

    def start(self):
        taken = [f"{PLUGINS}/rbd.sock"] + [f"{folder}/rbd.{kind}" for folder in ("/etc/docker/plugins", "/usr/lib/docker/plugins")
                                           for kind in ("spec", "json")]
        if any(os.path.exists(path) for path in taken):
            self.driver = f"rbd-demo-{os.getpid()}"
        self.network = Network(daemons=1)
        with open(f"{self.dir}/network", "w", encoding="ascii") as f:
            f.write(self.network.bridge)
        self.cluster, took = timed(Cluster.start, f"{self.dir}/ceph", self.network.addresses[0])
        say(f"A private Ceph cluster is up after {took:.1f} s: one monitor and one OSD on a network of their own, a pool 'rbd', and "
            "a key client.rbdvol with the caps 'profile rbd'.")
        self.daemon = self._daemon()
        os.makedirs(PLUGINS, mode=0o700, exist_ok=True)
        _, took = timed(self.daemon.start)
        self.daemon.process.save(f"{self.dir}/rbdvol.pid")
        with open(f"{self.dir}/driver", "w", encoding="ascii") as f:
            f.write(self.driver)
        self.daemon.await_cluster()
        say(f"rbdvol serves Docker's volume protocol on {self.daemon.socket}; it was ready after {took * 1000:.0f} ms.")
        self.engine, took = timed(Engine.start, f"{self.dir}/docker")
        self.engine.import_image("busybox")
        say(f"A private dockerd is up after {took:.1f} s, with an image made of this machine's busybox.")

    def _daemon(self):
        return Daemon(self.dir, self.driver, f"{self.dir}/ceph/ceph.conf", socket=f"{PLUGINS}/{self.driver}.sock", log_level="info")

    @classmethod
    def found(cls, directory):
        """What an earlier `./demo --keep` left up."""
        self = cls(directory)
        with open(f"{directory}/driver", encoding="ascii") as f:
            self.driver = f.read()
        with open(f"{directory}/network", encoding="ascii") as f:
            self.network = Network.found(f.read())
        self.cluster, self.engine = Cluster(f"{directory}/ceph"), Engine(f"{directory}/docker")
        self.daemon = self._daemon()
        self.daemon.process = Process.load(f"{directory}/rbdvol.pid")
        return self

    def run(self, *words):
        return self.engine.docker("run", "--network=none", f"--volume-driver={self.driver}", "-v", "db:/data", *words).strip()

    def tell(self):
        create = f"docker volume create -d {self.driver} -o size=1G db"
        _, took = timed(self.engine.docker, *create.split()[1:])
        info = self.cluster.info("db")
        check(info["size"] == 1 << 30, info)
        say(f"`{create}` made the image rbd/db of 1 GiB, born with an xfs on it, in {took * 1000:.0f} ms.")

        _, took = timed(self.run, "-d", "--name=writer", "busybox", "sh", "-c",
                        "echo 'hello from the first container' >/data/greeting; sync; sleep 100000")
        status = self.daemon.get("db")["Status"]
        point = self.daemon.get("db")["Mountpoint"]
        say(f"`docker run --volume-driver={self.driver} -v db:/data …` started a container that writes to the volume, in "
            f"{took * 1000:.0f} ms.")
        lock = self.cluster.locks(self.cluster.header("db"))["rbd_lock"][0]
        say(f"While it runs, {lock['name']} at {lock['address'] if 'address' in lock else lock['addr']} holds the image's lock: no "
            "other host can write to it.")
        mount = mounts.at(point)
        check(mount and mount.source == status["device"], f"{point} is not mounted from {status['device']}")
        say(f"The image is the block device {status['device']} on this host.")
        say(f"The device is mounted as {mount.fstype} at {point}.")

        _, took = timed(self.engine.docker, "rm", "-f", "writer")
        check(mounts.at(point) is None, f"{point} is still mounted")
        # another program may have taken a device of this name by now
        check(not mounts.loops().get(status["device"], "").startswith(self.dir), f"{status['device']} is still in use")
        check(self.cluster.locks(self.cluster.header("db")) == {}, "the image is still locked")
        check(self.daemon.mappers() == {}, "a mapper still runs")
        say(f"Stopping the container took {took * 1000:.0f} ms; mount, device and lock are gone.")

        said = self.run("--rm", "--name=reader", "busybox", "cat", "/data/greeting")
        check(said == "hello from the first container", f"it read '{said}'")
        say(f"A second container read it back: '{said}'.")

        self.engine.docker("volume", "rm", "db")
        check(self.cluster.images() == [], "the image is still there")
        check([entry["name"] for entry in self.cluster.trash()] == ["db"], "the image is not in the trash")
        say("`docker volume rm db` moved the image to the pool's trash, from where it can be restored.")

    def tell_of_hosts(self):
        """The second act: a volume is in one place, whatever happens to hosts."""
        for name in ("amber", "birch"):
            self.hosts.append(Host(self.network, self.cluster, self.dir, name))
        first, second = (host.daemon(takeover="silent", log_level="info") for host in self.hosts)
        say("Two more hosts join, amber and birch: network namespaces with names, addresses and identities of their own, each with "
            "its rbdvol (takeover=silent).")
        first.create("ledger", size="400M")
        point = first.mount("ledger", "container-on-amber")
        self.hosts[0].run("sh", "-c", f"echo 'paid: 42' >{point}/account && sync {point}/account")
        say("amber mounts the volume 'ledger' for a container, which writes a line and syncs it.")

        refused, took = timed(second.refused, "Mount", Name="ledger", ID="container-on-birch")
        check("in use on host amber" in refused, refused)
        say(f"birch asks for it, too, and is refused after {took * 1000:.0f} ms: \"{refused}\".")

        self.hosts[0].die()
        say("amber loses its power. Nobody tells the cluster.")
        point, took = timed(second.mount, "ledger", "container-on-birch")
        said = self.hosts[1].run("cat", f"{point}/account").stdout.strip()
        check(said == "paid: 42", f"it read '{said}'")
        say(f"birch asks once more. amber leaves two pings unanswered while the cluster is quick; birch has its client fenced, so "
            f"that no write of it can land any more, breaks its lock and mounts the volume, {took:.1f} s after it was asked.")
        say(f"The container on birch reads '{said}'.")
        second.unmount("ledger", "container-on-birch")
        for host in self.hosts:
            host.close()
        self.hosts.clear()

    def stop(self):
        """Takes down whatever of it is up, from the top."""
        if self.engine and os.path.isdir(self.engine.dir):
            self.engine.stop()
        if self.daemon and self.daemon.process:
            self.daemon.process.end(60)
            for pid in self.daemon.mappers():
                Process(pid).wait(20)
        for host in self.hosts:
            host.close()
        mounts.unmount_below(self.dir)
        if self.daemon:
            self.daemon.erase()
        if self.cluster and os.path.isdir(self.cluster.dir):
            self.cluster.stop()
        if self.network:
            self.network.close()
        shutil.rmtree(self.dir)

    def how_to_use(self):
        say(f"""
It is left up. To use it:
    export DOCKER_HOST={self.engine.host}
    docker run -it --rm --network=none --volume-driver={self.driver} -v db:/data busybox sh
    docker volume create -d {self.driver} -o size=20G -o fstype=ext4 other
    {RBDVOL} ls --socket={self.daemon.socket}
    {self.cluster_command()} rbd {self.cluster.dir} ls
What rbdvol does is told in {self.daemon.log}.
To take it down:
    {os.path.join(os.path.dirname(HERE), 'demo')} --down {self.dir}""")

    @staticmethod
    def cluster_command():
        return os.path.join(HERE, "ceph", "cluster.py")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--down", metavar="DIR")
    args = parser.parse_args()
    if args.down:
        Demo.found(os.path.abspath(args.down)).stop()
        say("All is taken down.")
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    demo = Demo(tempfile.mkdtemp(prefix="rbdvol-demo-", dir="/tmp"))
    keep = False
    try:
        demo.start()
        demo.tell()
        demo.tell_of_hosts()
        keep = args.keep
    except Exception as e:
        say(f"The demo failed: {e}")
        if demo.daemon:
            sys.stderr.write(f"--- what rbdvol said\n{demo.daemon.log_text()}")
        sys.exit(1)
    finally:
        if not keep:
            demo.stop()
    if keep:
        demo.how_to_use()
    else:
        say("Containers, dockerd, rbdvol and the cluster are ended, and nothing is left of them.")


if __name__ == "__main__":
    main()
