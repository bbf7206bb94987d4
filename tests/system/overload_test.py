#!/usr/bin/env python3
"""Mail comes in ten times as fast as it can leave, until the spool is full, and then goes on so.

Usage: overload_test.py BUILD_DIR [--minutes M]

While it is full: every command of every injector is answered, with 452 where there is no room;
deliveries go on; memory stays below what limits.h says that a shard may take. Then the injection
stops and the limits are lifted: all of it arrives, once, and mail is taken again at once.

With --minutes this is repeated, each time twice as long in the full state, until they are over.
"""

import argparse
import collections
import json
import re
import signal
import smtplib
import sys
import threading
import time

from control_test import verb
from engine_run import (Run, expect, expect_equal, run_scenarios, wait_until)
from small_spool import SmallSpool, enter_own_mounts

SPOOL_MIB = 1024

# What leaves: each domain has one connection, on which a message takes a tenth of a second at the
# least; a quarter of the domains have a limit by the minute instead, of one a second.
DOMAINS = 20
METERED = 5
SLOW_DOT = "stage=dot,action=delay,delay_ms=100"
DRAINED_PER_S = (DOMAINS - METERED) * 10 + METERED
HELD = "[DEFAULT]\nmax_host_concurrency = 1\n" + "".join(
    f"[dest-{number:04}.example]\nrecipient_minutes = 1\nrecipient_limit = 60\n"
    "limit_type = host\nlimit_apply = system\n"
    for number in range(METERED))
LIFTED = "[DEFAULT]\nmax_host_concurrency = 20\n"

INJECTED_PER_S = 10 * DRAINED_PER_S
INJECTORS = 20
SIZES = "2k:25,10k:25,100k:50"  # 53 KiB: a full spool holds some 17,000.

# How long it is kept full, by what happens meanwhile.
DELIVERED_WHILE_FULL = 500
REFUSED_WHILE_FULL = 100

# An injector that waits so long for an answer has been left hanging.
ANSWER_S = 10
PROBERS = 4
PROBES_PER_SESSION = 20
PROBE_PAUSE_S = 0.05

# What a shard may hold (engine/base/limits.h), beyond what the process had before any mail: the
# body pool; a resident message, with its envelope and its parcel that is out, some 600 bytes and
# strings each; the slots of a queued recipient; of each session and connection its input and its
# output.
BODY_POOL_BYTES = 256 << 20
RESIDENTS_MAX = 1 << 16
RESIDENT_BYTES = 2 << 10
SLOTS_BYTES = 200
LINK_BYTES = 128 << 10
LINKS = INJECTORS + PROBERS + DOMAINS * 20


class Prober:
    """A client that goes on sending whatever it is told, and keeps what it was told.

    Each message has a recipient of its own, so that the sink's ledger can be compared."""

    def __init__(self, number, address, numbers):
        self.number, self.address, self.numbers = number, address, numbers
        self.codes = collections.Counter()  # By the command and its reply.
        self.taken = collections.Counter()  # As in the sink's ledger: without a probe line.
        self.fault = None
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        step = "connect"
        try:
            while not self.stopped.is_set():
                with smtplib.SMTP(*self.address, timeout=ANSWER_S) as client:
                    for _ in range(PROBES_PER_SESSION):
                        for step in self.send_one(client):
                            pass
                        if self.stopped.wait(PROBE_PAUSE_S):
                            break
        except (OSError, smtplib.SMTPException) as fault:
            self.fault = f"after {step}: {fault!r}"

    def send_one(self, client):
        """Yields each step before it is taken."""
        to = f"p{next(self.numbers)}@dest-{self.number:04}.example"
        yield "EHLO"
        client.ehlo_or_helo_if_needed()
        yield "MAIL"
        self.note("MAIL", client.mail("prober@load.example"))
        yield "RCPT"
        self.note("RCPT", client.rcpt(to))
        yield "DATA"
        code = self.note("DATA", client.docmd("DATA"))
        if code == 354:
            yield "the dot"
            client.send(b"Subject: a probe\r\n\r\nIs there room?\r\n.\r\n")
            code = self.note("dot", client.getreply())
            if code == 250:
                self.taken["-", to] += 1
        if code != 250:
            yield "RSET"
            self.note("RSET", client.rset())

    def note(self, command, reply):
        self.codes[command, reply[0]] += 1
        return reply[0]

    def refusals(self):
        return self.codes["DATA", 452] + self.codes["dot", 452]

    def stop(self):
        """It must have been answered, each time, as a full engine may answer."""
        self.stopped.set()
        self.thread.join()
        expect(self.fault is None, f"an injector was left alone {self.fault}")
        right = {("MAIL", 250), ("RCPT", 250), ("RSET", 250), ("DATA", 354), ("DATA", 452),
                 ("dot", 250), ("dot", 452)}
        expect(set(self.codes) <= right, f"replies: {dict(self.codes)}")


