# SPDX-License-Identifier: MIT
"""Rows 3, 4, 46: a host that was cut off or stopped loses its volume, comes back, and can do no harm.

The old owner's container writes without end. The new owner writes every block once. What the image holds afterwards is told
block by block: a single late write of the old owner would show.
"""

import contextlib
import json
import signal
import time

import stamps
from cluster import Failed
from host import BLOCKLIST
from image import checksum, exported
from owners import DAY, fenced_for, is_lost, owner_address
from process import Process
from threads import at_once, timed
from waiting import let_pass, until
from writer import Writer

NOTICED_WITHIN = 10
BACK_WITHIN = 60  # a healed link is used again only after TCP's and Ceph's back-off
PAST = BLOCKLIST + 5  # an entry of Ceph's default length is gone


def stamps_of(cluster, volume):
    with exported(cluster, volume) as path:
        return stamps.found(path)


class Story:
    """One volume, its old and its new owner."""

    def __init__(self, cluster, old, new, volume):
        self.cluster, self.old, self.new, self.volume = cluster, old, new, volume
        self.taken = None
        self.writer = None

    def begin(self):
        self.old.create(self.volume, size="64M", fstype="ext4", object_size="64K")
        self.write()
        return self

    def write(self):
        self.writer = Writer(self.old.host, self.old.mount(self.volume, "x"), "old").start()

    def mount_elsewhere(self, point=None):
        """One call, unless it was made; returns when all of the new owner's blocks are on disk."""
        point = point or self.new.mount(self.volume, "x")
        self.taken = time.monotonic()
        self.new_writer = Writer(self.new.host, point, "new").once()
        return self

    def let_the_default_pass(self):
        let_pass(max(0, self.taken + PAST - time.monotonic()))

    def check_writes(self, within):
        """Whatever it was that was on its way when the old host came back: the writer is told that it failed, and it did."""
        until(self.writer.errors, f"an error for the old writer of {self.volume}", within)
        late = [w for w in self.writer.written() if w.when > self.taken]
        # what had been written before he was stopped, and was not told yet
        assert len(late) <= stamps.THREADS, f"acknowledged after the new owner had it: {late[:3]}"
        self.check_image()

    def check_old_side(self, within):
        """Errors for its container, `lost` and the new owner's name for its user, and no mount."""
        began = time.monotonic()
        self.check_writes(within)
        until(lambda: is_lost(self.old, self.volume), f"{self.volume} to be lost and unmounted on {self.old.host.name}",
              max(1, began + within - time.monotonic()))
        took = time.monotonic() - began
        # what runs there at this time is bound to fail, and not to hang
        until(lambda: len(self.writer.errors()) > 2 * stamps.THREADS or not self.writer.process.alive(), "errors without end", 10)
        assert "lost" in self.old.log_text()
        return took

    def check_told(self):
        """Its user is told who has it, as soon as that can be asked."""
        for tell in (lambda: str(self.old.get(self.volume)), lambda: self.old.cli("status").stdout, self.old.log_text):
            until(lambda t=tell: self.new.host.name in t(), f"the old host to say who has {self.volume}", BACK_WITHIN, interval=0.1)

    def check_image(self):
        """No block of the old owner anywhere, not one of the new owner missing."""
        found = stamps_of(self.cluster, self.volume)
        assert found == {"new": self.new_writer.blocks}, f"{self.volume} has blocks of {dict(found)}"

    def end(self):
        """Back to where it was: the old host mounts it as a new client, and sees the new one's blocks."""
        self.check_told()
        self.writer.stop()
        self.old.unmount(self.volume, "x")
        assert self.new.host.name in self.old.refused("Mount", Name=self.volume, ID="again")
        self.check_image()
        self.new.unmount(self.volume, "x")
        point = self.old.mount(self.volume, "again")
        with open(self.old.host.path(f"{point}/stamped"), "rb") as f:
            assert set(stamps.read(f.name)) == {"new"}
        self.old.unmount(self.volume, "again")
        self.check_image()


