#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A private one-node Ceph cluster: one monitor, one OSD in memory (or several), a pool for images, a key for rbdvol.

    cluster.py start DIR [--address=IP] [--osd=IP...]    makes it, with everything it has inside DIR; an OSD for each --osd
    cluster.py stop DIR                                  ends it and removes DIR
    cluster.py pause|resume DIR mon|osd|osd1             SIGSTOP, SIGCONT
    cluster.py ceph|rbd|rados DIR ...      the command, as its administrator

rbdvol reaches it with --ceph-conf=DIR/ceph.conf --user=rbdvol.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid

sys.path.insert(1, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "lib"))
from process import Process  # noqa: E402
from waiting import TookTooLong, until  # noqa: E402

POOL = "rbd"
USER = "rbdvol"
MARK = "rbdvol-private-cluster"
FULL = 32 << 30  # bytes; memory is taken for what is written only

CONF = """\
# A private cluster for tests; nothing outside of {dir} belongs to it.
[global]
fsid = {fsid}
mon host = [v2:{address}:{v2},v1:{address}:{v1}]
public addr = {address}
cluster addr = {address}
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
auth allow insecure global id reclaim = false
mon warn on pool no redundancy = false
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pg autoscale mode = off
mon allow pool size one = true
mon allow pool delete = true
osd crush chooseleaf type = 0
{settings}run dir = {dir}
crash dir = {dir}
log file = /dev/null
[client]
admin socket =
[client.admin]
keyring = {dir}/client.admin.keyring
[client.{user}]
keyring = {dir}/client.{user}.keyring
[mon]
mon data = {dir}/mon
mon data avail warn = 2
mon data avail crit = 1
mon cluster log file = {dir}/cluster.log
keyring = {dir}/mon.keyring
log file = {dir}/$name.log
admin socket = {dir}/$name.asok
[osd]
osd objectstore = memstore
memstore device bytes = {full}
osd snap trim sleep hdd = 0
log file = {dir}/$name.log
admin socket = {dir}/$name.asok
"""

OSD_CONF = """\
[osd.{number}]
public addr = {address}
cluster addr = {address}
osd data = {dir}/{name}
keyring = {dir}/{name}/keyring
"""


def osd_name(number):
    """What its process, its directory and the arguments of pause() are called."""
    return f"osd{number or ''}"


def _free_ports(address, count):
    """Ports on which nobody listens now; whoever is quicker makes the monitor fail, and start() choose anew."""
    held = [socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) for _ in range(count)]
    try:
        for s in held:
            s.bind((address, 0))
        return [s.getsockname()[1] for s in held]
    finally:
        for s in held:
            s.close()


class Failed(Exception):
    """An administrator's command failed; the text has its words."""


