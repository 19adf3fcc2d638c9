# SPDX-License-Identifier: MIT
"""The operations of Docker's protocol that are interrupted, and what must be true after each: it is finished, or it was never
begun."""

import os

from operation import TEMPORARY, Operation, check_content, opts, write_data
from pool import LAYERING, MODERN


class Create(Operation):
    def __init__(self, fstype):
        super().__init__(f"create-{fstype}")
        self.fstype = fstype

    def act(self, b):
        return b.daemon.call("Create", {"Name": b.volume, "Opts": opts(self.fstype)})

    def check(self, b, reply):
        got = b.daemon.call("Get", {"Name": b.volume})
        assert got.status == 200 or "no such volume" in got.err, got
        made = got.status == 200
        assert not (reply and reply.status == 200 and not made), "answered, and not there"
        assert not (reply and reply.status == 500 and made), f"reported as failed, and there: {reply.err}"
        assert made == (b.volume in b.pool.images()), "Get and the pool's directory disagree"
        left = [name for name in b.pool.images() if name.startswith(TEMPORARY)]
        assert len(left) <= 1, f"left over: {left}"
        self.create(b)
        self.check_usable(b, False)
        assert set(b.pool.images()) - set(left) == {b.volume}, f"the pool has {b.pool.images()}"
        assert b.pool.trash() == {}, f"in the trash: {b.pool.trash()}"


class Mount(Operation):
    """By an ID that is asked for again only when it was granted: Docker forgets those that were cut."""

    def __init__(self, name, fstype, used):
        super().__init__(f"mount-{name}")
        self.fstype = fstype
        self.has_data = used

    def prepare(self, b):
        (self.make_used if self.has_data else self.make)(b)

    def act(self, b):
        return b.daemon.call("Mount", {"Name": b.volume, "ID": "op"})

    def check(self, b, reply):
        holders = b.holders()
        assert not (reply and reply.status == 200 and holders != ["op"]), f"answered, and held by {holders}"
        assert not (reply and reply.status == 500 and holders), f"reported as failed, and held: {reply.err}"
        assert holders in ([], ["op"]), holders
        if holders:
            self.check_held(b, "op", self.has_data)
        self.check_usable(b, self.has_data)
        self.only_this_image(b)


class MountBlank(Mount):
    """An image made by others, that the first Mount formats; without exclusive-lock, it is given that, too."""

    made_here = False

    def __init__(self, name, features):
        super().__init__(name, "ext4", False)
        self.features = features
        self.options = {"fstype": "ext4"}

    def prepare(self, b):
        b.pool.make_image(b.volume, 64 << 20, self.features)


class MountSecond(Operation):
    """By a second container, beside the first."""

    def prepare(self, b):
        b.begin_with("shared", lambda: b.daemon.must("Create", Name=b.volume, Opts={**opts("ext4"), "sharing": "host"}))
        write_data(b.daemon.mount(b.volume, "first"))

    def act(self, b):
        return b.daemon.call("Mount", {"Name": b.volume, "ID": "op"})

    def check(self, b, reply):
        holders = b.holders()
        assert not (reply and reply.status == 200 and holders != ["first", "op"]), f"answered, and held by {holders}"
        assert not (reply and reply.status == 500 and "op" in holders), f"reported as failed, and held: {reply.err}"
        assert holders in (["first"], ["first", "op"]), holders
        for holder in holders:
            self.check_held(b, holder, True)
        self.check_usable(b, True)
        self.only_this_image(b)


class Unmount(Operation):
    has_data = True

    def __init__(self, fstype):
        super().__init__(f"unmount-{fstype}")
        self.fstype = fstype

    def prepare(self, b):
        self.make(b)
        write_data(b.daemon.mount(b.volume, "op"))

    def act(self, b):
        return b.daemon.call("Unmount", {"Name": b.volume, "ID": "op"})

    def check(self, b, reply):
        holders = b.holders()
        assert not (reply and reply.status == 200 and holders), f"answered, and held by {holders}"
        if holders:
            self.check_held(b, "op", True)
        self.check_usable(b, True)
        self.only_this_image(b)


PURGE_S = 60  # who was killed in a deletion has to be forgotten first; then it is tried again