def test_no_late_write_of_a_host_that_was_cut_off_or_stopped_lands(host, cluster):
    """Its link was down; its mapper was stopped; all of it was stopped, as a suspended guest is."""
    new = host().daemon(takeover="silent")
    patient = host().daemon()
    olds = [host().daemon() for _ in range(3)]
    cut, stopped, frozen = stories = [Story(cluster, olds[0], new, "cut").begin(), Story(cluster, olds[1], patient, "stopped").begin(),
                                      Story(cluster, olds[2], new, "frozen").begin()]

    def play_cut():
        cut.old.host.link_down()
        cut.mount_elsewhere().let_the_default_pass()
        cut.old.host.link_up()
        return cut.check_old_side(BACK_WITHIN)

    def play_stopped():
        began = time.monotonic()
        mappers = [Process(pid) for pid in stopped.old.mappers()]
        for mapper in mappers:
            mapper.signal(signal.SIGSTOP)
        stopped.mount_elsewhere().let_the_default_pass()
        let_pass(max(0, began + 40 - time.monotonic()))
        for mapper in mappers:
            mapper.signal(signal.SIGCONT)
        return stopped.check_old_side(NOTICED_WITHIN)

    def play_frozen():
        everything = [Process(pid) for pid in frozen.old.host.processes()]
        for process in everything:
            process.signal(signal.SIGSTOP)
        frozen.mount_elsewhere().let_the_default_pass()
        for process in everything:
            process.signal(signal.SIGCONT)
        return frozen.check_old_side(BACK_WITHIN)

    took = at_once(play_cut, play_stopped, play_frozen)
    print("noticed after %.1f s (cut), %.1f s (stopped), %.1f s (frozen)" % tuple(took))
    for story in stories:
        story.check_image()
    for story in stories:
        story.end()


def tries(d, volume, until_within):
    """Mounts again and again until it is allowed to. (mountpoint, what the refusals said)"""
    refusals = []

    def mounted():
        reply = d.call("Mount", {"Name": volume, "ID": "x"})
        if reply.status != 200:
            refusals.append(reply.err)
        return reply.status == 200 and reply.json["Mountpoint"]

    return until(mounted, f"{volume} to be mounted on {d.host.name}", until_within), refusals


def test_no_late_write_lands_after_an_admin_took_the_lock_of_a_host_that_is_cut_off(host, cluster):
    """`rbd lock rm` fences for Ceph's own time only, which the host may outlast, and no lock is left that would tell. That
    entry is waited for, or an administrator takes it away: before anybody else writes there is one that lasts."""
    new = host().daemon()
    lapses, lifted = stories = [Story(cluster, host().daemon(), new, volume).begin() for volume in ("lapses", "lifted")]
    addresses = {story.volume: owner_address(cluster, story.volume) for story in stories}
    for story in stories:
        story.old.host.link_down()
        cluster.break_locks(story.volume)
    said = {story.volume: [new.call("Mount", {"Name": story.volume, "ID": "x"}).err] for story in stories}
    if said["lifted"] != [""]:
        cluster.ceph("osd", "blocklist", "rm", addresses["lifted"])
    for story in (lifted, lapses):
        point, refusals = tries(new, story.volume, PAST + 10)
        said[story.volume] += refusals
        story.mount_elsewhere(point)
    fences = {volume: fenced_for(cluster, address) for volume, address in addresses.items()}
    for story in stories:
        story.let_the_default_pass()
        story.old.host.link_up()
    for story in stories:
        story.check_old_side(BACK_WITHIN)
    for story in stories:
        refusal = said[story.volume][0]
        assert story.old.host.name in refusal and f"ceph osd blocklist rm {addresses[story.volume]}" in refusal, refusal
        assert fences[story.volume] > 29 * DAY
    assert len(said["lifted"]) == 1, said
    for story in stories:
        story.end()


def with_its_header_on(cluster, d, osd, is_fit=lambda volume: True, **opts):
    """Makes a volume whose header object is on this OSD. Its name."""
    for n in range(40):
        d.create(f"apart{n}", size="64M", fstype="ext4", object_size="64K", **opts)
        if cluster.primary(cluster.header(f"apart{n}")) == osd and is_fit(f"apart{n}"):
            return f"apart{n}"
    raise AssertionError("no header came to lie there")


def test_a_host_that_cannot_reach_the_data_keeps_the_lock_until_its_writes_are_done(host, cluster, network):
    """Without a rival: an unmount in the middle of such a cut does not let go."""
    h = host()
    # even where ceph.conf would have such a write given up while it may still land
    old = h.daemon(budget="16s", ceph_conf=cluster.conf_with(f"{h.dir}/ceph.conf", {"rados_osd_op_timeout": 3}))
    other = host().daemon()
    volume = with_its_header_on(cluster, old, 0)
    w = Writer(old.host, old.mount(volume, "x"), "old").start()
    address = owner_address(cluster, volume)
    old.host.cut_from(network.addresses[2])
    until(lambda: not len(w.answers()) or time.monotonic() - w.answers()[-1].when > 2, "the writes to get stuck", 20)
    w.ask_no_more()
    seconds, reply = timed(old.call, "Unmount", {"Name": volume, "ID": "x"})
    assert reply.status == 500 and seconds < 16, (reply.body, seconds)
    let_pass(20)  # longer than any time-out that a write might have had
    assert owner_address(cluster, volume) == address, "the lock was released with writes on their way"
    assert old.host.name in other.refused("Mount", Name=volume, ID="y")
    old.host.heal_from(network.addresses[2])
    until(lambda: "rbd_lock" not in cluster.locks(cluster.header(volume)), "the unmount to be finished", BACK_WITHIN)
    point = other.mount(volume, "y")
    written = {(a.number, a.turn) for a in w.written()}
    with open(other.host.path(f"{point}/stamped"), "rb") as f:
        there = dict(stamps.read(f.name)["old"])
    behind = [pair for pair in written if there.get(pair[0], -1) < pair[1]]
    assert not behind, f"acknowledged, and not there: {behind[:5]}"
    other.unmount(volume, "y")


