# SPDX-License-Identifier: MIT
"""Who has a volume, as the cluster tells it, and what its owner left in it."""

import calendar
import os
import time

DAY = 86400


def put(d, volume, text):
    """A file with this text in a mounted volume, on disk."""
    with open(d.host.path(f"{d.path('mount-root')}/rbd/{volume}/file"), "w", encoding="ascii") as f:
        f.write(text)
        f.flush()
        os.fsync(f.fileno())


def got(d, volume):
    with open(d.host.path(f"{d.path('mount-root')}/rbd/{volume}/file"), encoding="ascii") as f:
        return f.read()


def mounted(d, volume, holder="x", **opts):
    """Makes a volume and mounts it; the file in it tells who did."""
    d.create(volume, **{"size": "64M", "fstype": "ext4", **opts})
    d.mount(volume, holder)
    put(d, volume, f"{volume} of {d.host.name}")


def state(d, volume):
    return d.get(volume)["Status"]["state"]


def is_lost(d, volume):
    """Lost, and its mount is down."""
    return state(d, volume) == "lost" and not d.host.mounted_at(f"{d.path('mount-root')}/rbd/{volume}")


def owner_address(cluster, volume):
    """Of the client that has the managed lock, as the blocklist names it; None: nobody has it."""
    holders = cluster.locks(cluster.header(volume)).get("rbd_lock")
    if not holders:
        return None
    address = holders[0]["addr"]
    return address.split(":", 1)[1] if address.startswith("v") else address


def fenced_for(cluster, address):
    """Seconds from now that a client is on the blocklist; 0: it is not."""
    when = cluster.blocklist().get(address)
    return calendar.timegm(time.strptime(when[:19], "%Y-%m-%dT%H:%M:%S")) - time.time() if when else 0


def unlocked(d, *words):
    """What `rbdvol unlock` said; it must have succeeded."""
    done = d.cli("unlock", *words)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr
