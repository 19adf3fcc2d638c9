# SPDX-License-Identifier: MIT
"""The Debian package on a booted machine: what an operator does with it, in the order of a machine's life."""

import json
import re
import time

import pytest
import rpc
from conftest import NEXT
from waiting import until

SOCKET = "/run/docker/plugins/rbd.sock"
MOUNTS = "/var/lib/rbdvol/rbd/mnt/rbd"
COUNTER = "i=0; while :; do i=$((i+1)); echo $i > /data/count.new && mv /data/count.new /data/count; usleep 10000; done"


def start(machine, name, volume):
    """A container that counts in a file on a volume."""
    machine.run(f"docker run -d --name {name} --volume-driver=rbd -v {volume}:/data box sh -c '{COUNTER}'")


def count(machine, volume):
    return int(machine.ask(f"cat {MOUNTS}/{volume}/count").strip() or 0)


def goes_on(machine, volume):
    """The container writes, and what it writes arrives where the host sees it."""
    before = count(machine, volume)
    until(lambda: count(machine, volume) > before + 2, f"the container on {volume} to write", 20, 0.05)


def mounted(machine, volume):
    return machine.command(f"mountpoint -q {MOUNTS}/{volume}").returncode == 0


def call(machine, method, **body):
    reply = rpc.call(machine.path(SOCKET), method, body)
    assert reply.status == 200 and not reply.err, f"{method} {body}: {reply.status} {reply.body.decode()}"
    return reply.json


def daemon_pid(machine):
    return int(machine.unit("rbdvol.service", "MainPID") or 0)


def mappers(machine):
    """pid (in the machine) of each mapper -> its control group."""
    found = {}
    for line in machine.ask("ps -eo pid=,cgroup:100=,args=").splitlines():
        pid, group, args = line.split(None, 2)
        if args.startswith("@rbdvol-mapper"):
            found[int(pid)] = group
    return found


def gone(machine, container):
    machine.run(f"docker rm -f {container}")


@pytest.fixture
def drop_in(machine):
    """drop_in(TEXT) adds settings to the unit, until the test is over."""
    path = "/etc/systemd/system/rbdvol.service.d/test.conf"

    def add(text):
        machine.run(f"mkdir -p $(dirname {path}) && printf '%s' '[Service]\n{text}\n' > {path} && systemctl daemon-reload")

    yield add
    machine.run(f"rm -f {path} && systemctl daemon-reload && systemctl restart rbdvol.service")


@pytest.fixture
def counting(machine):
    """A container that counts on the volume "life"."""
    start(machine, "life", "life")
    until(lambda: count(machine, "life") > 0, "the first write", 20, 0.05)
    yield machine
    gone(machine, "life")
    until(lambda: not mounted(machine, "life"), "the unmount", 20)


# -- install


def test_installing_starts_it(machine):
    for unit in ("rbdvol.socket", "rbdvol.service"):
        assert machine.unit(unit, "ActiveState") == "active"
        assert machine.unit(unit, "UnitFileState") == "enabled"
    until(lambda: machine.unit("rbdvol.service", "StatusText").startswith("cluster up"), "the cluster", 20)
    assert "cluster   up" in machine.run("rbdvol status")
    assert machine.unit("rbdvol.service", "NRestarts") == "0"


def test_a_timer_gives_space_back(counting):
    """It is enabled, and does what it should when it is due."""
    machine = counting
    assert machine.unit("rbdvol-trim.timer", "ActiveState") == "active"
    assert machine.unit("rbdvol-trim.timer", "UnitFileState") == "enabled"

    def finding():
        return next(one for one in json.loads(machine.command("rbdvol doctor --json").stdout) if one["Check"] == "trim")

    assert finding()["Result"] == "ok"
    machine.run("systemctl start rbdvol-trim.service")
    assert machine.unit("rbdvol-trim.service", "Result") == "success"
    until(lambda: "rbd/life: " in machine.journal("rbdvol-trim.service"), "a line for the volume", 10)
    machine.run("systemctl stop rbdvol-trim.timer")
    assert finding()["Result"] == "warning"
    machine.run("systemctl start rbdvol-trim.timer")


def test_only_root_may_ask_it(machine):
    assert machine.run(f"stat -c '%a %U %G' {SOCKET}").strip() == "600 root root"
    assert machine.run("stat -c '%a' /etc/rbdvol/keys").strip() == "700"


def test_the_manual_pages_are_there(machine):
    assert machine.run("ls /usr/share/man/man8/rbdvol.8.gz /usr/share/man/man5/rbdvol.conf.5.gz")


def test_a_container_writes_to_a_volume(counting):
    machine = counting
    assert mounted(machine, "life")
    goes_on(machine, "life")


