#!/usr/bin/env python3
"""A message that was at work in three crashes in a row is in quarantine; others are not.

Usage: quarantine_test.py BUILD_DIR

The engine is killed while a receiver holds a transaction open in the middle of its data: the
receiver tells the moment, so the message is at work then, for certain.
"""

import json
import re
import smtplib
import subprocess
import threading

from engine_run import Run, build_folder, expect, expect_equal, run_scenarios
from mail_catcher import Catcher, Dialogue

BAD = "bad@far.example"
GOOD = "good@far.example"
WAIT_S = 60


class Holding(Dialogue):
    """Stops within the data of mail for the recipient that its server holds."""

    def read_data(self):
        if self.server.held not in self.recipients:
            return super().read_data()
        self.rfile.readline()
        self.server.reached.release()
        while self.rfile.readline():  # Until the engine has gone.
            pass
        raise ConnectionError("the engine has gone")

    def command(self, verb, line):
        if verb == b"RCPT" and address_of(line) in self.server.deferred:
            return self.reply("450 4.2.1 later")
        if verb == b"DATA" and not self.recipients:
            return self.reply("554 5.5.1 no valid recipients")
        return super().command(verb, line)


def address_of(line):
    return line.split(b"<", 1)[1].rsplit(b">", 1)[0].decode()


class Holder(Catcher):
    def __init__(self):
        self.held, self.deferred, self.reached = None, set(), threading.Semaphore(0)
        super().__init__()
        self.RequestHandlerClass = Holding

    def wait_held(self):
        expect(self.reached.acquire(timeout=WAIT_S), "no message came to be held")

    def wait_caught(self, *recipients):
        self.wait_for(len(recipients))
        expect_equal(sorted(mail.recipients[0] for mail in self.caught), sorted(recipients),
                     "caught")


def send(engine, recipient):
    with smtplib.SMTP(*engine.host_and_port()) as client:
        client.ehlo("near.example")
        client.mail("a@near.example")
        client.rcpt(recipient)
        code, text = client.data(f"Subject: to {recipient}\r\n\r\nhello\r\n")
        expect_equal(code, 250, "reply to the dot")
        return re.search(r"\b[0-9A-HJKMNP-TV-Z]{13}\b", text.decode()).group()


def sluice(run, *words):
    return subprocess.run([run.tool("sluice"), *words], capture_output=True, text=True, timeout=60)


def quarantined(run):
    """By `sluice spool check`."""
    said = sluice(run, "spool", "check", "--json", "--spool", run.folder / "spool")
    expect_equal(said.returncode, 0, f"exit of check ({said.stderr})")
    return json.loads(said.stdout)["quarantine"]


def shows_quarantine(run):
    said = sluice(run, "status", "--socket", run.folder / "control.sock")
    expect_equal(said.returncode, 0, f"exit of status ({said.stderr})")
    return "in quarantine" in said.stdout


def three_crashes(build):
    with Run(build) as run, Holder() as receiver:
        receiver.held = BAD
        engine = run.engine(shards=2, routes=f"ALL 127.0.0.1:{receiver.port}\n")
        bad = send(engine, BAD)
        for crash in range(3):
            receiver.wait_held()
            expect_equal(quarantined(run), [], f"in quarantine before crash {crash + 1}")
            expect(not shows_quarantine(run), "status speaks of quarantine")
            engine.kill()
            engine.start()
        engine.program.wait_line(f"ALARM: message {bad} was at work in several crashes")
        send(engine, GOOD)
        receiver.wait_caught(GOOD)
        expect(shows_quarantine(run), "status does not speak of quarantine")
        expect_equal(quarantined(run), [bad], "in quarantine")
        expect(not receiver.reached.acquire(blocking=False), "what is in quarantine was tried")
        engine.kill()  # Nothing was at work: it stays as it is.
        expect_equal(engine.start(), 1, "messages in the spool")
        engine.program.wait_line(f"ALARM: message {bad}")
        engine.drain()
        another = bad[:-1] + ("1" if bad.endswith("0") else "0")
        expect_equal(sluice(run, "spool", "release", another, "--spool",
                            run.folder / "spool").returncode, 1, "exit of releasing another")
        released = sluice(run, "spool", "release", bad, "--spool", run.folder / "spool")
        expect_equal(released.returncode, 0, f"exit of release ({released.stderr})")
        receiver.held = None
        engine.start()
        receiver.wait_caught(GOOD, BAD)
        engine.wait_events(2, "Delivery")
        engine.drain()
        expect_equal(engine.start(), 0, "messages left in the spool")
        expect_equal(quarantined(run), [], "in quarantine at the end")
        engine.drain()


def a_try_that_was_survived(build):
    """Two crashes, a try that ends, two crashes more: it is no suspect, and is delivered."""
    with Run(build) as run, Holder() as receiver:
        receiver.held = BAD
        engine = run.engine(shards=1, routes=f"ALL 127.0.0.1:{receiver.port}\n")
        send(engine, BAD)
        receiver.wait_held()
        engine.kill()
        engine.start()
        receiver.wait_held()
        engine.kill()
        receiver.held, receiver.deferred = None, {BAD}
        engine.start()
        engine.wait_events(1, "TransientFailure")
        engine.drain()
        receiver.held, receiver.deferred = BAD, set()
        for _ in range(2):
            engine.start()
            receiver.wait_held()
            engine.kill()
        receiver.held = None
        engine.start()
        receiver.wait_caught(BAD)
        expect(not any("ALARM" in line for line in engine.program.lines),
               f"an alarm: {engine.program.said()}")
        engine.drain()


def a_gentle_end_clears(build):
    """A drain ends the transaction by itself: three of them are no crashes."""
    with Run(build) as run, Holder() as receiver:
        receiver.deferred = {BAD}
        engine = run.engine(shards=1, routes=f"ALL 127.0.0.1:{receiver.port}\n")
        send(engine, BAD)
        for number in range(4):
            engine.wait_events(number + 1, "TransientFailure")
            engine.drain()
            engine.start()
        expect_equal(quarantined(run), [], "in quarantine")
        engine.drain()


if __name__ == "__main__":
    run_scenarios(build_folder(__doc__), three_crashes, a_try_that_was_survived,
                  a_gentle_end_clears)
