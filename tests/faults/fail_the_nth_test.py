#!/usr/bin/env python3
"""The n-th call of each class fails, for every n until none is hit: no false 250, and no other end
of the engine than the documented one.

Usage: fail_the_nth_test.py BUILD_DIR [--all] [--each N] [--only CALL] [--told-as-success]

A run takes 60 messages; where it begins with a filled spool, recovery meets the fault too. After it
comes a life without faults. By default up to N values of n of each fault are tried, spread over the
calls that a run makes; --all tries every n until a run ends without having been hit.

Judged, of each run:
  - what got 250 has come, or its bounce, after the life without faults at the latest;
  - the engine ended by SIGTERM with 0, or by itself with 1, having said why; its threads had
    all ended then, also where the start failed (but for a thread that did not start);
  - as long as it lives it delivers all that it has promised, but for promises that the disk does
    not give: these it keeps, and reports nobody's mail as given up;
  - twice comes only what was in doubt, at the end of the engine or by its own word;
  - once a shard's log has failed, that shard promises nothing more, and every dot that waits for
    it, or comes after, has a reply, 4xx (the time of the slowest is told).

--told-as-success is a control: a sync that fails says that it did not, which must be found.
"""

import argparse
import collections
import os
import re
import sys
import time

from fault_run import Case, expect, run_all, shard_of

MESSAGES = 60
FILLED_WITH = 20
WORKERS = 2 * (os.cpu_count() or 2)

# How a run that is hit may go.
Rule = collections.namedtuple("Rule", "goes_on stops keeps", defaults=(False, False, False))
GOES_ON = Rule(goes_on=True)  # The engine lives, and delivers all.
KEEPS = Rule(goes_on=True, keeps=True)  # It lives, and what it cannot read stays in the spool.
STOPS = Rule(stops=True)      # It ends for recovery; at the start, it does not start.
EITHER = Rule(goes_on=True, stops=True)

# Messages in memory, a shard, where there are few: those that wait have to leave it.
FEW_RESIDENTS = 6

# A promise that could not be read so often is left alone for long (delivery/home.h).
READS_OF_PROMISE = 3

Fault = collections.namedtuple("Fault", "call error shards filled rule residents", defaults=(0,))


def promise_faults():
    """After a start no message is in memory; where few may be, those that wait leave it again."""
    once = [Fault("record_read", error, 2, filled, GOES_ON, residents)
            for error in ("EIO", "ENOMEM", "none:part")
            for filled, residents in ((True, 0), (False, FEW_RESIDENTS), (True, FEW_RESIDENTS))]
    lasting = [Fault("record_read", "EIO:on", 2, True, KEEPS, residents)
               for residents in (0, FEW_RESIDENTS)]
    return once + lasting


def shape_of(fault):
    """What decides which calls a run makes."""
    return fault.filled, fault.residents


def faults():
    """Each class of call, with the errors that it can bring."""
    def both(call, errors, rule, shards=2, fills=(False, True)):
        return [Fault(call, error, shards, filled, rule) for error in errors for filled in fills]
    return [
        # The log: nothing done, done in part, done and said to have failed; once and from then on.
        *both("log_write", ["EIO", "EIO:part", "EIO:whole", "ENOSPC", "ENOMEM"], STOPS),
        *both("log_write", ["EIO:on"], STOPS, shards=1),
        *both("log_write", ["none:part"], GOES_ON),
        *both("log_sync", ["EIO", "EIO:whole", "ENOSPC", "EDQUOT"], STOPS),
        *both("log_sync", ["EIO:on"], STOPS, shards=1),
        *both("body_read", ["EIO", "ENOMEM", "none:part", "EIO:on"], GOES_ON),
        *promise_faults(),
        # The spool's folder.
        *both("open", ["EIO", "EMFILE", "ENFILE", "ENOSPC"], EITHER),
        *both("make_folder", ["EIO", "ENOSPC"], EITHER),
        *both("allocate", ["EIO", "ENOSPC"], EITHER),
        *both("sync_file", ["EIO"], EITHER),
        *both("sync_folder", ["EIO"], EITHER),
        *both("rename", ["EIO"], EITHER),
        *both("remove", ["EIO"], EITHER, shards=1),
        *both("read_folder", ["EIO", "EMFILE"], STOPS),
        *both("read_segment", ["EIO", "ENOMEM"], STOPS),
        *both("read_segment", ["none:part"], GOES_ON),
        # Sockets.
        *both("listen", ["EADDRINUSE", "EMFILE", "ENOBUFS"], STOPS, fills=[False]),
        *both("accept", ["EMFILE", "ENFILE", "ENOMEM", "ENOBUFS", "ECONNABORTED"], GOES_ON,
              fills=[False]),
        *both("intake_receive", ["ECONNRESET", "ENOMEM", "ENOBUFS"], GOES_ON, fills=[False]),
        *both("intake_send", ["ECONNRESET", "ENOMEM", "EPIPE:part", "EPIPE:whole"], GOES_ON,
              fills=[False]),
        *both("open_stream", ["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM"], GOES_ON, fills=[False]),
        *both("connect", ["ENOMEM", "ENOBUFS", "EADDRNOTAVAIL", "EAGAIN"], GOES_ON, fills=[False]),
        *both("host_receive", ["ECONNRESET", "ENOMEM", "ENOBUFS"], GOES_ON, fills=[False]),
        *both("host_send", ["ENOMEM", "EPIPE:part", "ECONNRESET:whole"], GOES_ON, fills=[False]),
        # The delivery log, and threads.
        *both("delivery_log_open", ["EMFILE", "EIO"], STOPS, fills=[False]),
        *both("delivery_log_write", ["ENOSPC", "EIO", "none:part"], GOES_ON, fills=[False]),
        *both("thread", ["EAGAIN"], STOPS, fills=[False]),
    ]


