# SPDX-License-Identifier: MIT
"""The manual, the README and the help say what the program does, and nothing that has gone."""

import glob
import json
import os
import re
import runpy

import pytest
from daemon import rbdvol
from pace import ROOT


def text_of(*path):
    with open(os.path.join(ROOT, *path), encoding="utf-8") as f:
        return f.read()


def commands():
    """As `rbdvol help` lists them."""
    return sorted(set(re.findall(r"^  rbdvol (\w+)", rbdvol("help").stdout, re.M)))


def section(page, title):
    """Of a man page's source."""
    return re.search(rf"^# {title}\n(.*?)(?=^# |\Z)", page, re.M | re.S).group(1)


# -- help


@pytest.mark.parametrize("command", commands())
def test_each_command_has_help_with_an_example_and_a_place_in_the_manual(command):
    shown = rbdvol(command, "--help")
    assert shown.returncode == 0 and shown.stderr == ""
    assert shown.stdout == rbdvol("help", command).stdout
    usage, example = re.search(r"Usage: (.*)", shown.stdout), re.search(r"Example:\n  (.*)", shown.stdout)
    assert usage.group(1).startswith(f"rbdvol {command}")
    assert f"rbdvol {command}" in example.group(1)
    assert f"*rbdvol {command}*" in text_of("man", "rbdvol.8.scd")


def test_the_overview_fits_a_terminal():
    assert all(len(line) <= 100 for line in rbdvol("help").stdout.splitlines())


# -- options of a volume


def known_options(daemon):
    return re.search(r"known options: (.*)", daemon.refused("Create", Name="x", Opts={"none-such": "1"})).group(1).split(", ")


def test_each_option_of_a_volume_is_in_the_manual_the_readme_and_the_help(daemon):
    known = set(known_options(daemon))
    page = section(text_of("man", "rbdvol-volumes.7.scd"), "OPTIONS")
    headings = {name for line in re.findall(r"^(\*.*\*)$", page, re.M) for name in re.findall(r"\*([a-z-]+)\*", line)}
    assert headings == known
    readme = text_of("README.md")
    table = readme[readme.index("| option of `docker volume create -o` |"):readme.index("These are stored with the image")]
    assert set(re.findall(r"`([a-z-]+)=", table)) == known | {"ro"}
    helped = re.search(r"Options: (.*?); see", rbdvol("help", "create").stdout, re.S).group(1)
    assert set(re.split(r",\s+", helped)) == known
    for alias, name in re.findall(r"\*(\w+)\* \(([a-z-]+)\)", page):
        assert alias not in known and name in known
        assert "not known" not in daemon.refused("Create", Name="x", Opts={alias: "\n"})


# -- JSON


def documented(command):
    """The names in capitals that the manual gives for a command's JSON."""
    page = section(text_of("man", "rbdvol.8.scd"), "JSON")
    return set(re.findall(r"\b[A-Za-z]+\b", re.search(rf"^\*{command}\*.*?\n((?:\t.*\n)+)", page, re.M).group(1)))


def keys(value):
    if isinstance(value, list):
        return set().union(*(keys(one) for one in value))
    return set(value).union(*(keys(one) for one in value.values())) if isinstance(value, dict) else set()


@pytest.mark.usefixtures("snapshots")
def test_each_member_of_the_json_is_in_the_manual(daemon):
    daemon.create("db", size="64M", fstype="ext4")
    daemon.mount("db", "holder")
    daemon.does("snap", "create", "db@s")
    daemon.create("view", **{"from": "db@s", "ro": "true"})
    daemon.mount("view", "reader")
    changes = r"resize\*, \*release\*, \*trim"
    for command, words in (("ls", ["ls"]), ("show", ["show", "db"]), ("status", ["status"]), ("doctor", ["doctor"]),
                           ("unlock", ["unlock", "free"]), (r"snap ls\*, \*trash ls", ["trash", "ls"]), (changes, ["trim", "db"]),
                           (changes, ["resize", "free", "80M"])):
        if words[0] == "unlock":
            daemon.create("free", size="64M", fstype="ext4")
        if words[0] == "trash":
            daemon.create("gone", size="64M", fstype="ext4")
            daemon.remove("gone")
        done = rbdvol("doctor", "--json") if words == ["doctor"] else daemon.cli(*words, "--json")
        shown = keys(json.loads(done.stdout))
        assert shown and shown <= documented(command), (command, shown - documented(command))
    daemon.unmount("view", "reader")
    daemon.unmount("db", "holder")


# -- the README's features


def test_each_test_that_the_readme_names_exists():
    table = re.search(r"## Features, and the tests.*?(?=^Not in it)", text_of("README.md"), re.S | re.M).group(0)
    rows = [line for line in table.splitlines() if line.startswith("|")][2:]
    assert len(rows) > 25
    for row in rows:
        named = re.findall(r"`([\w/]+\.py)(?:::(\w+))?`", row.split("|")[2])
        assert named, row
        for file, test in named:
            path = file if file.startswith("tests/") else f"tests/blackbox/{file}"
            assert os.path.exists(os.path.join(ROOT, path)), row
            assert not test or f"def {test}(" in text_of(path), row


def test_each_test_that_rows_names_exists():
    """ROWS.md writes file::name without test_ and .py, and ... for the rest of a name."""
    names = {name for file in glob.glob(f"{ROOT}/tests/**/test_*.py", recursive=True)
             for name in re.findall(r"^def test_(\w+)\(", text_of(file), re.M)}
    for row in re.findall(r"^\| \d.*", text_of("tests", "blackbox", "ROWS.md"), re.M):
        for file in re.findall(r"\b(?:hosts/|vm/)?(\w+)::", row):
            assert glob.glob(f"{ROOT}/tests/**/test_{file}.py", recursive=True) or os.path.exists(f"{ROOT}/tests/unit/test-{file}.c"), row
        for name in re.findall(r"(?<=[:, ])([a-z]\w{24,})(?=[,;|]| \|)", row.split("|")[3]):
            assert name in names or "unit " in row, (name, row)


# -- pictures


def test_each_picture_is_drawn_from_its_source_and_shown():
    source_sum = runpy.run_path(os.path.join(ROOT, "docs", "pictures", "draw"))["source_sum"]
    sources = glob.glob(os.path.join(ROOT, "docs", "pictures", "*.dot"))
    assert len(sources) >= 3
    for source in sources:
        name = os.path.basename(source).removesuffix(".dot")
        drawn = text_of("docs", "pictures", f"{name}.svg")
        assert f"from sum {source_sum(source)} " in drawn, f"{name}.svg is older than {name}.dot: run docs/pictures/draw"
        assert "prefers-color-scheme: dark" in drawn and "<svg" in drawn
        assert f"(docs/pictures/{name}.svg)" in text_of("README.md")


def test_links_of_the_readme_and_the_docs_lead_somewhere():
    for page in ["README.md", "HACKING.md", *(os.path.relpath(p, ROOT) for p in glob.glob(f"{ROOT}/docs/*.md"))]:
        for link in re.findall(r"\]\(([^)#]+)", text_of(page)):
            if "://" not in link:
                assert os.path.exists(os.path.join(ROOT, os.path.dirname(page), link)), (page, link)
