# SPDX-License-Identifier: MIT
"""What each endpoint answers while the cluster is away in some way: one table, and one look at what is true afterwards."""

import threading
import time
from dataclasses import dataclass

from waiting import until

TIMEOUT = 2  # seconds, --ceph-timeout
BOUND = TIMEOUT + 2
AT_ONCE = 1
BACK = 5  # seconds after the cluster's return within which everything works
ABSENT = ("no such volume", "no image '")

CLOSED, OK, REFUSED = "closed", "ok", "refused"

# endpoint -> method, body, seconds. "here" is mounted, "shared" is mounted by two, the others are not.
ENDPOINTS = {
    "activate": ("Plugin.Activate", {}, AT_ONCE),
    "capabilities": ("Capabilities", {}, AT_ONCE),
    "get-here": ("Get", {"Name": "here"}, AT_ONCE),
    "get-away": ("Get", {"Name": "away"}, BOUND),
    "get-never": ("Get", {"Name": "never-was"}, BOUND),
    "path-here": ("Path", {"Name": "here"}, AT_ONCE),
    "path-away": ("Path", {"Name": "away"}, AT_ONCE),
    "list": ("List", {}, BOUND),
    "status": ("/Rbdvol.Status", {}, AT_ONCE),
    "mount-again": ("Mount", {"Name": "here", "ID": "a"}, AT_ONCE),
    "mount-shared": ("Mount", {"Name": "shared", "ID": "third"}, AT_ONCE),
    "mount-away": ("Mount", {"Name": "away", "ID": "b"}, BOUND),
    "mount-never": ("Mount", {"Name": "never-was", "ID": "b"}, BOUND),
    "create-new": ("Create", {"Name": "ghost", "Opts": {"size": "64M", "fstype": "ext4"}}, BOUND),
    "create-there": ("Create", {"Name": "there"}, BOUND),
    "remove": ("Remove", {"Name": "unwanted"}, BOUND),
    "unmount-shared": ("Unmount", {"Name": "shared", "ID": "second"}, AT_ONCE),
    "unmount-unknown": ("Unmount", {"Name": "away", "ID": "nobody"}, AT_ONCE),
}
# what no outage may change
ALWAYS = {"activate": OK, "capabilities": OK, "get-here": OK, "path-here": OK, "path-away": OK, "list": OK, "status": OK,
          "mount-again": OK, "mount-shared": OK, "unmount-shared": OK, "unmount-unknown": OK}


@dataclass
class Outage:
    """answers: endpoint -> one of CLOSED, OK, REFUSED, or several of them where it depends on what librados has in memory.
    words: one of them is in each refusal. can_ask: what is absent is known to be. ends: a volume that is mounted can go down
    before the cluster is back."""
    answers: dict
    words: tuple = ("cluster unreachable",)
    can_ask: bool = False
    ends: bool = False

    def expected(self, endpoint):
        answer = {**ALWAYS, **self.answers}[endpoint]
        return answer if isinstance(answer, tuple) else (answer,)


ALL_AWAY = {"get-away": CLOSED, "get-never": CLOSED, "mount-away": REFUSED, "mount-never": REFUSED, "create-new": REFUSED,
            "create-there": REFUSED, "remove": REFUSED}
# the data path and the control connection need no monitor while their map is good; whoever is new does
NO_MONITOR = {"get-away": (OK, CLOSED), "get-never": (REFUSED, CLOSED), "mount-away": REFUSED, "mount-never": REFUSED,
              "create-new": (OK, REFUSED), "create-there": (OK, REFUSED), "remove": (OK, REFUSED)}


def kind(reply):
    return CLOSED if reply.status is None else OK if reply.status == 200 else REFUSED


def make_volumes(d):
    for name in ("here", "away", "there", "unwanted"):
        d.create(name, size="64M", fstype="ext4")
    d.create("shared", size="64M", fstype="ext4", sharing="host")
    d.mount("shared", "first")
    d.mount("shared", "second")
    return d.mount("here", "a")


def ask_all(d):
    """endpoint -> (reply, seconds), all asked at the same time: each has to come in its own time."""
    answers = {}

    def ask(endpoint, method, body):
        began = time.monotonic()
        reply = d.call(method, body)
        answers[endpoint] = (reply, time.monotonic() - began)

    threads = [threading.Thread(target=ask, args=(endpoint, method, body)) for endpoint, (method, body, _) in ENDPOINTS.items()]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return answers


def check_answers(outage, answers, point):
    """Each in its time, of its kind, with its words; never that something does not exist."""
    wrong = []
    for endpoint, (_, _, seconds) in ENDPOINTS.items():
        reply, took = answers[endpoint]
        if took > seconds:
            wrong.append(f"{endpoint} took {took:.1f} s, {seconds:g} were allowed: {reply}")
        if kind(reply) not in outage.expected(endpoint):
            wrong.append(f"{endpoint} is {kind(reply)}: {reply}")
        elif kind(reply) == REFUSED:
            absent = any(word in reply.err for word in ABSENT)
            if absent and not (outage.can_ask and endpoint.endswith("never")):
                wrong.append(f"{endpoint} is said to be absent: {reply.err}")
            if not absent and not any(word in reply.err for word in outage.words):
                wrong.append(f"{endpoint} is refused without any of {outage.words}: {reply.err}")
    assert not wrong, "\n".join(wrong)
    assert answers["get-here"][0].json["Volume"]["Mountpoint"] == answers["path-here"][0].json["Mountpoint"] == point
    assert answers["mount-again"][0].json["Mountpoint"] == point
    assert "here" in [v["Name"].rpartition("/")[2] for v in answers["list"][0].json["Volumes"]]


def check_afterwards(d, answers, seconds=BACK):
    """The cluster is back: within so many seconds everything works with no hand on it, and only what was answered was done."""
    end = time.monotonic() + seconds
    names = {"here", "shared", "away", "there"}
    names |= {"ghost"} if kind(answers["create-new"][0]) == OK else set()
    names |= {"unwanted"} if kind(answers["remove"][0]) != OK else set()

    def listed():
        reply = d.call("List", {})
        return {v["Name"].rpartition("/")[2] for v in reply.json["Volumes"]} if reply.status == 200 else set()

    until(lambda: listed() >= names, f"List to have {names}", seconds)
    until(lambda: d.call("Get", {"Name": "away"}).status == 200, "Get to work again", max(end - time.monotonic(), 0.1))
    d.mount("away", "next")
    assert time.monotonic() < end, f"Mount worked only {time.monotonic() - end:.1f} s after the {seconds:g}"
    d.unmount("away", "next")
    assert "no such volume" in d.call("Get", {"Name": "never-was"}).err
    assert listed() == names, "something was done late, or undone"
    assert [h["ID"] for h in d.get("here")["Status"]["holders"]] == ["a"]
    assert sorted(h["ID"] for h in d.get("shared")["Status"]["holders"]) == ["first", "third"]


def check_released(d, name, holder, seconds=AT_ONCE):
    """Unmount while the cluster is away: the holder goes at once. Its thread and where its reply will be."""
    replies = []
    thread = threading.Thread(target=lambda: replies.append(d.call("Unmount", {"Name": name, "ID": holder})))
    thread.start()

    def gone():
        state = [v for v in d.must("/Rbdvol.Status")["Volumes"] if v["Name"].endswith("/" + name)]
        return not state or not state[0]["Holders"]

    until(gone, f"{holder} to be no holder of {name}", seconds)
    return thread, replies
