#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A writer that stamps each block of a file with who wrote it, which block it is and in which round.

    stamps.py FILE LOG WHO BLOCKS [once]    four threads; each block bypasses the page cache

Without "once" it goes on until it is killed, whatever errors it gets: a container does not stop at the first one. Its log has
a line for each write: when it was answered, block, round, and 0 or the errno.
"""

import collections
import mmap
import os
import struct
import sys
import threading
import time

BLOCK = 4096
RECORD = struct.Struct("<16s16sQQ16x")  # 64 bytes, so that a block that is half old and half new is told
MAGIC = b"rbdvol test stam"
THREADS = 4
PAUSE = 0.05  # after an error


def stamp(who, number, turn):
    return RECORD.pack(MAGIC, who.encode(), number, turn) * (BLOCK // RECORD.size)


class Stamper:
    """The program."""

    def __init__(self, file, log, who, blocks):
        self.file = os.open(file, os.O_RDWR | os.O_CREAT | os.O_DIRECT, 0o600)
        self.log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self.who = who
        self.blocks = blocks

    def write(self, buffer, number, turn):
        buffer[:] = stamp(self.who, number, turn)
        try:
            rc = 0 if os.pwrite(self.file, buffer, number * BLOCK) == BLOCK else -1
        except OSError as e:
            rc = e.errno
        os.write(self.log, b"%.3f %d %d %d\n" % (time.monotonic(), number, turn, rc))
        return rc

    def work(self, first, turns, failed):
        buffer = mmap.mmap(-1, BLOCK)
        for turn in range(turns):
            for number in range(first, self.blocks, THREADS):
                if self.write(buffer, number, turn):
                    failed.append(number)
                    time.sleep(PAUSE)

    def run(self, turns):
        """0 when every write was acknowledged, and is on disk."""
        failed = []
        threads = [threading.Thread(target=self.work, args=(n, turns, failed)) for n in range(THREADS)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        os.fsync(self.file)
        return 1 if failed else 0


# -- what the tests read

Write = collections.namedtuple("Write", "when number turn errno")


def answers(log):
    """All writes that were answered, in that order."""
    try:
        with open(log, encoding="ascii") as f:
            lines = [line.split() for line in f if line.endswith("\n")]
    except FileNotFoundError:
        return []
    return [Write(float(when), int(number), int(turn), int(errno)) for when, number, turn, errno in lines]


def found(path):
    """Who -> how many blocks of a file (or of a whole image) carry that stamp; "torn": blocks of several hands."""
    count = collections.Counter()
    for who, numbers in read(path).items():
        count[who] = len(numbers)
    return count


def read(path):
    """Who -> list of (block, turn) of all stamped blocks of a file."""
    blocks = collections.defaultdict(list)
    with open(path, "rb") as f:
        while block := f.read(BLOCK):
            if MAGIC not in block:
                continue
            records = {block[i:i + RECORD.size] for i in range(0, len(block), RECORD.size)}
            record = records.pop()
            if records or not record.startswith(MAGIC):
                blocks["torn"].append(None)
                continue
            _, who, number, turn = RECORD.unpack(record)
            blocks[who.rstrip(b"\0").decode()].append((number, turn))
    return blocks


if __name__ == "__main__":
    sys.exit(Stamper(*sys.argv[1:4], int(sys.argv[4])).run(1 if sys.argv[5:] == ["once"] else 1 << 62))
