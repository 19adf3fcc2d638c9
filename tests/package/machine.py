# SPDX-License-Identifier: MIT
"""A machine to install packages on: a clean Debian with Docker that systemd boots, in a container (systemd-nspawn) that has this
host's kernel, network, loop devices and FUSE. It can be powered off and booted again, and keeps its disk."""

import os
import shutil
import signal
import subprocess
import time

import process
from process import Process
from waiting import until

CACHE = "/var/cache/rbdvol-tests"
SUITE = "bookworm"
INCLUDE = ("systemd,systemd-sysv,dbus,libpam-systemd,iproute2,busybox-static,docker.io,procps,xfsprogs,e2fsprogs,ca-certificates,"
           "apt-utils,psmisc")
DOCKER_CONF = '{"bridge": "none", "iptables": false, "ip6tables": false, "ip-forward": false}\n'
LOOPS = 256
# Says when a network of the machine's own would go: it has this host's.
NETWORK = """\
[Unit]
Wants=network.target
Before=network.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/true
ExecStop=/bin/echo the network goes
[Install]
WantedBy=multi-user.target
"""


class Failed(AssertionError):
    """A command in the machine failed; the text has its words."""


def base():
    """The directory of a clean system, made once on this host. Never booted: machines lie over it."""
    root = f"{CACHE}/{SUITE}"
    if not os.path.exists(f"{root}/etc/debian_version"):
        making = f"{root}.{os.getpid()}"
        shutil.rmtree(making, ignore_errors=True)
        os.makedirs(CACHE, exist_ok=True)
        with open(f"{CACHE}/debootstrap.log", "wb") as log:
            subprocess.run(["debootstrap", "--variant=minbase", f"--include={INCLUDE}", SUITE, making], stdin=subprocess.DEVNULL,
                           stdout=log, stderr=log, check=True, timeout=1200)
        os.rename(making, root)
    return root


class Machine:
    """boot() and power_off() as often as one likes, remove() at the end."""

    def __init__(self, directory, binds=()):
        self.dir = directory
        self.binds = list(binds)  # "HOST-PATH:PATH"
        self.root = f"{directory}/root"
        self.nspawn = None
        self.leader = None
        for name in ("upper", "work", "root", "docker"):
            os.makedirs(f"{directory}/{name}")
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o",
                        f"lowerdir={base()},upperdir={directory}/upper,workdir={directory}/work", self.root], check=True)
        # this host's devices, as udev would show them
        self.write("/etc/tmpfiles.d/loops.conf", "".join(f"b! /dev/loop{n} 0660 root disk - 7:{n}\n" for n in range(LOOPS)))
        self.write("/etc/docker/daemon.json", DOCKER_CONF)
        self.write("/etc/hostname", "machine\n")
        self.write("/etc/machine-id", "")
        self.write("/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 0\n", 0o755)
        self.write("/etc/systemd/system/test-network.service", NETWORK)
        os.symlink("../test-network.service", f"{self.root}/etc/systemd/system/multi-user.target.wants/test-network.service")
        os.makedirs(f"{self.root}/var/log/journal", exist_ok=True)
        shutil.copyfile("/etc/resolv.conf", f"{self.root}/etc/resolv.conf")

    def write(self, path, text, mode=0o644):
        os.makedirs(os.path.dirname(self.root + path), exist_ok=True)
        with open(self.root + path, "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(self.root + path, mode)

    def boot(self, seconds=60):
        words = ["systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit", f"--directory={self.root}",
                 f"--machine=rbdvol-test-{os.getpid()}", "--resolv-conf=off", "--link-journal=no", "--capability=all",
                 "--system-call-filter=@keyring bpf perf_event_open", "--console=pipe", "--bind=/dev/fuse",
                 "--bind=/dev/loop-control", f"--bind={self.dir}/docker:/var/lib/docker"]
        words += [f"--bind={bind}" for bind in self.binds]
        # a hierarchy of control groups of its own, that Docker in it may use
        self.nspawn = Process.spawn(words, f"{self.dir}/console.log", env={**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"})
        self.leader = until(lambda: self._leader() or not self.nspawn.alive(), "the machine's init", 20)
        if not self.nspawn.alive():
            raise Failed(f"systemd-nspawn ended:\n{self.console()}")
        until(lambda: self.ask("systemctl is-system-running").strip() in ("running", "degraded"), "the boot to end", seconds, 0.1)
        return self

    def _leader(self):
        found = [pid for pid in process.children(self.nspawn.pid) if process.argv(pid)[:1] and "systemd" in process.argv(pid)[0]
                 and "nspawn" not in process.argv(pid)[0]]
        return found[0] if found else None

    def console(self):
        with open(f"{self.dir}/console.log", encoding="utf-8", errors="replace") as f:
            return "".join(f.readlines()[-30:])

    def alive(self):
        return self.nspawn is not None and self.nspawn.alive()

    def command(self, script, timeout=120):
        """A shell script in the machine: its result, whatever that is."""
        return subprocess.run(["nsenter", f"--target={self.leader}", "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup",
                               "--root", "--wd=/", "sh", "-c", script], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=timeout, check=False, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8",
                                                                 "DEBIAN_FRONTEND": "noninteractive", "HOME": "/root"})

    def ask(self, script, timeout=120):
        return self.command(script, timeout).stdout

    def run(self, script, timeout=120):
        """A shell script that must succeed; its standard output."""
        done = self.command(script, timeout)
        if done.returncode:
            raise Failed(f"{script}: exit {done.returncode}: {done.stdout}{done.stderr}\n{self.journal()}")
        return done.stdout

    def path(self, path):
        """What the machine has at this path, as seen from outside; while it runs."""
        return f"/proc/{self.leader}/root{path}"

    def unit(self, name, prop):
        return self.ask(f"systemctl show --value -p {prop} '{name}'").strip()

    def journal(self, unit=None, boot=0, lines=None):
        only = f" -u '{unit}'" if unit else ""
        text = self.ask(f"journalctl --no-pager -o short-monotonic -b {boot}{only}")
        return "\n".join(text.splitlines()[-lines:]) if lines else text

    def power_off(self, seconds=60):
        """As a person does it; how many seconds it took."""
        began = time.monotonic()
        self.run("systemctl poweroff")
        until(lambda: not self.nspawn.alive(), "the machine to be off", seconds, 0.05)
        self.nspawn.wait(5)
        self.nspawn = self.leader = None
        return time.monotonic() - began

    def remove(self):
        if self.alive():
            try:
                self.power_off(40)
            except (AssertionError, subprocess.TimeoutExpired):
                self.nspawn.signal(signal.SIGKILL)
                if self.leader:
                    Process(self.leader).signal(signal.SIGKILL)
                self.nspawn.wait(20)
        subprocess.run(["umount", self.root], check=False)
        if not os.path.ismount(self.root):
            subprocess.run(["chattr", "-f", "-R", "-i", f"{self.dir}/upper"], capture_output=True, check=False)
            shutil.rmtree(self.dir, ignore_errors=True)
