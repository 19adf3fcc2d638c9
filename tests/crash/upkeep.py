# SPDX-License-Identifier: MIT
"""What a person asks for: the trash, locks, holders, unused blocks; interrupted like the operations of protocol.py."""

import os

from operation import Operation, check_content, write_data


class Removed(Operation):
    """A volume in the trash: b.id."""

    has_data = True

    def prepare(self, b):
        self.make_used(b)
        b.id = b.pool.images()[b.volume]
        b.daemon.remove(b.volume)

    @staticmethod
    def data(b):
        return [name for name in b.pool.objects() if b.id in name]


class Restore(Removed):
    def __init__(self):
        super().__init__("trash-restore")

    def act(self, b):
        return b.daemon.call("/Rbdvol.Trash.Restore", {"Name": b.volume})

    def check(self, b, reply):
        there = b.daemon.call("Get", {"Name": b.volume}).status == 200
        self.check_answer(reply, there)
        if b.id in b.pool.trash():
            b.daemon.must("/Rbdvol.Trash.Restore", Name=b.volume)
        assert b.pool.trash() == {} and b.pool.images() == {b.volume: b.id}, f"{b.pool.trash()} {b.pool.images()}"
        self.check_usable(b, True)
        b.daemon.remove(b.volume)
        assert b.pool.images() == {} and list(b.pool.trash()) == [b.id], f"{b.pool.trash()} {b.pool.images()}"


class Purge(Removed):
    def __init__(self):
        super().__init__("trash-purge")

    def act(self, b):
        return b.daemon.call("/Rbdvol.Trash.Purge", {"Name": b.volume})

    def check(self, b, reply):
        there = b.id in b.pool.trash()
        self.check_answer(reply, not there)
        assert b.pool.images() == {}, b.pool.images()
        if there:
            # one that deleted it and was killed is watched for 30 s, and not taken from a living one
            b.await_that(lambda: b.daemon.call("/Rbdvol.Trash.Purge", {"Name": b.volume}).status == 200
                         or b.id not in b.pool.trash(),
                         lambda: f"the purge: {b.daemon.call('/Rbdvol.Trash.Purge', {'Name': b.volume})}", 60)
        assert b.pool.trash() == {}, b.pool.trash()
        # what the killed one had asked for may land after the answer
        b.await_that(lambda: self.data(b) == [], lambda: f"no object to be left: {self.data(b)}")


class Unlock(Operation):
    """Somebody's advisory lock goes, after who has it is fenced."""

    has_data = True

    def __init__(self):
        super().__init__("unlock")

    def prepare(self, b):
        self.make_used(b)
        b.pool.lock_by_hand(b.volume)

    def act(self, b):
        return b.daemon.call("/Rbdvol.Unlock", {"Name": b.volume, "Go": True})

    def check(self, b, reply):
        found = b.daemon.must("/Rbdvol.Unlock", Name=b.volume)["State"]
        assert found in ("free", "by hand"), found
        self.check_answer(reply, found == "free")
        if found != "free":
            assert b.daemon.must("/Rbdvol.Unlock", Name=b.volume, Go=True)["Unlocked"]
        self.check_usable(b, True)
        self.only_this_image(b)


class Trim(Operation):
    has_data = True

    def __init__(self):
        super().__init__("trim")

    def prepare(self, b):
        self.make(b)
        point = b.daemon.mount(b.volume, "op")
        with open(os.path.join(point, "large"), "wb") as f:
            f.write(b"x" * (12 << 20))
            f.flush()
            os.fsync(f.fileno())
        write_data(point)
        os.unlink(os.path.join(point, "large"))
        folder = os.open(point, os.O_RDONLY)
        os.fsync(folder)  # ext4 discards what is free on disk, too
        os.close(folder)

    def act(self, b):
        return b.daemon.call("/Rbdvol.Trim", {"Name": b.volume})

    def check(self, b, reply):
        assert b.holders() == ["op"], b.holders()
        if not b.killed("mapper"):
            b.daemon.must("/Rbdvol.Trim", Name=b.volume)
            check_content(b.daemon.must("Path", Name=b.volume)["Mountpoint"], True)
        self.check_held(b, "op", True)
        self.check_usable(b, True)
        self.only_this_image(b)


class Release(Operation):
    """The holder is taken away by hand, and the volume goes down."""

    has_data = True

    def __init__(self):
        super().__init__("release")

    def prepare(self, b):
        self.make(b)
        write_data(b.daemon.mount(b.volume, "op"))

    def act(self, b):
        return b.daemon.call("/Rbdvol.Release", {"Name": b.volume, "ID": "op", "Force": True})

    def check(self, b, reply):
        holders = b.holders()
        assert holders in ([], ["op"]), holders
        assert not (reply and reply.status == 200 and holders), f"answered, and held by {holders}"
        if holders:
            self.check_held(b, "op", True)
        self.check_usable(b, True)
        self.only_this_image(b)


ALL = (Restore(), Purge(), Unlock(), Trim(), Release())
