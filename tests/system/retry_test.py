#!/usr/bin/env python3
"""What is refused for now is tried again; what is refused for good, or too old, is told the sender.

Usage: retry_test.py BUILD_DIR
"""

import smtplib

from engine_run import (Run, build_folder, expect, expect_equal, expect_once_and_intact, route,
                        run_scenarios)
from mail_catcher import Catcher

MESSAGE = "Subject: a message\r\n\r\nIts text.\r\n"
SENDER = "writer@near.example"


def send(engine, recipients, sender=SENDER):
    with smtplib.SMTP(*engine.host_and_port()) as client:
        expect_equal(client.sendmail(sender, recipients, MESSAGE), {}, "recipients refused")


def bounce_to_writer(catcher):
    """The one message that came back."""
    bounce = catcher.wait_for(1)[0]
    expect_equal((bounce.sender, bounce.recipients), ("", [SENDER]), "envelope of the bounce")
    return bounce.data.decode("ascii")


def refused_for_now_then_taken(build):
    with Run(build) as run:
        sink = run.sink("--expect", "20", "--fault",
                        "stage=rcpt,reply=450 4.7.1 come again,times=7")
        engine = run.engine(routes="ALL 127.0.0.1:%d\n" % sink.ports[0])
        load = run.load(engine.address, "--messages", "20")
        load.end()
        sink.expected()
        expect_once_and_intact(load, sink)
        deferred = engine.wait_events(7, "TransientFailure")
        expect_equal(len(deferred), 7, "deferrals in the log")
        for event in deferred:
            expect_equal(event["response"]["code"], 450, "code in the log")
        expect_equal(len(engine.wait_events(20, "Delivery")), 20, "deliveries in the log")
        engine.drain()


def host_away_then_back(build):
    with Run(build) as run:
        engine = run.engine(routes="ALL 127.0.0.1:1\n")  # Nobody listens on port 1.
        load = run.load(engine.address, "--messages", "20")
        load.end()
        engine.wait_events(1, "TransientFailure")
        sink = run.sink("--expect", "20")
        engine.set_routes("ALL 127.0.0.1:%d\n" % sink.ports[0])
        engine.reload("tables version 2 in use")
        sink.expected()
        expect_once_and_intact(load, sink)
        engine.drain()


def refused_for_good_is_told(build):
    with Run(build) as run, Catcher() as catcher:
        sink = run.sink("--fault", "stage=rcpt,reply=550 5.1.1 no such person")
        engine = run.engine(routes=route("far.example", sink.ports[0]) +
                            route("near.example", catcher.port))
        send(engine, ["nobody@far.example"])
        text = bounce_to_writer(catcher)
        for words in ("nobody@far.example", "550 5.1.1 no such person", "MAILER-DAEMON@mta."):
            expect(words in text, f"'{words}' is missing in the bounce:\n{text}")
        engine.drain()
        expect_equal([event["response"]["code"] for event in engine.events("Bounce")], [550],
                     "bounces in the log")
        expect_equal(engine.start(), 0, "messages left in the spool")
        engine.drain()


def refused_for_one_reaches_the_others(build):
    with Run(build) as run, Catcher() as catcher:
        sink = run.sink("--fault", "stage=rcpt,reply=550 5.1.1 no such person,times=1")
        engine = run.engine(routes=route("far.example", sink.ports[0]) +
                            route("near.example", catcher.port))
        send(engine, [f"r{i}@far.example" for i in range(5)])
        bounce_to_writer(catcher)
        engine.wait_events(5, "Delivery")  # Four, and the bounce.
        engine.drain()
        sink.end()
        expect_equal(sink.totals["recipients_taken"], 4, "recipients taken")
        expect_equal(len(catcher.caught), 1, "messages to the sender")


def bounce_of_a_bounce_is_not_made(build):
    with Run(build) as run, Catcher() as catcher:
        sink = run.sink("--fault", "stage=rcpt,reply=550 5.1.1 no such person")
        engine = run.engine(routes=route("far.example", sink.ports[0]) +
                            route("near.example", catcher.port))
        send(engine, ["nobody@far.example"], sender="")
        send(engine, ["nobody@far.example"], sender="nobody@far.example")
        engine.wait_events(3, "Bounce")  # Two, and the bounce to nobody@far.example.
        engine.drain()
        expect_equal(len(engine.events("Reception")), 3, "messages in all")
        expect_equal(engine.start(), 0, "messages left in the spool")
        engine.drain()
        expect_equal(catcher.caught, [], "messages to the sender")


def too_old_is_told(build):
    with Run(build) as run, Catcher() as catcher:
        sink = run.sink("--fault", "stage=rcpt,reply=451 4.3.2 not today")
        engine = run.engine(routes=route("far.example", sink.ports[0]) +
                            route("near.example", catcher.port),
                            profile="initial_retry_s = 1\nmax_retry_s = 1\nmax_queue_s = 3")
        send(engine, ["late@far.example"])
        text = bounce_to_writer(catcher)
        for words in ("late@far.example", "until its time was up", "451 4.3.2 not today"):
            expect(words in text, f"'{words}' is missing in the bounce:\n{text}")
        engine.drain()
        expect_equal(len(engine.events("Expiration")), 1, "expirations in the log")
        expect(len(engine.events("TransientFailure")) >= 2, "it was tried once only")


def too_often_is_told(build):
    with Run(build) as run, Catcher() as catcher:
        sink = run.sink("--fault", "stage=rcpt,reply=451 4.3.2 not today")
        engine = run.engine(routes=route("far.example", sink.ports[0]) +
                            route("near.example", catcher.port),
                            profile="initial_retry_s = 1\nmax_retry_s = 1\nmax_retries = 2")
        send(engine, ["late@far.example"])
        bounce_to_writer(catcher)
        engine.drain()
        # The attempt and two retries.
        expect_equal(len(engine.events("TransientFailure")), 3, "attempts in the log")


if __name__ == "__main__":
    run_scenarios(build_folder(__doc__), refused_for_now_then_taken, host_away_then_back,
                  refused_for_good_is_told, refused_for_one_reaches_the_others,
                  bounce_of_a_bounce_is_not_made, too_old_is_told, too_often_is_told)
