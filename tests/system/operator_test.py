#!/usr/bin/env python3
"""What operators do about destinations: hold mail, let it go, have it tried now, and ask why it
waits and who has the most.

Usage: operator_test.py BUILD_DIR
"""

import json
import smtplib

from control_test import verb
from engine_run import (Run, build_folder, expect, expect_equal, route, run_scenarios, wait_until)

NEVER = "initial_retry_s = 3600\nmax_retry_s = 3600"  # As long as a scenario lasts.


def send(engine, *recipients):
    """A message to each."""
    with smtplib.SMTP(*engine.host_and_port()) as client:
        for recipient in recipients:
            client.sendmail("a@near.example", [recipient], "Subject: x\r\n\r\nx\r\n")


def asked(run, *words):
    """What the engine says as JSON; it must not refuse."""
    code, told, errors = verb(run, *words, "--json")
    expect_equal(code, 0, f"the exit code of {words} ({told} {errors})")
    return json.loads(told)


def held_by(run, domain, binding, **numbers):
    """The sentence, once this binds there and these numbers are told; it must begin so."""
    def look():
        told = asked(run, "hoststatus", domain)
        right = all(told.get(name) == value for name, value in numbers.items())
        return told["binding_limit"] == binding and right and told
    told = wait_until(look, f"{domain} is held by {binding} {numbers}")
    code, text, _ = verb(run, "hoststatus", domain)
    expect_equal(code, 0, "the exit code of hoststatus")
    expect(text.startswith("held by"), text)
    return told["held_by"], text, told


def expect_in(words, text):
    for word in words:
        expect(word in text, f"{word!r} is not in {text!r}")


def expect_refused(run, sentence, *words):
    code, told, errors = verb(run, *words)
    expect_equal((code, told), (1, ""), f"exit code and output of {words}")
    expect(errors.startswith("sluice: ") and sentence in errors, f"{sentence!r} not in {errors!r}")


def suspended(run):
    return [one["domain"] for one in asked(run, "suspenddel", "--list")["suspensions"]]


def delivered(engine):
    return sorted(event["recipient"] for event in engine.events("Delivery"))


# --- Suspending.

def suspended_mail_waits_over_a_kill(build):
    """Other mail goes on; and nothing of it reaches the sink before it is resumed."""
    with Run(build) as run:
        sink = run.sink()
        engine = run.engine(routes=route("ALL", sink.ports[0]))
        code, told, _ = verb(run, "suspenddel", "HELD.example.", "--reason", "their disk is full")
        expect_equal(code, 0, "the exit code")
        expect_in(["held.example is suspended since ", "until it is resumed: their disk is full"],
                  told)
        send(engine, "b@held.example", "b@free.example")
        engine.wait_events(1, "Delivery")
        sentence, text, told = held_by(run, "held.example", "suspended", waiting=1)
        expect_in(["suspended: their disk is full; since ", ", until it is resumed"], sentence)
        expect(sentence in text, text)
        expect_equal((told["suspension"]["until"], told["counters"]["active"], told["connections"]),
                     (None, 1, 0), "the suspension's end, active recipients, connections")
        engine.kill()
        expect_equal(engine.start(), 1, "messages in the spool")
        expect_equal(suspended(run), ["held.example"], "suspended after the kill")
        expect("held.example is suspended since " in verb(run, "status")[1], "the status")
        held_by(run, "held.example", "suspended", waiting=1)
        send(engine, "c@free.example")
        engine.wait_events(2, "Delivery")
        expect_equal(delivered(engine), ["b@free.example", "c@free.example"], "delivered")
        expect_equal(verb(run, "resumedel", "held.example"), (0, "nothing is suspended\n", ""),
                     "resumedel")
        engine.wait_events(3, "Delivery")
        expect_equal(delivered(engine), ["b@free.example", "b@held.example", "c@free.example"],
                     "delivered once it was resumed")
        engine.kill()
        engine.start()
        expect_equal(suspended(run), [], "suspended after another kill")


