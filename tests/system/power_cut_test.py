#!/usr/bin/env python3
"""The power is cut under load, on ext4 and on xfs: nothing that got 250 is lost.

Usage: power_cut_test.py BUILD_DIR [--images N] [--seed S]

The engine's spool is on a file system on a disk that keeps a log of all its writes. From the log
the disks are made that a power cut could have left (block_log.py): at a flush, at any write, and
with any of the writes since the last flush missing or torn. Each is mounted, and recovery must find
on it, by itself, all that was promised by then; of some of them the whole engine delivers it.

"By then" is the log's length, noted at each event (placed_mail.py). A message counts as promised
on a disk that was cut at P if the log was no longer than P when its 250 had come. Whatever its
promise rests upon had been flushed, and the flush been logged, before its 250 was sent: so it
stands before P, and every disk that is made at P has it. A message that is missing is excused if
its receiver had taken it when the log was shorter than P: what the engine writes down of that comes
later in the log.

What this cannot show: a flush counts for all that was logged before it, also for what was still
being written when it was asked for; a disk need not do so. And the load is as it comes: a seed
draws the mail and the cuts, not the order of things.

The judge is shown to see: a disk that leaves its last flushes out, and an engine that does not
sync, must lose mail in its eyes.
"""

import argparse
import collections
import contextlib
import pathlib
import random
import signal
import sys

import block_log
from engine_run import Failed, expect, run_scenarios
from loaded_disk import loaded_disk
from logged_disk import enter_own_namespaces, mounted_image, why_not
from placed_mail import Ledger
from spool_judge import Census, corrupt, lost

SYSTEMS = ("ext4", "xfs")
MESSAGES = 4000             # Of a load: so many that segments are given back and used again.
MESSAGES_OF_A_CONTROL = 400
IMAGES_OF_A_LOAD_MAX = 500  # More images: more loads.
IMAGES_DELIVERED = 10       # One of so many is delivered by the whole engine.
IMAGES_OF_A_CONTROL = 8
FLUSHES_LEFT_OUT = 8        # One sync of a file is up to four flushes of the disk.
SWITCH_S = 0.0002           # Between threads: a late look at the log's length promises less.

# --- The disks that are made of it.

Cut = collections.namedtuple("Cut", "count kept word")


def draw_cut(loaded, chance):
    """Half of them just when a 250 had come, a quarter while the engine was killed and started."""
    log = loaded.log
    spot, count = chance.choice((
        lambda: ("a 250", log.count_reaching(chance.choice(loaded.places))),
        lambda: ("a 250", log.count_reaching(chance.choice(loaded.places))),
        lambda: ("any write", chance.randint(*loaded.span)),
        lambda: ("the restart", chance.randint(*loaded.restarted))))()
    moment, count = chance.choice((
        ("at", count), ("at the flush after", log.next_flush(count) + 1),
        *[("before the flush after", log.next_flush(count))] * 3))
    what, kept = chance.choice((
        ("all writes", block_log.all_of), ("no writes", block_log.none_of),
        *[("some writes", block_log.some_of(chance))] * 2,
        *[("torn writes", block_log.torn(chance))] * 3))
    return Cut(count, kept, f"{moment} {spot}, {what}")


def in_order(cuts):
    return sorted(cuts, key=lambda cut: cut.count)


class DiskJudge:
    """Looks at one disk after another."""

    def __init__(self, loaded):
        self.loaded = loaded
        self.path, self.root = loaded.folder / "cut", loaded.folder / "cut-root"
        self.spool = self.root / "spool"
        self.disks = self.lost = self.waiting = self.started = 0
        self.faults = []

    def look(self, replay, cut, with_engine=False):
        where = f"cut at entry {cut.count}, {cut.word}"
        self.disks += 1
        replay.cut(cut.count, cut.kept, self.path)
        try:
            with self.mounted():
                census = self.judge(self.loaded.log.place_after(cut.count), where)
                if with_engine:
                    self.start(census)
        except Failed as why:
            self.faults.append(f"{where}: {why}")

    @contextlib.contextmanager
    def mounted(self):
        with mounted_image(self.loaded.system, self.path, self.root) as mounted:
            expect(mounted.fault is None, f"cannot be mounted: {mounted.fault}")
            yield

    def judge(self, place, where):
        census = Census(self.loaded.build, self.spool)
        self.waiting += len(census.waiting)
        gone = lost(self.loaded.ledger, census, place)
        if gone:
            self.lost += len(gone)
            said = [f"{address} (at last {self.loaded.last_said.get(address)})"
                    for address in gone[:3]]
            self.faults.append(f"{where}: {len(gone)} lost: {', '.join(said)}")
        self.faults += [f"{where}: {what}" for what in corrupt(self.loaded.ledger, census)[:3]]
        return census

    def start(self, census):
        """The whole engine, on the disk as it is."""
        ledger = Ledger(lambda: 0)
        ledger.mails = self.loaded.ledger.mails
        self.loaded.deliver(self.root, ledger, lambda engine: census.waiting)
        self.started += 1


