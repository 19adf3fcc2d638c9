# SPDX-License-Identifier: MIT
"""What every interrupted operation is made of."""

import os
import stat

TEXT = "written and fsynced before"
TEMPORARY = "rbdvol.new."


def opts(fstype):
    return {"size": "300M" if fstype == "xfs" else "64M", "fstype": fstype, "uid": "33", "mode": "0750"}


def write_data(point):
    path = os.path.join(point, "data")
    with open(path, "w", encoding="ascii") as f:
        f.write(TEXT)
        f.flush()
        os.fsync(f.fileno())
    folder = os.open(point, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def check_content(point, has_data, made_here=True):
    """What a container would find."""
    # e2fsck makes it again when it looks at the whole: before a volume grows, and when a clone gets its uuid
    found = sorted(name for name in os.listdir(point) if name != "lost+found")
    assert found == (["data"] if has_data else []), f"the volume has {found}"
    if has_data:
        with open(os.path.join(point, "data"), encoding="ascii") as f:
            text = f.read()
        assert text == TEXT, f"what was fsynced reads {text!r}"
    if made_here:
        st = os.stat(point)
        assert (st.st_uid, stat.S_IMODE(st.st_mode)) == (33, 0o750), f"the root is {st.st_uid} {stat.S_IMODE(st.st_mode):o}"


class Operation:
    """name; options of the daemon; prepare, act (the interrupted request, its Reply or None), check."""

    options = {}
    fstype = "ext4"
    has_data = False
    made_here = True
    restarts = False  # act() starts the daemon
    spares_mapper = False
    needs_other = False  # a second daemon, that nobody kills: b.other
    has_snapshots = False

    def __init__(self, name):
        self.name = name

    def prepare(self, b):
        """Up to where the operation begins."""

    def act(self, b):
        raise NotImplementedError

    def check(self, b, reply):
        """Raises AssertionError."""
        raise NotImplementedError

    # -- shared by several

    def create(self, b):
        b.daemon.must("Create", Name=b.volume, Opts=opts(self.fstype))

    def make(self, b):
        """A new volume, never mounted."""
        b.begin_with("new", lambda: self.create(b))

    def make_used(self, b, name=None):
        """A volume with data, not mounted. name: when it is not b.volume."""
        def make():
            name_of = name or b.volume
            b.daemon.must("Create", Name=name_of, Opts=opts(self.fstype))
            write_data(b.daemon.mount(name_of, "before"))
            b.daemon.unmount(name_of, "before")

        b.begin_with("used", make)

    def check_usable(self, b, has_data):
        """A following Mount works, and finds what was there."""
        point = b.daemon.mount(b.volume, "next")
        check_content(point, has_data, self.made_here)
        b.daemon.unmount(b.volume, "next")
        b.await_that(lambda: b.status() is None, lambda: f"the volume to be gone, it is {b.status()}")

    def check_held(self, b, holder, has_data):
        """Held by the one whose request was interrupted (or, when the mapper died, still to be taken down)."""
        state = b.status()["State"]
        if state == "mounted" and not b.killed("mapper"):
            check_content(b.daemon.must("Path", Name=b.volume)["Mountpoint"], has_data, self.made_here)
        else:
            assert b.killed("mapper"), f"its holder has a volume that is {state}"
        b.daemon.call("Unmount", {"Name": b.volume, "ID": holder})
        b.await_settled()

    def only_this_image(self, b):
        b.await_images({b.volume})

    def check_answer(self, reply, done):
        """An answer is true. (A refusal may come late: for what is done yet it has words of its own.)"""
        assert not (reply and reply.status == 200 and not done), "answered, and not done"
        assert not (reply and reply.status == 500 and done), f"reported as failed, and done: {reply.err}"
