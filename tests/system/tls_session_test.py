#!/usr/bin/env python3
"""TLS sessions with hosts, beyond the first verdict: what is resumed and for whom, what a new table
does to a connection that is up, what we say of ourselves, hosts whose TLS is odd or ends badly, and
many of them at once.

Usage: tls_session_test.py BUILD_DIR
"""

import collections
import contextlib
import smtplib
import ssl
import threading

import tls_host
from certificates import Workshop
from engine_run import (Run, build_folder, expect, expect_equal, expect_once_and_intact,
                        run_scenarios, wait_until)
from libssl import LibraryTls, library
from mail_catcher import Catcher
from name_server import A, MX, NameServer
from tls_host import (PythonTls, Script, TlsHosts, alert, answer, at_the_hello, offer,
                      server_context)

MESSAGE = "Subject: a message\r\n\r\n.Its text.\r\n"
ONE_MESSAGE_A_CONNECTION = "max_messages_per_connection = 1\n"
TLS_1_2, TLS_1_3 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3

SECTIONS = """\
initial_retry_s = {retry_s}
max_retry_s = {retry_s}
max_retries = {retries}
[dns]
forward = ["{forward}"]
trust_anchor = "none"
[delivery]
port = {port}
allow_addresses = ["127.0.0.0/8"]
[tls]
ca_file = "ca.pem"
{more}"""


class Scene:
    """A folder, hosts, a name server and an authority that the engine trusts."""

    def __init__(self, build):
        self.build = build

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            self.run = stack.enter_context(Run(self.build))
            self.hosts = stack.enter_context(TlsHosts())
            self.names = stack.enter_context(NameServer())
            self.stack = stack.pop_all()
        self.workshop = Workshop(self.run.folder / "certificates")
        self.root = self.workshop.authority("the root")
        self.trust(self.root)
        return self

    def __exit__(self, *exception):
        return self.stack.__exit__(*exception)

    def trust(self, authority):
        self.run.write("ca.pem", authority.file.read_text())

    def host(self, *names, script=None, certificate=None, **context):
        """One whose certificate has these names."""
        certificate = certificate or self.root.issue(list(names))
        act = offer(server_context(certificate, **context))
        return self.hosts.listen(Script(act, **(script or {})))

    def engine(self, ports, table, port=25, retry_s=36000, retries=100, more=""):
        """`ports`: domain to port; `table`: domain to its controls."""
        self.started = self.run.engine(
            routes="".join(f"{domain} 127.0.0.1:{port}\n" for domain, port in ports.items()),
            table=written(table),
            profile=SECTIONS.format(forward=self.names.forward(), port=port, retry_s=retry_s,
                                    retries=retries, more=more))
        return self.started

    def send(self, *recipients, message=MESSAGE):
        with smtplib.SMTP(*self.started.host_and_port()) as client:
            refused = client.sendmail("writer@near.example", recipients, message)
        expect_equal(refused, {}, "recipients refused")

    def outcomes(self, domains, count=1):
        """The event of this number to each reader@domain."""
        def find():
            expect(self.started.program.running(), f"it ended: {self.started.program.said()}")
            found = {domain: [] for domain in domains}
            for event in self.started.events("Delivery", "TransientFailure", "Bounce"):
                if event["queue"] in found:
                    found[event["queue"]].append(event)
            if all(len(events) >= count for events in found.values()):
                return [events[count - 1] for events in found.values()]
            return None
        return wait_until(find, f"outcome {count} for each of {domains[:4]}")

    def outcome(self, domain, count=1):
        return self.outcomes([domain], count)[0]

    def deliver(self, domain, count=1, message=MESSAGE):
        """Sends one, the `count`-th to that domain."""
        self.send(f"reader@{domain}", message=message)
        event = self.outcome(domain, count)
        expect_equal(event["type"], "Delivery", f"outcome for {domain} ({event})")
        return event

    def defer(self, domain, reason, count=1):
        self.send(f"reader@{domain}")
        event = self.outcome(domain, count)
        expect_equal((event["type"], event["tls_result"]), ("TransientFailure", reason),
                     f"outcome for {domain}")

    def use_table(self, table):
        self.started.set_table(written(table))
        self.started.reload("tables version [0-9]+ in use")

    def end(self, *hosts):
        """After it, the hosts have seen all."""
        self.started.drain()
        for host in hosts:
            host.wait_ended()


