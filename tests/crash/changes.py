# SPDX-License-Identifier: MIT
"""What changes an image as a whole: its snapshots, its size, its clones; interrupted like the operations of protocol.py."""

import os
import subprocess

from operation import TEMPORARY, Operation, check_content

LATER = "later"  # a file that came after the snapshot
MIB = 1 << 20
FROZEN_S = 15


def write_later(point):
    with open(os.path.join(point, LATER), "w", encoding="ascii") as f:
        f.write("written after the snapshot")


def room(point):
    """The bytes that the mounted file system has."""
    s = os.statvfs(point)
    return s.f_blocks * s.f_frsize


def check_thawed(point):
    """Somebody can write there. One that waits for a thaw takes no signal: it is not waited for."""
    child = subprocess.Popen(["touch", os.path.join(point, "data")])
    try:
        child.wait(FROZEN_S)
    except subprocess.TimeoutExpired:
        subprocess.run(["fsfreeze", "-u", point], check=False, timeout=20)
        raise AssertionError(f"it is frozen still, after {FROZEN_S} s") from None


class Change(Operation):
    """Of a volume that is mounted ("op" holds it), or at rest."""

    has_data = True
    has_snapshots = True

    def __init__(self, name, mounted):
        super().__init__(f"{name}-{'mounted' if mounted else 'rest'}")
        self.mounted = mounted

    def prepare(self, b):
        self.make_used(b)
        if self.mounted:
            b.daemon.mount(b.volume, "op")

    def check_at_rest(self, b):
        """Still held as before; then nobody holds it."""
        assert b.holders() == (["op"] if self.mounted else []), b.holders()
        if self.mounted:
            if not b.killed("mapper"):
                check_thawed(b.daemon.must("Path", Name=b.volume)["Mountpoint"])
            self.check_held(b, "op", True)
        self.check_usable(b, True)

    @staticmethod
    def snaps(b):
        return [snap["Name"] for snap in b.daemon.must("/Rbdvol.Snap.List", Name=b.volume)["Snapshots"]]

    @staticmethod
    def snap(b, verb, name):
        b.daemon.must(f"/Rbdvol.Snap.{verb}", Name=b.volume, Snap=name)

    def check_snapshots_work(self, b):
        """Nothing that was left is in the way of the next."""
        for name in self.snaps(b):
            self.snap(b, "Remove", name)
        self.snap(b, "Create", "next")
        self.snap(b, "Remove", "next")
        assert self.snaps(b) == [], self.snaps(b)
        self.only_this_image(b)


class SnapCreate(Change):
    def __init__(self, mounted):
        super().__init__("snap-create", mounted)

    def act(self, b):
        return b.daemon.call("/Rbdvol.Snap.Create", {"Name": b.volume, "Snap": "s"})

    def check(self, b, reply):
        made = self.snaps(b)
        assert made in ([], ["s"]), made
        self.check_answer(reply, made == ["s"])
        self.check_at_rest(b)
        if made:
            write_later(b.daemon.mount(b.volume, "later"))
            b.daemon.unmount(b.volume, "later")
            self.snap(b, "Rollback", "s")
            self.check_usable(b, True)
        self.check_snapshots_work(b)


class SnapRemove(Change):
    def __init__(self, mounted):
        super().__init__("snap-rm", mounted)

    def prepare(self, b):
        self.make_used(b)
        self.snap(b, "Create", "s")
        if self.mounted:
            b.daemon.mount(b.volume, "op")

    def act(self, b):
        return b.daemon.call("/Rbdvol.Snap.Remove", {"Name": b.volume, "Snap": "s"})

    def check(self, b, reply):
        left = self.snaps(b)
        assert left in ([], ["s"]), left
        self.check_answer(reply, left == [])
        self.check_at_rest(b)
        self.check_snapshots_work(b)


class Rollback(Change):
    def __init__(self):
        super().__init__("snap-rollback", False)

    def prepare(self, b):
        self.make_used(b)
        self.snap(b, "Create", "s")
        write_later(b.daemon.mount(b.volume, "before"))
        b.daemon.unmount(b.volume, "before")

    def act(self, b):
        return b.daemon.call("/Rbdvol.Snap.Rollback", {"Name": b.volume, "Snap": "s"})

    def check(self, b, reply):
        point = b.daemon.mount(b.volume, "look")
        found = sorted(os.listdir(point))
        assert found in (["data"], ["data", LATER]), found
        if reply and reply.status == 200:
            assert found == ["data"], "answered, and not rolled back"
        if LATER in found:
            os.unlink(os.path.join(point, LATER))
        check_content(point, True)
        b.daemon.unmount(b.volume, "look")
        self.check_snapshots_work(b)


class Resize(Change):
    """ext4 needs a capability to grow while it is mounted, which not each machine grants."""

    def __init__(self, mounted):
        super().__init__("resize", mounted)
        self.fstype = "xfs" if mounted else "ext4"
        self.before, self.after = (300, 400) if mounted else (64, 96)

    def act(self, b):
        return b.daemon.call("/Rbdvol.Resize", {"Name": b.volume, "Size": f"{self.after}M"})

    def check(self, b, reply):
        size = b.pool.size(b.volume)
        assert size in (self.before * MIB, self.after * MIB), f"the image has {size} bytes"
        if reply and reply.status == 200:
            assert size == self.after * MIB, "answered, and not grown"
            if self.mounted and not b.killed("mapper"):
                has = room(b.daemon.must("Path", Name=b.volume)["Mountpoint"])
                assert has > self.before * MIB, f"answered, and the file system has {has} bytes"
        self.check_at_rest(b)
        self.check_grows(b)

    def check_grows(self, b):
        b.daemon.must("/Rbdvol.Resize", Name=b.volume, Size=f"{self.after}M")
        point = b.daemon.mount(b.volume, "grown")
        has = room(point)
        assert has > (self.before + self.after) // 2 * MIB * 0.8, f"the file system has {has} bytes"
        check_content(point, True)
        b.daemon.unmount(b.volume, "grown")
        self.only_this_image(b)


