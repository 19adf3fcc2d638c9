# SPDX-License-Identifier: MIT
"""What tests do in a guest. Called by agent.py, with arguments and results that JSON can carry."""

import ctypes
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [os.path.join(TESTS, name) for name in ("lib", "ceph", "docker", "blackbox")]

import mounts  # noqa: E402
import process  # noqa: E402
from daemon import BUILD, Daemon  # noqa: E402
from leaks import STATE_FILES_THAT_STAY  # noqa: E402
from waiting import TookTooLong, until  # noqa: E402

RBD = "/sys/bus/rbd"
_daemons = {}
_writers = {}


def sh(script, timeout=60):
    done = subprocess.run(["bash", "-c", script], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, check=False)
    assert done.returncode == 0, f"{script}: {done.returncode}: {done.stdout}{done.stderr}"
    return done.stdout


def modprobe(module, *options):
    sh(" ".join(["modprobe", module, *options]))


# -- rbdvol

def daemon_new(name, options):
    directory = f"/run/{name}"
    os.makedirs(directory, exist_ok=True)
    _daemons[name] = Daemon(directory, name, **options)


def daemon_do(name, method, *args, **kwargs):
    result = getattr(_daemons[name], method)(*args, **kwargs)
    if method == "cli":
        return {"code": result.returncode, "out": result.stdout, "err": result.stderr}
    if method == "call":
        return {"status": result.status, "body": result.body.decode()}
    return result if isinstance(result, (dict, list, str, int, bool, type(None))) else None


def daemon_log(name):
    return _daemons[name].log_text()


def daemon_end(name):
    """Whatever it is at, without a trace."""
    d = _daemons.pop(name)
    if d.alive():
        d.kill()
    for device in devices():
        sh(f"umount -A /dev/rbd{device['number']} 2>/dev/null; echo {device['number']} >{RBD}/remove_single_major", 60)
    for device in nbd_devices():
        sh(f"umount -A {device} 2>/dev/null; rbd-nbd unmap {device}", 60)
    for pid in [*d.mappers(), *rbd_nbds()]:
        os.kill(pid, signal.SIGKILL)
    mounts.unmount_below(d.dir)
    d.erase()


def _helpers():
    return [pid for pid in process.pids() if process.argv(pid, "rbdvol-device")[:1] == ["rbdvol-device"]]


def left_of(name):
    """What a daemon has left in this guest. An idle helper sees a moment later that the daemon has ended."""
    d = _daemons[name]
    try:
        until(lambda: not _helpers(), "the helpers to end", 5)
    except TookTooLong:
        pass
    found = [f"mount: {m.point} ({m.source})" for m in mounts.below(d.dir)]
    found += [f"mapping: rbd{device['number']} of image id {device['image_id']}" for device in devices()]
    found += [f"mapper: pid {pid}" for pid in [*d.mappers(), *rbd_nbds()]]
    found += [f"device: {device}" for device in nbd_devices()]
    found += [f"state file: {f}" for f in d.state_files() if not STATE_FILES_THAT_STAY.match(os.path.basename(f))]
    found += [f"helper: pid {pid} {' '.join(process.argv(pid))}" for pid in _helpers()]
    return found


# -- the kernel's mappers

def devices():
    """The kernel's mappings, each with what sysfs shows of it."""
    found = []
    for number in sorted(os.listdir(f"{RBD}/devices") if os.path.isdir(RBD) else []):
        about = {"number": int(number)}
        for name in ("image_id", "name", "pool", "pool_ns", "client_addr", "config_info", "features"):
            try:
                with open(f"{RBD}/devices/{number}/{name}", encoding="utf-8") as f:
                    about[name] = f.read().rstrip("\n")
            except OSError:
                about[name] = None
        found.append(about)
    return found


def sysfs_map(line):
    """A bare write of the line that maps; the device."""
    before = {device["number"] for device in devices()}
    with open(f"{RBD}/add_single_major", "wb", buffering=0) as f:
        f.write(line.encode())
    (new,) = {device["number"] for device in devices()} - before
    return f"/dev/rbd{new}"


def sysfs_unmap(number):
    with open(f"{RBD}/remove_single_major", "wb", buffering=0) as f:
        f.write(str(number).encode())


def rbd_nbds():
    """The pids of rbd-nbd."""
    return [pid for pid in process.pids() if process.argv(pid, "rbd-nbd")[:1] == ["@rbd-nbd"]]


def argv(pid):
    return process.argv(pid)


def nbd_devices():
    """The network block devices that are connected, or were and wait to be again."""
    found = []
    for name in sorted(os.listdir("/sys/block")):
        if name.startswith("nbd") and int(read(f"/sys/block/{name}/size")) > 0:
            found.append(f"/dev/{name}")
    return found


# -- files

def write(path, text):
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
        f.flush()
        os.fsync(f.fileno())


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def fill(path, mib):
    """Random data, on disk when this returns; its checksum."""
    data = os.urandom(mib << 20)
    with open(path, "wb") as f:
        f.write(data)
        f.flush()
        os.fsync(f.fileno())
    return hashlib.sha256(data).hexdigest()