def suspension_ends_by_itself(build):
    with Run(build) as run:
        sink = run.sink()
        engine = run.engine(routes=route("ALL", sink.ports[0]))
        until = asked(run, "suspenddel", "held.example", "--for", "2s", "--reason",
                      "soon")["suspensions"][0]["until"]
        send(engine, "b@held.example")
        delivery = engine.wait_events(1, "Delivery")[0]
        # The log tells whole seconds.
        expect(delivery["timestamp"] >= int(until), f"{delivery['timestamp']} is before {until}")
        expect_equal(suspended(run), [], "suspended afterwards")


def all_and_what_is_below_a_domain(build):
    """The nearest suspension is told; each has to be resumed as it was made."""
    with Run(build) as run:
        sink = run.sink()
        engine = run.engine(routes=route("ALL", sink.ports[0]))
        verb(run, "suspenddel", ".example", "other.test", "--for", "1h", "--reason", "these")
        expect_equal(suspended(run), [".example", "other.test"], "suspended")
        send(engine, "b@a.example", "b@other.test", "b@free.test")
        engine.wait_events(1, "Delivery")
        sentence = held_by(run, "a.example", "suspended", waiting=1)[0]
        expect_in(["suspended with .example: these; since ", ", until "], sentence)
        verb(run, "suspenddel", "--reason", "an attack")
        expect_equal(suspended(run), ["ALL", ".example", "other.test"], "suspended")
        send(engine, "c@free.test")
        sentence = held_by(run, "free.test", "suspended", waiting=1)[0]
        expect_in(["suspended with ALL: an attack; since "], sentence)
        expect("these" in held_by(run, "a.example", "suspended")[0], "the nearest one")
        expect_refused(run, "free.test is suspended by ALL, and can only be resumed with it",
                       "resumedel", "free.test")
        verb(run, "resumedel", "all", ".example")
        engine.wait_events(3, "Delivery")
        expect_equal(delivered(engine), ["b@a.example", "b@free.test", "c@free.test"], "delivered")
        expect_equal(verb(run, "resumedel"), (0, "nothing is suspended\n", ""), "resumedel of all")
        engine.wait_events(4, "Delivery")


def what_cannot_be_suspended_is_refused(build):
    with Run(build) as run:
        run.engine()
        why = ["--reason", "x"]
        expect_refused(run, "a reason is required", "suspenddel")
        expect_refused(run, "a reason is required", "suspenddel", "a.example", "--reason", "  ")
        expect_refused(run, "'no..domain' is no domain", "suspenddel", "no..domain", *why)
        expect_refused(run, "'1w' is no time", "suspenddel", "a.example", "--for", "1w", *why)
        expect_refused(run, "'0s' is no time", "suspenddel", "a.example", "--for", "0s", *why)
        expect_refused(run, "one line", "suspenddel", "a.example", "--reason", "a\nb")
        expect_refused(run, "401 bytes", "suspenddel", "a.example", "--reason", "x" * 401)
        expect_refused(run, "--list changes nothing", "suspenddel", "a.example", "--list")
        expect_refused(run, "a.example is not suspended", "resumedel", "a.example")
        expect_equal(suspended(run), [], "suspended after all that")
        code, told, _ = verb(run, "suspenddel", "--json")
        expect_equal((code, list(json.loads(told))), (1, ["error"]), "a refusal as JSON")


def damaged_list_keeps_the_engine_from_starting(build):
    """What was to be held must not go out by accident."""
    with Run(build) as run:
        sink = run.sink()
        engine = run.engine(routes=route("ALL", sink.ports[0]))
        verb(run, "suspenddel", "held.example", "--reason", "x")
        send(engine, "b@held.example")
        engine.kill()
        path = run.folder / "spool/suspensions.json"
        whole = path.read_text()
        path.write_text(whole[:-20])
        program = engine.launch()
        expect_equal(program.wait(), 1, "the exit code")
        expect_in(["spool/suspensions.json: ", "damaged"], program.said())
        path.write_text(whole)
        engine.start()
        held_by(run, "held.example", "suspended", waiting=1)


# --- Delivering now.