class Remove(Operation):
    has_data = True

    def __init__(self, policy):
        super().__init__(f"remove-{policy}")
        self.policy = policy
        self.options = {"remove": policy}

    def prepare(self, b):
        self.make_used(b)
        b.id = b.pool.images()[b.volume]

    def act(self, b):
        return b.daemon.call("Remove", {"Name": b.volume})

    def where(self, b):
        """Where the image is: its names, and "trash"."""
        places = [name for name, image_id in b.pool.images().items() if image_id == b.id]
        return places + ["trash" for image_id in b.pool.trash() if image_id == b.id]

    def check_there(self, b):
        """A rename of which one write has landed is finished by the first who means to change something."""
        reply = b.daemon.call("Mount", {"Name": b.volume, "ID": "next"})
        if not (self.policy == "rename" and "has been renamed" in (reply.err if reply.status else "")):
            assert reply.status == 200, f"a following Mount: {reply}"
            b.daemon.unmount(b.volume, "next")
            self.check_usable(b, True)

    def check(self, b, reply):
        got = b.daemon.call("Get", {"Name": b.volume})
        assert got.status == 200 or "no such volume" in got.err, got
        there = got.status == 200
        assert not (reply and reply.status == 200 and there), "answered, and still there"
        assert not (reply and reply.status == 500 and not there), f"reported as failed, and gone: {reply.err}"
        if there:
            # one that is named and in the trash is taken back by the Mount
            halves = [[b.volume], [b.volume, "trash"]] if self.policy != "rename" else [[b.volume]]
            assert self.where(b) in halves, f"a volume that is {self.where(b)}"
            self.check_there(b)
            assert self.policy == "rename" or self.where(b) == [b.volume], f"a mounted volume that is {self.where(b)}"
            b.daemon.remove(b.volume)
        gone = {"trash": ["trash"], "rename": ["zz_" + b.volume], "delete": []}[self.policy]
        b.await_that(lambda: self.where(b) == gone, lambda: f"the image to be {gone}, it is {self.where(b)}", PURGE_S)
        assert b.daemon.call("Get", {"Name": b.volume}).status == 500


class Elsewhere(Operation):
    """A Mount or Remove of what another daemon has mounted: it is refused, and that one is not disturbed."""

    has_data = True
    needs_other = True

    def __init__(self, verb):
        super().__init__(f"{verb}-elsewhere")
        self.verb = verb

    def prepare(self, b):
        self.make(b)
        write_data(b.other.mount(b.volume, "there"))

    def act(self, b):
        return b.daemon.call(self.verb.capitalize(), {"Name": b.volume, "ID": "op"})

    def check(self, b, reply):
        assert not reply or reply.status == 500, "it was not refused"
        assert b.holders() == [], b.holders()
        point = b.other.must("Path", Name=b.volume)["Mountpoint"]
        check_content(point, True)
        write_data(point)
        b.other.unmount(b.volume, "there")
        self.check_usable(b, True)
        self.only_this_image(b)


class Start(Operation):
    """Killed while it takes up what an earlier daemon left."""

    restarts = True
    has_data = True

    def prepare(self, b):
        self.make(b)
        write_data(b.daemon.mount(b.volume, "op"))
        b.daemon.kill()

    def act(self, b):
        b.start_armed()

    def check(self, b, reply):
        assert b.holders() == ["op"], b.holders()
        self.check_held(b, "op", True)
        self.check_usable(b, True)
        self.only_this_image(b)


class StartUnheld(Start):
    """The state files are lost: what is mounted is held by nobody, and taken down. (With the mapper lost, too, nothing would
    tell that the mount is rbdvol's: it is refused by name then, and left to a person.)"""

    spares_mapper = True

    def prepare(self, b):
        super().prepare(b)
        folder = os.path.join(b.daemon.path("state-dir"), "volumes")
        for name in os.listdir(folder):
            os.unlink(os.path.join(folder, name))

    def check(self, b, reply):
        b.await_that(lambda: b.status() is None, lambda: f"the volume that nobody holds to go down, it is {b.status()}")
        self.check_usable(b, True)
        self.only_this_image(b)


class StartHalf(Start):
    """The daemon before it died in the middle of a Mount, and left a mapper."""

    def prepare(self, b):
        self.make_used(b)
        # mapped, and the owner record not yet written
        b.die_at("daemon:rados_write_op_operate:1:entry:daemon",
                 lambda: b.daemon.call("Mount", {"Name": b.volume, "ID": "gone"}))

    def check(self, b, reply):
        assert b.holders() == [], b.holders()
        self.check_usable(b, True)
        self.only_this_image(b)


ALL = (Create("ext4"), Create("xfs"), Mount("fresh", "ext4", False), Mount("fresh-xfs", "xfs", False),
       Mount("again", "ext4", True), Mount("again-xfs", "xfs", True), MountBlank("blank", MODERN),
       MountBlank("legacy", LAYERING), MountSecond("mount-second"), Unmount("ext4"), Unmount("xfs"), Remove("trash"), Remove("delete"),
       Remove("rename"), Elsewhere("mount"), Elsewhere("remove"), Start("start-adopting"), StartUnheld("start-unheld"),
       StartHalf("start-half"))
