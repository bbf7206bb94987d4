#!/usr/bin/env python3
"""SIGTERM under load: exit 0, nothing lost, nothing twice, and the next start goes on.

Usage: drain_test.py BUILD_DIR
"""

from engine_run import (Run, build_folder, expect, expect_equal, expect_once_and_intact,
                        run_scenarios, wait_until)


def drain_under_load(build):
    """Three drains while mail comes in and goes out; the load tries again where it was refused."""
    with Run(build) as run:
        sink = run.sink("--fault", "stage=dot,action=delay,delay_ms=5,probability=0.2")
        engine = run.engine(routes=f"ALL 127.0.0.1:{sink.ports[0]}\n")
        load = run.load(engine.address, "--messages", "4000", "--rate", "1500", "--domain-count",
                        "8", "--retry-refused", "--retry-after", "0.1")
        for part in (1, 2, 3):
            wait_until(lambda: load.ledger_lines() >= 1000 * part, "the load goes on")
            engine.drain()
            engine.start()
        load.end()
        wait_until(lambda: not load.ledger() - sink.received(), "all arrived")
        engine.drain()
        expect_equal(engine.start(), 0, "messages left in the spool")
        engine.drain()
        sink.end()
        expect_once_and_intact(load, sink)
        return f"{load.report['accepted']} messages over 3 drains"


def drain_of_a_full_queue(build):
    """Nothing can be delivered: all stays in the spool, and goes out after the next start."""
    with Run(build) as run:
        engine = run.engine(routes="ALL 127.0.0.1:1\n")  # Nobody listens on port 1.
        load = run.load(engine.address, "--messages", "500", "--domain-count", "20")
        load.end()
        engine.drain()
        sink = run.sink("--expect", "500")
        engine.set_routes(f"ALL 127.0.0.1:{sink.ports[0]}\n")
        expect_equal(engine.start(), 500, "messages in the spool")
        sink.expected()
        expect_once_and_intact(load, sink)
        engine.drain()


def second_signal_ends_the_drain(build):
    """A receiver that never answers the dot holds a drain up, until a second SIGTERM."""
    with Run(build) as run:
        sink = run.sink("--fault", "stage=dot,action=delay,delay_ms=3600000,times=1")
        engine = run.engine(routes=f"ALL 127.0.0.1:{sink.ports[0]}\n")
        load = run.load(engine.address, "--messages", "1")
        load.end()
        # The message is at its dot once the sink has seen the recipient, which only it knows:
        # either way the drain must end with the message kept.
        engine.program.process.terminate()
        engine.program.wait_line("draining")
        engine.program.process.terminate()
        expect_equal(engine.program.wait(15), 0, "exit")
        expect_equal(engine.start(), 1, "messages in the spool")
        wait_until(lambda: not load.ledger() - sink.received(), "it arrived")
        engine.drain()
        sink.program.kill()


def idle_engine_ends_at_once(build):
    with Run(build) as run:
        engine = run.engine()
        engine.drain()
        expect(any("draining" in line for line in engine.program.lines), "it did not say so")


if __name__ == "__main__":
    run_scenarios(build_folder(__doc__), drain_under_load, drain_of_a_full_queue,
                  second_signal_ends_the_drain, idle_engine_ends_at_once)
