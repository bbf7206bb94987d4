#!/usr/bin/env python3
"""Peers that use TLS to cost us time and memory: hosts that we deliver to, and injectors. Each is
cut off or borne, with the right reason in the log, while others are served.

What a peer sends without end it sends until we have cut it off; what was taken of it counts with
all that the kernel's buffers hold.

Usage: tls_bombs_test.py BUILD_DIR
"""

import contextlib
import ctypes
import smtplib
import socket
import ssl
import subprocess
import threading

import tls_host
from certificates import Certificate, openssl
from engine_run import build_folder, expect, expect_equal, run_scenarios, wait_until
from libssl import LibraryTls, library
from mail_catcher import Catcher
from tls_host import PythonTls, Script, at_the_hello, offer, server_context
from tls_session_test import MESSAGE, TLS_1_2, TLS_1_3, Scene, check_taken, level

VERSIONS = {"old": {"newest": TLS_1_2}, "new": {"oldest": TLS_1_3}}
TAKEN_BYTES_MAX = 16 << 20  # With the buffers of two sockets.
PLENTY = 256 << 20          # Nobody takes this much.

# Records and messages: RFC 8446 5.1 and 4, RFC 5246 7.4.
CHANGE_CIPHER, ALERT, HANDSHAKE, DATA = 20, 21, 22, 23
CERTIFICATE = 11
ECDHE_ECDSA_CHACHA20 = b"\xcc\xa9"


def record(kind, data, length=None):
    length = len(data) if length is None else length
    return bytes([kind, 3, 3]) + length.to_bytes(2, "big") + data


def message(kind, data, length=None):
    length = len(data) if length is None else length
    return bytes([kind]) + length.to_bytes(3, "big") + data


def server_hello(hello, compression=0):
    """A TLS 1.2 server's answer (RFC 5246 7.4.1.3) to this record."""
    session = hello[44:44 + hello[43]]
    body = (b"\x03\x03" + bytes(range(32)) + bytes([len(session)]) + session +
            ECDHE_ECDSA_CHACHA20 + bytes([compression]))
    return record(HANDSHAKE, message(2, body))