def test_no_late_write_lands_after_a_cut_from_the_data_alone(host, cluster, network):
    """The owner still answers, so that only an operator can take the volume from it."""
    old, new = host().daemon(), host().daemon(takeover="silent")
    story = Story(cluster, old, new, with_its_header_on(cluster, old, 0))
    story.write()
    old.host.cut_from(network.addresses[2])
    assert old.host.name in new.refused("Mount", Name=story.volume, ID="x")
    assert new.cli("unlock", story.volume).returncode == 1, "a living owner was unlocked without force"
    done = new.cli("unlock", "--force", story.volume)
    assert done.returncode == 0, done.stderr
    story.mount_elsewhere()
    took = story.check_old_side(NOTICED_WITHIN)
    story.let_the_default_pass()
    old.host.heal_from(network.addresses[2])
    print(f"noticed after {took:.1f} s")
    let_pass(BLOCKLIST)
    story.check_image()
    story.end()


def is_clean_on(cluster, pg, osd):
    try:
        says = json.loads(cluster.ceph("tell", pg, "query"))
    except Failed as e:  # it has been given to an OSD that has not heard of it yet
        assert "i don't have pgid" in str(e), e
        return False
    return says["state"] == "active+clean" and says["acting"][0] == osd


@contextlib.contextmanager
def kept_on(cluster, osd, *objects):
    """These are on this OSD meanwhile, wherever else they would be."""
    moved = {}
    for name in objects:
        where = json.loads(cluster.ceph("osd", "map", "rbd", name, "--format", "json"))
        if where["acting_primary"] != osd:
            moved[where["pgid"]] = where["acting_primary"]
    cluster.ceph("osd", "set-require-min-compat-client", "luminous")
    for pg, was in moved.items():
        cluster.ceph("osd", "pg-upmap-items", pg, str(was), str(osd))
    # the old one serves them (pg_temp) until they have come over
    until(lambda: all(is_clean_on(cluster, pg, osd) for pg in moved), "the objects to move", 60, interval=0.2)
    until(lambda: {cluster.primary(name) for name in objects} == {osd}, "the monitor to say so", 60)
    yield
    for pg in moved:
        cluster.ceph("osd", "rm-pg-upmap-items", pg)


def mounted_as_soon_as_may_be(d, volume):
    until(lambda: d.call("Mount", {"Name": volume, "ID": "x"}).status == 200, f"{volume} to be had", 60, interval=1)
    return d.get(volume)["Mountpoint"]


def roll_back_while_cut(cluster, network, old, volume):
    """Cut from the data, not from the header."""
    old.host.cut_from(network.addresses[2])
    assert "was cut off" in old.declines("snap", "rollback", f"{volume}@mon")


def test_no_late_write_of_a_rollback_lands(host, cluster, network, snapshots):
    """The daemon's own client rolls back, with time-outs: what it gave up may be on its way, as a mapper's writes may."""
    old, new = host().daemon(), host().daemon()
    with kept_on(cluster, 0, "rbd_directory", "rbd_info"):
        volume = with_its_header_on(cluster, old, 0, lambda name: cluster.primary(f"rbd_id.{name}") == 0 and
                                    cluster.primary(cluster.info(name)["block_name_prefix"] + ".0000000000000000") == 1,
                                    features="layering+exclusive-lock")
        old.mount(volume, "x")
        old.does("snap", "create", f"{volume}@mon")
        Writer(old.host, old.mount(volume, "x"), "after").once()
        for _ in range(2):
            old.unmount(volume, "x")
        roll_back_while_cut(cluster, network, old, volume)
        Writer(new.host, mounted_as_soon_as_may_be(new, volume), "new").once()
        new.unmount(volume, "x")
        left = checksum(cluster, volume)
        old.host.heal_from(network.addresses[2])
        let_pass(BACK_WITHIN)
        assert checksum(cluster, volume) == left, "the old host rolled back what another had written"
