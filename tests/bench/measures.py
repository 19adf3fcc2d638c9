# SPDX-License-Identifier: MIT
"""What is measured. Each takes the bench, and gives its figures; turns of one and the other follow each other."""

import json
import os
import statistics
import subprocess
import tempfile
import threading
import time

import rpc
from figures import Figure
from programs import MAPPER, Floor, ask
from waiting import let_pass, until

PEERS = "peers' `rbd` commands (no map, mkfs, mount)"
TURNS = 5
CYCLES = 6  # mounts in a turn
MB = 1 << 20


def timed(call):
    began = time.monotonic()
    call()
    return (time.monotonic() - began) * 1e3


def place_of(bench):
    """An empty directory for the floor."""
    return tempfile.mkdtemp(prefix="floor-", dir=bench.run)


def commands(bench, *each):
    return timed(lambda: [bench.cluster.rbd(*words) for words in each])


# What the plugins that call `rbd` run, without `rbd map`, mkfs and mount, which this kernel may not have, and which all need.


def peers_start(bench, image):
    """Get, Create (of one that exists), Get, Mount."""
    return commands(bench, *[["info", image]] * 3, ["lock", "add", image, "host"])


def peers_stop(bench, image):
    """Unmount."""
    client = json.loads(bench.cluster.rbd("lock", "ls", image, "--format", "json"))[0]["locker"]
    return commands(bench, ["lock", "ls", image], ["lock", "rm", image, "host", client])


def peers_create(bench, image, size):
    def all_of_it():
        bench.cluster.rbd("ls")  # is it there? `rbd info` would say so by failing
        peers = (["create", image, "--size", size], ["lock", "add", image, "host"])
        commands(bench, *peers)
        peers_stop(bench, image)

    return timed(all_of_it)


def start_and_stop(bench):
    """What a container's start and stop wait for."""
    daemon = bench.daemon().start().await_cluster()
    where = place_of(bench)
    for fstype in ("xfs", "ext4"):
        ours, down, floor_up, floor_down, peers, peers_down, whole = [], [], [], [], [], [], []
        daemon.create(f"ours-{fstype}", size="1G", fstype=fstype)
        daemon.create(f"floor-{fstype}", size="1G", fstype=fstype)
        bench.cluster.rbd("create", f"rbd/peers-{fstype}", "--size", "1G")
        for name in ("ours", "floor"):  # the first mount of a volume does more
            daemon.mount(f"{name}-{fstype}", "first")
            daemon.unmount(f"{name}-{fstype}", "first")
        for _ in range(TURNS):
            for _ in range(CYCLES):
                began = time.monotonic()
                daemon.get(f"ours-{fstype}")
                daemon.create(f"ours-{fstype}", size="1G", fstype=fstype)
                daemon.get(f"ours-{fstype}")
                ours.append(timed(lambda name=f"ours-{fstype}": daemon.mount(name, "a")))
                whole.append((time.monotonic() - began) * 1e3)
                down.append(timed(lambda name=f"ours-{fstype}": daemon.unmount(name, "a")))
            for up, off in Floor(bench.cluster, "cycle", "rbd", f"floor-{fstype}", fstype, where, MAPPER, CYCLES).run():
                floor_up.append(up)
                floor_down.append(off)
            peers.append(peers_start(bench, f"rbd/peers-{fstype}"))
            peers_down.append(peers_stop(bench, f"rbd/peers-{fstype}"))
        yield Figure(f"Mount, {fstype}", "ms", ours, floor_up, at_most=1.15)
        yield Figure(f"Unmount, {fstype}", "ms", down, floor_down, at_most=1.15)
        yield Figure(f"Get, Create, Get, Mount, {fstype}", "ms", whole, peers, PEERS)
        yield Figure(f"stop, {fstype}", "ms", down, peers_down, PEERS)


def with_a_spare(bench):
    """The same with a mapper that waits, connected; each time when there is one again."""
    daemon, spared = bench.daemon().start().await_cluster(), bench.daemon(spare_mapper="yes").start().await_cluster()
    clients = len(bench.cluster.clients())
    for fstype in ("xfs", "ext4"):
        ours, without = [], []
        for d, name in ((daemon, f"without-{fstype}"), (spared, f"with-{fstype}")):
            d.create(name, size="1G", fstype=fstype)
            d.mount(name, "first")
            d.unmount(name, "first")
        for _ in range(TURNS * 2):
            until(lambda: spared.spares() and len(bench.cluster.clients()) >= clients, "a spare mapper", 60)
            let_pass(1)  # it has been there for a while, as with a container that starts
            ours.append(timed(lambda name=f"with-{fstype}": spared.mount(name, "a")))
            spared.unmount(f"with-{fstype}", "a")
            without.append(timed(lambda name=f"without-{fstype}": daemon.mount(name, "a")))
            daemon.unmount(f"without-{fstype}", "a")
        yield Figure(f"Mount with a spare mapper, {fstype}", "ms", ours, at_most=20)
        yield Figure(f"Mount with a spare mapper, {fstype}", "ms", ours, without, "without one")


