#!/usr/bin/env python3
"""The plain path, on two shards: many destinations, mixed sizes, a reload and a restart meanwhile.

Usage: load_engine_test.py BUILD_DIR

Short, so that it also runs where the programs are slow: under the thread sanitizer, which makes a
race end the engine with an exit code of its own, and so fails here.
"""

from engine_run import (Run, build_folder, expect, expect_equal, expect_once_and_intact,
                        run_scenarios, wait_until)


def many_destinations_on_two_shards(build):
    with Run(build) as run:
        sink = run.sink("--fault", "stage=rcpt,reply=450 4.2.1 later,probability=0.01")
        engine = run.engine(shards=2, routes=f"ALL 127.0.0.1:{sink.ports[0]}\n")
        load = run.load(engine.address, "--messages", "3000", "--domain-count", "40",
                        "--sizes", "2k:50,10k:40,100k:8,400k:2", "--recipients-per-message", "2",
                        "--retry-refused", "--retry-after", "0.1")
        engine.wait_events(500, "Delivery")
        engine.reload("tables version 2 in use")
        wait_until(lambda: load.ledger_lines() >= 1500, "the load goes on")
        engine.drain()
        engine.start()
        load.end()
        wait_until(lambda: not load.ledger() - sink.received(), "all arrived")
        engine.drain()
        sink.end()
        expect_once_and_intact(load, sink)
        shards = {event["shard"] for event in engine.events("Reception")}
        expect_equal(shards, {0, 1}, "shards that took mail")
        expect(load.report["accepted"] >= 3000, f"{load.report['accepted']} accepted")
        return f"{load.report['accepted']} messages to 40 destinations"


if __name__ == "__main__":
    run_scenarios(build_folder(__doc__), many_destinations_on_two_shards)