class MountGrown(Resize):
    """The Mount that finds an image larger than its file system."""

    def __init__(self, fstype):
        super().__init__(False)
        self.name = f"mount-grown-{fstype}"
        self.fstype = fstype
        self.before, self.after = (300, 400) if fstype == "xfs" else (64, 96)

    def prepare(self, b):
        self.make_used(b)
        b.daemon.must("/Rbdvol.Resize", Name=b.volume, Size=f"{self.after}M")

    def act(self, b):
        return b.daemon.call("Mount", {"Name": b.volume, "ID": "op"})

    def check(self, b, reply):
        holders = b.holders()
        assert holders in ([], ["op"]), holders
        self.check_answer(reply, holders == ["op"])
        if holders:
            self.check_held(b, "op", True)
        self.check_usable(b, True)
        self.check_grows(b)


class Clone(Operation):
    """Of a volume, as it is (a snapshot is made for it, and goes again), or of a snapshot. b.volume is the clone."""

    has_data = True
    has_snapshots = True

    def __init__(self, what, mounted):
        super().__init__(f"clone-{what}")
        self.of_snapshot = what == "snapshot"
        self.mounted = mounted

    @staticmethod
    def source(b):
        return f"{b.volume}of"

    def prepare(self, b):
        source = self.source(b)
        self.make_used(b, source)
        if self.mounted:
            b.daemon.mount(source, "op")
        if self.of_snapshot:
            b.daemon.must("/Rbdvol.Snap.Create", Name=source, Snap="s")

    def ask(self, b):
        return {"Name": b.volume, "Opts": {"from": self.source(b) + ("@s" if self.of_snapshot else "")}}

    def act(self, b):
        return b.daemon.call("Create", self.ask(b))

    def check(self, b, reply):
        source = self.source(b)
        got = b.daemon.call("Get", {"Name": b.volume})
        assert got.status == 200 or "no such volume" in got.err, got
        self.check_answer(reply, got.status == 200)
        if self.mounted:
            self.check_source_held(b, source)
        b.daemon.must("Create", **self.ask(b))
        for name in (source, b.volume):
            point = b.daemon.mount(name, "look")
            check_content(point, True)
            check_thawed(point)
            b.daemon.unmount(name, "look")
        left = [name for name in b.pool.images() if name not in (source, b.volume)]
        assert len(left) <= 1 and all(name.startswith(TEMPORARY) for name in left), f"left over: {left}"
        assert not left or b.killed("daemon"), f"left over: {left}"
        self.check_snapshots(b, source)

    def check_snapshots(self, b, source):
        """One of a clone that was cut off is the collector's; one that has gone stays until its clone does, under no name."""
        kept = [s["Name"] for s in b.daemon.must("/Rbdvol.Snap.List", Name=source)["Snapshots"] if s["Name"] != "s"]
        assert len(kept) <= (1 if b.victims else 0), f"snapshots left over: {kept}"
        pending = b.pool.pending()
        noted = {" ".join(key.split()[:3]) for key in pending}  # behind them, who wrote it down
        assert {f"snap {b.pool.images()[source]} {name}" for name in kept} <= noted, f"{kept}, and {pending} is written down"

    @staticmethod
    def check_source_held(b, source):
        clone, b.volume = b.volume, source
        try:
            assert b.holders() == ["op"], b.holders()
            if not b.killed("mapper"):  # what the clone has left is taken away meanwhile
                b.await_that(lambda: b.status()["State"] == "mounted", lambda: f"the source to be mounted, it is {b.status()['State']}")
                point = b.daemon.must("Path", Name=source)["Mountpoint"]
                check_thawed(point)
                check_content(point, True)
            b.daemon.call("Unmount", {"Name": source, "ID": "op"})
            b.await_settled()
        finally:
            b.volume = clone


class MountSnapshot(Operation):
    """A volume that is a snapshot: read-only, without a lock."""

    has_data = True
    has_snapshots = True

    def __init__(self):
        super().__init__("mount-snapshot")

    def prepare(self, b):
        source = f"{b.volume}of"
        self.make_used(b, source)
        b.daemon.must("/Rbdvol.Snap.Create", Name=source, Snap="s")
        b.daemon.must("Create", Name=b.volume, Opts={"from": f"{source}@s", "ro": "true"})

    def act(self, b):
        return b.daemon.call("Mount", {"Name": b.volume, "ID": "op"})

    def check(self, b, reply):
        holders = b.holders()
        assert holders in ([], ["op"]), holders
        self.check_answer(reply, holders == ["op"])
        if holders:
            self.check_held(b, "op", True)
        self.check_usable(b, True)
        b.await_images({b.volume, f"{b.volume}of"})


ALL = (SnapCreate(True), SnapCreate(False), SnapRemove(True), SnapRemove(False), Rollback(), Resize(True), Resize(False),
       MountGrown("ext4"), MountGrown("xfs"), Clone("mounted", True), Clone("rest", False), Clone("snapshot", False),
       MountSnapshot())
