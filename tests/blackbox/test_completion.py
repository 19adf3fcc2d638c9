# SPDX-License-Identifier: MIT
"""bash completion: what is offered for a line."""

import os
import subprocess

from daemon import RBDVOL, ROOT, clean_env

SCRIPT = """
source "$1/completion/rbdvol"
shift
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_rbdvol
printf '%s\\n' "${COMPREPLY[@]}"
"""


def offered(*words):
    env = clean_env()
    env["PATH"] = os.path.dirname(RBDVOL) + ":" + env.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
    done = subprocess.run(["bash", "-c", SCRIPT, "bash", ROOT, "rbdvol", *words], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=20, check=True, env=env)
    return done.stdout.split()


def test_commands_are_those_of_help():
    assert offered("st") == ["status"]
    assert {"serve", "ls", "show", "unlock", "doctor", "help"} <= set(offered(""))
    assert offered("help", "unl") == ["unlock"]


def test_flags_are_those_of_the_command():
    assert {"--force", "--json", "--socket=", "--name="} == set(offered("unlock", "--"))
    assert offered("serve", "--trash") == ["--trash-keep="]
    assert "--force" not in offered("ls", "--")


def test_names_come_from_the_daemon_that_is_named(world, daemon):
    daemon.create("db-one", size="64M", fstype="ext4")
    daemon.create("db-two", size="64M", fstype="ext4")
    assert offered("show", f"--socket={daemon.socket}", "db-") == ["db-one", "db-two"]
    assert offered("show", f"--socket={world.dir}/none.sock", "db-") == []
    assert offered("status", f"--socket={daemon.socket}", "") == []
