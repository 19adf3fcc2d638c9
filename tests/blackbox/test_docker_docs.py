# SPDX-License-Identifier: MIT
"""What the README, docs/ and the manual tell people to type is typed here, as it stands: with a plugin called rbd, a Docker of its own, and
a private cluster. Every line of a block of code is run, or says below why it cannot be here."""

import glob
import os
import re
import subprocess
import tempfile

import pytest
from daemon import RBDVOL, clean_env, rbdvol
from dockercli import PLUGINS
from engine import Engine
from pace import ROOT
from waiting import until

PAGES = ["README.md", *sorted(os.path.relpath(page, ROOT) for page in glob.glob(f"{ROOT}/docs/*.md"))]

# How a line begins, and why it is not run here.
NOT_HERE = {
    "./demo": "tests/demo.py runs it",
    "./check": "this is a part of it",
    "apt-get install": "tests/prepare installs the same packages",
    "apt ": "tests/package installs the Debian package, on a machine of its own",
    "dpkg": "tests/package installs the Debian package, on a machine of its own",
    "meson setup --prefix=/usr": "the build that is tested was made so, and tests/package installs one",
    "ninja -C": "the build that is tested was made so, and tests/package installs one",
    "systemctl": "tests/package does so, on a machine that systemd boots",
    "journalctl": "tests/package does so, on a machine that systemd boots",
    "docker service": "needs a Swarm: tests/swarm has one",
    "docker swarm": "needs a Swarm: tests/swarm has one",
    "docker node": "needs a Swarm: tests/swarm has one",
    "docker plugin": "tests/package builds and enables the managed plugin",
    "docker run --volume-driver=rbdvol/rbd:latest": "tests/package builds and enables the managed plugin",
    "java ": "needs Mesos and a framework of it, which Debian has not",
    "rbdvol snap create db@monday": "test_backup.py does so",
    "uid = ": "a line of rbdvol.conf: test_config.py has such",
    "gid = ": "a line of rbdvol.conf: test_config.py has such",
    "size = ": "a line of rbdvol.conf: test_config.py has such",
    "rbd export": "takes a second cluster, or snapshots of other days: test_backup.py does so",
    "[": "a file of systemd's: systemd-analyze reads those that are installed in test_service.py",
    "CapabilityBoundingSet=": "a file of systemd's",
}

# What stands for something else in a line.
# The test's cluster has a client.rbdvol that may use all pools.
SPOKEN = [("get-or-create client.rbdvol", "get-or-create client.reader"), (" -it ", " -i "), (" debian bash", " debian true"), ("NAME@MON", "db@mon"), ("NAME", "db"), ("NEW", "new"), ("MON", "mon")]


def text_of(page):
    with open(os.path.join(ROOT, page), encoding="utf-8") as f:
        return f.read()


def blocks(text):
    """(language, lines) of each block of code: four blanks, or a fence."""
    found, block, fence = [], [], None
    for line in text.split("\n"):
        if fence is not None:
            if line == "```":
                found.append((fence, block))
                block, fence = [], None
            else:
                block.append(line)
        elif line.startswith("```"):
            fence = line[3:]
        elif line.startswith("    "):
            block.append(line[4:])
        elif block:
            found.append(("", block))
            block = []
    return found + ([("", block)] if block else [])


def commands(lines):
    """With what ends in a backslash as one, and without what explains them."""
    for line in re.sub(r"\\\n\s*", "", "\n".join(lines)).split("\n"):
        line = re.split(r"\s{2,}|\s+# ", line)[0].strip() if line.startswith(("rbdvol", "./")) else line.strip()
        if line and not line.startswith("#"):
            yield line


def reason(line):
    return next((why for start, why in NOT_HERE.items() if line.startswith(start)), None)


class Machine:
    """A host as the README's reader has it: `rbdvol`, `docker`, `ceph` and `rbd` are there, and mean ours."""

    def __init__(self, world, engine, daemon):
        self.world, self.daemon = world, daemon
        self.dir = f"{world.dir}/reader"
        os.makedirs(f"{self.dir}/bin")
        os.symlink(RBDVOL, f"{self.dir}/bin/rbdvol")
        docker = {key: value for key, value in engine.env().items() if key.startswith("DOCKER_")}
        self.env = clean_env(CEPH_CONF=world.cluster.conf, CEPH_ARGS="", PATH=f"{self.dir}/bin:{os.environ['PATH']}", **docker,
                             RBDVOL_CEPH_CONF=world.cluster.conf, RBDVOL_SCRATCH_DIR=world.dir)

    def type(self, line, input=""):
        return subprocess.run(["sh", "-c", line], cwd=self.dir, env=self.env, input=input, capture_output=True, text=True, timeout=120,
                              check=False)

    def works(self, line):
        for words, stands_for in (*SPOKEN, ("/etc/rbdvol/keys", self.daemon.path("key-dir"))):
            line = line.replace(words, stands_for)
        done = self.type(line)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def own_engine(engine):  # noqa: ARG001: its lock
    """A Docker of its own: one never forgets a driver, and this one's is called rbd."""
    made = Engine.start(tempfile.mkdtemp(prefix="rbdvol-docker-", dir="/tmp"))
    try:
        for image in ("debian", "mysql:8", "mysql"):
            made.import_image(image, changes=['CMD ["sleep", "60"]' if image == "mysql:8" else 'CMD ["true"]'])
        yield made
    finally:
        made.stop()


