# SPDX-License-Identifier: MIT
"""HTTP over a UNIX socket on bare sockets: what is sent is known to the byte, and what comes back is not interpreted away."""

import json
import socket
from dataclasses import dataclass, field

# what dockerd sends, in its order; the empty Host is real
DOCKER_HEADERS = (("Host", ""), ("User-Agent", "Go-http-client/1.1"), ("Content-Length", None),
                  ("Accept", "application/vnd.docker.plugins.v1.2+json"))


@dataclass
class Reply:
    """An answer. status is None when the connection was closed without one."""
    status: int = None
    headers: dict = field(default_factory=dict)
    body: bytes = b""

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def err(self):
        """What Docker would show: the Err of an answer, "" on success."""
        return self.json.get("Err") or ""


def encode(path, body=b"", verb="POST", headers=DOCKER_HEADERS):
    """The bytes of a request. A header whose value is None is Content-Length's."""
    lines = [f"{verb} {path} HTTP/1.1"]
    lines += [f"{name}: {len(body) if value is None else value}" for name, value in headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def parse(data):
    if not data:
        return Reply()
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode("latin1").split("\r\n")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    return Reply(int(lines[0].split()[1]), headers, body)


def connect(path, timeout=150):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(timeout)
    s.connect(path)
    return s


def receive(s):
    """All that comes until the other side closes."""
    data = b""
    while True:
        try:
            piece = s.recv(1 << 16)
        except ConnectionResetError:
            return data
        if not piece:
            return data
        data += piece


def exchange(path, data, timeout=150):
    """Sends bytes, returns the bytes that came back until the server closed (every reply says `Connection: close`)."""
    with connect(path, timeout) as s:
        try:
            s.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass
        return receive(s)


def call(path, method, body=None, verb="POST", headers=DOCKER_HEADERS, timeout=150):
    """One request. body: bytes as they are, or anything that JSON can say."""
    if body is None:
        body = b""
    elif not isinstance(body, bytes):
        body = json.dumps(body).encode() + b"\n"
    where = method if method.startswith("/") else f"/{method}" if "." in method else f"/VolumeDriver.{method}"
    return parse(exchange(path, encode(where, body, verb, headers), timeout))