def deferred_mail_is_tried_now(build):
    with Run(build) as run:
        sink = run.sink("--fault", "stage=rcpt,reply=451 4.3.0 later,times=2")
        engine = run.engine(routes=route("ALL", sink.ports[0]), profile=NEVER)
        send(engine, "b@a.example", "b@b.example")
        engine.wait_events(2, "TransientFailure")
        told = asked(run, "hoststatus", "a.example")
        expect_equal((told["counters"]["active"], told["counters"]["soft_bounced"]), (1, 1),
                     "active recipients and soft bounces")
        expect_in(["nothing holds it back; 1 recipient"], told["held_by"])
        expect_equal(verb(run, "delivernow", "a.example"),
                     (0, "a.example: what waits is tried now\n", ""), "delivernow")
        engine.wait_events(1, "Delivery")
        expect_equal(delivered(engine), ["b@a.example"], "delivered")
        expect_equal(verb(run, "delivernow", "a.example"), (0, "a.example: nothing waits\n", ""),
                     "delivernow once more")
        expect_equal(verb(run, "delivernow"), (0, "ALL: what waits is tried now\n", ""),
                     "delivernow of all")
        engine.wait_events(2, "Delivery")
        verb(run, "suspenddel", "b.example", "--reason", "hold it")
        told = verb(run, "delivernow", "b.example")[1]
        expect_in(["but b.example is suspended", "hold it"], told)
        expect_refused(run, "", "delivernow", "no..domain")


def hosts_that_were_down_are_tried_now(build):
    with Run(build) as run:
        engine = run.engine(routes=route("ALL", 1), profile=NEVER)
        send(engine, "b@a.example", "b@a.example")
        engine.wait_events(1, "TransientFailure")
        held_by(run, "a.example", "hosts", waiting=1, failures=1)
        sink = run.sink()
        engine.set_routes(route("ALL", sink.ports[0]))
        expect_equal(verb(run, "reload")[0], 0, "the exit code of reload")
        verb(run, "delivernow")
        engine.wait_events(2, "Delivery")


LIMITED = ("[limited.example]\nrecipient_limit = 1\nrecipient_minutes = 60\n"
           "limit_type = host\nlimit_apply = system\n")


def limits_are_reset_only_when_asked(build):
    with Run(build) as run:
        sink = run.sink()
        engine = run.engine(routes=route("ALL", sink.ports[0]), table=LIMITED)
        send(engine, "b@limited.example", "c@limited.example")
        engine.wait_events(1, "Delivery")
        sentence = held_by(run, "limited.example", "recipients", waiting=1)[0]
        expect_in(["recipients: 1 of 1 in the last 60 minutes; since ", ", room again at "],
                  sentence)
        verb(run, "delivernow", "limited.example")
        verb(run, "delivernow")
        send(engine, "b@free.example")
        engine.wait_events(2, "Delivery")
        held_by(run, "limited.example", "recipients", waiting=1)
        expect_equal(len(engine.events("Delivery")), 2, "deliveries under the limit")
        expect_equal(verb(run, "delivernow", "limited.example", "--reset-limits"),
                     (0, "limited.example: what waits is tried now; recipient limits begin anew\n",
                      ""), "delivernow --reset-limits")
        engine.wait_events(3, "Delivery")


# --- Asking.

def what_binds_is_told_with_its_numbers(build):
    """A host that answers nothing to RCPT; one that refuses; a route for which no name server
    answers; a limit of none. Of two messages the first is under way or has failed, the next waits.
    """
    with Run(build) as run:
        sink = run.sink("--fault", "stage=rcpt,action=delay,delay_ms=600000,domain=busy.example")
        engine = run.engine(
            routes=route("busy.example", sink.ports[0]) + route("down.example", 1) +
            route("zero.example", sink.ports[0]),
            profile=NEVER + '\n[dns]\nforward = ["127.0.0.1@1"]',
            table="[busy.example]\nmax_host_concurrency = 1\nlimit_type = host\n"
                  "limit_apply = system\n[zero.example]\nrecipient_limit = 0\n"
                  "recipient_minutes = 60\nlimit_type = host\nlimit_apply = system\n")
        for domain in ("busy", "down", "lost"):
            send(engine, f"b@{domain}.example", f"c@{domain}.example")
        sentence, text, told = held_by(run, "busy.example", "concurrency", waiting=1)
        expect_in(["concurrency: 1 of 1 connection; since ", ", until one ends"], sentence)
        expect_in(["1 of 1, 0 opening", f"127.0.0.1:{sink.ports[0]}", "host           up"], text)
        expect_equal(told["counters"]["active"], 2, "active recipients")
        sentence, text, _ = held_by(run, "down.example", "hosts", waiting=1)
        expect_in(["hosts: no host gave a session, 1 time in a row; since ", ", tried again at "],
                  sentence)
        expect_in(["refused", "host           down"], text.lower())
        sentence = held_by(run, "lost.example", "route", waiting=1, failures=1)[0]
        expect_in(["route: its hosts could not be looked up, 1 time in a row", "; since ",
                   ", asked again at "], sentence)
        send(engine, "b@zero.example")
        sentence = held_by(run, "zero.example", "recipients", waiting=1)[0]
        expect_in(["recipients: the limit is 0; since ", ", until the table changes"], sentence)
        told = asked(run, "hoststatus", "nobody.example")
        expect_equal((told["held_by"], told["known"], told["state"]),
                     ("nothing waits", False, "unknown"), "a destination without mail")


