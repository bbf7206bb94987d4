#!/usr/bin/env python3
"""The end of the engine at every point of its I/O: before and after each write, sync, send and
change of a name, in a run of 100 messages; then a life without faults, and ledgers are compared.

Usage: kill_each_test.py BUILD_DIR [--kills N | --all] [--no-sync]

Half of the kills are kill -9, half lose what was not synced, as a power cut does. By default N
points are spread over the run, each with another shape of it (one shard or two, one session or
several, small or large messages, a spool that is new or has mail in it); --all takes every point of
every shape, until a run ends without having been killed.

What got 250 must come, or its bounce. Only what was in doubt may come twice: the receiver had said
250, and the delivery log had not told of it when the engine ended.

--no-sync is a control: promises without a sync, which must be found.
"""

import argparse
import itertools
import os
import sys
import time

from fault_run import Case, expect, run_all

MESSAGES = 100
FILLED_WITH = 20  # Messages in the spool of a run that begins with some.
WORKERS = 2 * (os.cpu_count() or 2)

# shards, sessions, large, filled
SHAPES = [(2, 4, False, False), (1, 4, False, False), (1, 1, False, False), (2, 4, True, False),
          (2, 4, False, True), (1, 4, True, True)]


async def kill_at(build, sync, shape, point, power_cut):
    shards, sessions, large, filled = shape
    async with Case(build, shards, large, sync) as case:
        if filled:
            await case.fill(FILLED_WITH)
        life = await case.start("--kill", str(point), *(["--power-cut"] if power_cut else []))
        if not life.ended():
            await case.inject(range(FILLED_WITH if filled else 0, MESSAGES), sessions)
            await case.idle()
        code = await case.end()
        killed = life.said("^fault: killed at point")
        expect(code == (-9 if killed else 0), f"it ended with {code}: {life.lines}")
        if not killed:
            return {"killed": False, "points": life.counts()["points"]}
        doubt = await case.in_doubt()
        dots = len(case.without_reply())
        await case.recover()
        return {"killed": True, "lost": case.missing(), "promised": len(case.promised()),
                "dots": dots, "doubt": doubt, "twice": case.twice(),
                "damaged": case.receiver.damaged}


class Tally:
    def __init__(self):
        self.kills = self.lost = self.promised = self.dots = self.twice = self.doubt = 0
        self.missed = set()  # Shapes whose last point has been passed.
        self.faults = []

    def add(self, job, result):
        shape, point, power_cut = job[2:]
        where = f"point {point} of {shape}{' with a power cut' if power_cut else ''}"
        if isinstance(result, BaseException):
            self.faults.append(f"{where}: {result!r}")
            return
        if not result["killed"]:
            self.missed.add((shape, power_cut))
            return
        self.kills += 1
        self.lost += len(result["lost"])
        self.promised += result["promised"]
        self.dots += result["dots"]
        self.doubt += len(result["doubt"])
        self.twice += sum(result["twice"].values())
        for what, found in (("lost", result["lost"]), ("damaged", result["damaged"]),
                            ("twice without doubt", self.too_often(result))):
            if found:
                self.faults.append(f"{where}: {what}: {found[:5]}")

    @staticmethod
    def too_often(result):
        """One kill puts a message in doubt once: it can come once more."""
        return [name for name, count in result["twice"].items()
                if name not in result["doubt"] or count > 1]


def every_point(build, sync, tally):
    for point in itertools.count(1):
        shapes = [(shape, power_cut) for shape in SHAPES for power_cut in (False, True)
                  if (shape, power_cut) not in tally.missed]
        if not shapes:
            return
        for shape, power_cut in shapes:
            yield build, sync, shape, point, power_cut


def spread(build, sync, kills, points):
    """`points` of each shape; an odd stride, so that both sides of the calls are met."""
    for i in range(kills):
        shape = SHAPES[i % len(SHAPES)]
        point = 1 + (i * points[shape]) // kills
        yield build, sync, shape, point, i // len(SHAPES) % 2 == 1


def count_points(build, sync):
    points = {}

    def keep(job, result):
        if isinstance(result, BaseException):
            sys.exit(f"FAILED kill_each: a run without a kill: {result!r}")
        points[job[2]] = result["points"]
    run_all(kill_at, ((build, sync, shape, 10**9, False) for shape in SHAPES), WORKERS, keep)
    return points


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    arguments.add_argument("build", help="where the programs were built")
    arguments.add_argument("--kills", type=int, default=100)
    arguments.add_argument("--all", action="store_true", help="every point of every shape")
    arguments.add_argument("--no-sync", action="store_true", help="a control: must fail")
    options = arguments.parse_args()
    begin, tally, sync = time.monotonic(), Tally(), not options.no_sync
    points = count_points(options.build, sync)
    jobs = (every_point(options.build, sync, tally) if options.all else
            spread(options.build, sync, options.kills, points))
    run_all(kill_at, jobs, WORKERS, tally.add)
    for fault in tally.faults[:20]:
        print(f"FAILED kill_each: {fault}")
    which = "every one" if options.all else "a part, spread evenly,"
    print(f"{which} of {sum(points.values())} points of {len(SHAPES)} shapes of a run, "
          f"{tally.promised} recipients promised, {tally.dots} dots without an answer "
          f"({time.monotonic() - begin:.0f} s)")
    print(f"twice {tally.twice} of {tally.doubt} in doubt")
    print(f"kills {tally.kills}, lost {tally.lost}")
    sys.exit(1 if tally.faults else 0)


if __name__ == "__main__":
    main()