def test_a_mapper_has_a_scope_of_its_own_that_outlives_the_mount(counting):
    groups = list(mappers(counting).values())
    assert len(groups) == 1
    scope = re.search(r"(rbdvol-rbd-[0-9a-f]+\.scope)$", groups[0])
    assert scope, groups
    order = counting.run(f"systemctl show -p Before -p After -p Conflicts -p SendSIGKILL {scope.group(1)}")
    assert "var-lib-rbdvol-rbd-mnt-rbd-life.mount" in re.search("^Before=(.*)", order, re.M).group(1)
    assert "network.target" in re.search("^After=(.*)", order, re.M).group(1)
    assert "SendSIGKILL=no" in order
    assert "umount.target" not in order
    until(lambda: "network-online.target" in counting.unit("var-lib-rbdvol-rbd-mnt-rbd-life.mount", "After").split(),
          "systemd to know that the volume needs the network (_netdev)", 10)


# -- the daemon comes and goes


@pytest.mark.parametrize("how", ["restart rbdvol.service", "kill -s KILL rbdvol.service", "restart rbdvol.socket"])
def test_nothing_is_unmounted_when_the_daemon_goes(counting, how):
    before, was = daemon_pid(counting), mappers(counting)
    counting.run(f"systemctl {how}")
    until(lambda: counting.unit("rbdvol.service", "ActiveState") == "active" and daemon_pid(counting) not in (0, before),
          "the new daemon", 20)
    assert mappers(counting) == was
    goes_on(counting, "life")
    until(lambda: "life" in counting.ask("rbdvol status"), "the volume to be adopted", 10)


def test_a_daemon_that_hangs_is_restarted(counting, drop_in):
    drop_in("WatchdogSec=3")
    counting.run("systemctl restart rbdvol.service")
    before, was = daemon_pid(counting), mappers(counting)
    counting.run(f"kill -STOP {before}")
    until(lambda: counting.unit("rbdvol.service", "ActiveState") == "active" and daemon_pid(counting) not in (0, before),
          "the restart by the watchdog", 30)
    assert counting.unit("rbdvol.service", "NRestarts") == "1"
    assert mappers(counting) == was
    goes_on(counting, "life")


def test_a_daemon_that_does_not_run_is_started_by_a_request(machine):
    machine.run("systemctl stop rbdvol.service")
    assert machine.unit("rbdvol.service", "ActiveState") == "inactive"
    assert machine.command(f"test -S {SOCKET}").returncode == 0
    assert "rbd" in machine.run("docker volume create -d rbd -o size=1G woken && docker volume inspect -f '{{.Driver}}' woken")
    assert machine.unit("rbdvol.service", "ActiveState") == "active"
    machine.run("docker volume rm woken")


def test_docker_lives_without_the_plugin_and_starts_it(machine):
    machine.run("systemctl stop rbdvol.service rbdvol.socket")
    assert machine.unit("docker.service", "ActiveState") == "active"
    machine.run("systemctl stop docker.socket docker.service && systemctl start docker.service")
    until(lambda: machine.unit("rbdvol.service", "ActiveState") == "active", "the plugin to come with Docker", 20)


def test_stopping_docker_unmounts_what_its_containers_had(machine):
    start(machine, "stopped", "stopped")
    assert mounted(machine, "stopped")
    machine.run("systemctl stop docker.socket docker.service")
    until(lambda: not mounted(machine, "stopped") and not mappers(machine), "the unmount", 30)
    assert machine.unit("rbdvol.service", "ActiveState") == "active"
    machine.run("systemctl start docker.service && docker rm stopped")


# -- a unit that would not work


@pytest.mark.parametrize("option", ["PrivateTmp=yes", "ProtectSystem=full", "ProtectKernelModules=yes", "ReadWritePaths=/var",
                                    "MountFlags=private"])
def test_an_option_that_hides_mounts_is_refused_at_start_by_its_name(machine, drop_in, option):
    drop_in(f"{option}\nRestart=no")
    assert machine.command("systemctl restart rbdvol.service").returncode != 0
    said = machine.journal("rbdvol.service", lines=12)
    assert option.split("=")[0] + "=" in said and "invisible" in said, said
    others = {"PrivateTmp=", "ProtectSystem=", "ProtectKernelModules=", "ReadWritePaths=", "MountFlags="} - {option.split("=")[0] + "="}
    assert not [other for other in others if other in said.splitlines()[-4:]], said


# -- the journal


def test_the_journal_can_be_asked_by_volume(counting):
    def found():
        return counting.ask("journalctl -b -o cat --no-pager RBDVOL_VOLUME=rbd/life")

    until(lambda: "mounted volume=rbd/life" in found(), "the journal", 10)
    assert all("life" in line for line in found().splitlines()), found()


