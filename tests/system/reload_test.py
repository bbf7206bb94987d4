#!/usr/bin/env python3
"""SIGHUP: new tables are used at once, by waiting mail too; broken ones are told and not used.

Usage: reload_test.py BUILD_DIR
"""

from engine_run import (Run, build_folder, expect, expect_equal, expect_nothing_lost,
                        expect_once_and_intact, run_scenarios, wait_until)

LIMIT = "limit_type = host\nlimit_apply = system\n"


def everywhere(port):
    return f"ALL 127.0.0.1:{port}\n"


def limits_change_under_load(build):
    """From one connection, that a slow receiver fills, to eight."""
    with Run(build) as run:
        sink = run.sink("--expect", "600", "--fault", "stage=dot,action=delay,delay_ms=20")
        engine = run.engine(routes=everywhere(sink.ports[0]),
                            table=f"[DEFAULT]\nmax_host_concurrency = 1\n{LIMIT}")
        load = run.load(engine.address, "--messages", "600", "--size", "2k")
        before = engine.wait_events(20, "Delivery")
        expect_equal({event["table_version"] for event in before}, {1}, "table of the first")
        engine.set_table(f"[DEFAULT]\nmax_host_concurrency = 8\n{LIMIT}")
        engine.reload("tables version 2 in use")
        load.end()
        sink.expected()
        expect_once_and_intact(load, sink)
        engine.drain()
        expect(2 <= sink.totals["connections_peak"] <= 8,
               f"{sink.totals['connections_peak']} connections at once")
        after = engine.events("Delivery")[-1]
        expect_equal(after["table_version"], 2, "table of the last")


def limits_shrink_under_load(build):
    """Connections over the new limit end; none is opened beyond it."""
    with Run(build) as run:
        sink = run.sink("--expect", "600", "--fault", "stage=dot,action=delay,delay_ms=10")
        engine = run.engine(routes=everywhere(sink.ports[0]),
                            table=f"[DEFAULT]\nmax_host_concurrency = 8\n{LIMIT}")
        load = run.load(engine.address, "--messages", "600", "--size", "2k")
        engine.wait_events(50, "Delivery")
        engine.set_table("[DEFAULT]\nmax_host_concurrency = 1\nmax_messages_per_connection = 1\n" +
                         LIMIT)
        engine.reload("tables version 2 in use")
        load.end()
        sink.expected()
        expect_once_and_intact(load, sink)
        engine.drain()
        late = [event for event in engine.events("Delivery") if event["table_version"] == 2]
        expect(len(late) > 10, f"only {len(late)} deliveries under the new table")
        expect(sink.totals["connections"] >= len(late),
               f"{sink.totals['connections']} connections for {len(late)} messages, each its own")


def routes_change_for_mail_that_waits(build):
    with Run(build) as run:
        old = run.sink("--fault", "stage=rcpt,reply=450 4.2.0 moving")
        engine = run.engine(routes=everywhere(old.ports[0]))
        load = run.load(engine.address, "--messages", "200", "--size", "2k")
        load.end()
        engine.wait_events(1, "TransientFailure")
        old.end()
        new = run.sink("--expect", "200")
        engine.set_routes(everywhere(new.ports[0]))
        engine.reload("tables version 2 in use")
        new.expected()
        expect_once_and_intact(load, new)
        engine.drain()


def broken_tables_change_nothing(build):
    with Run(build) as run:
        sink = run.sink()
        engine = run.engine(routes=everywhere(sink.ports[0]),
                            table=f"[DEFAULT]\nmax_host_concurrency = 2\n{LIMIT}")
        load = run.load(engine.address, "--messages", "500", "--size", "2k", "--rate", "500")
        engine.wait_events(20, "Delivery")
        engine.set_table("[DEFAULT]\nmax_host_concurrency = 50\nmax_colours = 3\n")
        engine.set_routes("a.example nowhere:at:all\n")
        engine.reload("the old ones stay")
        for place in ("destinations.ini:3: ", "routes:1: "):
            expect(any(place in line for line in engine.program.lines),
                   f"no '{place}' in: {engine.program.said()}")
        load.end()
        wait_until(lambda: not load.ledger() - sink.received(), "all arrived")
        expect_nothing_lost(load, sink)
        engine.drain()
        sink.end()
        expect(sink.totals["connections_peak"] <= 2, "the broken table's limit was used: "
               f"{sink.totals['connections_peak']} connections at once")
        expect_equal({event["table_version"] for event in engine.events("Delivery")}, {1},
                     "tables used")


def log_is_opened_anew(build):
    """After a rename, as log rotation does, lines go to a new file."""
    with Run(build) as run:
        sink = run.sink("--expect", "20")
        engine = run.engine(routes=everywhere(sink.ports[0]))
        run.load(engine.address, "--messages", "10").end()
        engine.wait_events(10, "Delivery")
        engine.log_path.rename(run.folder / "delivery.jsonl.1")
        engine.reload("tables version 2 in use")
        run.load(engine.address, "--messages", "10").end()
        engine.wait_events(10, "Delivery")
        sink.expected()
        engine.drain()


if __name__ == "__main__":
    run_scenarios(build_folder(__doc__), limits_change_under_load, limits_shrink_under_load,
                  routes_change_for_mail_that_waits, broken_tables_change_nothing,
                  log_is_opened_anew)