def creating(bench):
    daemon = bench.daemon().start().await_cluster()
    scratch = tempfile.mkdtemp(prefix="floor-", dir=bench.dir)  # on the file system that rbdvol's is on
    for fstype in ("xfs", "ext4"):
        for gib in (1, 20, 1000):
            ours, floor, peers = [], [], []
            for turn in range(TURNS):
                name = f"{fstype}-{gib}-{turn}"
                ours.append(timed(lambda n=name, g=gib, f=fstype: daemon.create(n, size=f"{g}G", fstype=f)))
                floor += [line[0] for line in Floor(bench.cluster, "create", "rbd", f"floor-{name}", gib * 1024, fstype, scratch).run()]
                peers.append(peers_create(bench, f"rbd/peers-{name}", f"{gib}G"))
            yield Figure(f"Create of {gib} GiB {fstype}", "ms", ours, floor, at_most=1.25 if gib == 20 else None)
            yield Figure(f"Create of {gib} GiB {fstype}", "ms", ours, peers, PEERS)


def bare_server(bench, daemon, path, body):
    """A server that gives the daemon's own reply to this."""
    where = place_of(bench)
    with rpc.connect(daemon.socket) as s:
        s.sendall(rpc.encode(path, body.encode()))
        with open(f"{where}/reply", "wb") as f:
            f.write(rpc.receive(s))
    child = subprocess.Popen([os.path.join(os.path.dirname(MAPPER), "..", "..", "tests", "bench", "bench-bare"), f"{where}/socket",
                              f"{where}/reply"])
    until(lambda: os.path.exists(f"{where}/socket"), "the bare server")
    return child, f"{where}/socket"


def rates(bench, daemon, name, path, body="{}", clients=4, **target):
    ours, bare, medians = [], [], []
    child, socket = bare_server(bench, daemon, path, body)
    try:
        for _ in range(TURNS):
            rate, median, _ = ask(daemon.socket, clients, 700, path, body)
            ours.append(rate)
            medians.append(median)
            bare.append(ask(socket, clients, 700, path, body)[0])
    finally:
        child.kill()
        child.wait()
    yield Figure(f"{name}, {clients} clients", "requests/s", ours, bare, "the bare server")
    yield Figure(f"{name}, {clients} clients, at least", "requests/s", ours, **target)
    yield Figure(f"{name}, one client", "ms", [ask(daemon.socket, 1, 500, path, body)[1] for _ in range(TURNS)],
                 at_most=0.2 if target else None)


def requests(bench):
    daemon = bench.daemon().start().await_cluster()
    daemon.create("db", size="300M")
    daemon.mount("db", "a")
    yield from rates(bench, daemon, "Capabilities", "/VolumeDriver.Capabilities", at_least=10000)
    yield from rates(bench, daemon, "Get of a mounted volume", "/VolumeDriver.Get", '{"Name":"db"}', at_least=10000)
    yield from rates(bench, daemon, "Path", "/VolumeDriver.Path", '{"Name":"db"}', at_least=10000)
    there = 1
    for images in (10, 1000, 10000):
        Floor(bench.cluster, "fill", "rbd", f"i{images}-", images - there).run()
        there = images
        ours, floor = [], []
        for _ in range(TURNS):
            ours.append(ask(daemon.socket, 1, 400, "/VolumeDriver.List")[1])  # until its last byte is there
            floor.append(statistics.median(line[0] for line in Floor(bench.cluster, "list", "rbd", 3).run()))
        yield Figure(f"List of {images} images", "ms", ours, floor, "the bare directory read", at_most=1.3 if images == 10000 else None)
    daemon.unmount("db", "a")


def together(calls):
    """Milliseconds until all of them have returned."""
    errors = []

    def one(call):
        try:
            call()
        except Exception as e:  # pylint: disable=broad-except
            errors.append(e)

    threads = [threading.Thread(target=one, args=(call,)) for call in calls]
    began = time.monotonic()
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not errors, errors[0]
    return (time.monotonic() - began) * 1e3


