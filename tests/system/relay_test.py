#!/usr/bin/env python3
"""Nobody relays but the networks that a listener names.

Usage: relay_test.py BUILD_DIR
"""

import smtplib

from engine_run import Run, build_folder, expect, expect_equal, route, run_scenarios
from mail_catcher import Catcher

MESSAGE = "Subject: a question\r\n\r\nMay I?\r\n"


def listener_for_the_world_needs_relay_from(build):
    with Run(build) as run:
        program = run.engine(address="0.0.0.0:0", start=False).launch()
        expect_equal(program.wait(), 1, "exit")
        said = program.said()
        expect("sluice.toml:5: " in said and "relay_from" in said, f"it said: {said}")


def named_network_relays(build):
    with Run(build) as run, Catcher() as catcher:
        engine = run.engine(address="0.0.0.0:0", listener='relay_from = ["127.0.0.2/32"]',
                            routes=route("far.example", catcher.port))
        port = engine.host_and_port()[1]
        with smtplib.SMTP("127.0.0.1", port, source_address=("127.0.0.2", 0)) as client:
            client.sendmail("a@near.example", ["b@far.example"], MESSAGE)
        caught = catcher.wait_for(1)[0]
        expect_equal(caught.recipients, ["b@far.example"], "recipients")
        expect(caught.data.endswith(MESSAGE.encode()), f"data: {caught.data}")


def others_do_not_relay(build):
    addresses = ["b@far.example", "b%far.example@mta.example.net", "far.example!b@mta.example.net",
                 "@mta.example.net:b@far.example", '"b@far.example"@mta.example.net',
                 "b@[127.0.0.1]", "postmaster@far.example"]
    with Run(build) as run, Catcher() as catcher:
        engine = run.engine(listener='relay_from = ["127.0.0.2/32"]',
                            routes=f"ALL 127.0.0.1:{catcher.port}\n")
        with smtplib.SMTP(*engine.host_and_port()) as client:
            client.ehlo()
            expect_equal(client.mail("a@near.example")[0], 250, "reply to MAIL")
            for address in addresses:
                code, text = client.docmd(f"RCPT TO:<{address}>")
                expect(500 <= code < 600, f"RCPT {address} was answered {code} {text}")
            expect_equal(client.docmd("DATA")[0] // 100, 5, "reply to DATA without recipients")
        expect_equal(engine.events(), [], "events")
        engine.drain()
        expect_equal(catcher.caught, [], "messages that came through")
    return f"{len(addresses)} ways to ask"


if __name__ == "__main__":
    run_scenarios(build_folder(__doc__), listener_for_the_world_needs_relay_from,
                  named_network_relays, others_do_not_relay)
