# SPDX-License-Identifier: MIT
"""Three engines that are one swarm: a manager, and two workers on which services run."""

import http.client
import json
import socket
import time
import urllib.parse

from lines import WORDS, WRITER
from node import DRIVERS, Node
from threads import at_once
from waiting import until

IMAGE = "writer"
NOT_BEGUN = ("new", "pending", "assigned")


class _Connection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("docker", timeout=20)
        self._path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Swarm:
    def __init__(self, network, cluster, directory, joined):
        """joined: a list that takes each node as soon as it is there."""
        self.cluster = cluster
        for _ in range(3):
            joined.append(Node(network, cluster, directory))
        self.manager, *self.workers = self.nodes = list(joined)
        at_once(*[lambda n=n: n.engine.import_image(IMAGE, {"writer": WRITER}, ['CMD ["sh", "/writer"]']) for n in self.nodes])
        for n in self.nodes:
            # Swarm starts a task only where the engine has used the driver before: this makes it ask every driver there is
            n.engine.docker("volume", "ls")
        self.docker("swarm", "init", f"--advertise-addr={self.manager.address}", f"--listen-addr={self.manager.address}:2377")
        token = self.docker("swarm", "join-token", "-q", "worker").strip()
        for n in self.workers:
            n.engine.docker("swarm", "join", f"--token={token}", f"--advertise-addr={n.address}", f"{self.manager.address}:2377")
        self.await_ready()

    def docker(self, *words):
        """A command of the manager's."""
        return self.manager.engine.docker(*words)

    def ask(self, path):
        """The manager's answer to a GET: quicker than a command, for what is asked again and again."""
        connection = _Connection(f"{self.manager.engine.dir}/docker.sock")
        try:
            connection.request("GET", path)
            reply = connection.getresponse()
            body = reply.read()
            assert reply.status == 200, f"{path}: {reply.status} {body}"
            return json.loads(body)
        finally:
            connection.close()

    # -- nodes

    def ready(self):
        """Names of the nodes that Swarm takes for alive."""
        return {n["Description"]["Hostname"] for n in self.ask("/nodes") if n["Status"]["State"] == "ready"}

    def await_ready(self):
        everyone = {n.name for n in self.nodes}
        until(lambda: self.ready() == everyone, "all nodes to be ready", 60)

    def node_names(self):
        return {n["ID"]: n["Description"]["Hostname"] for n in self.ask("/nodes")}

    def set_availability(self, node, what):
        self.docker("node", "update", f"--availability={what}", node.name)

    # -- services

    def create_service(self, takeover, volume, acks):
        mounts = [f"type=volume,source={volume},target=/data,volume-driver={DRIVERS[takeover]},volume-nocopy",
                  f"type=bind,source={acks},target=/acks"]
        words = [w for m in mounts for w in ("--mount", m)] + [w for e in WORDS for w in ("--env", e)]
        self.docker("service", "create", "--detach", "--no-resolve-image", f"--name={takeover}", "--replicas=1",
                    "--constraint=node.role==worker", "--stop-grace-period=2s", *words, IMAGE)

    def tasks(self, service):
        wanted = urllib.parse.quote(json.dumps({"service": {service: True}}))
        return self.ask(f"/tasks?filters={wanted}")


class Starts:
    """When Swarm started a task anew, watched from before its old one's node fails."""

    def __init__(self, swarm, service):
        self._swarm = swarm
        self._service = service
        self._old = {t["ID"] for t in swarm.tasks(service)}
        self.began = None
        self.tried = {}  # task -> what became of it

    def look(self):
        """A task is started when Swarm wants it to run, and a node has begun to do so. The first one counts, whatever becomes
        of it."""
        for t in self._swarm.tasks(self._service):
            if t["ID"] in self._old:
                continue
            state = t["Status"]["State"]
            self.tried[t["ID"]] = f"{state} {t['Status'].get('Err', '')}".strip()
            if t["DesiredState"] == "running" and state not in NOT_BEGUN and self.began is None:
                self.began = time.monotonic()
