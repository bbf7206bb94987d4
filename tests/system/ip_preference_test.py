#!/usr/bin/env python3
"""ip_sort_pref: which of a host's two addresses is connected to, as the host sees it.

A host is a pair of doors, 127.0.0.1 and ::1, on one port; each notes who came and what it took.

Usage: ip_preference_test.py BUILD_DIR
"""

import contextlib
import smtplib
import socket
import socketserver
import threading

from engine_run import Run, Skipped, build_folder, expect, expect_equal, run_scenarios
from mail_catcher import Dialogue
from name_server import A, AAAA, MX, NameServer

FOUR, SIX = "127.0.0.1", "::1"
MESSAGE = "Subject: a message\r\n\r\nIts text.\r\n"
PORTS_TRIED_MAX = 50

SECTIONS = """\
initial_retry_s = {retry_s}
max_retry_s = {retry_s}
[dns]
forward = ["{forward}"]
trust_anchor = "none"
[delivery]
port = {port}
allow_addresses = ["127.0.0.0/8", "::1/128"]
"""


class Door(socketserver.ThreadingTCPServer):
    """An address and port. Whoever knocks before it is open is refused by the system."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, address, port, knocks):
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        super().__init__((address, port), Dialogue, bind_and_activate=False)
        try:
            self.server_bind()
        except OSError:
            self.server_close()
            raise
        self.address, self.knocks, self.caught = address, knocks, []
        self.is_open, self.drops = False, False

    def open(self, drops=False):
        """With `drops`, nobody hears a word there."""
        self.is_open, self.drops = True, drops
        self.server_activate()
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05},
                         daemon=True).start()

    def verify_request(self, request, client_address):
        self.knocks.append(self.address)
        return not self.drops

    def handle_error(self, request, client_address):
        """A session that is cut off is the engine's to speak of."""

    def close(self):
        if self.is_open:
            self.shutdown()
        self.server_close()

    def took(self):
        """The domains whose mail came in here."""
        return sorted(message.recipients[0].split("@")[1] for message in self.caught)


class Scene:
    """A pair of doors, a name server and an engine that is told to deliver to their port."""

    def __init__(self, build):
        self.build, self.knocks = build, []

    def __enter__(self):
        self.four, self.six = self.pair()
        with contextlib.ExitStack() as stack:
            stack.callback(self.four.close)
            stack.callback(self.six.close)
            self.run = stack.enter_context(Run(self.build))
            self.names = stack.enter_context(NameServer())
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *exception):
        return self.stack.__exit__(*exception)

    def pair(self):
        for _ in range(PORTS_TRIED_MAX):
            four = Door(FOUR, 0, self.knocks)
            self.port = four.server_address[1]
            try:
                return four, Door(SIX, self.port, self.knocks)
            except OSError as why:
                four.close()
                reason = why
        raise Skipped(f"no port on both {FOUR} and {SIX}: {reason}")

    def open(self, **doors):
        for name, drops in doors.items():
            getattr(self, name).open(drops=drops)

    def domain(self, domain, addresses=(FOUR, SIX), preference=10):
        """A host more of the domain."""
        records = self.names.records
        host = f"mx{preference}.{domain}"
        records.setdefault((domain, MX), []).append((preference, host))
        for address in addresses:
            records.setdefault((host, AAAA if ":" in address else A), []).append(address)

    def start(self, table="", routes="", retry_s=1):
        self.engine = self.run.engine(
            table=table, routes=routes,
            profile=SECTIONS.format(forward=self.names.forward(), port=self.port,
                                    retry_s=retry_s))

    def send(self, *domains):
        with smtplib.SMTP(*self.engine.host_and_port()) as client:
            for domain in domains:
                refused = client.sendmail("writer@near.example", [f"reader@{domain}"], MESSAGE)
                expect_equal(refused, {}, "recipients refused")

    def delivered(self, count=1):
        return self.engine.wait_events(count, "Delivery")

    def deferred(self, count=1):
        return self.engine.wait_events(count, "TransientFailure")


def section(domain, word):
    return f"[{domain}]\nip_sort_pref = {word}\n"


def each_word_begins_with_its_family(build):
    words = {"a.example": "PREFER_V6", "b.example": "REQUIRE_v6", "c.example": "PREFER_V4",
             "d.example": "REQUIRE_v4"}
    with Scene(build) as scene:
        for domain in (*words, "else.example"):
            scene.domain(domain)
        scene.open(four=False, six=False)
        scene.start("".join(section(*pair) for pair in words.items()))
        scene.send(*words, "else.example")
        scene.delivered(5)
        expect_equal(scene.six.took(), ["a.example", "b.example", "else.example"], "over IPv6")
        expect_equal(scene.four.took(), ["c.example", "d.example"], "over IPv4")
        expect_equal(sorted(scene.knocks), [FOUR] * 2 + [SIX] * 3, "connections")
        scene.engine.drain()