class Held:
    """Handshakes that a host holds up until it is told to go on."""

    def __init__(self, context):
        self.context, self.go_on = context, threading.Event()

    def act(self, talk):
        talk.go_ahead()
        talk.wait_for_record()
        self.go_on.wait(tls_host.TIMEOUT_S)
        talk.secure(PythonTls(talk, self.context))

    @staticmethod
    def wait_for(host, count):
        wait_until(lambda: sum(bool(seen.behind_220) for seen in list(host.connections)) == count,
                   f"{count} handshakes have begun")


def written(table):
    return "".join(f"[{domain}]\n{controls}\n" for domain, controls in table.items())


def level(word, controls=""):
    return f"table_tls = {word}\n{controls}"


def resumed(host):
    return [seen.tls.get("resumed") for seen in host.connections]


# -------------------------------------------------------------------------------------------------
# Resumption.

def sessions_are_resumed(build):
    """For the same destination and level, with the verdict of the first."""
    with Scene(build) as scene:
        stranger = scene.workshop.authority("a stranger").issue(["far.example"])
        versions = {"old": {"newest": TLS_1_2}, "new": {"oldest": TLS_1_3}}
        cells = [(version, word, good) for version in versions for good in (True, False)
                 for word in ("on", "required", "on_verify", "require_verify")
                 if good or word != "require_verify"]
        hosts, table, verdicts = {}, {}, {}
        for version, word, good in cells:
            domain = f"{word.replace('_', '-')}.{'good' if good else 'bad'}.{version}.example"
            certificate = None if good else stranger
            hosts[domain] = scene.host(domain, certificate=certificate, **versions[version])
            table[domain] = level(word, ONE_MESSAGE_A_CONNECTION)
            verdicts[domain] = ("verified", None) if good else ("unverified", "untrusted")
        scene.engine({domain: host.port for domain, host in hosts.items()}, table)
        for count in (1, 2, 3):
            for domain in hosts:
                event = scene.deliver(domain, count)
                expect_equal((event["tls_result"], event.get("tls_reason")), verdicts[domain],
                             f"result and reason {count} of {domain}")
        scene.end(*hosts.values())
        for domain, host in hosts.items():
            # A ticket serves once, and under TLS 1.2 this host gives none when it resumes.
            third = domain.endswith(".new.example")
            expect_equal(resumed(host), [False, True, third], f"resumed for {domain}")


def sessions_are_resumed_where_tickets_are_given(build):
    """With one connection at a time, a destination's first is new and each other is resumed."""
    told = []
    for tickets, resumes in ("1", True), ("0", False):
        with Run(build) as run:
            sink = run.sink("--demo-certificate", "--tickets", tickets)
            controls = level("required", ONE_MESSAGE_A_CONNECTION + "max_host_concurrency = 1\n")
            engine = run.engine(routes=f"ALL 127.0.0.1:{sink.ports[0]}\n",
                                table=written({"DEFAULT": controls}))
            load = run.load(engine.address, "--messages", "300", "--domain-count", "5")
            load.end()
            delivered = collections.Counter(
                event["queue"] for event in engine.wait_events(300, "Delivery"))
            engine.drain()
            rows = {row["name"]: row for row in sink.end()["domains"]}
            expect_once_and_intact(load, sink)
        expect_equal(len(delivered), 5, "destinations")
        for domain, count in delivered.items():
            expect_equal(rows[domain]["tls_connections"], count, f"connections for {domain}")
            expect_equal(rows[domain]["tls_resumed"], count - 1 if resumes else 0,
                         f"of which resumed, --tickets {tickets}")
        expect_equal(sink.totals["tls_resumed"], 295 if resumes else 0, "resumed in all")
        told.append(f"{sink.totals['tls_resumed']} of 300 with --tickets {tickets}")
    return ", ".join(told)


