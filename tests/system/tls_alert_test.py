#!/usr/bin/env python3
"""The mail to the operator about TLS that must be and could not be had: for what, how often, what
it says, and what becomes of it where it cannot be delivered itself.

Usage: tls_alert_test.py BUILD_DIR
"""

import email
import email.policy

import tls_host
from engine_run import build_folder, expect, expect_equal, run_scenarios, wait_until
from mail_catcher import Catcher
from tls_host import Script, alert, answer, at_the_hello, offer, server_context
from tls_session_test import Scene, level, written

OPERATOR = "ops@ops.example"
TOLD = "send_tls_req_alert = on\n"
ALERT_ADDRESS = f'alert_address = "{OPERATOR}"\n'
MARK = "Subject: a mark\r\n\r\nWhat was to be said before it has been said.\r\n"


def listen(scene, domains):
    """A host for each domain, by what is wrong with it."""
    stranger = server_context(scene.workshop.authority("a stranger").issue(["far.example"]))
    wrong = {"untrusted": offer(stranger),
             "name": offer(server_context(scene.root.issue(["another.example"]))),
             "no-starttls": None,
             "starttls-refused": answer("454 4.7.0 not today\x01"),
             "handshake": at_the_hello(alert(40)),
             "injected": tls_host.inject(b"250 2.0.0 hello\r\n", stranger)}
    return {domain: scene.hosts.listen(Script(wrong[reason]))
            for domain, reason in domains.items()}


def read(caught):
    """What an alert says: its fields, by the words before their colons. It has the envelope of a
    notice (RFC 5321 6.1), and a header that says what it is (RFC 3834 5)."""
    expect_equal((caught.sender, caught.recipients), ("", [OPERATOR]), "envelope of the alert")
    message = email.message_from_bytes(caught.data, policy=email.policy.default)
    expect_equal(message.defects, [], "defects of the alert")
    for name in ("From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted"):
        expect_equal(len(message.get_all(name, [])), 1, f"{name} in the alert")
    expect_equal(message["To"].addresses[0].addr_spec, OPERATOR, "To")
    expect(message["Auto-Submitted"] != "no", "nothing says that a machine wrote it")
    expect(caught.data.isascii(), "bytes beyond ASCII in the alert")
    found = dict(line.strip().split(": ", 1) for line in message.get_content().splitlines()
                 if line.startswith("  ") and ": " in line)
    expect(found["Destination"] in message["Subject"], f"Subject: {message['Subject']}")
    return {name: found.get(name) for name in ("Destination", "Host", "Level", "Reason")}


def pass_mark(scene, catcher):
    """What was queued for the operator before it has arrived; all that did but the mark."""
    scene.send(OPERATOR, message=MARK)

    def marked():
        return any(b"a mark" in caught.data for caught in list(catcher.caught))
    wait_until(marked, "the mark arrives")
    return [caught for caught in catcher.caught if b"a mark" not in caught.data]


def expect_nothing_for_operator(scene):
    """But the mark, neither delivered nor waiting."""
    scene.started.drain()
    arrived = [event["type"] for event in scene.started.events() if event.get("queue") ==
               "ops.example" and event["type"] != "Reception"]
    expect_equal(arrived, ["Delivery"], "events of the operator's mail")


def one_alert_is_sent_for_many_failures(build):
    with Scene(build) as scene, Catcher() as catcher:
        host = listen(scene, {"far.example": "untrusted"})["far.example"]
        scene.engine({"far.example": host.port, "ops.example": catcher.port},
                     {"DEFAULT": TOLD, "far.example": level("require_verify")}, retry_s=1,
                     more=ALERT_ADDRESS)
        for _ in range(30):
            scene.send("reader@far.example")
        scene.outcome("far.example", 8)
        alerts = pass_mark(scene, catcher)
        expect_equal(len(alerts), 1, "alerts")
        expect_equal(read(alerts[0]),
                     {"Destination": "far.example", "Host": "127.0.0.1 [127.0.0.1]",
                      "Level": "require_verify", "Reason": "untrusted"}, "what the alert says")
        scene.end(host)
        expect_equal(host.messages(), [], "messages taken")
        return f"1 alert for {len(host.connections)} connections"


