# SPDX-License-Identifier: MIT
"""How long the programs under test may take: a build with a sanitizer is slower, and its tests' bounds are wider by this alone."""

import json
import os

ROOT = os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, os.pardir))
BUILD = os.path.join(ROOT, os.environ.get("RBDVOL_BUILD", "build"))
SLOWER = {"none": 1, "address,undefined": 3, "thread": 8}


def _sanitizer():
    """As meson wrote it down; a directory of programs that meson did not build has none."""
    try:
        with open(os.path.join(BUILD, "meson-info", "intro-buildoptions.json"), encoding="utf-8") as f:
            return next((option["value"] for option in json.load(f) if option["name"] == "b_sanitize"), "none")
    except FileNotFoundError:
        return "none"


_factor = SLOWER.get(_sanitizer(), 8)


def patience(seconds):
    """An upper bound, for this build."""
    return seconds * _factor