def sessions_are_not_lent(build):
    """To another destination, level or names, although the host would resume each."""
    with Scene(build) as scene:
        stranger = scene.workshop.authority("a stranger").issue(["*.far.example"])
        unknown = scene.host(certificate=stranger)
        known = scene.host("a.known.example", "c.known.example")
        strict = level("require_verify", ONE_MESSAGE_A_CONNECTION)
        table = {"a.far.example": level("on", ONE_MESSAGE_A_CONNECTION), "b.far.example": strict,
                 "a.known.example": strict, "b.known.example": strict,
                 "c.known.example": level("on", ONE_MESSAGE_A_CONNECTION)}
        scene.engine({domain: (unknown if ".far." in domain else known).port for domain in table},
                     table)
        scene.deliver("a.far.example")
        scene.defer("b.far.example", "untrusted")
        scene.deliver("a.known.example")
        scene.defer("b.known.example", "name")
        scene.deliver("c.known.example")
        scene.end(known, unknown)
        expect_equal(resumed(unknown), [False, False], "resumed at the unknown host")
        expect_equal(resumed(known), [False, False, False], "resumed at the known host")
        expect_equal([len(seen.messages) for seen in unknown.connections], [1, 0],
                     "messages at the unknown host")


def sessions_end_with_their_trust(build):
    """A stricter level, or another file of authorities, makes the host show itself again."""
    with Scene(build) as scene:
        loose = scene.host("loose.example", certificate=scene.workshop.authority(
            "a stranger").issue(["loose.example"]))
        firm = scene.host("firm.example")
        table = {"loose.example": level("on", ONE_MESSAGE_A_CONNECTION),
                 "firm.example": level("require_verify", ONE_MESSAGE_A_CONNECTION)}
        scene.engine({"loose.example": loose.port, "firm.example": firm.port}, table)
        scene.deliver("loose.example")
        scene.deliver("firm.example")
        table["loose.example"] = table["firm.example"]
        scene.trust(scene.workshop.authority("the root of today"))
        scene.use_table(table)
        scene.defer("loose.example", "untrusted", 2)
        scene.defer("firm.example", "untrusted", 2)
        scene.end(loose, firm)
        expect_equal((resumed(loose), resumed(firm)), ([False, False], [False, False]), "resumed")


def hosts_that_cannot_resume_get_full_handshakes(build):
    """One that fails whatever is to be resumed has no broken TLS: it is tried anew at once."""
    with Scene(build) as scene:
        ways = {"alert": tls_host.alert(40), "close": tls_host.close, "reset": tls_host.reset}
        hosts, table = {}, {}
        for way, act in ways.items():
            for version, limits in (("old", {"newest": TLS_1_2}), ("new", {"oldest": TLS_1_3})):
                domain = f"{way}.{version}.example"
                context = server_context(scene.root.issue([domain]), **limits)
                hosts[domain] = scene.hosts.listen(Script(unless_resuming(context, act)))
                table[domain] = level("require_verify", ONE_MESSAGE_A_CONNECTION)
        scene.engine({domain: host.port for domain, host in hosts.items()}, table)
        for domain in hosts:
            scene.deliver(domain)
            scene.deliver(domain, 2)
        scene.end(*hosts.values())
        for domain, host in hosts.items():
            expect_equal([seen.secured for seen in host.connections], [True, False, True],
                         f"handshakes of {domain} that were over")


def hosts_without_tls_are_not_tried_for_ever(build):
    """Of a host that fails full handshakes too, the second failure counts."""
    with Scene(build) as scene:
        context = server_context(scene.root.issue(["far.example"]))
        first = iter([True])

        def act(talk):
            if next(first, False):
                return offer(context)(talk)
            return tls_host.at_the_hello(tls_host.alert(40))(talk)
        host = scene.hosts.listen(Script(act))
        scene.engine({"far.example": host.port},
                     {"far.example": level("require_verify", ONE_MESSAGE_A_CONNECTION)})
        scene.deliver("far.example")
        scene.defer("far.example", "handshake", 2)
        scene.end(host)
        expect_equal([seen.secured for seen in host.connections], [True, False, False],
                     "handshakes that were over")