def alerts_say_what_failed(build):
    """One for each destination whose level requires TLS, none for the others."""
    cells = {(word, reason) for reason in ("untrusted", "name", "no-starttls", "starttls-refused",
                                           "handshake", "injected")
             for word in ("on", "required", "on_verify", "require_verify", "require_verify_hosted")}
    cells -= {("required", "untrusted"), ("required", "name")}  # They are taken there.
    domains = {f"{reason}.{word.replace('_', '-')}.example": (word, reason)
               for word, reason in cells}
    with Scene(build) as scene, Catcher() as catcher:
        hosts = listen(scene, {domain: reason for domain, (_, reason) in domains.items()})
        scene.engine({**{domain: host.port for domain, host in hosts.items()},
                      "ops.example": catcher.port},
                     {"DEFAULT": TOLD, **{domain: level(word)
                                          for domain, (word, _) in domains.items()}},
                     more=ALERT_ADDRESS)
        scene.send(*[f"reader@{domain}" for domain in domains])
        scene.outcomes(list(domains))
        said = [read(caught) for caught in pass_mark(scene, catcher)]
        said = sorted((each["Destination"], each["Level"], each["Reason"]) for each in said)
        expect_equal(said, sorted((domain, word, reason) for domain, (word, reason)
                                  in domains.items() if word.startswith("require")), "alerts")
        scene.end()
        return f"{len(said)} alerts for {len(domains)} destinations"


def nobody_is_told_unless_wanted(build):
    """Where the table does not ask for it, or no address is given."""
    for table, more in ((TOLD, ""), ("", ALERT_ADDRESS), ("send_tls_req_alert = off\n",
                                                          ALERT_ADDRESS)):
        with Scene(build) as scene, Catcher() as catcher:
            host = listen(scene, {"far.example": "no-starttls"})["far.example"]
            scene.engine({"far.example": host.port, "ops.example": catcher.port},
                         {"DEFAULT": table, "far.example": level("required")}, more=more)
            scene.defer("far.example", "no-starttls")
            expect_equal(pass_mark(scene, catcher), [], "alerts")
            expect_nothing_for_operator(scene)
            said = any("nobody is told" in line for line in scene.started.program.lines)
            expect_equal(said, table == TOLD, "it was said at the start that nobody is told")


def alert_goes_to_where_tls_fails_too(build):
    """Of that failure one more is made, for the same place; both are given up in time, and nobody
    is told of that: neither a sender, which they have not, nor the operator."""
    with Scene(build) as scene, Catcher() as senders:
        hosts = listen(scene, {"far.example": "untrusted", "ops.example": "no-starttls"})
        scene.engine({**{domain: host.port for domain, host in hosts.items()},
                      "near.example": senders.port},
                     {"DEFAULT": TOLD, **{domain: level("require_verify") for domain in hosts}},
                     retry_s=1, retries=2, more=ALERT_ADDRESS)
        scene.send("reader@far.example")
        bounce = senders.wait_for(1)[0]
        expect(b"TLS untrusted" in bounce.data, f"no reason in the bounce: {bounce.data}")

        def given_up():
            ends = [event for event in scene.started.events("Bounce", "Expiration")
                    if event["queue"] == "ops.example"]
            return len(ends) >= 2 and ends
        ends = wait_until(given_up, "both alerts are given up")
        expect_equal([event["sender"] for event in ends], ["", ""], "their senders")
        scene.started.drain()
        expect_equal(scene.started.start(), 0, "messages in the spool")
        scene.end(*hosts.values())
        expect_equal(len(senders.caught), 1, "bounces")
        messages = {event["id"] for event in scene.started.events()
                    if event.get("queue") == "ops.example"}
        expect_equal(len(messages), 2, "messages to the operator")
        for host in hosts.values():
            expect_equal(host.messages(), [], "messages taken")


def expired_mail_comes_back_with_the_reason(build):
    """Also what waited behind another message, and had no attempt of its own."""
    with Scene(build) as scene, Catcher() as senders:
        host = listen(scene, {"far.example": "untrusted"})["far.example"]
        scene.started = scene.run.engine(
            routes=f"far.example 127.0.0.1:{host.port}\nnear.example 127.0.0.1:{senders.port}\n",
            table=written({"far.example": level("require_verify")}),
            profile='initial_retry_s = 3600\nmax_queue_s = 2\n[tls]\nca_file = "ca.pem"\n')
        scene.send("first@far.example")
        scene.outcome("far.example")
        scene.send("second@far.example")
        bounces = [caught.data.decode("ascii") for caught in senders.wait_for(2)]
        for reader in ("first", "second"):
            bounce = next((text for text in bounces if f"<{reader}@far.example>" in text), "")
            for words in ("until its time was up", "TLS untrusted"):
                expect(words in bounce, f"'{words}' is missing in the bounce of {reader}: {bounce}")
        scene.end(host)
        expect_equal(len(host.connections), 1, "connections")


if __name__ == "__main__":
    run_scenarios(build_folder(__doc__), one_alert_is_sent_for_many_failures,
                  alerts_say_what_failed, nobody_is_told_unless_wanted,
                  alert_goes_to_where_tls_fails_too, expired_mail_comes_back_with_the_reason)