class Endless:
    """Sends a piece again and again, until it is cut off."""

    def __init__(self, piece, front=lambda hello: b""):
        self.piece, self.front, self.sent = piece, front, []

    def act(self, talk):
        self.flood(talk, self.front(talk.wire))

    def flood(self, talk, front=b""):
        block = self.piece * (1 + (64 << 10) // len(self.piece))
        number = len(self.sent)
        self.sent.append(0)
        with contextlib.suppress(OSError):
            talk.link.sendall(front)
            while self.sent[number] < PLENTY:
                talk.link.sendall(block)
                self.sent[number] += len(block)
        raise tls_host.Over

    def check(self, name):
        expect(self.sent, f"{name} has sent nothing")
        expect(max(self.sent) < TAKEN_BYTES_MAX, f"{max(self.sent)} bytes were taken of {name}")


# -------------------------------------------------------------------------------------------------
# Hosts.

def others_are_served(scene, hostile):
    """Mail for all the hostile hosts is deferred for their handshakes, and meanwhile and after it
    a good host has what is its own."""
    for count in (1, 2, 3):
        scene.deliver("good.example", count)
    for event in scene.outcomes(list(hostile)):
        expect_equal((event["type"], event["tls_result"]), ("TransientFailure", "handshake"),
                     f"outcome for {event['queue']} ({event.get('response')})")
    scene.deliver("good.example", 4)


def floods_in_the_handshake_are_cut_off(build):
    with Scene(build) as scene:
        floods = {
            "nothing": Endless(record(HANDSHAKE, b"")),
            "ccs": Endless(record(CHANGE_CIPHER, b"\1")),
            "warnings": Endless(record(ALERT, b"\1\x5a")),  # user_canceled, RFC 8446 6.
            "certificate": Endless(
                record(HANDSHAKE, bytes(16 << 10)), lambda hello: server_hello(hello) +
                record(HANDSHAKE, message(CERTIFICATE, b"", (1 << 24) - 1))),
            "bytes": Endless(record(HANDSHAKE, message(CERTIFICATE, b"x", 1 << 20))),
            "one-byte-records": Endless(
                record(HANDSHAKE, b"\0"), lambda hello: server_hello(hello) +
                record(HANDSHAKE, message(CERTIFICATE, b"", 1 << 20))),
            "garbage": Endless(bytes(range(256)))}
        hostile = {f"{name}.{word}.example": word for name in floods for word in ("on", "required")}
        hosts = {name: scene.hosts.listen(Script(at_the_hello(flood.act)))
                 for name, flood in floods.items()}
        good = scene.host("good.example")
        scene.engine({**{domain: hosts[domain.split(".")[0]].port for domain in hostile},
                      "good.example": good.port},
                     {"DEFAULT": level("require_verify"),
                      **{domain: level(word) for domain, word in hostile.items()}})
        scene.send(*[f"reader@{domain}" for domain in hostile])
        others_are_served(scene, hostile)
        scene.end(good, *hosts.values())
        for name, flood in floods.items():
            flood.check(name)
            expect_equal(hosts[name].messages(), [], f"messages taken by {name}")


def large_chains(scene):
    """By how many certificates: a good one, and others that have nothing to do with it."""
    good = scene.root.issue(["*.chain.example"])
    other = scene.workshop.authority("another").file.read_text()
    chains = {}
    for count in (100, 2000):
        path = scene.run.folder / f"chain-{count}.pem"
        path.write_text(good.chain.read_text() + other * (count - 1))
        chains[count] = Certificate(path, good.key)
    return chains


def mersenne_key(folder):
    """RSA of 15,636 bits, of two Mersenne primes: those are known, others take minutes to find."""
    p, q, exponent = 2**11213 - 1, 2**4423 - 1, 65537
    secret = pow(exponent, -1, (p - 1) * (q - 1))
    numbers = (0, p * q, exponent, secret, p, q, secret % (p - 1), secret % (q - 1),
               pow(q, -1, p))
    path, config = folder / "large.key", folder / "large.asn1"
    config.write_text("asn1 = SEQUENCE:key\n[key]\n" + "".join(
        f"n{i} = INTEGER:{hex(number)}\n" for i, number in enumerate(numbers)))
    der = folder / "large.der"
    openssl("asn1parse", "-genconf", config, "-noout", "-out", der)
    openssl("rsa", "-inform", "DER", "-in", der, "-out", path)
    return path


def large_key(scene):
    """A certificate of its own for the host of the large key."""
    key = mersenne_key(scene.run.folder)
    chain = scene.run.folder / "large.pem"
    openssl("req", "-x509", "-key", key, "-days", 30, "-subj", "/CN=large", "-addext",
            "subjectAltName = DNS:large.chain.example", "-out", chain)
    return Certificate(chain, key)


def large_certificates_are_refused(build):
    """Also where any certificate will do: they cost too much."""
    with Scene(build) as scene:
        shown = {f"n{count}": chain for count, chain in large_chains(scene).items()}
        shown["large"] = large_key(scene)
        hosts = {f"{name}.{version}.example": scene.host(certificate=certificate, **limits)
                 for name, certificate in shown.items()
                 for version, limits in VERSIONS.items()}
        good = scene.host("good.example")
        scene.engine({**{domain: host.port for domain, host in hosts.items()},
                      "good.example": good.port},
                     {"DEFAULT": level("on"), "good.example": level("require_verify")})
        scene.send(*[f"reader@{domain}" for domain in hosts])
        others_are_served(scene, hosts)
        scene.end(good, *hosts.values())
        for domain, host in hosts.items():
            expect_equal(host.messages(), [], f"messages taken by {domain}")


def broken_records_end_the_session(build):
    """Once the handshake is over for the host, and before it has said a word under TLS."""
    with Scene(build) as scene:
        wrong = {"garbage": record(DATA, bytes(64)), "too-large": record(DATA, b"", 0xffff),
                 "just-too-large": record(DATA, bytes((16 << 10) + 2049)),
                 "unknown-kind": record(99, bytes(64)), "no-record": b"250 2.0.0 in clear\r\n",
                 "plain-nothing": record(DATA, b""), "plain-alert": record(ALERT, b"\2\x28"),
                 "hello-again": record(HANDSHAKE, message(0, b""))}
        context = {version: server_context(scene.root.issue(["far.example"]), **limits)
                   for version, limits in VERSIONS.items()}

        def after_handshake(version, data):
            def act(talk):
                talk.go_ahead()
                tls = PythonTls(talk, context[version])
                talk.seen.tls = tls.handshake()
                tls.read()  # EHLO.
                talk.transmit(data)
                talk.watch_wire()
                raise tls_host.Over
            return act
        hosts = {f"{name}.{version}.example":
                 scene.hosts.listen(Script(after_handshake(version, data)))
                 for name, data in wrong.items() for version in context}
        good = scene.host("good.example")
        scene.engine({**{domain: host.port for domain, host in hosts.items()},
                      "good.example": good.port}, {"DEFAULT": level("required")})
        scene.send(*[f"reader@{domain}" for domain in hosts])
        others_are_served(scene, hosts)
        scene.end(good, *hosts.values())
        for domain, host in hosts.items():
            expect_equal(host.messages(), [], f"messages taken by {domain}")


def broken_reply_to_the_dot_leaves_doubt(build):
    """The host has the message; whether it has taken it, nobody can read."""
    with Scene(build) as scene:
        def garbage(talk):
            while not talk.unread.endswith(b"\r\n.\r\n"):
                talk.unread += talk.read_more()
            talk.transmit(record(DATA, bytes(64)))
            talk.watch_wire()
            raise tls_host.Over
        host = scene.host("far.example", script={"in_body": garbage})
        scene.engine({"far.example": host.port}, {"DEFAULT": level("require_verify")})
        scene.send("reader@far.example")
        event = scene.outcome("far.example")
        expect_equal((event["type"], event["in_doubt"]), ("TransientFailure", True), "outcome")
        scene.end(host)


class Asking(LibraryTls):
    """Once EHLO has come, asks for something `count` times, and hears no answer meanwhile."""

    def __init__(self, talk, certificate, ask, count):
        super().__init__(talk, certificate, counts=False)
        self.ask, self.left, self.asked = ask, count, 0

    def write(self, data):
        lib, session = library(), ctypes.c_void_p(self.session)
        while self.left > 0:
            self.left -= 1
            self.must(self.ask(lib, session))
            self.must(lib.SSL_do_handshake(session))
            self.asked += 1
        super().write(data)


def ask_for_keys(lib, session):
    return lib.SSL_key_update(session, 1)


def change_own_keys(lib, session):
    return lib.SSL_key_update(session, 0)


def give_ticket(lib, session):
    return lib.SSL_new_session_ticket(session)


def floods_in_the_session(build):
    """Some fresh keys and tickets do no harm; whoever has nothing else to say is cut off, and so is
    who asks for answers without end and takes none."""
    library()
    with Scene(build) as scene:
        certificate = scene.root.issue(["*.flood.example"])
        kinds = {"keys": (change_own_keys, 500), "tickets": (give_ticket, 50),
                 "many-keys": (change_own_keys, 20_000), "many-tickets": (give_ticket, 5_000),
                 "answers": (ask_for_keys, 100_000_000)}
        asking = {}

        def act(name):
            def begin(talk):
                # Many records a segment.
                talk.link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0)
                talk.go_ahead()
                asking[name] = Asking(talk, certificate, *kinds[name])
                talk.secure(asking[name])
            return begin
        hosts = {name: scene.hosts.listen(Script(act(name))) for name in kinds}
        good = scene.host("good.example")
        scene.engine({**{f"{name}.flood.example": host.port for name, host in hosts.items()},
                      "good.example": good.port}, {"DEFAULT": level("require_verify")})
        scene.send(*[f"reader@{name}.flood.example" for name in kinds])
        for count in (1, 2, 3):
            scene.deliver("good.example", count)
        for event in scene.outcomes([f"{name}.flood.example" for name in kinds]):
            some = event["queue"].startswith(("keys", "tickets"))
            wanted = "Delivery" if some else "TransientFailure"
            expect_equal(event["type"], wanted, f"outcome for {event['queue']} ({event})")
        scene.deliver("good.example", 4)
        scene.end(good, *hosts.values())
        for name in ("keys", "tickets"):
            check_taken(hosts[name], MESSAGE)
        for name in ("many-keys", "many-tickets", "answers"):
            expect_equal(hosts[name].messages(), [], f"messages taken of {name}")
        return f"cut off after {asking['answers'].asked} requests for keys"


