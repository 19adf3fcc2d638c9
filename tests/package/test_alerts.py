# SPDX-License-Identifier: MIT
"""What is shipped for Prometheus and Grafana, against what the daemon really says."""

import json
import os
import re
import shutil
import subprocess

import pytest
import rpc
from machine import CACHE

HERE = os.path.dirname(os.path.abspath(__file__))
MONITORING = os.path.join(HERE, os.pardir, os.pardir, "packaging", "monitoring")


@pytest.fixture(scope="session")
def promtool(work):
    """Debian's, taken out of its package: installing that would start a Prometheus."""
    found = shutil.which("promtool") or f"{CACHE}/promtool"
    if not os.path.exists(found):
        os.makedirs(f"{work}/prometheus")
        subprocess.run(["apt-get", "download", "-q", "prometheus"], cwd=f"{work}/prometheus", check=True, timeout=300,
                       stdout=subprocess.DEVNULL)
        package = os.listdir(f"{work}/prometheus")[0]
        subprocess.run(["dpkg-deb", "-x", package, "out"], cwd=f"{work}/prometheus", check=True)
        os.makedirs(CACHE, exist_ok=True)
        shutil.copy(f"{work}/prometheus/out/usr/bin/promtool", found)
    return found


def run(*words, text=None):
    return subprocess.run(words, input=text, capture_output=True, text=True, timeout=120, check=False, cwd=MONITORING)


def read(name):
    with open(os.path.join(MONITORING, name), encoding="utf-8") as f:
        return f.read()


@pytest.fixture(scope="session")
def page(machine):
    """/metrics while a volume is mounted."""
    machine.run("docker run -d --name seen --volume-driver=rbd -v seen:/data box sleep 600")
    reply = rpc.call(machine.path("/run/docker/plugins/rbd.sock"), "/metrics", verb="GET")
    machine.run("docker rm -f seen")
    return reply.body.decode()


def test_promtool_has_nothing_to_say_about_the_metrics(promtool, page):
    done = run(promtool, "check", "metrics", text=page)
    # names that client libraries of all languages use
    said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    assert done.returncode == 0 and not said, said


def test_the_alerts_are_valid_and_fire_when_they_should(promtool):
    for action in ("check", "test"):
        name = "rbdvol-alerts.yml" if action == "check" else "rbdvol-alerts-test.yml"
        done = run(promtool, action, "rules", name)
        assert done.returncode == 0, done.stdout + done.stderr


def test_alerts_and_dashboard_ask_only_for_what_there_is(page):
    there = set(re.findall(r"^# TYPE (\S+)", page, re.M))
    dashboard = json.loads(read("grafana-dashboard.json"))
    asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]] + [read("rbdvol-alerts.yml")]
    names = {re.sub(r"_(bucket|sum|count)$", "", name) for text in asked
             for name in re.findall(r"\b(?:rbdvol_(?!alerts)\w+|process_\w+)", text)}
    assert len(names) > 8 and names <= there, names - there
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
