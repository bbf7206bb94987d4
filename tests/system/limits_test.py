#!/usr/bin/env python3
"""The limits of a destination, as the receiver counts them while it is slow or refuses.

Usage: limits_test.py BUILD_DIR
"""

import json

from control_test import verb
from engine_run import (Run, build_folder, expect, expect_equal, expect_once_and_intact,
                        run_scenarios, wait_until)

SLOW_DOT = ["--fault", "stage=dot,action=delay,delay_ms=10,probability=0.3"]


def deliver(run, limits, messages, sink_options=(), load_options=()):
    """Sends the messages to one domain with these limits; the sink's totals, and the engine."""
    sink = run.sink("--expect", messages, "--window", "60", *sink_options)
    engine = run.engine(routes=f"ALL 127.0.0.1:{sink.ports[0]}\n",
                        table=f"[dest-0000.example]\n{limits}\n"
                              "limit_type = host\nlimit_apply = system\n")
    load = run.load(engine.address, "--messages", messages, "--size", "2k", *load_options)
    load.end()
    sink.expected()
    expect_once_and_intact(load, sink)
    engine.drain()
    return sink.totals, engine


def one_connection(build):
    with Run(build) as run:
        totals, _ = deliver(run, "max_host_concurrency = 1", 300, SLOW_DOT)
        expect_equal(totals["connections_peak"], 1, "connections at once")
        return f"{totals['connections']} connections, one at a time"


def one_message_on_a_connection(build):
    with Run(build) as run:
        totals, _ = deliver(run, "max_messages_per_connection = 1\nmax_host_concurrency = 5", 300)
        expect_equal(totals["messages_on_connection_max"], 1, "messages on a connection")
        expect(totals["connections"] >= 300, f"{totals['connections']} connections")
        expect(totals["connections_peak"] <= 5, f"{totals['connections_peak']} at once")
        return f"{totals['connections']} connections, {totals['connections_peak']} at once"


def messages_on_a_connection(build):
    with Run(build) as run:
        totals, _ = deliver(run, "max_messages_per_connection = 7\nmax_host_concurrency = 3", 500,
                            SLOW_DOT)
        expect_equal(totals["messages_on_connection_max"], 7, "messages on a connection")
        expect(totals["connections_peak"] <= 3, f"{totals['connections_peak']} at once")
        expect(totals["connections"] >= 500 / 7, f"{totals['connections']} connections")
        return f"{totals['connections']} connections, {totals['connections_peak']} at once"


def limits_while_the_host_fails(build):
    faults = ["stage=connect,action=drop,probability=0.05,times=10",
              "stage=rcpt,reply=451 4.3.0 later,probability=0.1",
              "stage=dot,action=drop,probability=0.05",
              "stage=mail,action=close421,probability=0.02",
              "stage=helo,action=delay,delay_ms=20,probability=0.2"]
    with Run(build) as run:
        options = [word for fault in faults for word in ("--fault", fault)]
        totals, _ = deliver(run, "max_messages_per_connection = 20\nmax_host_concurrency = 4", 500,
                            options)
        expect(totals["connections_peak"] <= 4, f"{totals['connections_peak']} at once")
        expect(totals["messages_on_connection_max"] <= 20, "messages on a connection: "
               f"{totals['messages_on_connection_max']}")
        return f"{totals['connections']} connections, {totals['connections_peak']} at once"


def recipients_in_a_minute(build):
    """45 messages of two recipients at 60 a minute: 60 at once, the others a minute later."""
    with Run(build) as run:
        totals, engine = deliver(run, "recipient_minutes = 1\nrecipient_limit = 60", 45,
                                 load_options=["--recipients-per-message", "2"])
        most = totals["windows"][0]["recipients_max"]
        expect(most <= 60, f"{most} recipients in a minute")
        expect_equal(totals["recipients_taken"], 90, "recipients taken")
        stamps = [event["timestamp"] for event in engine.events("Delivery")]
        expect(max(stamps) - min(stamps) >= 59, "the last came too early")
        expect(max(stamps) - min(stamps) <= 75, "the last came too late: "
               f"{max(stamps) - min(stamps)} s after the first")
        return f"{most} recipients in any minute"


def windows_outlive(end):
    """What was sent before the engine ended counts after its start: nothing more goes out, and the
    operator is told why. With another number of shards, too."""
    def scenario(build):
        limit, count = 20, 50
        with Run(build) as run:
            sink = run.sink()
            engine = run.engine(routes=f"ALL 127.0.0.1:{sink.ports[0]}\n",
                                table="[dest-0000.example]\nmax_host_concurrency = 3\n"
                                      f"recipient_limit = {limit}\nrecipient_minutes = 60\n"
                                      "limit_type = MXIP\nlimit_apply = system\n")
            load = run.load(engine.address, "--messages", str(count), "--size", "2k")
            load.end()

            def held():
                status = json.loads(verb(run, "hoststatus", "dest-0000.example", "--json")[1])
                return status["binding_limit"] == "recipients" and status
            wait_until(held, "the limit binds")
            engine.wait_events(limit, "Delivery")
            end(engine)
            engine.shards = 3
            expect_equal(engine.start(), count - limit, "messages in the spool")
            wait_until(held, "the limit binds after the start")
            expect_equal(len(engine.events("Delivery")), limit, "deliveries")
            engine.drain()
            sink.end()
            expect_equal(sum(sink.received().values()), limit, "recipients at the sink")
    scenario.__name__ = f"windows_outlive_a_{end.__name__}"
    return scenario


def restart(engine):
    engine.drain()


def crash(engine):
    engine.kill()


if __name__ == "__main__":
    run_scenarios(build_folder(__doc__), one_connection, one_message_on_a_connection,
                  messages_on_a_connection, limits_while_the_host_fails, recipients_in_a_minute,
                  windows_outlive(restart), windows_outlive(crash))
