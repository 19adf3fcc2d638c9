# SPDX-License-Identifier: MIT
"""A guest: another kernel on this machine's own root file system, as a host that has the kernel's mappers.

User-Mode Linux by default; QEMU, without KVM, when RBDVOL_GUEST=qemu (slow; several processors, and a full address space for
sanitizers)."""

import ctypes
import json
import os
import shlex
import signal

from network import ip
from pace import BUILD
from process import Process
from waiting import TookTooLong, until

HERE = os.path.dirname(os.path.abspath(__file__))
KIND = os.environ.get("RBDVOL_GUEST", "uml")
BOOT = 60 if KIND == "uml" else 180
PR_SET_PDEATHSIG = 1


class GuestError(AssertionError):
    """What a function in a guest raised; the text has its traceback."""


def _die_with_us():
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Guest:
    """start() may be called again after stop() or kill(): it is the same host, booted again."""

    def __init__(self, directory, name, number, address, bridge, unpacked, memory="768M"):
        self.name = name
        self.address = address
        self.bridge = bridge
        self.tap = f"tap{number}"
        self._dir = os.path.join(directory, name)
        self._unpacked = unpacked
        self._memory = memory
        self._machine = f"{number:032x}"
        self._number = number
        self._boots = 0
        self._calls = 0
        self._process = None
        os.makedirs(self._dir)
        ip("tuntap", "add", "dev", self.tap, "mode", "tap")
        ip("link", "set", self.tap, "master", bridge, "up")

    # -- its life

    @property
    def job(self):
        return f"{self._dir}/{self._boots}"

    @property
    def console_file(self):
        return f"{self.job}.console"

    def start(self):
        self._boots += 1
        self._calls = 0
        os.makedirs(self.job)
        words = self._uml() if KIND == "uml" else self._qemu()
        # a process namespace of its own: the kernel's processes end with it, whatever happens
        self._process = Process.spawn(["unshare", "-pf", "--kill-child=KILL", *words], self.console_file, preexec=_die_with_us)
        self._wait(lambda: os.path.exists(f"{self.job}/ready"), "its start", BOOT)
        return self

    def _arguments(self, modules):
        return [f"init={HERE}/init", f"job={self.job}", f"modules={modules}", f"extra={self._unpacked}/extra",
                f"address={self.address}", f"host={self.name}", f"machine={self._machine}", f"build={BUILD}",
                "panic=-1", "quiet", "loglevel=4"]

    def _hardware_address(self):
        return f"02:00:00:00:01:{self._number:02x}"

    def _uml(self):
        return [f"{self._unpacked}/uml/usr/bin/linux.uml", f"mem={self._memory}", "root=none", "rootfstype=hostfs", "rootflags=/",
                "ro", "con=null", "con0=null,fd:1", f"umid={self.name}", f"uml_dir={self.job}/",
                f"vec0:transport=tap,ifname={self.tap},depth=128,gro=1,mac={self._hardware_address()}",
                *self._arguments(f"{self._unpacked}/uml/usr/lib/uml/modules")]

    def _qemu(self):
        kernel = f"{self._unpacked}/qemu"
        (version,) = os.listdir(f"{kernel}/lib/modules")
        append = ["console=ttyS0", "root=root", "rootfstype=virtiofs", "rw", "mitigations=off",
                  *self._arguments(f"{kernel}/lib/modules")]
        libraries = ":".join(f"{kernel}/{path}" for path in ("usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"))
        qemu = ["env", f"LD_LIBRARY_PATH={libraries}", f"{kernel}/usr/bin/qemu-system-x86_64", "-L", f"{kernel}/usr/share/qemu",
                "-L", f"{kernel}/usr/share/seabios", "-accel", "tcg,thread=multi", "-M", "q35", "-cpu", "max,-cx16", "-smp", "2", "-m", "2G",
                "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
                "-object", "memory-backend-memfd,id=mem,size=2G,share=on", "-numa", "node,memdev=mem",
                "-chardev", f"socket,id=fs,path={self.job}/fs.sock",
                "-device", "vhost-user-fs-pci,chardev=fs,tag=root,queue-size=1024",
                "-netdev", f"tap,id=net,ifname={self.tap},script=no,downscript=no",
                "-device", f"virtio-net-pci,netdev=net,mac={self._hardware_address()},romfile=",
                "-chardev", "stdio,id=con,signal=off", "-serial", "chardev:con",
                "-kernel", f"{kernel}/boot/vmlinuz-{version}", "-initrd", f"{kernel}/initrd", "-append", " ".join(append)]
        virtiofsd = ["env", f"LD_LIBRARY_PATH={libraries}", f"{kernel}/usr/lib/qemu/virtiofsd", f"--socket-path={self.job}/fs.sock", "-o", "source=/", "-o", "sandbox=chroot",
                     "-o", "cache=auto"]
        # two programs that belong together, the second of which waits for the first one's socket
        return ["bash", "-c", f"{shlex.join(virtiofsd)} & while [[ ! -S {self.job}/fs.sock ]]; do sleep 0.02; done; "
                              f"exec {shlex.join(qemu)}"]

    def alive(self):
        return self._process is not None and self._process.alive()

    def kill(self):
        """As when the power fails."""
        self._process.kill()
        self._process = None

    def stop(self):
        if self._process is None:
            return
        if self.alive():
            open(f"{self.job}/stop", "w", encoding="ascii").close()
            try:
                self._process.wait(20)
            except TookTooLong:
                self._process.kill()
        self._process = None

    def close(self):
        if self.alive():
            self.kill()
        ip("link", "del", self.tap)

    def cut(self):
        """Its network ends at the bridge."""
        ip("link", "set", self.tap, "nomaster")

    def mend(self):
        ip("link", "set", self.tap, "master", self.bridge)

    def console(self):
        try:
            with open(self.console_file, encoding="utf-8", errors="replace") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    # -- what is done in it

    def _wait(self, condition, what, seconds):
        until(lambda: condition() or not self.alive(), f"{what} in guest {self.name}", seconds)
        if not condition():
            raise AssertionError(f"guest {self.name} has died; its console:\n{self.console()[-4000:]}")

    def begin(self, function, *args, **kwargs):
        """Begins a call of a function of inside.py; end() waits for it."""
        self._calls += 1
        path = f"{self.job}/{self._calls}"
        with open(f"{path}.new", "w", encoding="utf-8") as f:
            json.dump({"function": function, "args": args, "kwargs": kwargs}, f)
        os.rename(f"{path}.new", f"{path}.call")
        return path

    def end(self, path, seconds=120.0):
        self._wait(lambda: os.path.exists(f"{path}.answer"), "an answer", seconds)
        with open(f"{path}.answer", encoding="utf-8") as f:
            reply = json.load(f)
        if "error" in reply:
            raise GuestError(f"{self.name}: {reply['kind']}: {reply['error']}\n{reply['trace']}")
        return reply["result"]

    def call(self, function, *args, **kwargs):
        return self.end(self.begin(function, *args, **kwargs))

    def sh(self, script, timeout=60):
        """A shell's output; it must end well."""
        return self.call("sh", script, timeout=timeout)


class GuestDaemon:
    """`rbdvol serve` in a guest: the methods of tests/blackbox/daemon.py, done there."""

    def __init__(self, guest, name, **options):
        self.guest = guest
        self.name = name
        guest.call("daemon_new", name, options)

    def begin(self, method, *args, **kwargs):
        return self.guest.begin("daemon_do", self.name, method, *args, **kwargs)

    def end(self, path, seconds=120.0):
        return self.guest.end(path, seconds)

    def __getattr__(self, method):
        return lambda *args, **kwargs: self.end(self.begin(method, *args, **kwargs))