async def run_with(build, fault, nth, told_as_success):
    async with Case(build, fault.shards) as case:
        if fault.filled:
            await case.fill(FILLED_WITH)
        error, _, more = fault.error.partition(":")
        options = ["--fail", f"{fault.call}:{nth}:{error}{':' + more if more else ''}",
                   "--residents", str(fault.residents)]
        life = await case.start(*options, *(["--told-as-success"] if told_as_success else []))
        started = not life.ended()
        if started:
            await case.inject(range(FILLED_WITH if fault.filled else 0, MESSAGES))
            await (until_left_alone(case, nth) if fault.rule.keeps else case.idle())
        promised_before, code = case.missing(), await case.end()
        hit = life.hit()
        judge_end(fault, life, code, hit, started)
        if hit and code == 0 and not fault.rule.keeps:
            expect(not promised_before, f"not delivered while it lived: {promised_before[:5]}")
        if fault.rule.keeps:
            given_up = [name for name in case.receiver.reported if not name.startswith("b")]
            expect(not given_up, f"given up, though it stands in the log: {given_up[:5]}")
        after, slowest_ms = judge_failed_log(case, life, hit)
        doubt = await case.in_doubt() | case.told_in_doubt()
        await case.recover()
        expect(not case.receiver.damaged, f"damaged: {case.receiver.damaged[:5]}")
        twice = case.twice()
        too_often = [name for name, count in twice.items() if name not in doubt or count > 1]
        expect(not too_often, f"twice without doubt: {too_often[:5]}: {life.lines}")
        return {"hit": hit is not None, "counts": None if hit else life.counts(),
                "false": case.missing(), "after": after, "code": code, "slowest_ms": slowest_ms,
                "promised": len(case.promised()), "twice": len(twice), "doubt": len(doubt)}


async def until_left_alone(case, nth):
    """Reads of promises fail from the n-th on: of the messages that the spool was filled with, all
    but n - 1 at most have been tried as often as they are before they are left alone."""
    hits = READS_OF_PROMISE * max(FILLED_WITH - (nth - 1), 0)
    await case.until(lambda: case.life.hits() >= hits or case.life.ended(), "reads that fail")


def judge_end(fault, life, code, hit, started):
    said = " | ".join(life.lines)
    expect(code in (0, 1), f"it ended with {code}: {said}")
    expect(not re.search(r"CHECK\(|terminate called", said), said)
    left_at_once = fault.call == "thread" and code == 1
    expect(left_at_once or life.said(r"^fault: counted"), f"a thread did not end: {said}")
    if not hit:
        expect(code == 0, f"it ended with {code} without a fault: {said}")
        return
    if code == 1:
        expect(fault.rule.stops, f"it ended, where it should have gone on: {said}")
        if started:
            expect(life.said(r"^sluiced: ending for recovery") or life.said(r"^sluiced: draining"),
                   f"it did not say that it ends: {said}")
            expect(life.said(r"^sluice: the spool's log of shard \d+ has failed: \S"),
                   f"it did not say why: {said}")
        else:
            expect(life.said(r"^sluiced?: \S.* \S"), f"it did not say why: {said}")
    if code == 0:
        expect(fault.rule.goes_on or not hit, f"it went on: {said}")