def unless_resuming(context, act):
    """Goes on with the handshake, or does this where the client offers a session."""
    def begin(talk):
        talk.go_ahead()
        talk.wait_for_record()
        if offers_session(talk.wire):
            act(talk)
        talk.secure(PythonTls(talk, context))
    return begin


def offers_session(hello):
    """A pre_shared_key, or a ticket in session_ticket: RFC 8446 4.1.2 and 4.2.11, RFC 5077 3.2."""
    at = 5 + 4 + 2 + 32
    at += 1 + hello[at]
    at += 2 + int.from_bytes(hello[at:at + 2], "big")
    at += 1 + hello[at]
    at += 2
    while at < len(hello):
        kind, length = (int.from_bytes(hello[at + i:at + i + 2], "big") for i in (0, 2))
        if kind == 41 or (kind == 35 and length > 0):
            return True
        at += 4 + length
    return False


# -------------------------------------------------------------------------------------------------
# New tables.

def new_level_ends_ready_connections(build):
    """Whatever was up under the old level gets QUIT, and carries no message of the new one."""
    changes = [("off", "required"), ("required", "off"), ("on", "require_verify"),
               ("require_verify", "on"), ("require_verify", "require_verify_hosted")]
    with Scene(build) as scene:
        hosts, before, after = {}, {}, {}
        for old, new in changes:
            domain = f"{old}-{new}.example".replace("_", "-")
            hosts[domain] = scene.host(domain)
            before[domain], after[domain] = level(old), level(new)
        scene.engine({domain: host.port for domain, host in hosts.items()}, before)
        for domain in hosts:
            scene.deliver(domain)
        scene.use_table(after)
        for (old, new), domain in zip(changes, hosts):
            event = scene.deliver(domain, 2)
            expect_equal(event["tls_level"], new, f"level {old} before")
            expect_equal(event["tls_result"], "none" if new == "off" else "verified",
                         f"result, {old} before")
        scene.end(*hosts.values())
        for (old, new), (domain, host) in zip(changes, hosts.items()):
            secret = [[message.secret for message in seen.messages] for seen in host.connections]
            expect_equal(secret, [[old != "off"], [new != "off"]], f"messages for {domain}")
            for seen in host.connections:
                expect_equal(seen.commands()[-1], b"QUIT", f"the last command for {domain}")


def new_level_refuses_what_the_old_one_took(build):
    with Scene(build) as scene:
        stranger = scene.workshop.authority("a stranger").issue(["far.example"])
        host = scene.host(certificate=stranger)
        scene.engine({"far.example": host.port}, {"far.example": level("on")})
        scene.deliver("far.example")
        scene.use_table({"far.example": level("require_verify")})
        scene.defer("far.example", "untrusted", 2)
        scene.end(host)
        expect_equal([len(seen.messages) for seen in host.connections], [1, 0], "messages")


def new_level_holds_for_a_connection_that_is_being_opened(build):
    """Its handshake was begun by a level that would take any certificate."""
    with Scene(build) as scene:
        stranger = scene.workshop.authority("a stranger").issue(["far.example"])
        held = Held(server_context(stranger))
        host = scene.hosts.listen(Script(held.act))
        scene.engine({"far.example": host.port}, {"far.example": level("on")})
        scene.send("reader@far.example")
        held.wait_for(host, 1)
        scene.use_table({"far.example": level("require_verify")})
        held.go_on.set()
        event = scene.outcome("far.example")
        expect_equal((event["type"], event["tls_result"]), ("TransientFailure", "untrusted"),
                     "outcome")
        scene.end(host)
        expect_equal(host.messages(), [], "messages taken")


def same_table_keeps_ready_connections(build):
    with Scene(build) as scene:
        host = scene.host("far.example")
        table = {"far.example": level("require_verify")}
        scene.engine({"far.example": host.port}, table)
        scene.deliver("far.example")
        scene.use_table(table)
        scene.deliver("far.example", 2)
        scene.end(host)
        expect_equal(len(host.connections), 1, "connections")


# -------------------------------------------------------------------------------------------------
# What we say of ourselves.