def renegotiation_is_not_had(build):
    """A host that asks for it (RFC 5246 7.4.1.1) gets no second handshake; in the end the message
    is delivered or deferred, once."""
    library()
    with Scene(build) as scene:
        certificate = scene.root.issue(["far.example"])

        class Renegotiating(LibraryTls):
            hellos = 0

            def on_message(self, sent, version, kind, data, length, session, argument):
                self.hellos += not sent and kind == HANDSHAKE and length > 0 and data[0] == 1
                super().on_message(sent, version, kind, data, length, session, argument)

            def write(self, data):
                if not self.asked:
                    self.asked = True
                    self.must(library().SSL_renegotiate(self.session))
                    self.must(library().SSL_do_handshake(self.session))
                super().write(data)
            asked = False
        tls = []

        def act(talk):
            talk.go_ahead()
            tls.append(Renegotiating(talk, certificate, newest=0x0303))
            talk.secure(tls[-1])
        host, good = scene.hosts.listen(Script(act)), scene.host("good.example")
        scene.engine({"far.example": host.port, "good.example": good.port},
                     {"DEFAULT": level("require_verify")})
        scene.send("reader@far.example")
        event = scene.outcome("far.example")
        scene.deliver("good.example")
        scene.end(host, good)
        expect_equal([each.hellos for each in tls], [1] * len(tls), "handshakes begun")
        expect(tls[0].asked, "the host has not asked")
        expect_equal(len(host.messages()), int(event["type"] == "Delivery"), "messages taken")
        return event["type"]