def judge_failed_log(case, life, hit):
    """Promises of a shard whose log had failed before the dot was sent; and how long the slowest
    dot that waited then had to wait for its 4xx, in milliseconds."""
    failed = life.said(r"^sluice: the spool's log of shard (\d+) has failed")
    sync_failed = hit and hit.call == "log_sync"
    if not hit or not (failed or sync_failed):
        return [], 0
    shard = int(failed.group(1)) if failed else hit.shard
    after, slowest = [], 0
    for dot in case.dots:
        expect(dot.reply is not None, f"a dot without a reply: {life.lines}")
        found = re.search(r"queued as (\S+)", dot.reply)
        if found and shard_of(found.group(1)) == shard and dot.sent_at > hit.at:
            after.append(dot.message.recipients[0])
        if not found:
            expect(dot.reply.startswith("4"), f"a dot was answered with {dot.reply}")
            slowest = max(slowest, dot.replied_at - max(dot.sent_at, hit.at))
    return after, slowest / 1e6


class Tally:
    def __init__(self):
        self.runs = self.false = self.promised = self.stops = self.twice = self.doubt = 0
        self.slowest_ms = 0
        self.passed = set()  # Faults of which a run was not hit.
        self.hits = collections.Counter()
        self.counts = {}
        self.faults = []

    def add(self, job, result):
        _, fault, nth, _ = job
        where = f"{fault.call} {nth} with {fault.error}{' on a filled spool' * fault.filled}"
        where += f" with {fault.residents} in memory" * (fault.residents > 0)
        if isinstance(result, BaseException):
            self.runs += 1
            self.faults.append(f"{where}: {result}" if result.args else f"{where}: {result!r}")
            return
        if not result["hit"]:
            self.passed.add(fault)
            return
        self.runs += 1
        self.hits[fault.call] += 1
        self.promised += result["promised"]
        self.stops += result["code"] == 1
        self.twice += result["twice"]
        self.doubt += result["doubt"]
        self.slowest_ms = max(self.slowest_ms, result["slowest_ms"])
        for what, found in (("lost after its 250", result["false"]),
                            ("250 after the log had failed", result["after"])):
            self.false += len(found)
            if found:
                self.faults.append(f"{where}: {what}: {found[:5]}")


def every_nth(build, chosen, tally, told_as_success):
    nth = 0
    while len(tally.passed) < len(chosen):
        nth += 1
        for fault in chosen:
            if fault not in tally.passed:
                yield build, fault, nth, told_as_success


def spread(build, chosen, counts, each, told_as_success):
    """Up to `each` values of n: the first, the last, and between."""
    for fault in chosen:
        count = counts[shape_of(fault)][fault.call]
        tries = min(count, each)
        for i in range(tries):
            nth = 1 + (i * (count - 1)) // max(tries - 1, 1)
            yield build, fault, nth, told_as_success


def count_calls(build, chosen):
    counts = {}

    def keep(job, result):
        if isinstance(result, BaseException):
            sys.exit(f"FAILED fail_the_nth: a run without a fault: {result!r}")
        counts[shape_of(job[1])] = result["counts"]
    none = [Fault("log_sync", "EIO", 2, filled, STOPS, residents)
            for filled, residents in {shape_of(fault) for fault in chosen}]
    run_all(run_with, ((build, fault, 10**9, False) for fault in none), WORKERS, keep)
    return counts


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    arguments.add_argument("build", help="where the programs were built")
    arguments.add_argument("--all", action="store_true", help="every n of each fault")
    arguments.add_argument("--each", type=int, default=6, help="values of n of each fault")
    arguments.add_argument("--only", help="this class of call")
    arguments.add_argument("--told-as-success", action="store_true", help="a control: must fail")
    options = arguments.parse_args()
    begin, tally = time.monotonic(), Tally()
    chosen = [fault for fault in faults() if options.only in (None, fault.call)]
    counts = count_calls(options.build, chosen)
    jobs = (every_nth(options.build, chosen, tally, options.told_as_success) if options.all else
            spread(options.build, chosen, counts, options.each, options.told_as_success))
    run_all(run_with, jobs, WORKERS, tally.add)
    for fault in tally.faults[:40]:
        print(f"FAILED fail_the_nth: {fault}")
    which = "every n" if options.all else f"up to {options.each} n, spread over the calls of a run,"
    print(f"{which} of {len(chosen)} faults: " +
          ", ".join(f"{call} {count}" for call, count in tally.hits.items()))
    print(f"{tally.promised} recipients promised; {tally.stops} ends for recovery, the slowest 4xx "
          f"to a dot that waited came {tally.slowest_ms:.0f} ms after the fault "
          f"({time.monotonic() - begin:.0f} s)")
    print(f"twice {tally.twice} of {tally.doubt} in doubt")
    print(f"fail-the-nth {tally.runs}, false 250 {tally.false}")
    sys.exit(1 if tally.faults else 0)


if __name__ == "__main__":
    main()
