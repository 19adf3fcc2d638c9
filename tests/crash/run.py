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

One run may take RUN_S seconds, all of them --minutes; what was not run by then has failed.
"""

import argparse
import multiprocessing
import os
import queue
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
TESTS = os.path.dirname(HERE)
sys.path[:0] = [os.path.join(TESTS, name) for name in ("lib", "ceph", "blackbox", "crash")]

import mounts  # noqa: E402
from bench import Bench, NotReached, clear_away  # noqa: E402
from cluster import Cluster  # noqa: E402
from operations import OPERATIONS  # noqa: E402
from points import Point  # noqa: E402

CHUNK = 12  # runs between two looks into the queue
CLUSTER_CHUNKS = 120  # then there is a new cluster: each fence and each snapshot makes its maps longer, and all that is asked slower
RUN_S = 150  # then it is given up, by itself
WATCH_S = 6
STUCK_S = RUN_S + 60  # then its process is ended, and another takes its place


def job_random(operation, took, seed):
    dice = random.Random(seed)
    victims = ("daemon",) if operation.spares_mapper else dice.choice((("daemon",), ("mapper",), ("daemon", "mapper")))
    return dice.uniform(0, took * 1.1), victims


def give_up(_number, _frame):
    raise AssertionError(f"this run did not end in {RUN_S} s")


def run_one(bench, job, took):
    if isinstance(job, Point):
        bench.run_point(job)
    else:
        bench.run_random(*job_random(bench.operation, took, job))


class Worker:
    """A process: takes chunks of jobs of one operation, reports each. Its benches are in a directory of its own."""

    def __init__(self, args, directory, jobs, results, number):
        self.args = args
        self.number = number
        self.dir = os.path.join(directory, str(number))
        self.since = multiprocessing.Value("d", time.monotonic(), lock=False)  # of the run it is at
        self.at = multiprocessing.Array("c", 200, lock=False)
        self.jobs, self.results = jobs, results
        self.bench = None
        self.benches = 0
        os.mkdir(self.dir)
        self.process = multiprocessing.Process(target=self._work)
        self.process.start()

    def _work(self):
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGALRM, give_up)
        while time.monotonic() < self.args.end:
            try:
                name, took, chunk = self.jobs.get(timeout=0.5)
            except queue.Empty:
                break
            if self.bench and self.bench.operation.name != name:
                self._close()
            for job in chunk:
                self.since.value, self.at.value = time.monotonic(), f"{name} {job}".encode()
                self.results.put((name, str(job), *self._run(name, job, took)))
        if self.bench:
            self._close()
        self.results.put(None)

    def _run(self, name, job, took):
        signal.alarm(RUN_S)
        try:
            if self.bench is None:
                self.benches += 1
                self.bench = Bench(Cluster(self.args.cluster), self.dir, f"{self.number}x{self.benches}", OPERATIONS[name])
            run_one(self.bench, job, took)
            return "pass", ""
        except NotReached:
            return "not reached", ""
        except Exception as e:  # pylint: disable=broad-except
            text = str(e) if isinstance(e, AssertionError) else traceback.format_exc()
            if self.bench:
                text += "".join("\n      | " + line for line in self.bench.daemon.log_text().splitlines()[-25:])
                text += f"\n      the daemon's exit status: {self.bench.daemon.process.status()}"
                self._close()
            return "fail", text
        finally:
            signal.alarm(0)

    def _close(self):
        signal.alarm(RUN_S)
        try:
            self.bench.close()
        except Exception:  # pylint: disable=broad-except
            print(f"  a bench does not close\n{traceback.format_exc()}", flush=True)
        finally:
            signal.alarm(0)
            self.bench = None

    def is_stuck(self):
        return self.process.is_alive() and time.monotonic() - self.since.value > STUCK_S

    def end(self):
        """Of one that does not end: with all that it has started. It may be in a state that takes no signal: not waited for."""
        self.process.kill()
        for folder in os.listdir(self.dir):
            clear_away(os.path.join(self.dir, folder))


def count(conf_dir, names, directory, results):
    """The points of each operation: in processes of their own, so that nothing of it is inherited."""
    signal.signal(signal.SIGALRM, give_up)
    for name in names:
        signal.alarm(RUN_S)
        bench = Bench(Cluster(conf_dir), directory, f"count{list(OPERATIONS).index(name)}", OPERATIONS[name])
        try:
            times = []
            points = {}
            for _ in range(2):  # the first is slower than all that follow
                found, took = bench.count()
                times.append(took)
                points.update((p, None) for p in found if not (bench.operation.spares_mapper and "mapper" in p.victims))
            results.put((name, list(points), min(times)))
        except Exception:  # pylint: disable=broad-except
            print(f"crash: {name} does not work without a kill\n{traceback.format_exc()}{bench.daemon.log_text()[-3000:]}",
                  flush=True)
            results.put((name, [], 0))
        finally:
            bench.close()
            signal.alarm(0)
    results.put(None)


def count_all(args, directory):
    """[(operation, points, seconds)], in the order of args.names."""
    results = multiprocessing.Queue()
    processes = [multiprocessing.Process(target=count, args=(args.cluster, args.names[i::args.jobs], directory, results), daemon=True)
                 for i in range(min(args.jobs, len(args.names)))]
    for process in processes:
        process.start()
    found, running = [], len(processes)
    while running:
        try:
            one = results.get(timeout=300)
        except queue.Empty:
            raise SystemExit("crash: counting does not end") from None
        if one is None:
            running -= 1
        else:
            found.append(one)
    for process in processes:
        process.join()
    return sorted(found, key=lambda one: args.names.index(one[0]))


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
    """Says how each operation went as soon as all of its runs have ended."""

    def __init__(self, args, counted, chunks):
        self.args = args
        self.began = time.monotonic()
        self.points = {name: len(points) for name, points, _ in counted}
        self.missing = {(name, kind): 0 for name in self.points for kind in ("point", "random")}
        self.outcomes = {(name, kind): [] for name, kind in self.missing}
        self.good = all(self.points.values())
        for name, _, jobs in chunks:
            for job in jobs:
                self.missing[name, self.kind(str(job))] += 1

    @staticmethod
    def kind(job):
        return "random" if job.startswith("random-") else "point"

    def take(self, name, job, outcome, text):
        at = name, self.kind(job)
        self.outcomes[at].append(outcome)
        self.missing[at] -= 1
        if outcome == "fail":
            print(f"  {outcome} {name} {job}\n      {text}", flush=True)
        elif self.args.verbose:
            print(f"  {outcome} {name} {job}", flush=True)
        if self.missing[at] == 0:
            self.say(*at)

    def say(self, name, kind):
        outcomes = self.outcomes.pop((name, kind))
        missing = self.missing[name, kind]
        self.outcomes[name, kind + " said"] = outcomes
        if not outcomes and not missing:
            return
        failed = outcomes.count("fail")
        of = f" of {self.points[name]} points" if kind == "point" else " random kills"
        line = f"crash {name}: {len(outcomes)}{of}, {failed} failed"
        line += "".join(f", {n} {what}" for what, n in (("not reached", outcomes.count("not reached")), ("not run", missing)) if n)
        passed = failed == 0 and not missing
        self.good = self.good and passed
        print(f"  {line} [{time.monotonic() - self.began:.0f} s]", flush=True)
        with open(self.args.results or os.devnull, "a", encoding="utf-8") as f:
            f.write(f"{'pass' if passed else 'fail'} {line}\n")

    def end(self):
        for name, kind in [at for at in self.outcomes if "said" not in at[1]]:
            self.say(name, kind)
        total = {kind: sum(len(outcomes) for at, outcomes in self.outcomes.items() if at[1].startswith(kind))
                 for kind in ("point", "random")}
        print(f"  {total['point']} of {sum(self.points.values())} points and {total['random']} random kills in "
              f"{time.monotonic() - self.began:.0f} s, seed {self.args.seed}", flush=True)
        return 0 if self.good else 1


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--random", type=int, default=500)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 20))
    parser.add_argument("--jobs", type=int, default=4 * len(os.sched_getaffinity(0)))
    parser.add_argument("--minutes", type=float, default=150)
    parser.add_argument("--only", action="append")
    parser.add_argument("--but", action="append", default=[], help="not these operations")
    parser.add_argument("--point")
    parser.add_argument("--times", type=int, default=1, help="how often --point is run")
    parser.add_argument("--results")
    parser.add_argument("--list", action="store_true", help="the points, without killing")
    parser.add_argument("--verbose", action="store_true")
    args = parser.parse_args()
    args.end = time.monotonic() + args.minutes * 60
    args.names = [name for name in OPERATIONS if not args.only or any(name.startswith(word) for word in args.only)]
    args.names = [name for name in args.names if name not in args.but]
    if not args.names:
        parser.error(f"there are {', '.join(OPERATIONS)}")
    return args


def watch(args, directory, workers, jobs, results, report):
    """Until all have ended; who is stuck is replaced."""
    running = started = len(workers)
    while running:
        try:
            one = results.get(timeout=5)
            if one is None:
                running -= 1
            else:
                report.take(*one)
        except queue.Empty:
            pass
        for i, worker in enumerate(workers):
            if worker.is_stuck():
                name, job = worker.at.value.decode().split(" ")
                report.take(name, job, "fail", f"its process hung, and was ended after {STUCK_S} s")
                worker.end()
                started += 1
                workers[i] = Worker(args, directory, jobs, results, started)
        if all(not worker.process.is_alive() for worker in workers) and results.empty():
            break


class Place:
    """A cluster, and a directory for the benches."""

    def __init__(self, args):
        # clients say each second that they are there; whoever is killed is forgotten sooner than by default (30 s), and so waited for
        self.cluster = Cluster.start(tempfile.mkdtemp(prefix="rbdvol-ceph-", dir="/tmp"), settings={"objecter tick interval": 1})
        args.cluster = self.cluster.dir
        # a fence is a command of the monitors: a second each would be an hour in all
        self.cluster.ceph("tell", "mon.a", "config", "set", "paxos_propose_interval", "0.05")
        self.cluster.set("osd", "osd_client_watch_timeout", WATCH_S)
        self.directory = tempfile.mkdtemp(prefix="rbdc-", dir="/tmp")

    def close(self):
        self.cluster.stop()
        shutil.rmtree(self.directory, ignore_errors=True)


def work(args, directory, chunks, report):
    jobs, results = multiprocessing.Queue(), multiprocessing.Queue()
    for chunk in chunks:
        jobs.put(chunk)
    workers = [Worker(args, directory, jobs, results, n) for n in range(args.jobs)]
    try:
        watch(args, directory, workers, jobs, results, report)
    finally:
        for worker in workers:
            if worker.process.is_alive():
                worker.end()
        jobs.cancel_join_thread()  # what nobody took


def run(args):
    place = Place(args)
    try:
        counted = count_all(args, place.directory)
        if args.list:
            for name, points, took in counted:
                print(f"{name}: {len(points)} points, {took * 1000:.0f} ms")
                for point in points:
                    print(f"  {point}")
            return 0
        chunks = plan(counted, args, random.Random(args.seed))
        report = Report(args, counted, chunks)
        try:
            while chunks and time.monotonic() < args.end:
                work(args, place.directory, chunks[:CLUSTER_CHUNKS], report)
                chunks = chunks[CLUSTER_CHUNKS:]
                if chunks:
                    place.close()
                    place = Place(args)
        finally:
            code = report.end()
        return code
    finally:
        place.close()


def main():
    args = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    mounts.leave_the_others()
    return run(args)


if __name__ == "__main__":
    sys.exit(main())
