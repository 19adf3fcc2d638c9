# SPDX-License-Identifier: MIT
"""plugin-spec/: the files that tell Docker where the plugin is, in the order in which a real dockerd looks for them. dvdcli has
the same code (docker 1.11's pkg/plugins), and the same order."""

import os
import socket

import pytest

SOCKETS = "/run/docker/plugins"
SHIPPED = "/usr/share/rbdvol/plugin-spec"
# as plugin-spec/README has it; {} is the driver's name
ORDER = [f"{SOCKETS}/{{0}}.sock", f"{SOCKETS}/{{0}}/{{0}}.sock"] + [
    f"{folder}/{name}.{kind}" for folder in ("/etc/docker/plugins", "/usr/lib/docker/plugins") for kind in ("spec", "json")
    for name in ("{0}", "{0}/{0}")]


@pytest.fixture(scope="module")
def finder(machine):
    """The machine, with the package, whose Docker has forgotten the drivers at the end."""
    if machine.command("test -e " + SHIPPED).returncode:
        machine.run("apt-get install -qy --no-install-recommends /root/rbdvol.deb", 300)
    yield machine
    machine.run(f"rm -rf {SOCKETS}/found* /etc/docker/plugins/found* /usr/lib/docker/plugins/found*; systemctl restart docker")


def put(machine, path, alive):
    """A file of this kind that leads to the plugin, or one that leads nowhere."""
    machine.run(f"mkdir -p {os.path.dirname(path)}")
    if path.endswith(".sock") and alive:
        machine.run(f"ln -s {SOCKETS}/rbd.sock {path}")
    elif path.endswith(".sock"):
        with socket.socket(socket.AF_UNIX) as s:
            s.bind(machine.path(path))
    elif alive:
        machine.run(f"cp {SHIPPED}/rbd{os.path.splitext(path)[1]} {path}")
    else:
        nowhere = "unix:///nowhere.sock" if path.endswith(".spec") else '{"Addr": "unix:///nowhere.sock"}'
        machine.run(f"echo '{nowhere}' > {path}")


@pytest.mark.parametrize("number", range(len(ORDER)), ids=[path.format("NAME").replace("/", "_") for path in ORDER])
def test_the_first_that_is_there_is_taken(finder, number):
    """The others lead nowhere: were one of them taken, it would fail."""
    driver = f"found{number}"
    for n, path in enumerate(ORDER[number:]):
        put(finder, path.format(driver), alive=n == 0)
    finder.run(f"docker volume create -d {driver} {driver}vol")
    assert finder.run(f"docker volume inspect -f '{{{{.Driver}}}}' {driver}vol").strip() == driver
    finder.run(f"docker volume rm {driver}vol")


def test_the_readme_has_that_order():
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, os.pardir, "plugin-spec", "README"),
              encoding="utf-8") as f:
        text = " ".join(f.read().split())
    said = [text.index(part) for part in ("/run/docker/plugins/NAME.sock, /run/docker/plugins/NAME/NAME.sock",
                                          "/etc/docker/plugins and in /usr/lib/docker/plugins each",
                                          "NAME.spec, NAME/NAME.spec, NAME.json, NAME/NAME.json")]
    assert said == sorted(said)
