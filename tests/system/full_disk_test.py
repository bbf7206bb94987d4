#!/usr/bin/env python3
"""A full disk: 452 and never 250 without storage; delivery goes on; space that returns is used.

Usage: full_disk_test.py BUILD_DIR
"""

import shutil

from engine_run import (Run, build_folder, expect, expect_equal, expect_once_and_intact,
                        run_scenarios)
from small_spool import SmallSpool, enter_own_mounts

# One shard's log: a segment in use and one made ready are the least it works with.
SEGMENT_BYTES = 64 << 20
SPOOL_MIB = 200


def refused_codes(load):
    return set(load.report["refused"])


def mail_fills_the_disk(build):
    """Mail that cannot be delivered fills the spool; when it is delivered, there is room again."""
    with Run(build) as run, SmallSpool(run, SPOOL_MIB):
        engine = run.engine(shards=1, routes="ALL 127.0.0.1:1\n")  # Nobody listens there.
        load = run.load(engine.address, "--messages", "3000", "--size", "100k",
                        "--allow-refusals")
        load.end()
        expect_equal(refused_codes(load), {"452"}, "codes of refusals")
        kept = load.report["accepted"]
        expect(0 < kept * 100 * 1024 < SPOOL_MIB << 20, f"{kept} messages of 100k in the spool")
        sink = run.sink()
        engine.set_routes(f"ALL 127.0.0.1:{sink.ports[0]}\n")
        engine.reload("tables version 2 in use")
        engine.wait_events(kept, "Delivery", timeout_s=120)
        again = run.load(engine.address, "--messages", "500", "--size", "100k", "--retry-refused",
                         "--retry-after", "0.2")
        again.end()
        engine.wait_events(kept + 500, "Delivery", timeout_s=120)
        engine.drain()
        sink.end()
        expect_equal(sink.totals["damaged"], 0, "damaged messages")
        expect_equal(sink.received(), load.ledger() + again.ledger(), "received")
        return f"{kept} messages kept, {load.report['given_up']} refused with 452"


def disk_filled_by_others(build):
    """The last byte is gone while mail comes in; it comes back, and mail is taken again."""
    with Run(build) as run, SmallSpool(run, SPOOL_MIB) as spool:
        sink = run.sink()
        engine = run.engine(shards=1, routes=f"ALL 127.0.0.1:{sink.ports[0]}\n")
        spool.fill()
        load = run.load(engine.address, "--messages", "2500", "--size", "100k",
                        "--allow-refusals", "--rate", "1000")
        load.end()
        expect(refused_codes(load) <= {"452"}, f"codes of refusals: {refused_codes(load)}")
        spool.make_room()
        again = run.load(engine.address, "--messages", "200", "--size", "100k", "--retry-refused",
                         "--retry-after", "0.2")
        again.end()
        engine.wait_events(load.report["accepted"] + 200, "Delivery", timeout_s=120)
        engine.drain()
        sink.end()
        expect_equal(sink.totals["damaged"], 0, "damaged messages")
        expect_equal(sink.received(), load.ledger() + again.ledger(), "received")
        return f"{load.report['accepted']} taken and {load.report['given_up']} refused meanwhile"


def kept_over_a_restart(build):
    """A start needs room for a segment; without it, it says so, and with it, all mail is there."""
    with Run(build) as run, SmallSpool(run, SPOOL_MIB) as spool:
        engine = run.engine(shards=1, routes="ALL 127.0.0.1:1\n")
        load = run.load(engine.address, "--messages", "2500", "--size", "100k",
                        "--allow-refusals")
        load.end()
        engine.kill()
        if shutil.disk_usage(spool.path).free < SEGMENT_BYTES:
            refused = engine.launch()
            expect_equal(refused.wait(), 1, "exit of a start without room")
            expect("make room" in refused.said(), f"it said: {refused.said()}")
        spool.enlarge()
        sink = run.sink("--expect", load.report["accepted"])
        engine.set_routes(f"ALL 127.0.0.1:{sink.ports[0]}\n")
        expect_equal(engine.start(), load.report["accepted"], "messages in the spool")
        sink.expected()
        expect_once_and_intact(load, sink)
        engine.drain()


if __name__ == "__main__":
    enter_own_mounts()
    run_scenarios(build_folder(__doc__), mail_fills_the_disk, disk_filled_by_others,
                  kept_over_a_restart)
