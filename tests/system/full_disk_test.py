#!/usr/bin/env python3
"""A full disk: 452 and never 250 without storage; delivery goes on; space that returns is used.

Usage: full_disk_test.py BUILD_DIR
"""

import shutil
import subprocess

from engine_run import (Run, build_folder, expect, expect_equal, expect_once_and_intact,
                        run_scenarios, wait_until)
from small_spool import SmallSpool, enter_own_mounts

# One shard's log: a segment in use and the one that is kept back are the least it works with.
SEGMENT_BYTES = 64 << 20
SPOOL_MIB = 200
# What is to stay free, and a spool that does not care.
FLOOR_MIB = 150
NO_FLOOR = "min_free_bytes = 0"


def refused_codes(load):
    return set(load.report["refused"])


def status(run):
    return subprocess.run([run.tool("sluice"), "status", "--socket", run.folder / "control.sock"],
                          capture_output=True, text=True, timeout=30).stdout


def mail_fills_the_disk(build):
    """Mail that cannot be delivered fills the spool; when it is delivered, there is room again."""
    with Run(build) as run, SmallSpool(run, SPOOL_MIB):
        engine = run.engine(shards=1, routes="ALL 127.0.0.1:1\n",  # Nobody listens there.
                            spool_keys=NO_FLOOR)
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
        engine = run.engine(shards=1, routes=f"ALL 127.0.0.1:{sink.ports[0]}\n",
                            spool_keys=NO_FLOOR)
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


def started_on_a_full_disk(build):
    """Killed when not a byte is free: it starts with the segment that was kept back, and delivers.
    Killed once more before anything was given back it says what it needs, and starts with that; on
    a slow machine something may have been."""
    with Run(build) as run, SmallSpool(run, SPOOL_MIB) as spool:
        engine = run.engine(shards=1, routes="ALL 127.0.0.1:1\n", spool_keys=NO_FLOOR)
        load = run.load(engine.address, "--messages", "2500", "--size", "100k",
                        "--allow-refusals")
        load.end()
        spool.fill()
        engine.kill()
        expect_equal(shutil.disk_usage(spool.path).free, 0, "bytes free")
        accepted = load.report["accepted"]
        expect_equal(engine.start(), accepted, "messages in the spool")
        engine.kill()
        again = engine.launch()
        wait_until(lambda: not again.running() or "in the spool" in again.said(), "a start or none")
        refused = not again.running()
        if refused:
            expect_equal(again.wait(), 1, "exit of a start without room")
            expect("make room" in again.said(), f"it said: {again.said()}")
        else:
            engine.kill()
        spool.make_room()
        spool.enlarge()
        expect_equal(engine.start(), accepted, "messages in the spool, with room")
        spool.fill()
        engine.kill()
        sink = run.sink("--expect", accepted)
        engine.set_routes(f"ALL 127.0.0.1:{sink.ports[0]}\n")
        expect_equal(engine.start(), accepted, "messages in the spool, full again")
        sink.expected()
        expect_once_and_intact(load, sink)
        engine.drain()
        return f"{accepted} messages, a start without room {'refused' if refused else 'not met'}"


def stops_at_the_floor(build):
    """Mail is refused while as much is free as is to stay free; delivery goes on and gives space
    back, and mail is taken again by itself."""
    with Run(build) as run, SmallSpool(run, 2 * SPOOL_MIB) as spool:
        engine = run.engine(shards=1, routes="ALL 127.0.0.1:1\n",
                            spool_keys=f"min_free_bytes = {FLOOR_MIB << 20}")
        load = run.load(engine.address, "--messages", "4000", "--size", "100k",
                        "--allow-refusals")
        load.end()
        expect_equal(refused_codes(load), {"452"}, "codes of refusals")
        free = shutil.disk_usage(spool.path).free
        expect(FLOOR_MIB << 20 <= free < (FLOOR_MIB << 20) + 2 * SEGMENT_BYTES,
               f"{free} bytes are free where {FLOOR_MIB} MiB are to stay so")
        engine.program.wait_line("ALARM: shard 0 takes no mail")
        expect("no mail is taken" in status(run), f"status: {status(run)}")
        sink = run.sink()
        engine.set_routes(f"ALL 127.0.0.1:{sink.ports[0]}\n")
        engine.reload("tables version 2 in use")
        again = run.load(engine.address, "--messages", "500", "--size", "100k", "--retry-refused",
                         "--retry-after", "0.2")
        again.end()
        engine.program.wait_line("shard 0 takes mail again")
        expect("no mail is taken" not in status(run), f"status: {status(run)}")
        engine.wait_events(load.report["accepted"] + 500, "Delivery", timeout_s=120)
        engine.drain()
        sink.end()
        told = [line for line in engine.program.lines if "takes no mail" in line]
        expect(len(told) < 20, f"said {len(told)} times")
        expect_equal(sink.received(), load.ledger() + again.ledger(), "received")
        return f"{load.report['accepted']} taken, {free >> 20} MiB left free"


if __name__ == "__main__":
    enter_own_mounts()
    run_scenarios(build_folder(__doc__), mail_fills_the_disk, disk_filled_by_others,
                  started_on_a_full_disk, stops_at_the_floor)
