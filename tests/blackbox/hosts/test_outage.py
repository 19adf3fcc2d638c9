# SPDX-License-Identifier: MIT
"""The host's network is cut for a moment, shorter than its watches last: what each endpoint answers, and what is true when it
is back. The other ways in which a cluster can be away are in test_outages.py."""

import contextlib

import pytest
from outage import (ALL_AWAY, BACK, TIMEOUT, Outage, ask_all, check_afterwards, check_answers, check_released, make_volumes)
from waiting import until


@contextlib.contextmanager
def cut(host):
    host.link_down()
    try:
        yield
    finally:
        host.link_up()


@pytest.fixture
def one(host):
    made = host()
    made.d = made.daemon(ceph_timeout=f"{TIMEOUT}s")
    made.point = make_volumes(made.d)
    return made


def test_with_its_network_cut_a_host_says_in_time_what_it_can(one):
    """Rows 20 and 21."""
    with cut(one):
        answers = ask_all(one.d)
        check_answers(Outage(ALL_AWAY), answers, one.point)
    check_afterwards(one.d, answers)
    for name, holder in (("here", "a"), ("here", "a"), ("shared", "first"), ("shared", "third")):
        one.d.unmount(name, holder)


def test_unmount_with_the_network_cut_lets_go_at_once_and_ends_when_it_is_back(one):
    """Rows 20 and 21."""
    with cut(one):
        thread, replies = check_released(one.d, "here", "a")
    until(lambda: one.mounted_at(one.point) is None and len(one.d.mappers()) == 1, "the volume to go down", BACK)
    thread.join(60)
    assert replies[0].status == 200 or "keeps trying" in replies[0].err, replies[0]
    one.d.mount("here", "next")
    one.d.unmount("here", "next")
    one.d.unmount("shared", "first")
    one.d.unmount("shared", "second")