def hosts_are_called_by_name(build):
    """By the name that the route has, unless told not to; an address is no name."""
    with Scene(build) as scene:
        hosts = [scene.host("x.example") for _ in range(3)]
        by_mx = scene.hosts.listen(Script(offer(server_context(scene.root.issue(["x.example"])))),
                                   "127.0.1.1")
        for domain in ("named.example", "unnamed.example"):
            scene.names.records[(f"mail.{domain}", A)] = ["127.0.0.1"]
        scene.names.records[("mx.example", MX)] = [(10, "host.mx.example")]
        scene.names.records[("host.mx.example", A)] = ["127.0.1.1"]
        table = {"named.example": level("on"), "unnamed.example": level("on", "tls_sni = off\n"),
                 "address.example": level("on"), "mx.example": level("on")}
        engine = scene.engine({"address.example": hosts[2].port}, table, port=by_mx.port)
        engine.set_routes(f"named.example mail.named.example:{hosts[0].port}\n"
                          f"unnamed.example mail.unnamed.example:{hosts[1].port}\n"
                          f"address.example 127.0.0.1:{hosts[2].port}\n")
        scene.use_table(table)
        for domain in table:
            scene.deliver(domain)
        scene.end(*hosts, by_mx)
        asked = [host.connections[0].tls["server_name"] for host in hosts + [by_mx]]
        expect_equal(asked, ["mail.named.example", None, None, "host.mx.example"],
                     "names asked for")


def certificate_is_shown_when_asked(build):
    library()
    with Scene(build) as scene:
        ours = scene.root.issue(["mta.example.net"], subject="our own", usage="clientAuth")
        hosts_certificate = scene.root.issue(["demo.example"])

        def asking(talk):
            talk.go_ahead()
            talk.secure(LibraryTls(talk, hosts_certificate, ask_client=True))
        demo = scene.hosts.listen(Script(asking))
        own = scene.host("own.example", clients_by=scene.root.file)
        silent = scene.host("silent.example")
        scene.engine({"demo.example": demo.port, "own.example": own.port,
                      "silent.example": silent.port},
                     {"demo.example": level("require_verify"),
                      "own.example": level("require_verify", "certificate = ours\n"),
                      "silent.example": level("require_verify", "certificate = ours\n")},
                     more=f'[[certificate]]\nname = "ours"\ncertificate = "{ours.chain}"\n'
                          f'key = "{ours.key}"\n')
        for domain in ("demo.example", "own.example", "silent.example"):
            scene.deliver(domain)
        scene.end(demo, own, silent)
        shown = demo.connections[0].tls["certificate"]
        expect(shown and "Sluice Demo" in shown, f"shown without a certificate of ours: {shown}")
        expect_equal(own.connections[0].tls["certificate"]["subject"],
                     ((("commonName", "our own"),),), "shown")
        expect_equal(silent.connections[0].tls["certificate"], None, "shown to who did not ask")


# -------------------------------------------------------------------------------------------------
# Odd hosts.

LARGE = "Subject: a large one\r\n\r\n" + "".join(f"{i:070}\r\n" for i in range(40_000))


def check_taken(host, message, count=1):
    """It came `count` times, under TLS and whole."""
    taken = host.messages()
    expect_equal(len(taken), count, "messages taken")
    for each in taken:
        expect(each.secret, "it came in clear")
        # Whatever stands before it is Received.
        expect(each.data.endswith(message.encode()), f"damaged: {len(each.data)} bytes came")


def large_messages_are_intact(build):
    with Scene(build) as scene:
        hosts = {"new.example": scene.host("new.example", oldest=TLS_1_3),
                 "old.example": scene.host("old.example", newest=TLS_1_2),
                 "safe.example": scene.host("safe.example", newest=TLS_1_2,
                                            ciphers="ECDHE-ECDSA-CHACHA20-POLY1305")}
        scene.engine({domain: host.port for domain, host in hosts.items()},
                     {"DEFAULT": level("require_verify")})
        for domain in hosts:
            scene.deliver(domain, message=LARGE)
        scene.end(*hosts.values())
        for host in hosts.values():
            check_taken(host, LARGE)