@pytest.fixture
def machine(world, own_engine):
    if os.path.exists(f"{PLUGINS}/rbd.sock"):
        pytest.fail("a plugin called rbd is at work on this machine: these tests need that name")
    made = Machine(world, own_engine, world.daemon("rbd", socket=f"{PLUGINS}/rbd.sock").await_cluster())
    yield made
    containers = own_engine.docker("ps", "-aq").split()
    if containers:
        own_engine.docker("rm", "-f", "-v", *containers)
    names = own_engine.docker("volume", "ls", "-q").split()
    if names:
        own_engine.docker("volume", "rm", "-f", *names)


def test_each_line_is_run_or_says_why_not():
    """And no reason stands for nothing."""
    known = ("rbdvol ", "docker ", "ceph auth", "rbd ", "cat ", "ls ", "curl ", "mkdir ", "echo ", "for ", "umount ", "modprobe ",
             "install ", "head ", "chmod ")
    lines = [(page, line) for page in PAGES for language, block in blocks(text_of(page)) if not language for line in commands(block)]
    assert len(lines) > 30
    for page, line in lines:
        assert reason(line) or line.startswith(known), f"{page}: {line}: neither run nor excused"


@pytest.mark.parametrize("page", [page for page in PAGES if page != "README.md"])
def test_the_pages_commands_work(machine, page):
    """One after the other, as a reader types them."""
    for language, block in blocks(text_of(page)):
        for line in commands(block) if not language else ():
            if not reason(line):
                machine.works(line.replace("mysql:8", "mysql"))


def test_the_readmes_commands_work(machine):
    """But those of "The command line", which are no script."""
    before, _, after = text_of("README.md").partition("## The command line")
    for _, block in blocks(before + after[after.index("\n## "):]):
        for line in commands(block):
            if not reason(line):
                machine.works(line)


def prepare(machine, name, line):
    """A volume to speak of: there, with a snapshot, mounted where the command needs that; and others not in the way."""
    machine.type(f"rbdvol rm {name} --delete")
    for entry in machine.world.cluster.trash():
        machine.type(f"rbdvol trash purge {entry['id']}")
    for other in ("new", "db-test"):
        machine.type(f"rbdvol rm {other} --delete")
    until(lambda: not machine.world.cluster.trash(), "the trash to be empty", 20)
    if " create NAME" in line or f" create {name} " in line and "snap" not in line:
        return
    machine.works(f"rbdvol create {name} -o size=300M -o fstype=ext4")
    if "clone" in line or "snap" in line and "create" not in line:
        machine.works(f"rbdvol snap create {name}@{'monday' if 'monday' in line else 'mon'}")
    if "restore" in line:
        machine.works(f"rbdvol rm {name}")


def run_one(machine, name, line):
    """With what it needs, and then without."""
    mounted = re.search(r" (path|trim|release) ", line)
    prepare(machine, name, line)
    if mounted:
        machine.daemon.mount(name, "a")
    machine.works(line)
    if mounted:
        machine.daemon.unmount(name, "a")
    machine.world.cluster.has_snapshots = True
    for snap in ("mon", "monday"):
        machine.type(f"rbdvol snap rm {name}@{snap}")


def test_the_readmes_command_line_works(machine):
    after = text_of("README.md").split("## The command line")[1]
    lines = list(commands(blocks(after[:after.index("\n## ")])[0][1]))
    assert len(lines) > 10
    for line in lines:
        run_one(machine, "db", line)


def test_the_examples_of_help_work(machine):
    names = re.findall(r"^  rbdvol (\w+)", rbdvol("help").stdout, re.M)
    for name in names:
        example = re.search(r"Example:\n  (.*)", rbdvol("help", name).stdout).group(1)
        if name != "serve":  # every test here runs one
            run_one(machine, "db-data", example)


@pytest.mark.parametrize("page", ["rbdvol.8.scd", "rbdvol-volumes.7.scd"])
def test_the_manuals_examples_work(machine, page):
    with open(os.path.join(ROOT, "man", page), encoding="utf-8") as f:
        examples = [block for _, block in blocks(f.read().split("# EXAMPLES")[1])]
    assert examples
    for block in examples:
        for line in commands(block):
            if not reason(line):
                machine.works(line.replace("/etc/ceph/", "").replace("docker run ", "docker run --rm --network=none "))
        machine.world.cluster.has_snapshots = True
        machine.type("docker volume rm db-data") if "remove=ignore" not in "".join(block) else None
    for name in ("db-test", "db-data"):
        machine.type(f"rbdvol snap rm {name}@monday")
        machine.type(f"rbdvol rm {name} --delete")


def test_the_compose_file_comes_up_and_goes(machine):
    compose, = [block for language, block in blocks(text_of("docs/docker.md")) if language == "yaml"]
    with open(f"{machine.dir}/docker-compose.yml", "w", encoding="ascii") as f:
        f.write('version: "3.8"\n' + "\n".join(compose).replace("    image: mysql:8", "    image: mysql:8\n    network_mode: none\n    stop_grace_period: 0s") + "\n")
    machine.works("docker volume create -d rbd -o size=300M -o fstype=ext4 db-pre")
    machine.works("docker-compose -p docs up -d")
    assert sorted(machine.world.cluster.images()) == ["db-data", "db-pre"]
    assert machine.daemon.get("db-data")["Status"]["state"] == "mounted"
    machine.works("docker-compose -p docs down -v")
    assert machine.world.cluster.images() == ["db-pre"]