class Cluster:
    """A cluster in a directory: start() makes it, stop() takes it away."""

    def __init__(self, directory):
        self.dir = os.path.abspath(directory)
        self.conf = os.path.join(self.dir, "ceph.conf")
        self.pool = POOL
        self.user = USER
        self.has_snapshots = False  # a test that makes some says so

    # -- its life

    @classmethod
    def start(cls, directory=None, address="127.0.0.1", osds=None, settings=None):
        """osds: the addresses of its OSDs, one each; the monitor's by default. settings: for [global] of ceph.conf."""
        self = cls(directory or tempfile.mkdtemp(prefix="rbdvol-ceph-"))
        osds = osds or [address]
        os.makedirs(self.dir, mode=0o700, exist_ok=True)
        if os.listdir(self.dir):
            raise Failed(f"{self.dir} is not empty")
        open(os.path.join(self.dir, MARK), "w", encoding="ascii").close()
        try:
            for attempt in range(3):
                try:
                    self._make_mon(address, osds, settings or {})
                    break
                except TookTooLong:
                    if attempt == 2:
                        raise
                    self._end("mon")
                    shutil.rmtree(os.path.join(self.dir, "mon"))
                    for number in range(len(osds)):
                        shutil.rmtree(os.path.join(self.dir, osd_name(number)))
            for number in range(len(osds)):
                self._make_osd(number)
            # a pool that is made before all are there would have to move
            until(lambda: len(self.osd_addresses()) == len(osds), "the OSDs to be up", 30)
            self.ceph("osd", "pool", "create", POOL, "8", "8", "replicated")
            self.ceph("osd", "pool", "application", "enable", POOL, "rbd")
            until(self._active, "the placement groups to become active", 30)
            self.rbd("pool", "init", POOL)
            # born quickly; from here on as slow as any other
            self.ceph("tell", "mon.a", "config", "set", "paxos_propose_interval", "1.0")
        except BaseException as e:
            if isinstance(e, (Failed, TookTooLong)):
                sys.stderr.write(self.logs())
            self.stop()
            raise
        return self

    def _tool(self, *words):
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
                              env=self.env())
        if done.returncode:
            raise Failed(f"{' '.join(words)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def env(self):
        """The environment of a process that is to reach this cluster and no other."""
        env = {k: v for k, v in os.environ.items() if not k.startswith("CEPH_")}
        env["CEPH_CONF"] = self.conf
        env["CEPH_ARGS"] = ""
        return env

    def _make_mon(self, address, osds, settings):
        v2, v1 = _free_ports(address, 2)
        fsid = str(uuid.uuid4())
        if len(osds) == 1:
            # An OSD that was stopped for longer than its lease to read (16 s) may never renew that again: its PGs stay "laggy",
            # and whatever asks them hangs (seen with 16.2.15 on a loaded machine). Without peers it needs none.
            settings = {"osd pool default read lease ratio": 1000, **settings}
        with open(self.conf, "w", encoding="ascii") as f:
            f.write(CONF.format(dir=self.dir, fsid=fsid, address=address, v2=v2, v1=v1, user=USER, full=FULL,
                                settings="".join(f"{key} = {value}\n" for key, value in settings.items())))
            for number, where in enumerate(osds):
                f.write(OSD_CONF.format(dir=self.dir, number=number, address=where, name=osd_name(number)))
        os.makedirs(f"{self.dir}/mon")
        for number in range(len(osds)):
            os.makedirs(f"{self.dir}/{osd_name(number)}")
        # the monitor is born with all keys: each one made later would cost a second
        self._key("mon.keyring", "mon.", mon="allow *")
        for file, name, caps in (("client.admin.keyring", "client.admin", {"mon": "allow *", "osd": "allow *", "mgr": "allow *"}),
                                 (f"client.{USER}.keyring", f"client.{USER}", {"mon": "profile rbd", "osd": "profile rbd"}),
                                 *((f"{osd_name(n)}/keyring", f"osd.{n}", {"mon": "allow profile osd", "osd": "allow *"})
                                   for n in range(len(osds)))):
            self._key(file, name, **caps)
            self._tool("ceph-authtool", f"{self.dir}/mon.keyring", "--import-keyring", f"{self.dir}/{file}")
        monmap = f"{self.dir}/monmap"
        self._tool("monmaptool", "--create", "--clobber", "--fsid", fsid, "--addv", "a",
                   f"[v2:{address}:{v2},v1:{address}:{v1}]", monmap)
        self._tool("ceph-mon", "--mkfs", "-i", "a", "-c", self.conf, "--monmap", monmap, "--keyring",
                   f"{self.dir}/mon.keyring")
        mon = Process.spawn(["ceph-mon", "-f", "-i", "a", "-c", self.conf, "--paxos-propose-interval=0.05"], f"{self.dir}/mon.out", env=self.env())
        mon.save(f"{self.dir}/mon.pid")
        asok = f"{self.dir}/mon.a.asok"
        until(lambda: os.path.exists(asok) or not mon.alive(), "the monitor to start", 20)
        if not mon.alive():
            raise TookTooLong("the monitor ended at once")

    def _key(self, file, name, **caps):
        words = [word for service, cap in caps.items() for word in ("--cap", service, cap)]
        self._tool("ceph-authtool", "-C", f"{self.dir}/{file}", "--gen-key", "-n", name, *words)

    def _make_osd(self, number):
        osd, name = str(uuid.uuid4()), osd_name(number)
        self.ceph("osd", "new", osd)
        self._tool("ceph-osd", "--mkfs", "-i", str(number), "-c", self.conf, "--osd-uuid", osd)
        Process.spawn(["ceph-osd", "-f", "-i", str(number), "-c", self.conf], f"{self.dir}/{name}.out",
                      env=self.env()).save(f"{self.dir}/{name}.pid")

    def _active(self):
        """A monitor without a manager knows no placement groups: ask the OSD, by writing an object to each."""
        try:
            self._tool("timeout", "10", "rados", "-c", self.conf, "-p", POOL, "ls")
        except Failed:
            return False
        return True

    def stop(self):
        """Ends the daemons by pid and removes the directory. What is not a cluster of ours is left alone."""
        if not os.path.exists(os.path.join(self.dir, MARK)):
            raise Failed(f"{self.dir} holds no private cluster")
        for name in reversed(self.daemons()):
            self._end(name)
        shutil.rmtree(self.dir)

    def _end(self, name):
        process = self.daemon(name)
        if process is None:
            return
        # nothing in it is worth a clean end, which takes seconds
        process.kill()
        os.unlink(f"{self.dir}/{name}.pid")

    def daemons(self):
        """The names of its processes: mon, osd, osd1, ..."""
        return sorted(name[:-4] for name in os.listdir(self.dir) if name.endswith(".pid"))

    def daemon(self, name):
        return Process.load(f"{self.dir}/{name}.pid")

    def pause(self, name):
        """SIGSTOP of "mon" or "osd": it is there, and answers nothing."""
        process = self.daemon(name)
        process.signal(signal.SIGSTOP)

    def start_monitor(self):
        """Again, after its process was killed: the OSDs keep everything in memory, the monitor on disk."""
        mon = Process.spawn(["ceph-mon", "-f", "-i", "a", "-c", self.conf], f"{self.dir}/mon.out", env=self.env())
        mon.save(f"{self.dir}/mon.pid")

    def resume(self, name):
        self.daemon(name).signal(signal.SIGCONT)

    @contextlib.contextmanager
    def paused(self, *names):
        for name in names:
            self.pause(name)
        try:
            yield
        finally:
            for name in names:
                self.resume(name)

    def resume_all(self):
        for name in self.daemons():
            self.resume(name)

    def logs(self):
        """The end of what its daemons said."""
        text = ""
        for name in sorted(n for n in os.listdir(self.dir) if n.endswith((".out", ".log"))):
            try:
                with open(os.path.join(self.dir, name), encoding="utf-8", errors="replace") as f:
                    text += f"--- {name}\n" + "".join(f.readlines()[-15:])
            except FileNotFoundError:
                continue
        return text

    # -- its administrator

    def ceph(self, *words):
        return self._tool("ceph", "-c", self.conf, "--connect-timeout", "20", *words)

    def rbd(self, *words):
        return self._tool("rbd", "-c", self.conf, *words)

    def rados(self, *words, pool=POOL, namespace=None):
        where = ["-p", pool] + (["-N", namespace] if namespace else [])
        return self._tool("rados", "-c", self.conf, *where, *words)

    # -- what is in it

    def images(self, where=POOL):
        return json.loads(self.rbd("ls", where, "--format", "json"))

    def info(self, image):
        return json.loads(self.rbd("info", image if "/" in image else f"{POOL}/{image}", "--format", "json"))

    def metadata(self, image):
        return json.loads(self.rbd("image-meta", "list", image if "/" in image else f"{POOL}/{image}", "--format", "json")
                          or "{}")

    def trash(self, where=POOL):
        return json.loads(self.rbd("trash", "ls", where, "--format", "json"))

    def objects(self, prefix="", namespace=None, pool=POOL):
        return [o for o in self.rados("ls", pool=pool, namespace=namespace).split("\n") if o and o.startswith(prefix)]

    def everything(self, pool=POOL):
        """(namespace, object) of all objects in the pool."""
        found = []
        for line in self.rados("--all", "ls", pool=pool).split("\n"):
            if line:
                namespace, _, name = line.partition("\t")
                found.append((namespace, name))
        return found

    def header(self, image):
        return "rbd_header." + self.info(image)["id"]

    def has_header(self, image):
        """Not while it is being made, or when that was cut off."""
        return (f"rbd_id.{image}" in self.objects("rbd_id.") and
                "rbd_header." + self.rados("get", f"rbd_id.{image}", "-")[4:] in self.objects("rbd_header."))

    def locks(self, header, namespace=None, pool=POOL):
        """Lock name -> list of its lockers (name, cookie, address) on an object."""
        found = {}
        for lock in json.loads(self.rados("lock", "list", header, pool=pool, namespace=namespace))["locks"]:
            info = json.loads(self.rados("lock", "info", header, lock["name"], pool=pool, namespace=namespace))
            if info["lockers"]:
                found[lock["name"]] = info["lockers"]
        return found

    def watchers(self, header, namespace=None, pool=POOL):
        return [w for w in self.rados("listwatchers", header, pool=pool, namespace=namespace).split("\n") if w]

    def clients(self, user=USER):
        """The addresses, as `osd blocklist add` takes them, of the clients of a user that the monitor knows of now."""
        sessions = json.loads(self._tool("ceph", "-c", self.conf, "daemon", f"{self.dir}/mon.a.asok", "sessions"))
        return sorted(f"{s['socket_addr']['addr']}/{s['socket_addr']['nonce']}" for s in sessions
                      if s["entity_name"] == f"client.{user}" and s["open"])

    def osd_addresses(self):
        """Number -> addresses as ip:port, of the OSDs that are up."""
        return {osd["osd"]: [a["addr"] for a in osd["public_addrs"]["addrvec"]]
                for osd in json.loads(self.ceph("osd", "dump", "--format", "json"))["osds"] if osd["up"]}

    def primary(self, name, pool=POOL):
        """The number of the OSD that has an object."""
        return json.loads(self.ceph("osd", "map", pool, name, "--format", "json"))["acting_primary"]

    def blocklist(self):
        """Address with nonce -> until when, as the monitor writes it."""
        return json.loads(self.ceph("osd", "dump", "--format", "json"))["blocklist"]

    def set(self, daemon, option, value):
        """Changes a setting of "mon" or of all "osd" while they run."""
        for name in ["mon.a"] if daemon == "mon" else [f"osd.{n}" for n in self.osd_addresses()]:
            self.ceph("tell", name, "config", "set", option, str(value))

    def conf_with(self, path, settings):
        """Makes at path a ceph.conf of this cluster that says more. Returns the path."""
        with open(self.conf, encoding="ascii") as f, open(path, "w", encoding="ascii") as out:
            out.write(f.read() + "[client]\n" + "".join(f"{key} = {value}\n" for key, value in settings.items()))
        return path

    def conf_for(self, user, path, **caps):
        """Makes a user with these capabilities, and at path a ceph.conf that knows its key. Returns the path."""
        keyring = f"{self.dir}/client.{user}.keyring"
        self.ceph("auth", "get-or-create", f"client.{user}", *[word for pair in caps.items() for word in pair], "-o", keyring)
        with open(self.conf, encoding="ascii") as f, open(path, "w", encoding="ascii") as out:
            out.write(f"{f.read()}[client.{user}]\nkeyring = {keyring}\n")
        return path

    def break_locks(self, image):
        """Takes away every lock in the managed lock's place, whoever has it."""
        for who in self.locks(self.header(image)).get("rbd_lock", []):
            self.rbd("lock", "rm", image if "/" in image else f"{POOL}/{image}", who["cookie"], who["name"])

    def locks_left(self, pool=POOL):
        """One line for each lock that anybody has on any image's header."""
        return [f"{namespace + '/' if namespace else ''}{name}: {lock} held by {who['name']} {who['cookie']}"
                for namespace, name in self.everything(pool) if name.startswith("rbd_header.")
                for lock, holders in self.locks(name, namespace, pool).items() for who in holders]

    def purge(self, pool=POOL):
        """Removes all images as librbd does, which takes their snapshots along: an object that is deleted below a snapshot
        stays in the pool, and can neither be read nor removed. Clones go before what they are made of."""
        for _ in range(4):
            for entry in self.trash(pool):
                self._try("trash", "rm", "--force", "--no-progress", f"{pool}/{entry['id']}")
            for image in self.images(pool):
                self._try("snap", "purge", "--no-progress", f"{pool}/{image}")
                self._try("rm", "--no-progress", f"{pool}/{image}")
            if not self.images(pool) and not self.trash(pool):
                break
        # the OSD trims what only snapshots had in its own time
        until(lambda: not self.objects("rbd_data.") and not self.objects("rbd_header."), "the snapshots to be trimmed", 60, interval=0.2)

    def _try(self, *words):
        try:
            self.rbd(*words)
        except Failed:
            pass

    def wipe(self, pool=POOL):
        """Empties the pool below the heads of all clients: every object but rbd_info. Nobody may have anything open."""
        if self.has_snapshots:
            self.purge(pool)
            self.has_snapshots = False
        until(lambda: self._empty(pool), "what only snapshots had to be trimmed", 60, interval=0.3)
        # what one test filled is none of the next one's business
        until(lambda: self.used() < FULL // 2, lambda: f"the OSD to have room again; it counts {self.used()} bytes", 60, interval=0.3)

    def used(self):
        """Bytes that the first OSD has, as it counted them last (every few seconds)."""
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(20)
            s.connect(f"{self.dir}/osd.0.asok")
            s.sendall(b'{"prefix": "perf dump", "logger": "osd", "counter": "stat_bytes_used"}\0')
            with s.makefile("rb") as answer:
                answer.read(4)  # its length
                return json.loads(answer.read())["osd"]["stat_bytes_used"]

    def _empty(self, pool):
        """False: an object that is listed is not there, since a snapshot that was removed still has it."""
        by_namespace = {}
        for namespace, name in self.everything(pool):
            if name not in ("rbd_info", "rbd_namespace"):
                by_namespace.setdefault(namespace, []).append(name)
        for namespace, names in by_namespace.items():
            for i in range(0, len(names), 500):
                try:
                    self.rados("rm", *names[i:i + 500], "--force-full", pool=pool, namespace=namespace)
                except Failed as e:
                    if "No such file or directory" not in str(e):
                        raise
                    return False
        return True


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("start", "stop", "pause", "resume", "ceph", "rbd", "rados"))
    parser.add_argument("dir")
    parser.add_argument("words", nargs=argparse.REMAINDER)
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--osd", action="append")
    args = parser.parse_args()
    cluster = Cluster(args.dir)
    try:
        if args.action == "start":
            began = time.monotonic()
            Cluster.start(args.dir, args.address, args.osd)
            print(f"cluster up in {time.monotonic() - began:.1f} s: --ceph-conf={cluster.conf} --user={USER}")
        elif args.action == "stop":
            cluster.stop()
        elif args.action in ("pause", "resume"):
            getattr(cluster, args.action)(args.words[0])
        else:
            os.execvpe(args.action, [args.action, "-c", cluster.conf, *args.words], cluster.env())
    except (Failed, TookTooLong) as e:
        sys.exit(f"cluster.py: {e}")


if __name__ == "__main__":
    main()