def caught_without_flushes(loaded, replay, chance):
    """Of some disks that leave their last flushes out, and are held to what was promised before the
    next one: how many lost mail."""
    judge, log, caught = DiskJudge(loaded), loaded.log, 0
    flushes = log.flushes_between(*loaded.span)
    pairs = list(zip(flushes, flushes[FLUSHES_LEFT_OUT:]))
    for flush, next_flush in sorted(chance.choices(pairs, k=IMAGES_OF_A_CONTROL)):
        replay.cut(log.flushed_before(flush), block_log.none_of, judge.path)
        with judge.mounted():
            census = Census(loaded.build, judge.spool)
        caught += bool(lost(loaded.ledger, census, log.place_after(next_flush)))
    return caught


# --- Scenarios.

def power_cuts_of_one_load(build, system, shards, images, chance, totals):
    seed = chance.getrandbits(32)
    with loaded_disk(build, system, MESSAGES, seed, shards=shards) as loaded:
        judge = DiskJudge(loaded)
        cuts = in_order(draw_cut(loaded, chance) for _ in range(images))
        with loaded.replay() as replay:
            for number, cut in enumerate(cuts):
                judge.look(replay, cut, with_engine=number % IMAGES_DELIVERED == 0)
            loaded.expect_whole(replay)
        totals.update(images=judge.disks, lost=judge.lost, started=judge.started,
                      waiting=judge.waiting, promised=len(loaded.ledger.promised),
                      entries=len(loaded.log.entries))
        expect(not judge.faults,
               f"{len(judge.faults)} faults, the first: {' | '.join(judge.faults[:5])}")


def shares(images):
    """Of one load after another."""
    loads = -(-images // IMAGES_OF_A_LOAD_MAX)
    return [images * (load + 1) // loads - images * load // loads for load in range(loads)]


def power_cuts(build, system, first_shards, images, chance, totals):
    """One shard and two, in turn."""
    seen = collections.Counter()
    try:
        for load, share in enumerate(shares(images), first_shards - 1):
            power_cuts_of_one_load(build, system, 1 + load % 2, share, chance, seen)
    finally:
        totals.update(seen)
    return (f"{seen['images']} disks of {seen['promised']} messages that got 250 and "
            f"{seen['entries']} writes and flushes; {seen['waiting']} recipients waited on them, "
            f"none is lost; the engine delivered what was on {seen['started']}")


def disks_that_leave_flushes_out_are_seen(build, chance):
    counts = {}
    for system in SYSTEMS:
        seed = chance.getrandbits(32)
        with loaded_disk(build, system, MESSAGES_OF_A_CONTROL, seed, long=False) as loaded:
            with loaded.replay() as replay:
                caught = caught_without_flushes(loaded, replay, chance)
        expect(caught, f"{system}: {IMAGES_OF_A_CONTROL} disks left flushes out, none lost mail")
        counts[system] = caught
    return f"of {IMAGES_OF_A_CONTROL} disks each: {counts}"


def mail_that_is_not_synced_is_missed(build, chance):
    counts = {}
    for system in SYSTEMS:
        seed = chance.getrandbits(32)
        with loaded_disk(build, system, MESSAGES_OF_A_CONTROL, seed, sync="false",
                         long=False) as loaded:
            judge = DiskJudge(loaded)
            with loaded.replay() as replay:
                judge.look(replay, Cut(loaded.span[1], block_log.all_of, "at the end"))
        expect(judge.lost, f"{system}: nothing is lost without syncs")
        counts[system] = judge.lost
    return f"recipients lost: {counts}"


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    arguments.add_argument("build", type=pathlib.Path, help="where the programs were built")
    arguments.add_argument("--images", type=int, default=100, help="of both file systems")
    arguments.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(32))
    options = arguments.parse_args()
    reason = why_not()
    if reason:
        print(f"skipped power_cut: {reason}")
        return
    enter_own_namespaces()
    sys.setswitchinterval(SWITCH_S)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    chance, totals = random.Random(options.seed), collections.Counter()
    shards = chance.choice((1, 2))

    def power_cuts_on_ext4(build):
        return power_cuts(build, "ext4", shards, -(-options.images // 2), chance, totals)

    def power_cuts_on_xfs(build):
        return power_cuts(build, "xfs", 3 - shards, options.images // 2, chance, totals)

    def flushes_left_out_are_seen(build):
        return disks_that_leave_flushes_out_are_seen(build, chance)

    def unsynced_mail_is_missed(build):
        return mail_that_is_not_synced_is_missed(build, chance)

    print(f"seed {options.seed}", flush=True)
    try:
        run_scenarios(options.build.resolve(), power_cuts_on_ext4, power_cuts_on_xfs,
                      flushes_left_out_are_seen, unsynced_mail_is_missed)
    finally:
        print(f"block images {totals['images']}, lost {totals['lost']}")


if __name__ == "__main__":
    main()