def messages_share_a_connection(build):
    with Scene(build) as scene:
        host = scene.host("far.example")
        one = "max_host_concurrency = 1\nlimit_type = host\nlimit_apply = system\n"
        scene.engine({"far.example": host.port}, {"far.example": level("require_verify", one)})
        with smtplib.SMTP(*scene.started.host_and_port()) as client:
            for _ in range(40):
                client.sendmail("writer@near.example", ["reader@far.example"], MESSAGE)
        scene.outcome("far.example", 40)
        scene.end(host)
        expect_equal(len(host.connections), 1, "connections")
        check_taken(host, MESSAGE, 40)


def bytes_come_one_by_one(build):
    """In the handshake each in a segment of its own, then each in a record of its own."""
    with Scene(build) as scene:
        slow = {"byte_by_byte": True}
        hosts = {"new.example": scene.host("new.example", script=slow, oldest=TLS_1_3),
                 "old.example": scene.host("old.example", script=slow, newest=TLS_1_2)}
        scene.engine({domain: host.port for domain, host in hosts.items()},
                     {"DEFAULT": level("require_verify")})
        for domain in hosts:
            event = scene.deliver(domain)
            expect_equal(event["tls_result"], "verified", f"result for {domain}")
        scene.end(*hosts.values())
        for host in hosts.values():
            check_taken(host, MESSAGE)


def keys_are_changed_on_the_way(build):
    library()
    with Scene(build) as scene:
        certificate = scene.root.issue(["far.example"])

        def changing(talk):
            talk.go_ahead()
            talk.secure(LibraryTls(talk, certificate, fresh_keys=True))
        host = scene.hosts.listen(Script(changing))
        scene.engine({"far.example": host.port}, {"far.example": level("require_verify")})
        scene.deliver("far.example", message=LARGE)
        scene.deliver("far.example", 2, message=MESSAGE)
        scene.end(host)
        expect_equal([message.data.endswith(wanted.encode()) for message, wanted in
                      zip(host.messages(), (LARGE, MESSAGE))], [True, True], "messages intact")
        seen = host.connections[0].tls["session"].key_updates_seen
        expect(seen > 5, f"{seen} changes of keys were answered")
        return f"{seen} times"


def host_ends_without_a_word(build):
    """The 250 stands, whatever comes behind it; the next message has a new connection."""
    with Scene(build) as scene:
        ways = {"close": tls_host.close, "end": tls_host.end}
        hosts = {f"{name}-{version}.example": scene.host(
                     f"{name}-{version}.example", script={"after_message": way}, newest=newest)
                 for name, way in ways.items()
                 for version, newest in (("old", TLS_1_2), ("new", TLS_1_3))}
        scene.engine({domain: host.port for domain, host in hosts.items()},
                     {"DEFAULT": level("require_verify")})
        for domain in hosts:
            scene.deliver(domain)
            scene.deliver(domain, 2)
        scene.end(*hosts.values())
        for domain, host in hosts.items():
            expect_equal([len(seen.messages) for seen in host.connections], [1, 1],
                         f"messages on connections for {domain}")


def resets_in_the_handshake_are_survived(build):
    """At each stage of it, many at once; then a good host is served."""
    with Scene(build) as scene:
        context = server_context(scene.root.issue(["*.reset.example"]))

        def after_our_flight(talk):
            talk.go_ahead()
            tls = PythonTls(talk, context)
            tls.incoming.write(talk.take_received())
            with contextlib.suppress(ssl.SSLWantReadError):
                tls.session.do_handshake()
            tls.flush()
            tls_host.reset(talk)

        def at_the_end(talk):
            offer(context)(talk)
            tls_host.reset(talk)
        stages = {"go-ahead": tls_host.go_ahead_and(tls_host.reset),
                  "hello": at_the_hello(tls_host.reset), "flight": after_our_flight,
                  "end": at_the_end}
        hosts = {name: scene.hosts.listen(Script(act)) for name, act in stages.items()}
        good = scene.host("good.example")
        ports = {f".{name}.reset.example": host.port for name, host in hosts.items()}
        scene.engine({**ports, "good.example": good.port}, {"DEFAULT": level("required")})
        domains = [f"d{i}.{name}.reset.example" for name in stages for i in range(50)]
        scene.send(*[f"reader@{domain}" for domain in domains])
        for event in scene.outcomes(domains):
            expect_equal(event["type"], "TransientFailure", f"for {event['queue']}")
        expect_equal(scene.deliver("good.example")["tls_result"], "verified", "the good host")
        scene.end(good, *hosts.values())
        for host in hosts.values():
            expect_equal(len(host.connections), 50, "connections")
            expect_equal(host.messages(), [], "messages taken")