def test_its_entries_have_fields(counting):
    """A line's words are in them, each, with its priority."""
    def found():
        lines = counting.ask("journalctl -b -o json --no-pager -u rbdvol RBDVOL_VOLUME=rbd/life").splitlines()
        return [one for one in map(json.loads, lines) if one["MESSAGE"].startswith("mounted ")]

    entry = until(found, "the journal", 10)[-1]
    docker = counting.unit("docker.service", "MainPID")
    assert entry["PRIORITY"] == "6" and entry["RBDVOL_PEER"] == docker and int(entry["RBDVOL_MS"]) >= 0
    assert len(entry["RBDVOL_ID"]) == 12 and entry["_SYSTEMD_UNIT"] == "rbdvol.service"


# -- further instances


def test_a_further_instance_runs_beside_it(machine):
    """Of rbdvol@.service and its socket: a plugin of its own name, with a configuration and volumes of its own."""
    machine.run("printf 'size = 3G\\nfstype = ext4\\n' > /etc/rbdvol/ssd.conf && systemctl enable --now rbdvol@ssd.socket rbdvol-trim@ssd.timer")
    assert machine.unit("rbdvol@ssd.service", "ActiveState") == "inactive"
    machine.run("docker run -d --name further --volume-driver=ssd -v further:/data box sh -c 'echo kept > /data/file && exec sleep 600'")
    assert machine.unit("rbdvol@ssd.service", "ActiveState") == "active"
    until(lambda: machine.command("docker exec further cat /data/file").stdout == "kept\n", "the write", 20)
    assert json.loads(machine.run("docker volume inspect further"))[0]["Status"]["size"] == 3 << 30
    assert machine.command("mountpoint -q /var/lib/rbdvol/ssd/mnt/rbd/further").returncode == 0
    assert "rbd/further" in machine.run("rbdvol status --name=ssd") and "further" not in machine.run("rbdvol status")
    was = mappers(machine)
    assert len(was) == 1 and re.search(r"rbdvol-ssd-[0-9a-f]+\.scope$", list(was.values())[0])
    machine.run("systemctl restart rbdvol@ssd.service rbdvol.service")
    assert mappers(machine) == was
    machine.run("systemctl start rbdvol-trim@ssd.service")
    until(lambda: "rbd/further: " in machine.journal("rbdvol-trim@ssd.service"), "a line of the trim", 10)
    gone(machine, "further")
    machine.run("docker volume rm further; systemctl disable --now rbdvol-trim@ssd.timer rbdvol@ssd.socket && "
                "systemctl stop rbdvol@ssd.service && rm -r /etc/rbdvol/ssd.conf")
    assert machine.unit("rbdvol.service", "ActiveState") == "active"


def test_children_have_less_than_the_daemon_under_its_unit(counting):
    def effective(pid):
        return int(re.search(r"CapEff:\s+(\w+)", counting.run(f"cat /proc/{pid}/status")).group(1), 16)

    daemon = effective(daemon_pid(counting))
    assert daemon
    assert {effective(pid) for pid in mappers(counting)} == {0}
    helpers = counting.ask("pgrep -x rbdvol-device").split()
    assert helpers
    for pid in helpers:
        assert effective(pid) & ~daemon == 0 and effective(pid) < daemon


# -- other versions


def test_an_upgrade_unmounts_nothing_and_adopts(counting):
    before, was = daemon_pid(counting), mappers(counting)
    counting.run("apt-get install -qy /root/rbdvol-next.deb", 300)
    assert NEXT in counting.run("dpkg-query -W -f '${Version}' rbdvol")
    assert counting.unit("rbdvol.service", "ActiveState") == "active" and daemon_pid(counting) != before
    assert mappers(counting) == was
    goes_on(counting, "life")
    until(lambda: "life" in counting.ask("rbdvol status"), "the volume to be adopted", 10)


# -- power


def test_power_off_with_a_container_at_work(machine, cluster):
    start(machine, "off", "off")
    machine.run(f"docker exec off dd if=/dev/urandom of=/data/blob bs=1M count=64 && md5sum < {MOUNTS}/off/blob > /root/sum", 60)
    took = machine.power_off()
    machine.boot()
    assert took <= 30, f"power-off took {took:.1f} s"
    check_shutdown(machine, cluster, "off")
    machine.run("docker start off")
    assert machine.run(f"md5sum < {MOUNTS}/off/blob") == machine.run("cat /root/sum")
    gone(machine, "off")


