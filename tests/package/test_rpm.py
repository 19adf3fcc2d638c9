# SPDX-License-Identifier: MIT
"""The RPM: built, looked at by rpmlint, unpacked, and installed on the machine by rpm. That is a Debian, which has what it needs, but not as
RPMs."""

import os
import shutil
import subprocess

import pytest
from waiting import until

HERE = os.path.dirname(os.path.abspath(__file__))


@pytest.fixture(scope="module")
def rpm(work):
    done = subprocess.run([f"{HERE}/build-rpm", work], capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip().splitlines()[-1]


def query(rpm, *words):
    return subprocess.run(["rpm", "-qp", *words, rpm], capture_output=True, text=True, timeout=60, check=True).stdout


def test_it_has_what_the_debian_package_has(rpm, deb):
    listing = subprocess.run(["dpkg-deb", "-c", deb], capture_output=True, text=True, timeout=60, check=True).stdout
    of_deb = {os.path.basename(line.split()[5].removesuffix(".gz")) for line in listing.splitlines() if line.startswith("-")}
    of_rpm = {os.path.basename(line) for line in query(rpm, "-l").splitlines()}
    missing = of_deb - of_rpm - {"copyright", "changelog", "README.md", "README.plugin-spec", "rbdvol"} - {"NEWS.md"}
    assert not missing
    assert {"rbdvol-mapper", "rbdvol-device", "rbdvol.service", "rbdvol.socket"} <= of_rpm


def test_the_program_in_it_runs(rpm, work):
    where = f"{work}/rpm"
    os.makedirs(where)
    with subprocess.Popen(["rpm2cpio", rpm], stdout=subprocess.PIPE) as cpio:
        subprocess.run(["cpio", "-idm", "--quiet"], stdin=cpio.stdout, cwd=where, check=True, timeout=60)
    done = subprocess.run([f"{where}/usr/sbin/rbdvol", "version"], capture_output=True, text=True, timeout=20, check=True)
    assert done.stdout.startswith("rbdvol ")
    assert os.stat(f"{where}/etc/rbdvol/keys").st_mode & 0o777 == 0o700


def test_its_scripts_unmount_nothing(rpm):
    scripts = query(rpm, "--scripts")
    assert "umount" not in scripts and "rm -" not in scripts


@pytest.fixture(scope="module")
def host(machine, rpm):
    """The machine without the Debian package, and with rpm."""
    machine.run("dpkg --purge rbdvol; apt-get install -qy --no-install-recommends rpm", 300)
    shutil.copyfile(rpm, machine.path("/root/rbdvol.rpm"))
    yield machine
    machine.command("docker rm -f rpm; systemctl disable --now rbdvol.socket rbdvol.service; rpm -e --nodeps rbdvol; rm -f /etc/rbdvol/second.conf", 120)


def instance(host):
    """A second daemon beside the first; its pid."""
    host.run("install -d /etc/rbdvol && echo 'pool = rbd' > /etc/rbdvol/second.conf && "
             "systemctl start rbdvol@second.socket rbdvol@second.service && rbdvol status --name=second")
    return host.unit("rbdvol@second.service", "MainPID")


def test_it_is_installed_used_upgraded_and_removed_without_an_unmount(host):
    point = "/var/lib/rbdvol/rbd/mnt/rbd/rpm"
    host.run("rpm -i --nodeps /root/rbdvol.rpm && systemctl daemon-reload")
    assert host.unit("rbdvol.socket", "UnitFileState") == "disabled", "an RPM starts nothing by itself"
    host.run("systemctl enable --now rbdvol.socket rbdvol.service && rbdvol status")
    host.run("docker run -d --name rpm --volume-driver=rbd -v rpm:/data box sh -c 'echo kept > /data/file && exec sleep 600'")
    until(lambda: host.command("docker exec rpm cat /data/file").stdout == "kept\n", "the write", 20)
    second = instance(host)
    host.run("rpm -U --nodeps --force /root/rbdvol.rpm && systemctl daemon-reload && systemctl restart rbdvol.service")
    assert host.unit("rbdvol@second.service", "ActiveState") == "active"
    renewed = host.unit("rbdvol@second.service", "MainPID")
    assert renewed != second, "an instance goes on with the old program"
    assert host.run(f"mountpoint -q {point} && docker exec rpm cat /data/file") == "kept\n"
    assert "rbd/rpm" in host.run("rbdvol status")
    host.run("rpm -e --nodeps rbdvol")
    assert host.command(f"test -e /proc/{renewed}").returncode != 0, "an instance is left without its program"
    assert host.run(f"mountpoint -q {point} && docker exec rpm cat /data/file") == "kept\n"
    assert host.command("test -e /usr/sbin/rbdvol").returncode != 0
    host.run("rpm -i --nodeps /root/rbdvol.rpm && systemctl daemon-reload && systemctl enable --now rbdvol.socket rbdvol.service")
    host.run("docker rm -f rpm", 60)
    until(lambda: host.command(f"mountpoint -q {point}").returncode != 0, "the unmount", 30)
    host.run("docker volume rm rpm")
