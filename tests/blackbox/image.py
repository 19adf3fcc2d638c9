# SPDX-License-Identifier: MIT
"""What is on an image, seen from outside of rbdvol."""

import contextlib
import hashlib
import os
import subprocess
import tempfile


@contextlib.contextmanager
def exported(cluster, image):
    """The image as a sparse file."""
    folder = tempfile.mkdtemp(prefix="rbdt-export-", dir="/tmp")
    path = os.path.join(folder, "image")
    try:
        cluster.rbd("export", "--no-progress", image, path)
        yield path
    finally:
        if os.path.exists(path):
            os.unlink(path)
        os.rmdir(folder)


def filesystem(path):
    """libblkid's findings as a dictionary; {} when it finds nothing."""
    done = subprocess.run(["blkid", "-p", "-o", "export", path], capture_output=True, text=True, check=False)
    return dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)


def edited(cluster, volume, copy, *requests):
    """A copy of an ext4 volume to which debugfs has done this; its uuid."""
    spec = cluster.metadata(volume)["rbdvol.spec"]
    with exported(cluster, f"rbd/{volume}") as path:
        for request in requests:
            subprocess.run(["debugfs", "-w", "-R", request, path], check=True, capture_output=True)
        uuid = filesystem(path)["UUID"]
        cluster.rbd("import", "--no-progress", path, f"rbd/{copy}")
    cluster.rbd("image-meta", "set", f"rbd/{copy}", "rbdvol.spec", spec)
    return uuid


def is_dirty(path, fstype):
    """Is there a log to be replayed?"""
    words, sign = {"xfs": (["xfs_logprint", "-t", path], "<DIRTY>"), "ext4": (["dumpe2fs", "-h", path], "needs_recovery"),
                   "btrfs": (["btrfs", "inspect-internal", "dump-super", path], "log_root")}[fstype]
    said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    if fstype != "btrfs":
        return sign in said
    return any(line.split()[0] == sign and line.split()[1] != "0" for line in said.splitlines() if line.strip())


def checksum(cluster, image):
    """Of all its bytes."""
    with exported(cluster, image) as path, open(path, "rb") as f:
        digest = hashlib.sha256()
        while True:
            piece = f.read(1 << 22)
            if not piece:
                return digest.hexdigest()
            digest.update(piece)


@contextlib.contextmanager
def scratch(size):
    """A sparse file of this size, to be imported."""
    with tempfile.NamedTemporaryFile(prefix="rbdt-scratch-", dir="/tmp") as f:
        f.truncate(size)
        yield f.name


def import_file(cluster, path, image):
    cluster.rbd("import", "--no-progress", path, image)
