# SPDX-License-Identifier: MIT
"""A network of test hosts: a bridge on which a cluster listens, one address for each of its daemons."""

import json
import os
import subprocess


def ip(*words):
    done = subprocess.run(["ip", *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20, check=False)
    if done.returncode:
        raise OSError(f"ip {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


def _taken():
    """The addresses of this machine."""
    return [about["local"] for link in json.loads(ip("-j", "addr")) for about in link["addr_info"]]


class Network:
    """A /24 out of the range that is reserved for tests between networks (198.18.0.0/15)."""

    def __init__(self, daemons):
        """With this many addresses for daemons: .1, .2, ..."""
        self.bridge = f"rbdt{os.getpid()}"
        taken = _taken()
        self._net = next(net for n in range(os.getpid(), os.getpid() + 512)
                         for net in [f"198.{18 + n // 256 % 2}.{n % 256}"] if not any(a.startswith(net + ".") for a in taken))
        self.addresses = [f"{self._net}.{n + 1}" for n in range(daemons)]
        self._hosts = 0
        # a bridge without an address of its own takes a new one with each host that comes and goes
        ip("link", "add", self.bridge, "address", "02:00:00:ff:ff:00", "type", "bridge")
        for address in self.addresses:
            ip("addr", "add", f"{address}/24", "dev", self.bridge)
        ip("link", "set", self.bridge, "up")

    @classmethod
    def found(cls, bridge):
        """One that another process made, to take it down."""
        self = cls.__new__(cls)
        self.bridge = bridge
        return self

    def next_host(self):
        """A number and an address for another host. Addresses come again after many: no two tests share one."""
        self._hosts += 1
        return self._hosts, f"{self._net}.{10 + self._hosts % 240}"

    def join(self, number, address, pid):
        """Gives the network namespace of a process an eth0 on this bridge. Returns the bridge's end of it.

        The hardware address follows from the number: a host that comes back is the same to its neighbours."""
        link = f"{self.bridge}n{number}"
        ip("link", "add", link, "type", "veth", "peer", "name", "eth0", "address", f"02:00:00:00:{number >> 8:02x}:{number & 255:02x}",
           "netns", str(pid))
        ip("link", "set", link, "master", self.bridge, "up")
        for words in (("addr", "add", f"{address}/24", "dev", "eth0"), ("link", "set", "eth0", "up"), ("link", "set", "lo", "up")):
            within(pid, "ip", *words)
        return link

    def down(self, link):
        ip("link", "set", link, "down")

    def up(self, link):
        ip("link", "set", link, "up")

    def leave(self, link):
        """The link goes with its namespace, which the kernel takes away in its own time: not waited for."""
        if link in self.links():
            try:
                ip("link", "del", link)
            except OSError:
                if link in self.links():
                    raise

    def links(self):
        """The bridge's ends of what is joined to it."""
        return [link["ifname"] for link in json.loads(ip("-j", "link", "show", "master", self.bridge))]

    def close(self):
        for link in self.links():
            ip("link", "del", link)
        ip("link", "del", self.bridge)


def within(pid, *words):
    """Runs a command in a process's network namespace."""
    return subprocess.run(["nsenter", f"--net=/proc/{pid}/ns/net", *words], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=20, check=True).stdout