def resets_in_the_body_are_survived(build):
    with Scene(build) as scene:
        def cut(talk):
            talk.read_more()
            tls_host.reset(talk)
        host = scene.host("*.cut.example", script={"in_body": cut})
        good = scene.host("good.example")
        scene.engine({".cut.example": host.port, "good.example": good.port},
                     {"DEFAULT": level("require_verify")})
        domains = [f"d{i}.cut.example" for i in range(30)]
        scene.send(*[f"reader@{domain}" for domain in domains], message=LARGE)
        for event in scene.outcomes(domains):
            expect_equal(event["type"], "TransientFailure", f"for {event['queue']}")
        scene.deliver("good.example", message=LARGE)
        scene.end(host, good)
        expect_equal(host.messages(), [], "messages taken")
        check_taken(good, LARGE)


def refused_mail_comes_back_with_the_reason(build):
    with Scene(build) as scene, Catcher() as catcher:
        stranger = scene.workshop.authority("a stranger").issue(["far.example"])
        hosts = {"far.example": (scene.host(certificate=stranger), "untrusted"),
                 "other.example": (scene.host("another.example"), "name"),
                 "clear.example": (scene.hosts.listen(Script()), "no-starttls")}
        ports = {domain: host.port for domain, (host, _) in hosts.items()}
        scene.engine({**ports, "near.example": catcher.port},
                     {domain: level("require_verify") for domain in hosts}, retries=0)
        for number, (domain, (_, reason)) in enumerate(hosts.items()):
            scene.send(f"reader@{domain}")
            bounce = catcher.wait_for(number + 1)[number].data.decode("ascii")
            for words in (f"reader@{domain}", f"TLS {reason}"):
                expect(words in bounce, f"'{words}' is missing in the bounce:\n{bounce}")
        scene.end()


def log_has_the_level_where_nobody_was_reached(build):
    with Scene(build) as scene:
        scene.names.records[("empty.example", A)] = []
        engine = scene.engine({}, {"DEFAULT": level("require_verify")})
        engine.set_routes("dead.example 127.0.0.1:1\n"  # Nobody listens on port 1.
                          "unnamed.example empty.example\n")
        scene.use_table({"DEFAULT": level("require_verify")})
        domains = ["dead.example", "unnamed.example", "unknown.example"]
        scene.send(*[f"reader@{domain}" for domain in domains])
        levels = {event["queue"]: event["tls_level"] for event in scene.outcomes(domains)}
        expect_equal(levels, {domain: "require_verify" for domain in domains}, "tls_level")
        scene.end()


# -------------------------------------------------------------------------------------------------
# Broken TLS that is remembered.

def broken_tls_is_remembered_where_told(build):
    """Only then, only for levels that prefer TLS, a later attempt goes in clear without asking."""
    with Scene(build) as scene:
        broken = Script(at_the_hello(alert(40)))
        garbage = Script(answer("hello, who is there?"))
        hosts = {"told.example": broken, "untold.example": broken, "required.example": broken,
                 "before.example": garbage}
        hosts = {domain: scene.hosts.listen(script) for domain, script in hosts.items()}
        scene.engine({domain: host.port for domain, host in hosts.items()},
                     {"DEFAULT": level("on", "tls_broken_memory = 1h\n" + ONE_MESSAGE_A_CONNECTION),
                      "untold.example": "tls_broken_memory = 0\n",
                      "required.example": level("required")}, retry_s=1)
        scene.send(*[f"reader@{domain}" for domain in hosts])
        for domain in ("told.example", "untold.example", "required.example"):
            event = scene.outcome(domain)
            expect_equal((event["type"], event["tls_reason"]), ("TransientFailure", "handshake"),
                         f"the first attempt for {domain}")
        event = scene.outcome("told.example", 2)
        expect_equal(event["type"], "Delivery", f"the second attempt ({event})")
        for domain in ("untold.example", "required.example"):
            event = scene.outcome(domain, 2)
            expect_equal((event["type"], event["tls_reason"]), ("TransientFailure", "handshake"),
                         f"the second attempt for {domain}")
        scene.deliver("before.example", 2)
        scene.end(*hosts.values())

        def asked(domain):
            return [seen.asked_for_tls() for seen in hosts[domain].connections]
        expect_equal(asked("told.example"), [True, False], "STARTTLS where it is remembered")
        expect_equal(asked("before.example"), [True, False, False], "STARTTLS before the 220")
        for domain in ("untold.example", "required.example"):
            expect(all(asked(domain)), f"in clear for {domain}")
            expect_equal(hosts[domain].messages(), [], f"messages for {domain}")