def checksum(path):
    with open(path, "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()


def room(path):
    """The bytes that the mounted file system has."""
    s = os.statvfs(path)
    return s.f_blocks * s.f_frsize


def mounted(path):
    found = mounts.at(path)
    return found and {"source": found.source, "fstype": found.fstype, "options": found.options, "super": found.super_options}


def writer_start(path):
    """A thread that appends numbered lines, each synced, until writer_stop() or an error."""
    state = {"acked": 0, "error": None, "stop": False}

    def run():
        try:
            with open(path, "ab", buffering=0) as f:
                while not state["stop"]:
                    f.write(b"%d\n" % (state["acked"] + 1))
                    os.fsync(f.fileno())
                    state["acked"] += 1
                    time.sleep(0.02)
        except OSError as e:
            state["error"] = e.errno

    _writers[path] = state
    state["thread"] = threading.Thread(target=run, daemon=True)
    state["thread"].start()


def writer(path):
    return {key: _writers[path][key] for key in ("acked", "error")}


def writer_stop(path):
    _writers[path]["stop"] = True


def writer_end(path, seconds=60):
    """It has closed its file when this returns."""
    writer_stop(path)
    _writers[path]["thread"].join(seconds)
    assert not _writers[path]["thread"].is_alive(), "the writer does not come to its end"


def line(conf, user, image, options="exclusive"):
    """The line that maps an image, with the key in it."""
    key = sh(f"ceph-authtool -p -n client.{user} $(sed -n '/^.client.{user}.$/,$s/^keyring = //p' {conf} | head -1)").strip()
    monitors = sh(f"sed -n 's/^mon host = .*v1:\\([0-9.:]*\\).*/\\1/p' {conf}").strip()
    return f"{monitors} name={user},secret={key},{options} rbd {image} -"


# -- to catch it in the middle

def argvs():
    return [words for words in map(process.argv, process.pids()) if words]


def kill_all(*argv):
    """Every process with exactly this argument vector."""
    for pid in process.pids():
        if process.argv(pid) == list(argv):
            os.kill(pid, signal.SIGKILL)


def records():
    """What the daemons have written down before they mapped."""
    return [name for directory in (f"{d.path('state-dir')}/map" for d in _daemons.values()) if os.path.isdir(directory)
            for name in os.listdir(directory) if name.endswith((".krbd", ".nbd"))]


def hold_helper(name):
    """The daemon's idle helper answers nothing until go_on(): what it is asked next waits."""
    (pid,) = _daemons[name].idle_helpers()
    os.kill(pid, signal.SIGSTOP)
    return pid


def go_on(pid):
    os.kill(pid, signal.SIGCONT)


def kill_pid(pid):
    os.kill(pid, signal.SIGKILL)


def exists(path):
    return os.path.exists(path)


# -- dockerd

def docker_start():
    """A dockerd of this guest, with the image "box"."""
    from engine import Engine
    made = Engine.start("/run/dockerd-tests")
    made.import_image("box")


def docker(*words, timeout=120):
    """The docker command; it must end well."""
    from engine import Engine
    return Engine("/run/dockerd-tests").docker(*words, timeout=timeout).strip()


def docker_running():
    return os.path.exists("/run/dockerd-tests")


# -- what it costs

def bare_mount(map_line, point, fstype, options=""):
    """Maps and mounts as a straight-line program would, and takes it down again. Seconds until it was mounted."""
    libc = ctypes.CDLL(None, use_errno=True)
    os.makedirs(point, exist_ok=True)
    began = time.monotonic()
    with open(f"{RBD}/add_single_major", "wb", buffering=0) as f:
        f.write(map_line.encode())
    device = "/dev/rbd0"  # no other mapping may be there
    if libc.mount(device.encode(), point.encode(), fstype.encode(), 0, options.encode()) != 0:
        raise OSError(ctypes.get_errno(), f"mount {device}")
    took = time.monotonic() - began
    sh(f"umount {point}")
    sysfs_unmap(int(device.removeprefix("/dev/rbd")))
    return took


def floor_mounts(conf, image, map_line, fstype, rounds):
    """What rbdvol asks of the cluster and the kernel, in a straight line by a program that is connected (tests/bench/floor.c). Seconds
    of each mount."""
    program = os.path.join(BUILD, "tests", "bench", "bench-floor")
    os.makedirs("/run/floor", exist_ok=True)
    done = subprocess.run([program, "krbd", conf, "rbd", image, fstype, "/run/floor", map_line, str(rounds)], input="go\n",
                          capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return [float(line.split()[0]) / 1e3 for line in done.stdout.splitlines()[1:]]


def timed_mount(name, volume):
    """One Mount by a daemon, and its Unmount. Seconds from the request's first byte to the answer's last; the client is as small as may
    be, since what it does takes the same processor."""
    body = json.dumps({"Name": volume, "ID": "one"}).encode()
    request = b"POST /VolumeDriver.Mount HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    with socket.socket(socket.AF_UNIX) as s:
        began = time.monotonic()
        s.connect(_daemons[name].socket)
        s.sendall(request)
        answer = s.recv(65536)
        took = time.monotonic() - began
    assert b" 200 " in answer.split(b"\r\n")[0], answer
    _daemons[name].unmount(volume, "one")
    return took
