# SPDX-License-Identifier: MIT
"""Stands between dockerd and rbdvol: writes down what is asked, changes nothing, and cuts what it is told to cut."""

import array
import fcntl
import json
import os
import select
import socket
import termios
import threading
from dataclasses import dataclass, field

from waiting import until

LETTERS = {"Create": "C", "Remove": "R", "Mount": "M", "Unmount": "U", "Path": "P", "Get": "G", "List": "L",
           "Capabilities": "Cap", "Plugin.Activate": "Act"}


def unread(sock):
    """Bytes that we sent and the other side has not read: SIOCOUTQ, which is TIOCOUTQ."""
    count = array.array("i", [0])
    fcntl.ioctl(sock, termios.TIOCOUTQ, count)
    return count[0]


@dataclass
class Asked:
    """One request, and its answer as far as it has come."""
    method: str
    body: bytes
    answer: bytes = b""
    fields: dict = field(default_factory=dict)

    @property
    def volume(self):
        return self.fields.get("Name")

    @property
    def status(self):
        return int(self.answer.split(b" ", 2)[1]) if self.answer else None


class Relay:
    """A socket that dockerd takes for the plugin's. Its peer is this process, not dockerd."""

    def __init__(self, path, target):
        self.path = path
        self.target = target
        self.asked = []
        self._cuts = []
        self._lock = threading.Lock()
        self._listener = socket.socket(socket.AF_UNIX)
        if os.path.exists(path):
            os.unlink(path)
        self._listener.bind(path)
        self._listener.listen(128)
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        os.unlink(self.path)

    def cut(self, method):
        """The next request of this method reaches rbdvol, and then the connection is closed without an answer."""
        with self._lock:
            self._cuts.append(method)

    # -- what was asked

    def calls(self, *methods, volume=None):
        with self._lock:
            return [a for a in self.asked if (not methods or a.method in methods) and volume in (None, a.volume)]

    def sequence(self, volume=None):
        """The calls with an effect, as "C M1 U1": the IDs numbered as they came; an error is marked with a "!"."""
        numbers, words = {}, []
        for asked in self.calls("Create", "Remove", "Mount", "Unmount", volume=volume):
            word = LETTERS[asked.method]
            if "ID" in asked.fields:
                word += str(numbers.setdefault(asked.fields["ID"], len(numbers) + 1))
            words.append(word + ("" if asked.status == 200 else "!"))
        return " ".join(words)

    def letters(self):
        """All calls but the driver's own, as "G C G M"."""
        return " ".join(LETTERS[a.method] for a in self.calls() if a.method not in ("Plugin.Activate", "Capabilities"))

    def forget(self):
        with self._lock:
            self.asked.clear()

    # -- its work

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with client, socket.socket(socket.AF_UNIX) as server:
            data = self._request(client)
            if not data:
                return
            asked = self._write_down(data)
            with self._lock:
                cut = asked.method in self._cuts
                if cut:
                    self._cuts.remove(asked.method)
            try:
                server.connect(self.target)
                server.sendall(data)
                if cut:
                    # what closes before it was read may never be heard: no request was made then
                    until(lambda: unread(server) == 0, "rbdvol to read the request")
                    return
                self._answer(client, server, asked)
            except OSError:
                return

    @staticmethod
    def _request(client):
        """One request with its body; rbdvol closes after each."""
        data = b""
        while True:
            head, end, body = data.partition(b"\r\n\r\n")
            if end:
                length = [int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
                if len(body) >= (length or [0])[0]:
                    return data
            try:
                piece = client.recv(1 << 16)
            except OSError:
                return b""
            if not piece:
                return b""
            data += piece

    def _write_down(self, data):
        head, _, body = data.partition(b"\r\n\r\n")
        asked = Asked(head.split(b" ", 2)[1].decode().removeprefix("/").removeprefix("VolumeDriver."), body)
        if body:
            asked.fields = json.loads(body)
        with self._lock:
            self.asked.append(asked)
        return asked

    @staticmethod
    def _answer(client, server, asked):
        """Until either side closes; who leaves here leaves there, too."""
        while True:
            ready = select.select([client, server], [], [])[0]
            if server in ready:
                piece = server.recv(1 << 16)
                if not piece:
                    return
                # before Docker has it: who saw the command's end sees its answer written down
                asked.answer += piece
                client.sendall(piece)
            elif not client.recv(1 << 16):
                return