def top_hosts_are_those_with_the_most(build):
    """Counted by both shards: each is home to some of the messages."""
    with Run(build) as run:
        sink = run.sink("--fault", "stage=rcpt,reply=550 5.1.1 who,domain=hard.example",
                        "--fault", "stage=rcpt,reply=451 4.3.0 later,domain=soft.example")
        engine = run.engine(routes=route("ALL", sink.ports[0]) + route("down.example", 1),
                            profile=NEVER)
        for _ in range(3):
            send(engine, "b@one.example", "b@two.example", "c@two.example", "b@hard.example",
                 "b@soft.example", "c@soft.example")
        send(engine, "b@down.example")
        engine.wait_events(9, "Delivery")
        engine.wait_events(7, "TransientFailure")
        engine.wait_events(3, "Bounce")

        def rows(by):
            return [(host["domain"], host["active"], host["delivered"], host["soft_bounced"],
                     host["hard_bounced"]) for host in asked(run, "tophosts", by)["hosts"]]
        one, two = ("one.example", 0, 3, 0, 0), ("two.example", 0, 6, 0, 0)
        hard, soft = ("hard.example", 0, 0, 0, 3), ("soft.example", 6, 0, 6, 0)
        # The bounces go to near.example.
        wait_until(lambda: ("near.example", 0, 3, 0, 0) in rows("active"), "the bounces delivered")
        near, down = ("near.example", 0, 3, 0, 0), ("down.example", 1, 0, 1, 0)
        expect_equal(rows("active_rcpts"), [soft, down, hard, near, one, two], "by active")
        expect_equal(rows("delivered"), [two, near, one, down, hard, soft], "by delivered")
        expect_equal(rows("soft"), [soft, down, hard, near, one, two], "by soft bounced")
        expect_equal(rows("hard_bounced"), [hard, down, near, one, soft, two], "by hard bounced")
        told = asked(run, "tophosts", "conn_out")
        expect_equal(told["by"], "connections", "the order")
        code, text, _ = verb(run, "tophosts")
        expect_equal(code, 0, "the exit code")
        lines = text.splitlines()
        expect_in(["Status as of: ", "marked with '*'", "Recipient Host"], text)
        columns = [line.split() for line in lines[-6:-4]]  # Sessions of the first may still be up.
        expect_equal((columns[0][:3], columns[0][4:], columns[1]),
                     (["1", "soft.example", "6"], ["0", "6", "0"],
                      ["2*", "down.example", "1", "0", "0", "1", "0"]), "the first lines")
        expect_refused(run, "active, connections, delivered, soft or hard", "tophosts", "size")


if __name__ == "__main__":
    run_scenarios(build_folder(__doc__), suspended_mail_waits_over_a_kill,
                  suspension_ends_by_itself, all_and_what_is_below_a_domain,
                  what_cannot_be_suspended_is_refused,
                  damaged_list_keeps_the_engine_from_starting, deferred_mail_is_tried_now,
                  hosts_that_were_down_are_tried_now, limits_are_reset_only_when_asked,
                  what_binds_is_told_with_its_numbers, top_hosts_are_those_with_the_most)
