# SPDX-License-Identifier: MIT
"""Runs in a guest: calls the functions of inside.py that the tests outside ask for.

A call is a file N.call (N = 1, 2, ...) in a directory that guest and host share; its answer is N.answer. That works with the guest's
network cut. Each call has a thread of its own, so that one that hangs keeps no other waiting."""

import json
import os
import sys
import threading
import time
import traceback

POLL = 0.01


def answer(job, number, inside):
    with open(f"{job}/{number}.call", encoding="utf-8") as f:
        asked = json.load(f)
    try:
        reply = {"result": getattr(inside, asked["function"])(*asked["args"], **asked["kwargs"])}
        text = json.dumps(reply)
    except BaseException as e:  # the test is to see it, whatever it is
        text = json.dumps({"error": str(e) or repr(e), "kind": type(e).__name__, "trace": traceback.format_exc()})
    with open(f"{job}/{number}.part", "w", encoding="utf-8") as f:
        f.write(text)
    os.rename(f"{job}/{number}.part", f"{job}/{number}.answer")


def main():
    job, number = sys.argv[1], 1
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    import inside
    open(f"{job}/ready", "w", encoding="ascii").close()
    while not os.path.exists(f"{job}/stop"):
        if os.path.exists(f"{job}/{number}.call"):
            threading.Thread(target=answer, args=(job, number, inside), daemon=True).start()
            number += 1
        else:
            time.sleep(POLL)
    os._exit(0)


if __name__ == "__main__":
    main()
