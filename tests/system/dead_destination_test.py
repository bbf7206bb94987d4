#!/usr/bin/env python3
"""One destination with much mail is dead: it takes connections and never answers. Others' mail goes
on, before and after a kill; its own waits, and is delivered once it has hosts again.

Usage: dead_destination_test.py BUILD_DIR
"""

import collections
import json
import socket

from control_test import verb
from engine_run import (Run, build_folder, expect, expect_equal, route, run_scenarios,
                        wait_until)

DEAD = "dead.example"
WAITING = 20_000  # More than its shard is given at a time.
CONNECTIONS = 20
OTHERS = 20
FOR_OTHERS = 2000


class DeadHost:
    """Listens, and nobody serves it: the kernel takes the connections, and says nothing on them."""

    def __init__(self):
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port = self.socket.getsockname()[1]

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.socket.close()


def dead_load(run, engine):
    run.write("dead-domain", f"{DEAD}\n")
    load = run.load(engine.address, "--messages", WAITING, "--size", "1k", "--domains",
                    "dead-domain", "--connections", "100", timeout_s=300)
    load.end()
    return load


def others_go_on(run, engine, sink, before):
    """The ledger of all that came before and of a load to the others, once the sink has it."""
    load = run.load(engine.address, "--messages", FOR_OTHERS, "--size", "2k", "--domain-count",
                    OTHERS, "--connections", "100")
    load.end()
    wanted = before + load.ledger()
    wait_until(lambda: not wanted - sink.received(), "all mail for the others came", 120)
    expect_equal(sink.received(), wanted, "received")
    return wanted


def held(run):
    """What the operator is told of the dead destination, once all its connections hang."""
    def look():
        code, told, errors = verb(run, "hoststatus", DEAD, "--json")
        expect_equal(code, 0, f"the exit code of hoststatus ({errors})")
        told = json.loads(told)
        return told["binding_limit"] == "concurrency" and told
    return wait_until(look, f"{DEAD} is held by its concurrency")


def expect_held(run):
    told = held(run)
    expect_equal((told["counters"]["active"], told["counters"]["delivered"]), (WAITING, 0),
                 "its active and delivered recipients")
    expect_equal((told["connections"], told["opening"]), (CONNECTIONS, CONNECTIONS),
                 "its connections, and those that have no session")
    expect(told["waiting"] > 0, "none of its mail is in the queue of its shard")
    wanted = f"concurrency: {CONNECTIONS} of {CONNECTIONS} connections; since "
    expect(told["held_by"].startswith(wanted), told["held_by"])
    code, text, _ = verb(run, "hoststatus", DEAD)
    expect(code == 0 and text.startswith("held by") and wanted in text, text)


def others_pass_a_dead_destination(build):
    with Run(build) as run, DeadHost() as dead:
        sink = run.sink()
        to_sink = route("ALL", sink.ports[0])
        engine = run.engine(routes=route(DEAD, dead.port) + to_sink,
                            table=f"[{DEAD}]\nmax_host_concurrency = {CONNECTIONS}\n"
                                  "limit_type = host\nlimit_apply = system\n")
        waiting = dead_load(run, engine)
        expect_held(run)
        others = others_go_on(run, engine, sink, collections.Counter())
        expect_held(run)

        engine.kill()
        expect_equal(engine.start(), WAITING, "messages in the spool")
        expect_held(run)
        others = others_go_on(run, engine, sink, others)
        expect_held(run)

        dead.socket.close()
        engine.set_routes(to_sink)
        engine.reload("tables version 2 in use")
        verb(run, "delivernow", DEAD)
        engine.wait_events(2 * FOR_OTHERS + WAITING, "Delivery", timeout_s=120)
        engine.drain()
        sink.end()
        expect_equal(sink.received(), others + waiting.ledger(), "received")
        return f"{2 * FOR_OTHERS} for {OTHERS} others passed {WAITING} that waited"


if __name__ == "__main__":
    run_scenarios(build_folder(__doc__), others_pass_a_dead_destination)
