# SPDX-License-Identifier: MIT
"""A mapper that was told to end and does not, just yet: what was under its file is no volume, whoever asks for it then."""

import contextlib
import glob
import json
import os
import socket
import threading

from threads import at_once
from waiting import until


class Between:
    """Stands at a mapper's socket and passes on what is asked of it; but refuses to have it stopped as long as it is told to."""

    def __init__(self, path):
        self.path, self.aside = path, path + ".real"
        self.refusing, self.refused = True, 0
        os.rename(path, self.aside)
        self.listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listening.bind(path)
        self.listening.listen(16)
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        with contextlib.suppress(OSError):
            while True:
                client = self.listening.accept()[0]
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with client, socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as mapper, contextlib.suppress(OSError):
            asked = client.recv(65536)
            if json.loads(asked)["do"] == "stop" and self.refusing:
                self.refused += 1
                client.send(json.dumps({"code": -16, "err": "not yet"}).encode())
                return
            mapper.connect(self.aside)
            mapper.send(asked)
            client.send(mapper.recv(65536))

    def close(self):
        self.listening.shutdown(socket.SHUT_RDWR)
        self.listening.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.aside)


def test_a_mount_after_an_unmount_whose_mapper_did_not_end_gets_the_volume(world):
    """Its file was unmounted by then. What is below is an empty file, and was once taken for the volume."""
    d = world.daemon().await_cluster()
    d.create("db", size="64M", fstype="ext4")
    point = d.mount("db", "a")
    with open(os.path.join(point, "file"), "w", encoding="ascii") as f:
        f.write("kept")
    (path,) = [path for path in glob.glob(f"{d.path('state-dir')}/map/*.sock") if os.path.exists(path[:-5] + ".img")]
    mapper = Between(path)
    try:
        assert "not yet" in d.refused("Unmount", Name="db", ID="a")

        def let_go():
            seen = mapper.refused
            until(lambda: mapper.refused > seen + 1, "the retries")
            mapper.refusing = False

        point = at_once(lambda: d.mount("db", "b"), let_go)[0]
        with open(os.path.join(point, "file"), encoding="ascii") as f:
            assert f.read() == "kept"
        assert "lost" not in d.log_text()
        d.unmount("db", "b")
    finally:
        mapper.close()
