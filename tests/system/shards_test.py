#!/usr/bin/env python3
"""A restart with another number of shards keeps all mail.

Usage: shards_test.py BUILD_DIR
"""

from engine_run import Run, build_folder, expect_equal, expect_once_and_intact, run_scenarios


def restart_with(build, before, after, end):
    with Run(build) as run:
        engine = run.engine(shards=before, routes="ALL 127.0.0.1:1\n")  # Nobody listens there.
        load = run.load(engine.address, "--messages", "400", "--domain-count", "30", "--sizes",
                        "2k:5,10k:4,300k:1")
        load.end()
        end(engine)
        engine.shards = after
        expect_equal(engine.start(), 400, f"messages found by {after} shards")
        end(engine)
        sink = run.sink("--expect", "400")
        engine.set_routes(f"ALL 127.0.0.1:{sink.ports[0]}\n")
        engine.shards = before
        expect_equal(engine.start(), 400, f"messages found by {before} shards")
        sink.expected()
        expect_once_and_intact(load, sink)
        engine.drain()
        expect_equal(engine.start(), 0, "messages left in the spool")
        engine.drain()


def fewer_shards_after_a_drain(build):
    restart_with(build, 3, 1, lambda engine: engine.drain())


def more_shards_after_a_drain(build):
    restart_with(build, 1, 4, lambda engine: engine.drain())


def fewer_shards_after_a_kill(build):
    restart_with(build, 4, 2, lambda engine: engine.kill())


if __name__ == "__main__":
    run_scenarios(build_folder(__doc__), fewer_shards_after_a_drain, more_shards_after_a_drain,
                  fewer_shards_after_a_kill)