class Overload:
    """One engine and its sink, over all rounds; `ledger` has all that ever got 250."""

    def __init__(self, run):
        self.run = run
        self.sink = run.sink("--fault", SLOW_DOT)
        self.engine = run.engine(shards=1, table=HELD,
                                 routes=f"ALL 127.0.0.1:{self.sink.ports[0]}\n")
        self.idle_bytes = self.memory_peak()
        self.table_version = 1
        self.probes = iter(range(1 << 40))
        self.ledger = collections.Counter()
        self.refused = self.delivered_while_full = self.waiting_max = 0

    def memory_peak(self):
        with open(f"/proc/{self.engine.program.pid}/status") as status:
            return int(re.search(r"^VmHWM:\s+(\d+) kB", status.read(), re.M).group(1)) << 10

    def memory_max(self):
        residents = min(self.waiting_max, RESIDENTS_MAX)
        return (self.idle_bytes + BODY_POOL_BYTES + residents * RESIDENT_BYTES +
                self.waiting_max * SLOTS_BYTES + LINKS * LINK_BYTES)

    def received_lines(self):
        path = self.sink.received_path
        return path.read_bytes().count(b"\n") if path.exists() else 0

    def use_table(self, table):
        self.engine.set_table(table)
        self.table_version += 1
        self.engine.reload(f"tables version {self.table_version} in use")

    def round(self, delivered_while_full):
        load = self.run.load(self.engine.address, "--messages", 1 << 32, "--rate", INJECTED_PER_S,
                             "--connections", INJECTORS, "--sizes", SIZES, "--domain-count",
                             DOMAINS, "--allow-refusals", timeout_s=604800)
        probers = [Prober(number, self.engine.host_and_port(), self.probes)
                   for number in range(PROBERS)]
        self.keep_full(load, probers, delivered_while_full)
        load.program.process.send_signal(signal.SIGTERM)
        for prober in probers:
            prober.stop()
            self.ledger += prober.taken
        self.refused += self.judge(load)
        self.ledger += load.ledger()
        self.waiting_max = max(self.waiting_max, len(self.ledger) - self.received_lines())
        self.use_table(LIFTED)
        self.wait_all_received("all that was taken")
        self.accepts_again()

    def keep_full(self, load, probers, delivered_while_full):
        def faults():
            return [prober.fault for prober in probers if prober.fault]

        def refusals():
            expect(load.program.running(), f"the load has ended: {load.program.said()}")
            return faults() or sum(prober.refusals() for prober in probers)
        wait_until(refusals, "the spool is full", 600)
        before, refused = self.received_lines(), refusals()

        def held():
            return faults() or (self.received_lines() >= before + delivered_while_full and
                                refusals() >= refused + REFUSED_WHILE_FULL)
        wait_until(held, f"{delivered_while_full} deliveries and {REFUSED_WHILE_FULL} refusals "
                   "while the spool is full", 60 + delivered_while_full)
        self.delivered_while_full += self.received_lines() - before

    def judge(self, load):
        """The recipients that were refused, with 452 alone, on sessions that all went on."""
        load.timeout_s = 60
        report = load.end(exit_code=1)
        expect("stopped by a signal" in load.program.said(), f"it said: {load.program.said()}")
        expect_equal(set(report["refused"]), {"452"}, "codes of refusals")
        for name in ("sessions_lost", "connections_failed", "in_doubt"):
            expect_equal(report[name], 0, name)
        return report["refused"]["452"]

    def wait_all_received(self, what):
        wait_until(lambda: self.received_lines() >= sum(self.ledger.values()), what, 600)

    def accepts_again(self):
        again = self.run.load(self.engine.address, "--messages", "500", "--sizes", SIZES,
                              "--domain-count", DOMAINS)
        again.end()
        self.ledger += again.ledger()
        self.wait_all_received("what was taken after it")

    def end(self):
        memory, memory_max = self.memory_peak(), self.memory_max()
        code, told, _ = verb(self.run, "status", "--json")
        expect_equal((code, sum(shard["messages"] for shard in json.loads(told)["shards"])), (0, 0),
                     "exit code of the status, and messages left")
        self.engine.drain()
        self.sink.end()
        received = self.sink.received()
        lost, unknown = self.ledger - received, received - self.ledger
        expect(not lost, f"{len(lost)} that got 250 are lost, the first: {list(lost)[:3]}")
        expect(not unknown, f"{len(unknown)} came twice or never got 250, the first: "
               f"{list(unknown)[:3]}")
        expect_equal(self.sink.totals["damaged"], 0, "damaged messages")
        expect(memory <= memory_max, f"{memory >> 20} MiB resident at the most, not "
               f"{memory_max >> 20}, with {self.waiting_max} messages waiting")
        return (f"{len(self.ledger)} taken, at most {self.waiting_max} waiting; {self.refused} "
                f"refused with 452, {self.delivered_while_full} delivered meanwhile; "
                f"{memory >> 20} MiB resident at the most, {memory_max >> 20} allowed")


def overload(build, minutes):
    end_at = time.monotonic() + 60 * minutes
    rounds, delivered_while_full = 0, DELIVERED_WHILE_FULL
    with Run(build) as run, SmallSpool(run, SPOOL_MIB):
        overloaded = Overload(run)
        while rounds == 0 or time.monotonic() < end_at:
            if rounds > 0:
                overloaded.use_table(HELD)
            overloaded.round(delivered_while_full)
            rounds += 1
            delivered_while_full *= 2
        return f"{rounds} times: {overloaded.end()}"


def main():
    enter_own_mounts()
    arguments = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    arguments.add_argument("build", help="where the programs were built")
    arguments.add_argument("--minutes", type=float, default=0)
    options = arguments.parse_args()
    # So that the scenario cleans up when the run is stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

    def ten_times_as_fast(build):
        return overload(build, options.minutes)
    run_scenarios(options.build, ten_times_as_fast)


if __name__ == "__main__":
    main()