# -------------------------------------------------------------------------------------------------
# Many at once.

CROWD = 300


class Crowd:
    """As many handshakes, held up."""

    def __init__(self, scene):
        held = Held(server_context(scene.root.issue(["*.crowd.example"])))
        self.held, self.go_on = held, held.go_on
        self.host = scene.hosts.listen(Script(held.act))
        self.domains = [f"d{i}.crowd.example" for i in range(CROWD)]

    def gather(self, scene):
        scene.send(*[f"reader@{domain}" for domain in self.domains])
        self.held.wait_for(self.host, CROWD)


def others_are_served_while_many_shake_hands(build):
    with Scene(build) as scene:
        crowd, clear, good = Crowd(scene), scene.host(), scene.host("good.example")
        scene.engine({".crowd.example": crowd.host.port, "clear.example": clear.port,
                      "good.example": good.port},
                     {".crowd.example": level("require_verify"), "clear.example": level("off"),
                      "good.example": level("require_verify")})
        crowd.gather(scene)
        for count in (1, 2, 3):
            scene.deliver("clear.example", count)
            scene.deliver("good.example", count)
        expect_equal(sum(seen.secured for seen in crowd.host.connections), 0, "handshakes over")
        crowd.go_on.set()
        for event in scene.outcomes(crowd.domains):
            expect_equal((event["type"], event["tls_result"]), ("Delivery", "verified"),
                         f"outcome for {event['queue']}")
        scene.end(crowd.host, clear, good)
        check_taken(crowd.host, MESSAGE, CROWD)


def drain_does_not_wait_for_handshakes(build):
    with Scene(build) as scene:
        crowd = Crowd(scene)
        scene.engine({".crowd.example": crowd.host.port},
                     {".crowd.example": level("require_verify")})
        crowd.gather(scene)
        scene.started.drain()
        crowd.go_on.set()
        crowd.host.wait_ended()
        expect_equal(crowd.host.messages(), [], "messages taken")
        expect_equal(scene.started.start(), 1, "messages in the spool")
        for event in scene.outcomes(crowd.domains):
            expect_equal(event["type"], "Delivery", f"outcome for {event['queue']}")
        scene.end(crowd.host)
        check_taken(crowd.host, MESSAGE, CROWD)


if __name__ == "__main__":
    run_scenarios(build_folder(__doc__), sessions_are_resumed,
                  sessions_are_resumed_where_tickets_are_given, sessions_are_not_lent,
                  sessions_end_with_their_trust, hosts_that_cannot_resume_get_full_handshakes,
                  hosts_without_tls_are_not_tried_for_ever, new_level_ends_ready_connections,
                  new_level_refuses_what_the_old_one_took,
                  new_level_holds_for_a_connection_that_is_being_opened,
                  same_table_keeps_ready_connections,
                  hosts_are_called_by_name, certificate_is_shown_when_asked,
                  large_messages_are_intact, messages_share_a_connection, bytes_come_one_by_one,
                  keys_are_changed_on_the_way, host_ends_without_a_word,
                  resets_in_the_handshake_are_survived, resets_in_the_body_are_survived,
                  refused_mail_comes_back_with_the_reason,
                  log_has_the_level_where_nobody_was_reached, broken_tls_is_remembered_where_told,
                  others_are_served_while_many_shake_hands, drain_does_not_wait_for_handshakes)