def test_power_off_with_unsynced_data_and_nobody_who_unmounts(machine, cluster):
    """What was mounted for a caller that does not come back (Mesos): systemd unmounts it."""
    call(machine, "Create", Name="left", Opts={"size": "2G", "fstype": "ext4"})
    call(machine, "Mount", Name="left", ID="")
    machine.run(f"dd if=/dev/urandom of={MOUNTS}/left/blob bs=1M count=128 && md5sum < {MOUNTS}/left/blob > /root/sum", 60)
    took = machine.power_off()
    machine.boot()
    assert took <= 30, f"power-off took {took:.1f} s"
    check_shutdown(machine, cluster, "left")
    call(machine, "Mount", Name="left", ID="")
    assert machine.run(f"md5sum < {MOUNTS}/left/blob") == machine.run("cat /root/sum")
    call(machine, "Unmount", Name="left", ID="")


def test_a_boot_at_which_ceph_is_not_up_yet(machine, cluster):
    """Row 34: the mountpoints of before are there, no mapping is; neither Docker nor the plugin waits for the cluster or the other."""
    call(machine, "Create", Name="early", Opts={"size": "1G", "fstype": "ext4"})
    start(machine, "early", "early")
    assert "early" in machine.run(f"ls {MOUNTS}")
    machine.run("docker stop -t 1 early")
    machine.power_off()
    cluster.pause("mon")
    try:
        began = time.monotonic()
        machine.boot(seconds=120)
        for unit in ("docker.service", "rbdvol.service", "rbdvol.socket"):
            assert machine.unit(unit, "ActiveState") == "active"
        # Docker asks for the volume of each container it knows, all at a time, and again and again for some 40 s
        assert time.monotonic() - began < 90
        refused = machine.command("docker start early", 200)
        assert refused.returncode != 0 and not mounted(machine, "early"), refused.stderr
    finally:
        cluster.resume_all()
    until(lambda: machine.unit("rbdvol.service", "StatusText").startswith("cluster up"), "the cluster", 40)
    machine.run("docker start early")
    goes_on(machine, "early")
    gone(machine, "early")


def check_shutdown(machine, cluster, volume):
    """By the journal of the last boot: in order, nothing killed or failed, and the lock given back."""
    said = machine.journal(boot=-1)
    said = said[said.rindex("Stopped target multi-user.target"):]
    lines = said.splitlines()

    def at(pattern):
        found = [n for n, line in enumerate(lines) if re.search(pattern, line)]
        assert found, f"the journal has no '{pattern}':\n" + "\n".join(lines[-80:])
        return found[-1]

    unmounted = at(rf"var-lib-rbdvol-rbd-mnt-rbd-{volume}\.mount(: Deactivated| - )")
    mapper_ended = at(r"rbdvol-rbd-[0-9a-f]+\.scope: Deactivated")
    assert unmounted < mapper_ended < at("the network goes"), "\n".join(lines[-120:])
    assert not re.search(r"Failed unmounting .*rbdvol|Failed to unmount|rbdvol.*(SIGKILL|timed out)", said), said[-4000:]
    image = cluster.info(volume)
    assert "rbd_lock" not in cluster.locks(f"rbd_header.{image['id']}"), "the lock was not given back"


# -- the end


def test_removing_the_package_unmounts_nothing_and_says_what_stays(machine, cluster):
    start(machine, "stays", "stays")
    was = mappers(machine)
    said = machine.run("apt-get remove -qy rbdvol", 300)
    assert f"{MOUNTS}/stays" in said and "umount" in said, said
    assert mounted(machine, "stays") and mappers(machine) == was
    goes_on(machine, "stays")
    assert machine.command("test -e /run/docker/plugins/rbd.sock").returncode != 0
    said = machine.run("dpkg --purge rbdvol", 60)
    assert "still mounted" in said
    assert mounted(machine, "stays")
    goes_on(machine, "stays")

    # as the message says
    machine.command("docker rm -f stays", 120)
    machine.run(f"umount {MOUNTS}/stays")
    until(lambda: not mappers(machine), "the mapper to end by itself", 20)
    image = cluster.info("stays")
    assert "rbd_lock" not in cluster.locks(f"rbd_header.{image['id']}")


def test_installed_again_it_goes_on_and_purged_nothing_stays(machine):
    machine.run("apt-get install -qy --no-install-recommends /root/rbdvol.deb && systemctl restart docker", 300)
    start(machine, "again", "stays")
    goes_on(machine, "stays")
    gone(machine, "again")
    machine.run("dpkg --purge rbdvol", 60)
    assert machine.ask("ls -d /var/lib/rbdvol /etc/rbdvol /lib/systemd/system/rbdvol* /run/docker/plugins/rbd.sock 2>/dev/null") == ""