# -------------------------------------------------------------------------------------------------
# Injectors.

class Listening:
    """An engine that offers STARTTLS, and where its mail goes."""

    def __init__(self, scene, catcher):
        self.scene, self.catcher, self.good = scene, catcher, 0
        ours = scene.root.issue(["mta.example.net"])
        self.engine = scene.started = scene.run.engine(
            listener='certificate = "ours"', routes=f"far.example 127.0.0.1:{catcher.port}\n",
            profile=f'[[certificate]]\nname = "ours"\ncertificate = "{ours.chain}"\n'
                    f'key = "{ours.key}"\n')
        self.context = ssl.create_default_context(cafile=scene.root.file)
        self.context.check_hostname = False

    def dial(self):
        """A connection that has been told to go ahead with TLS."""
        link = socket.create_connection(self.engine.host_and_port(), tls_host.TIMEOUT_S)
        heard = link.makefile("rb")
        expect(heard.readline().startswith(b"220 "), "no greeting")
        link.sendall(b"STARTTLS\r\n")
        line = heard.readline()
        expect(line.startswith(b"220 "), f"STARTTLS got {line}")
        return link

    def client(self, newest=TLS_1_3):
        """Its session and buffers, before the first flight."""
        self.context.maximum_version = newest
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        session = self.context.wrap_bio(incoming, outgoing, server_hostname="mta.example.net")
        return session, incoming, outgoing

    def hello(self):
        session, _, outgoing = self.client()
        with contextlib.suppress(ssl.SSLWantReadError):
            session.do_handshake()
        return outgoing.read()

    def serves(self):
        """Others, under TLS and in clear."""
        expect(self.engine.program.running(), f"it ended: {self.engine.program.said()}")
        for secure in (True, False):
            with smtplib.SMTP(*self.engine.host_and_port(), timeout=tls_host.TIMEOUT_S) as client:
                if secure:
                    client.starttls(context=self.context)
                client.sendmail("writer@near.example", ["reader@far.example"], MESSAGE)
        self.good += 2
        self.catcher.wait_for(self.good)


def half_handshakes_hold_up_nobody(build):
    with Scene(build) as scene, Catcher() as catcher, contextlib.ExitStack() as stack:
        listening = Listening(scene, catcher)
        hello = listening.hello()
        links = [stack.enter_context(listening.dial()) for _ in range(200)]
        for number, link in enumerate(links):
            link.sendall(hello[:number % len(hello)])
        listening.serves()
        for link in links:
            link.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                expect(link.recv(1), "one was cut off before its time")
        listening.serves()
        scene.started.drain()


def floods_of_injectors_are_cut_off(build):
    with Scene(build) as scene, Catcher() as catcher:
        listening = Listening(scene, catcher)
        hello = listening.hello()
        floods = {"nothing": Endless(record(HANDSHAKE, b"")),
                  "ccs": Endless(record(CHANGE_CIPHER, b"\1")),
                  "warnings": Endless(record(ALERT, b"\1\x5a")), "hellos": Endless(hello),
                  "large-hello": Endless(record(HANDSHAKE, message(1, bytes(5000), 1 << 20))),
                  "garbage": Endless(bytes(range(256)))}
        threads = []
        for flood in floods.values():
            for _ in range(3):
                def run(flood=flood):
                    with listening.dial() as link, contextlib.suppress(tls_host.Over):
                        flood.flood(tls_host.Talk(link, Script(), tls_host.Connection()))
                threads.append(threading.Thread(target=run, daemon=True))
                threads[-1].start()
        listening.serves()
        for thread in threads:
            thread.join(tls_host.TIMEOUT_S)
        listening.serves()
        for name, flood in floods.items():
            expect_equal(len(flood.sent), 3, f"floods of {name}")
            flood.check(name)
        scene.started.drain()


