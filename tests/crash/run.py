#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Kills rbdvol, its mapper, both, or its device helper at each call of each operation that changes the world, and at random
times; starts it again, and looks whether the operation is finished or undone, a following Mount works, what was fsynced is
there, and nothing is left behind.

    run.py                         every point of every operation, and 500 random kills of each
    run.py --every 7 --random 6    each 7th point, from one that the seed chooses
    run.py --only mount-again      operations by name, or by how their names begin
    run.py --point P               this point alone, as a failure names it, of --only's operation
    run.py --results FILE          lines of "pass|fail NAME" for ./check
"""

import argparse
import multiprocessing
import os
import queue
import random
import sys
import tempfile
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
TESTS = os.path.dirname(HERE)
sys.path[:0] = [os.path.join(TESTS, name) for name in ("lib", "ceph", "blackbox", "crash")]

import mounts  # noqa: E402
from bench import Bench, NotReached  # noqa: E402
from cluster import Cluster  # noqa: E402
from operations import OPERATIONS  # noqa: E402
from points import Point  # noqa: E402

CHUNK = 12  # runs between two looks into the queue


def job_random(operation, took, seed):
    dice = random.Random(seed)
    victims = ("daemon",) if operation.spares_mapper else dice.choice((("daemon",), ("mapper",), ("daemon", "mapper")))
    return dice.uniform(0, took * 1.1), victims


def run_one(bench, job, took):
    if isinstance(job, Point):
        bench.run_point(job)
    else:
        bench.run_random(*job_random(bench.operation, took, job))


def work(conf_dir, number, jobs, results):
    """A process: takes chunks of jobs of one operation, reports each."""
    bench = None
    runs = 0
    while True:
        try:
            name, took, chunk = jobs.get_nowait()
        except queue.Empty:
            break
        for job in chunk:
            if bench and bench.operation.name != name:
                bench.close()
                bench = None
            outcome, text = "pass", ""
            try:
                if bench is None:
                    runs += 1
                    bench = Bench(Cluster(conf_dir), f"{number}x{runs}", OPERATIONS[name])
                run_one(bench, job, took)
            except NotReached:
                outcome = "not reached"
            except Exception as e:  # pylint: disable=broad-except
                text = str(e) if isinstance(e, AssertionError) else traceback.format_exc()
                outcome = "fail"
                if bench:
                    text += "".join("\n      | " + line for line in bench.daemon.log_text().splitlines()[-25:])
                    bench.close()
                    bench = None
            results.put((name, str(job), outcome, text))
    if bench:
        bench.close()
    results.put(None)


def count(conf_dir, names, results):
    """The points of each operation: a process of its own, so that nothing of it is inherited."""
    for number, name in enumerate(names):
        bench = Bench(Cluster(conf_dir), f"count{number}", OPERATIONS[name])
        try:
            times = []
            points = {}
            for _ in range(2):  # the first is slower than all that follow
                found, took = bench.count()
                times.append(took)
                points.update((p, None) for p in found if not (bench.operation.spares_mapper and "mapper" in p.victims))
            results.put((name, list(points), min(times)))
        except Exception:  # pylint: disable=broad-except
            print(f"crash: {name} does not work without a kill\n{traceback.format_exc()}{bench.daemon.log_text()[-3000:]}")
            results.put((name, [], 0))
        finally:
            bench.close()
    results.put(None)


def in_process(function, *args):
    results = multiprocessing.Queue()
    process = multiprocessing.Process(target=function, args=(*args, results))
    process.start()
    found = []
    while True:
        try:
            one = results.get(timeout=300)
        except queue.Empty:
            raise SystemExit("crash: counting does not end") from None
        if one is None:
            break
        found.append(one)
    process.join()
    return found


def plan(counted, args, dice):
    """[(operation, seconds, jobs)] in chunks, the operations one after the other."""
    chunks = []
    for name, points, took in counted:
        jobs = [Point.parse(args.point)] * args.times if args.point else points[dice.randrange(args.every)::args.every]
        if not args.point:
            jobs += [f"random-{args.seed}-{name}-{i}" for i in range(args.random)]
        chunks += [(name, took, jobs[i:i + CHUNK]) for i in range(0, len(jobs), CHUNK)]
    return chunks


class Report:
    def __init__(self, args, counted):
        self.args = args
        self.began = time.monotonic()
        self.points = {name: len(points) for name, points, _ in counted}
        self.outcomes = {name: {"point": [], "random": []} for name, _, _ in counted}

    def take(self, name, job, outcome, text):
        kind = "random" if job.startswith("random-") else "point"
        self.outcomes[name][kind].append(outcome)
        if outcome == "fail":
            print(f"  {outcome} {name} {job}\n      {text}", flush=True)
        elif self.args.verbose:
            print(f"  {outcome} {name} {job}", flush=True)

    def lines(self):
        for name, kinds in self.outcomes.items():
            for kind, outcomes in kinds.items():
                if not outcomes:
                    continue
                failed = outcomes.count("fail")
                extra = f", {outcomes.count('not reached')} not reached" if "not reached" in outcomes else ""
                of = f" of {self.points[name]} points" if kind == "point" else " random kills"
                yield failed == 0, f"crash {name}: {len(outcomes)}{of}, {failed} failed{extra}"

    def end(self):
        good = True
        with open(self.args.results or os.devnull, "a", encoding="utf-8") as f:
            for passed, line in self.lines():
                good = good and passed
                print("  " + line)
                f.write(f"{'pass' if passed else 'fail'} {line}\n")
        total = {kind: sum(len(kinds[kind]) for kinds in self.outcomes.values()) for kind in ("point", "random")}
        print(f"  {total['point']} of {sum(self.points.values())} points and {total['random']} random kills in "
              f"{time.monotonic() - self.began:.0f} s, seed {self.args.seed}")
        return 0 if good else 1


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--random", type=int, default=500)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 20))
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)) + 1)
    parser.add_argument("--only", action="append")
    parser.add_argument("--point")
    parser.add_argument("--times", type=int, default=1, help="how often --point is run")
    parser.add_argument("--results")
    parser.add_argument("--list", action="store_true", help="the points, without killing")
    parser.add_argument("--verbose", action="store_true")
    args = parser.parse_args()
    args.names = [name for name in OPERATIONS if not args.only or any(name.startswith(word) for word in args.only)]
    if not args.names:
        parser.error(f"there are {', '.join(OPERATIONS)}")
    return args


def run(args, cluster):
    counted = in_process(count, cluster.dir, args.names)
    if args.list:
        for name, points, took in counted:
            print(f"{name}: {len(points)} points, {took * 1000:.0f} ms")
            for point in points:
                print(f"  {point}")
        return 0
    jobs, results = multiprocessing.Queue(), multiprocessing.Queue()
    for chunk in plan(counted, args, random.Random(args.seed)):
        jobs.put(chunk)
    time.sleep(0.1)  # the queue's own thread feeds it
    workers = [multiprocessing.Process(target=work, args=(cluster.dir, n, jobs, results)) for n in range(args.jobs)]
    for worker in workers:
        worker.start()
    report = Report(args, counted)
    running = len(workers)
    while running:
        try:
            one = results.get(timeout=300)
        except queue.Empty:
            print("  a run does not end")
            for worker in workers:
                worker.terminate()
            report.end()
            return 1
        if one is None:
            running -= 1
        else:
            report.take(*one)
    for worker in workers:
        worker.join()
    return report.end()


def main():
    args = arguments()
    mounts.leave_the_others()
    cluster = Cluster.start(tempfile.mkdtemp(prefix="rbdvol-ceph-", dir="/tmp"))
    # a fence is a command of the monitors: a second each would be an hour in all
    cluster.ceph("tell", "mon.a", "config", "set", "paxos_propose_interval", "0.05")
    try:
        return run(args, cluster)
    finally:
        cluster.stop()


if __name__ == "__main__":
    sys.exit(main())
