# SPDX-License-Identifier: MIT
"""The RPM: built, looked at by rpmlint, and unpacked. Nothing here can install it, but what it does when it is can be read."""

import os
import subprocess

import pytest

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