def resets_of_injectors_are_survived(build):
    with Scene(build) as scene, Catcher() as catcher:
        listening = Listening(scene, catcher)
        hello = listening.hello()
        for sent in (b"", hello[:20], hello):
            for wait in (False, True):
                for _ in range(20):
                    link = listening.dial()
                    link.sendall(sent)
                    if wait and sent == hello:
                        link.recv(1)  # Our flight is on its way.
                    tls_host.Talk(link, Script(), tls_host.Connection()).reset()
        listening.serves()
        scene.started.drain()


def injector_of_one_byte_records_is_heard(build):
    with Scene(build) as scene, Catcher() as catcher:
        listening = Listening(scene, catcher)
        for newest in (TLS_1_2, TLS_1_3):
            with listening.dial() as link:
                link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                session, incoming, outgoing = listening.client(newest)

                def drive(step):
                    while True:
                        try:
                            done = step()
                            link.sendall(outgoing.read())
                            return done
                        except ssl.SSLWantReadError:
                            link.sendall(outgoing.read())
                            incoming.write(link.recv(1 << 16))

                def say(text):
                    for i in range(len(text)):
                        drive(lambda: session.write(text[i:i + 1]))
                    return drive(lambda: session.read(1 << 12))
                drive(session.do_handshake)
                for command, code in (("EHLO near.example", b"250"),
                                      ("MAIL FROM:<writer@near.example>", b"250"),
                                      ("RCPT TO:<reader@far.example>", b"250"), ("DATA", b"354"),
                                      (MESSAGE.replace("\n.", "\n..") + ".", b"250")):
                    heard = say(command.encode() + b"\r\n")
                    expect(heard.startswith(code), f"{command!r} got {heard!r}")
        for caught in catcher.wait_for(2):
            expect(caught.data.endswith(MESSAGE.encode()), f"damaged: {caught.data}")
        scene.started.drain()


def injector_gets_no_renegotiation(build):
    with Scene(build) as scene, Catcher() as catcher:
        listening = Listening(scene, catcher)
        done = subprocess.run(
            ["openssl", "s_client", "-starttls", "smtp", "-tls1_2", "-connect",
             listening.engine.address], input="R\n", capture_output=True, text=True,
            errors="replace", timeout=tls_host.TIMEOUT_S, check=False)
        expect("RENEGOTIATING" in done.stderr + done.stdout, f"it has not asked: {done}")
        after = done.stderr.split("RENEGOTIATING")[-1]
        expect("error:" in after and "verify" not in after, f"it said {done.stderr}")
        listening.serves()
        scene.started.drain()


def commands_behind_starttls_are_refused(build):
    """They came in clear: nothing of them is heard, before or under TLS (RFC 3207 5)."""
    with Scene(build) as scene, Catcher() as catcher:
        listening = Listening(scene, catcher)
        for more in (b"MAIL FROM:<injected@near.example>\r\n", b"X", b"\r\n"):
            with socket.create_connection(listening.engine.host_and_port(), 60) as link:
                heard = link.makefile("rb")
                heard.readline()
                link.sendall(b"STARTTLS\r\n" + more)
                with contextlib.suppress(OSError):
                    said = heard.read()
                    expect(not said.startswith(b"220") and b"250" not in said, f"it said {said}")
        listening.serves()
        scene.started.drain()


if __name__ == "__main__":
    run_scenarios(build_folder(__doc__), floods_in_the_handshake_are_cut_off,
                  large_certificates_are_refused, broken_records_end_the_session,
                  broken_reply_to_the_dot_leaves_doubt, floods_in_the_session,
                  renegotiation_is_not_had, half_handshakes_hold_up_nobody,
                  floods_of_injectors_are_cut_off, resets_of_injectors_are_survived,
                  injector_of_one_byte_records_is_heard, injector_gets_no_renegotiation,
                  commands_behind_starttls_are_refused)
