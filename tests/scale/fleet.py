# SPDX-License-Identifier: MIT
"""Many hosts at work on many volumes, and a model that knows who may have which."""

import os
import random
import re
import threading
import time

SHARED = 0.2  # of the volumes: any host takes them; the others have a host each
HOLD_S = 3.0  # a container's life, at most
PAUSE_S = 2.0
TOGETHER = 2  # volumes that a host has at a time, at most


class Fleet:
    """What all hosts know of each other's volumes. An error is anything that neither succeeded nor was refused because another
    host has the volume."""

    def __init__(self, hosts, volumes, seed):
        self.hosts = hosts
        self.lock = threading.Lock()
        self.owner = {}  # volume -> the host that was told that it is mounted, until it says Unmount
        self.lines = {volume: 0 for volume in volumes}
        self.mounts, self.unmounts, self.gets = [], [], []
        self.refused = 0
        self.errors = []
        self.seed = seed
        shared = int(len(volumes) * SHARED)
        self.shared, self.own = volumes[:shared], volumes[shared:]

    def fail(self, text):
        with self.lock:
            self.errors.append(text)

    def run(self, seconds):
        """All of them at once; returns when the last has put away what it had."""
        end = time.monotonic() + seconds
        threads = [threading.Thread(target=self._work, args=(number, end, slot))
                   for number in range(len(self.hosts)) for slot in range(TOGETHER)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()

    def _work(self, number, end, slot):
        chance = random.Random(f"{self.seed}/{number}/{slot}")
        host, daemon = self.hosts[number], self.hosts[number].daemons[0]
        mine = self.own[number * TOGETHER + slot::len(self.hosts) * TOGETHER]
        while time.monotonic() < end:
            volume = chance.choice(self.shared if not mine or chance.random() < SHARED else mine)
            try:
                self._container(host, daemon, volume, f"{number}-{slot}", chance)
            except Exception as e:  # pylint: disable=broad-except
                self.fail(f"{host.name} {volume}: {type(e).__name__}: {e}")
            time.sleep(chance.random() * PAUSE_S)

    def _timed(self, into, call):
        began = time.monotonic()
        reply = call()
        took = (time.monotonic() - began) * 1e3
        with self.lock:
            into.append(took)
        return reply

    def _container(self, host, daemon, volume, holder, chance):
        """Start, a line that is written and synchronized, stop: as Docker asks for it."""
        self._timed(self.gets, lambda: daemon.get(volume))
        began = time.monotonic()
        reply = daemon.call("Mount", {"Name": volume, "ID": holder})
        if reply.status != 200:
            with self.lock:
                self.refused += 1
            # who else has it is named, be it this host's other container; one that nobody else uses is never refused
            number = holder.split("-", maxsplit=1)[0]
            assert volume in self.shared and re.search(rf"\bhost\d+\b|in use on this host since \S+ by mount ID {number}-(?!{holder[-1]})",
                                                       reply.err), reply.err
            return
        with self.lock:
            self.mounts.append((time.monotonic() - began) * 1e3)
            before, self.owner[volume] = self.owner.get(volume), host
        if before is not None:
            self.fail(f"{volume} is mounted by {before.name} and by {host.name}")
        self._write(host, volume, reply.json["Mountpoint"])
        time.sleep(chance.random() * HOLD_S)
        with self.lock:
            self.owner[volume] = None
        self._timed(self.unmounts, lambda: daemon.unmount(volume, holder))

    def _write(self, host, volume, point):
        with open(host.path(f"{point}/lines"), "a+", encoding="ascii") as f:
            f.seek(0)
            found = len(f.readlines())
            with self.lock:
                expected, self.lines[volume] = self.lines[volume], self.lines[volume] + 1
            if found != expected:
                self.fail(f"{volume} has {found} lines on {host.name}, and {expected} were written")
            f.write(host.name + "\n")
            f.flush()
            os.fsync(f.fileno())