def at_once(bench):
    """So many volumes mounted, or unmounted, at the same time."""
    daemon = bench.daemon().start().await_cluster()
    most = 128
    for n in range(most):
        daemon.create(f"v{n}", size="64M", fstype="ext4")
        daemon.mount(f"v{n}", "first")
        daemon.unmount(f"v{n}", "first")
    for count in (1, 8, 32, most):
        up, down, floor = [], [], []
        for _ in range(3):
            up.append(together([lambda n=n: daemon.mount(f"v{n}", "a") for n in range(count)]))
            down.append(together([lambda n=n: daemon.unmount(f"v{n}", "a") for n in range(count)]))
            where = place_of(bench)
            floors = [Floor(bench.cluster, "cycle", "rbd", f"v{n}", "ext4", where, MAPPER, 1) for n in range(count)]
            floor.append(together([f.run for f in floors]))
        both = [a + b for a, b in zip(up, down)]
        yield Figure(f"{count} volumes at once: mounted and unmounted", "ms", both, floor, at_most=1.3 if count == 32 else None)
        yield Figure(f"{count} volumes at once: mounted", "ms", up)


JOBS = {"4k random write, depth 1": "randwrite 4k 1", "4k random write, depth 16": "randwrite 4k 16",
        "4k random read, depth 1": "randread 4k 1", "4k random read, depth 16": "randread 4k 16",
        "streaming write": "write 1M 16", "streaming read": "read 1M 16"}


def fio_job(bench, where, rw, bs, depth, *more):
    done = subprocess.run(["fio", "--name=bench", "--output-format=json", f"--rw={rw}", f"--bs={bs}", f"--iodepth={depth}", "--size=256M",
                           "--time_based", "--runtime=4", "--randrepeat=0", "--direct=1", *more, *where], capture_output=True, text=True,
                          check=True, timeout=120, env=bench.cluster.env(), cwd=bench.dir)
    return json.loads(done.stdout[done.stdout.index("{"):])["jobs"][0]


def fio(bench, where, rw, bs, depth):
    """Bytes per second."""
    return fio_job(bench, where, rw, bs, depth)["read" if "read" in rw else "write"]["bw_bytes"]


def fsync(bench, where):
    """Milliseconds of a 4k write and what makes it durable."""
    job = fio_job(bench, where, "randwrite", "4k", 1, "--fsync=1")
    return (job["write"]["clat_ns"]["mean"] + job["sync"]["lat_ns"]["mean"]) / 1e6


def io(bench):
    """Through a mounted volume, and through librbd by fio's own engine: on an image that has its blocks already."""
    daemon = bench.daemon().start().await_cluster()
    daemon.create("db", size="1G", fstype="xfs")
    point = daemon.mount("db", "a")
    bench.cluster.rbd("create", "rbd/plain", "--size", "1G")
    volume = [f"--filename={point}/file", "--ioengine=libaio"]
    plain = ["--ioengine=rbd", "--clientname=admin", "--pool=rbd", "--rbdname=plain"]
    for where in (volume, plain):
        fio(bench, where, "write", "1M", 16)
    for name, job in JOBS.items():
        ours, theirs = [], []
        for _ in range(3):
            ours.append(fio(bench, volume, *job.split()) / MB)
            theirs.append(fio(bench, plain, *job.split()) / MB)
        target = {"at_least": 0.9} if "depth 1" not in name or "depth 16" in name else {}
        yield Figure(name, "MiB/s", ours, theirs, "librbd", **target)
    ours, theirs = [], []
    for _ in range(3):
        ours.append(fsync(bench, volume))
        theirs.append(fsync(bench, plain))
    yield Figure("4k write and fsync", "ms", ours, theirs, "librbd, without a file system")
    daemon.unmount("db", "a")


def rss(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) / 1024 for line in f if line.startswith("VmRSS"))


def memory(bench):
    daemon = bench.daemon().start().await_cluster()
    yield Figure("Daemon without a volume", "MiB", [rss(daemon.pid)])
    mounted = 0
    for count in (10, 100):
        for n in range(mounted, count):
            daemon.create(f"v{n}", size="64M", fstype="ext4")
            daemon.mount(f"v{n}", "a")
        mounted = count
        yield Figure(f"Daemon with {count} volumes mounted", "MiB", [rss(daemon.pid)], at_most=60 if count == 100 else None)
    yield Figure("Mapper, idle", "MiB", [rss(pid) for pid in daemon.mappers()], at_most=25)
    together([lambda n=n: daemon.unmount(f"v{n}", "a") for n in range(mounted)])


def first_answer(bench):
    """From the start of the program to the first answer, with and without the cluster."""
    for state, names in (("up", ()), ("stopped", ("mon", "osd"))):
        times = []
        with bench.cluster.paused(*names):
            for _ in range(TURNS):
                daemon = bench.daemon()
                times.append(timed(lambda d=daemon: (d.start(), d.must("Capabilities"))))
                daemon.kill()
        yield Figure(f"Start to first answer, cluster {state}", "ms", times, at_most=100)