def falls_back(build, word, first, second, drops):
    """The door of the first family is shut, or drops whoever comes."""
    with Scene(build) as scene:
        scene.domain("far.example")
        doors = {FOUR: "four", SIX: "six"}
        if drops:
            scene.open(**{doors[first]: True})
        scene.open(**{doors[second]: False})
        scene.start(section("far.example", word), retry_s=600)
        scene.send("far.example")
        scene.delivered()
        knocks = [first, second] if drops else [second]
        expect_equal(scene.knocks, knocks, f"{word}: connections in their order")
        expect_equal(getattr(scene, doors[second]).took(), ["far.example"], "taken")
        expect_equal(scene.engine.events("TransientFailure"), [], "attempts that failed")
        scene.engine.drain()


def a_preferred_family_falls_back_in_the_same_attempt(build):
    for drops in (False, True):
        falls_back(build, "PREFER_V6", SIX, FOUR, drops)
        falls_back(build, "PREFER_V4", FOUR, SIX, drops)


def a_required_family_never_falls_back(build):
    for word, wanted, other in (("REQUIRE_V4", "four", "six"), ("REQUIRE_V6", "six", "four")):
        with Scene(build) as scene:
            scene.domain("far.example")
            scene.open(**{other: False})
            scene.start(section("far.example", word))
            scene.send("far.example")
            scene.deferred(3)
            expect_equal(scene.knocks, [], f"{word}: connections to the other family")
            scene.open(**{wanted: False})
            scene.delivered()
            expect_equal(set(scene.knocks), {getattr(scene, wanted).address}, "connections")
            expect_equal(scene.engine.events("Bounce"), [], "bounces")
            scene.engine.drain()


def expect_reason(event, host, family):
    response = event["response"]
    expect_equal(response["code"], 451, "code in the log")
    expect_equal(list(response["enhanced_code"].values()), [4, 4, 4], "enhanced code")
    wanted = f"no {family} address of {host}, and the destination requires {family}"
    expect(wanted in response["content"], f"'{wanted}' is missing: {response['content']}")
    expect_equal(event["binding_limit"], "ip_preference", "what held it")
    expect("peer_address" not in event, f"it names a peer: {event}")


def without_an_address_of_the_family_mail_waits_for_a_table(build):
    with Scene(build) as scene:
        scene.domain("far.example", addresses=(SIX,))
        scene.open(four=False, six=False)
        scene.start(section("far.example", "REQUIRE_V4"))
        scene.send("far.example")
        for event in scene.deferred(2):
            expect_reason(event, "mx10.far.example", "IPv4")
        expect_equal(scene.knocks, [], "connections")
        scene.engine.set_table(section("far.example", "PREFER_V4"))
        scene.engine.reload("tables version 2 in use")
        scene.delivered()
        expect_equal(scene.knocks, [SIX], "connections")
        expect_equal(scene.engine.events("Bounce"), [], "bounces")
        scene.engine.drain()


def without_an_address_of_the_family_mail_waits_for_a_route(build):
    with Scene(build) as scene:
        scene.open(four=False, six=False)
        scene.start(section("far.example", "REQUIRE_V6"), f"far.example {FOUR}:{scene.port}\n")
        scene.send("far.example")
        for event in scene.deferred(2):
            expect_reason(event, FOUR, "IPv6")
        scene.engine.set_routes(f"far.example {FOUR}:{scene.port}, [{SIX}]:{scene.port}/pri=9\n")
        scene.engine.reload("tables version 2 in use")
        scene.delivered()
        expect_equal(scene.knocks, [SIX], "connections")
        scene.engine.drain()


def the_preference_of_mx_records_comes_first(build):
    with Scene(build) as scene:
        scene.domain("far.example", addresses=(FOUR,), preference=10)
        scene.domain("far.example", addresses=(SIX,), preference=20)
        scene.open(four=False, six=False)
        scene.start(section("far.example", "PREFER_V6"))
        scene.send("far.example")
        scene.delivered()
        expect_equal(scene.knocks, [FOUR], "connections")
        scene.engine.drain()


def a_reload_holds_for_the_next_connection(build):
    with Scene(build) as scene:
        scene.domain("far.example")
        scene.open(four=False, six=False)
        scene.start()
        scene.send("far.example")
        scene.delivered()
        scene.engine.set_table(section("far.example", "REQUIRE_V4"))
        scene.engine.reload("tables version 2 in use")
        scene.send("far.example")
        scene.delivered(2)
        expect_equal(scene.knocks, [SIX, FOUR], "connections in their order")
        scene.engine.drain()


def other_words_are_refused(build):
    with Scene(build) as scene:
        scene.start()
        scene.engine.set_table(section("far.example", "IPv4"))
        scene.engine.reload(r"destinations.ini:2: ip_sort_pref = \"IPv4\": must be one of "
                            "PREFER_V6, REQUIRE_V6, PREFER_V4, REQUIRE_V4")
        scene.engine.drain()


if __name__ == "__main__":
    run_scenarios(build_folder(__doc__), each_word_begins_with_its_family,
                  a_preferred_family_falls_back_in_the_same_attempt,
                  a_required_family_never_falls_back,
                  without_an_address_of_the_family_mail_waits_for_a_table,
                  without_an_address_of_the_family_mail_waits_for_a_route,
                  the_preference_of_mx_records_comes_first,
                  a_reload_holds_for_the_next_connection, other_words_are_refused)
