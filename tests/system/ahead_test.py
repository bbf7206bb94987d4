#!/usr/bin/env python3
"""The next message leaves with the end of the one before it, where the host takes commands there.

Usage: ahead_test.py BUILD_DIR
"""

import collections
import select
import smtplib
import threading

from engine_run import Run, build_folder, expect, expect_equal, route, run_scenarios
from mail_catcher import Catcher, Dialogue

MESSAGES = 12
DOMAIN = "far.example"
LIMITS = (f"[{DOMAIN}]\nmax_host_concurrency = 1\n"
          "limit_type = host\nlimit_apply = system\n")
A_WHILE_S = 0.05  # In which what must not come would have come.


class Host(Dialogue):
    """Says nothing before all mail is there for it."""

    def setup(self):
        super().setup()
        self.server.sessions += 1
        self.server.opened.wait()

    def is_last(self):
        return len(self.server.caught) == MESSAGES

    def something_is_there(self):
        return bool(select.select([self.connection], [], [], A_WHILE_S)[0])


class Patient(Host):
    """Answers a dot when it has what comes behind it."""

    def reply(self, line):
        answers_dot = self.server.caught and line.startswith("250 2.0.0") and self.at_dot()
        if answers_dot and not self.is_last():
            self.server.behind.append(self.rfile.peek(1)[:4])
        super().reply(line)

    def at_dot(self):
        """True once for each message."""
        answered, self.answered = getattr(self, "answered", 0), len(self.server.caught)
        return answered < self.answered


class Strict(Patient):
    """Refuses a MAIL that came before its answer to the dot, as Haraka does."""

    def reply(self, line):
        if not self.server.refused:
            return super().reply(line)
        if self.at_dot() and not self.is_last():
            self.server.behind.append(b"?" if self.something_is_there() else b"")
        return Dialogue.reply(self, line)

    def command(self, verb, line):
        came_ahead = self.server.behind and not self.server.refused
        if verb == b"RSET":
            return Dialogue.reply(self, "250 2.0.0 reset")
        if verb == b"MAIL" and came_ahead:
            self.server.refused, self.open = 1, False
        elif verb == b"MAIL":
            self.open = True
        if not getattr(self, "open", True):
            return Dialogue.reply(self, "503 5.5.1 not now")
        return super().command(verb, line)


class Leaving(Host):
    """Closes behind its first answer to a dot, and reads nothing more."""

    def command(self, verb, line):
        super().command(verb, line)
        if verb == b"DATA":
            raise ConnectionError("leaves")


def deliver(run, catcher):
    """All messages wait when the host opens; each comes once, and none is refused."""
    engine = run.engine(routes=route(DOMAIN, catcher.port), table=LIMITS)
    with smtplib.SMTP(*engine.host_and_port()) as client:
        for number in range(MESSAGES):
            client.sendmail("a@near.example", [f"r{number}@{DOMAIN}"], f"Subject: {number}\r\n\r\n")
    catcher.opened.set()
    engine.wait_events(MESSAGES, "Delivery")
    engine.drain()
    copies = collections.Counter(to for caught in catcher.caught for to in caught.recipients)
    expect_equal(copies, {f"r{number}@{DOMAIN}": 1 for number in range(MESSAGES)}, "copies")
    for failure in "TransientFailure", "Bounce":
        expect_equal(engine.events(failure), [], failure)


def host(dialogue):
    catcher = Catcher(dialogue)
    catcher.opened, catcher.sessions = threading.Event(), 0
    catcher.behind, catcher.refused = [], 0
    return catcher


def commands_come_with_the_data(build):
    with Run(build) as run, host(Patient) as catcher:
        deliver(run, catcher)
        expect_equal(catcher.behind, [b"MAIL"] * (MESSAGES - 1), "what came behind the dots")
        expect_equal(catcher.sessions, 1, "sessions")
    return f"{MESSAGES} messages"


def a_host_that_refuses_them_is_not_offered_them_again(build):
    with Run(build) as run, host(Strict) as catcher:
        deliver(run, catcher)
        expect_equal(catcher.behind, [b"MAIL"] + [b""] * (MESSAGES - 2),
                     "what came behind the dots")
        expect_equal(catcher.sessions, 1, "sessions")
    return f"{MESSAGES} messages"


def a_host_that_leaves_loses_nothing(build):
    with Run(build) as run, host(Leaving) as catcher:
        deliver(run, catcher)
        expect(catcher.sessions >= MESSAGES, f"{catcher.sessions} sessions")
    return f"{MESSAGES} messages, {catcher.sessions} sessions"


if __name__ == "__main__":
    run_scenarios(build_folder(__doc__), commands_come_with_the_data,
                  a_host_that_refuses_them_is_not_offered_them_again,
                  a_host_that_leaves_loses_nothing)
