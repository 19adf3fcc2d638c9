# SPDX-License-Identifier: MIT
"""The snippets of docs/ that a machine can read."""

import json
import os
import re

import pytest

DOCS = os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, os.pardir, "docs")


def text(page):
    with open(os.path.join(DOCS, page), encoding="utf-8") as f:
        return f.read()


@pytest.mark.parametrize("page", sorted(page for page in os.listdir(DOCS) if page.endswith(".md")))
def test_json_is_json(page):
    blocks = re.findall(r"```json\n(.*?)```", text(page), re.S)
    assert blocks or page not in ("mesos.md", "marathon.md")
    for block in blocks:
        json.loads(block)


def test_each_alert_is_explained():
    with open(os.path.join(DOCS, os.pardir, "packaging", "monitoring", "rbdvol-alerts.yml"), encoding="utf-8") as f:
        alerts = set(re.findall(r"alert: (\w+)", f.read()))
    assert alerts and alerts <= set(re.findall(r"Rbdvol\w+", text("operations.md")))
