#!/usr/bin/env python3
"""kill -9 of the engine under load, again and again: nothing that got 250 is lost.

Usage: kill_test.py BUILD_DIR [--kills N]

A message may come twice only if its delivery was not in the delivery log before the kill: a line of
the log is written after its outcome is on the disk. So no message and recipient has two Delivery
lines.
"""

import argparse
import collections
import random

from engine_run import Run, expect, expect_equal, expect_nothing_lost, run_scenarios, wait_until

MESSAGES_BETWEEN_KILLS = 500


def duplicates_in_log(engine):
    """Deliveries of what the log had already said was delivered."""
    lines = collections.Counter((event["id"], event["recipient"])
                                for event in engine.events("Delivery"))
    return [pair for pair, count in lines.items() if count > 1]


def kill_under_load(build, kills):
    seed = random.SystemRandom().getrandbits(32)
    chance = random.Random(seed)
    messages = MESSAGES_BETWEEN_KILLS * (kills + 1)
    with Run(build) as run:
        sink = run.sink("--fault", "stage=dot,action=delay,delay_ms=5,probability=0.2",
                        "--fault", "stage=rcpt,reply=450 4.2.1 later,probability=0.02")
        engine = run.engine(routes=f"ALL 127.0.0.1:{sink.ports[0]}\n")
        load = run.load(engine.address, "--messages", messages, "--domain-count", "20",
                        "--sizes", "2k:50,10k:40,100k:8,400k:2", "--recipients-per-message", "2",
                        "--retry-refused", "--retry-after", "0.1", timeout_s=300)
        found = 0
        for kill in range(kills):
            last = int(MESSAGES_BETWEEN_KILLS * (kill + chance.uniform(0.5, 1.5)))
            wait_until(lambda: load.ledger_lines() >= last, "the load goes on", 120)
            engine.kill()
            found += engine.start()
        load.end()
        wait_until(lambda: not load.ledger() - sink.received(), "all arrived", 180)
        engine.drain()
        expect_equal(engine.start(), 0, "messages left in the spool")
        engine.drain()
        sink.end()
        return judge(load, sink, engine, kills, found, seed)


def judge(load, sink, engine, kills, found, seed):
    expect_nothing_lost(load, sink)
    expect_equal(sink.totals["damaged"] + sink.totals["without_probe"], 0, "damaged messages")
    twice = duplicates_in_log(engine)
    expect(not twice, f"delivered again after the log had said so: {twice[:3]} (seed {seed})")
    expect(found > 0, "no kill left a message in the spool: the load was too light")
    expect(load.report["sessions_lost"] > 0, "no kill cut the load's sessions off")
    return (f"{kills} kills, {load.report['accepted']} messages got 250, none lost, "
            f"{found} found in the spool at restarts, {sink.totals['duplicates']} recipients of "
            f"{sink.totals['recipients_taken']} twice, none of them after its line in the log")


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    arguments.add_argument("build", help="where the programs were built")
    arguments.add_argument("--kills", type=int, default=20)
    options = arguments.parse_args()

    def kills(build):
        return kill_under_load(build, options.kills)
    run_scenarios(options.build, kills)


if __name__ == "__main__":
    main()
