#!/usr/bin/env python3
"""kill -9 under load: an engine is killed when its injectors have seen so many 250s, starts again
on what it left, and is killed again; at the end comes a life without a kill, and the ledgers are
compared.

Usage: kill_under_load_test.py BUILD_DIR [--kills N] [--seed N]

What got 250 must come, or its bounce. Only what was in doubt at a kill may come once more for that
kill: the receiver had said 250, and the delivery log had not told of it.
"""

import argparse
import asyncio
import collections
import os
import random
import sys
import time

from fault_run import Case, expect, run_all

KILLS_OF_A_SPOOL = 20
SESSIONS = 8
PROMISES_MAX = 40  # Between two kills.
WORKERS = 2 * (os.cpu_count() or 2)


async def kill_after(case, promises, numbers):
    """One life: ends when so many have been promised."""
    life = await case.start()
    expect(not life.ended(), f"no start after a kill: {life.lines}")
    wanted = len(case.promised()) + promises
    injection = asyncio.create_task(case.inject(numbers, SESSIONS))
    await case.until(lambda: len(case.promised()) >= wanted or injection.done() or life.ended(),
                     "promises")
    expect(not life.ended(), f"it ended with {life.code}: {life.lines}")
    life.process.kill()
    await case.until(life.ended, "the kill")
    await injection


async def kill_often(build, seed, kills):
    chance = random.Random(seed)
    async with Case(build, shards=chance.choice((1, 2)), large=chance.random() < 0.3) as case:
        may_repeat, doubts, first = collections.Counter(), 0, 0
        for _ in range(kills):
            promises = chance.randint(1, PROMISES_MAX)
            numbers = range(first, first + promises + SESSIONS)
            first = numbers.stop
            await kill_after(case, promises, numbers)
            doubt = await case.in_doubt()
            # What came twice already was in doubt before: it is so again only if it is not told.
            may_repeat.update(doubt)
            doubts += len(doubt)
        dots = len(case.without_reply())
        await case.recover()
        twice = case.twice()
        return {"kills": kills, "promised": len(case.promised()), "lost": case.missing(),
                "dots": dots, "doubt": doubts, "twice": twice, "damaged": case.receiver.damaged,
                "too_often": [name for name, count in twice.items() if count > may_repeat[name]]}


class Tally:
    def __init__(self):
        self.sums = collections.Counter()
        self.faults = []

    def add(self, job, result):
        if isinstance(result, BaseException):
            self.faults.append(f"seed {job[1]}: {result!r}")
            return
        for name in ("kills", "promised", "dots", "doubt"):
            self.sums[name] += result[name]
        self.sums["lost"] += len(result["lost"])
        self.sums["twice"] += sum(result["twice"].values())
        for what in ("lost", "damaged", "too_often"):
            if result[what]:
                self.faults.append(f"seed {job[1]}: {what}: {result[what][:5]}")


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    arguments.add_argument("build", help="where the programs were built")
    arguments.add_argument("--kills", type=int, default=100)
    arguments.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(31))
    options = arguments.parse_args()
    begin, tally = time.monotonic(), Tally()
    sizes = [KILLS_OF_A_SPOOL] * (options.kills // KILLS_OF_A_SPOOL)
    if options.kills % KILLS_OF_A_SPOOL:
        sizes.append(options.kills % KILLS_OF_A_SPOOL)
    jobs = ((options.build, options.seed + i, size) for i, size in enumerate(sizes))
    run_all(kill_often, jobs, WORKERS, tally.add)
    for fault in tally.faults[:20]:
        print(f"FAILED kill_under_load: {fault}")
    sums = tally.sums
    print(f"seed {options.seed}: {sums['promised']} recipients promised, {sums['dots']} dots "
          f"without an answer ({time.monotonic() - begin:.0f} s)")
    print(f"twice {sums['twice']} of {sums['doubt']} in doubt")
    print(f"kills {sums['kills']}, lost {sums['lost']}")
    sys.exit(1 if tally.faults else 0)


if __name__ == "__main__":
    main()
