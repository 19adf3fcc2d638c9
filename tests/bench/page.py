# SPDX-License-Identifier: MIT
"""Pages and reports: what was measured, on what, and beside how much else."""

import os
import platform
import subprocess
import time

END = "<!-- its end -->"


def machine():
    ceph = subprocess.run(["ceph", "--version"], capture_output=True, text=True, check=True).stdout.split()[2]
    return (f"{time.strftime('%Y-%m-%d %H:%M', time.gmtime())} UTC, Linux {platform.release().split('-')[0]}, Ceph {ceph}, "
            f"{os.cpu_count()} processors")


def load():
    return f"{os.getloadavg()[0]:.1f}"


def write(path, text):
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)


def write_page(path, program, text):
    """Puts it between this program's marks in the page."""
    begin = f"<!-- what {program} --page writes -->"
    with open(path, encoding="utf-8") as f:
        before, mark, rest = f.read().partition(begin)
    assert mark, f"{path} has no line '{begin}'"
    write(path, f"{before}{begin}\n{text}{END}{rest.partition(END)[2]}")


def markdown(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(map(str, line)) + " |\n" for line in lines)
