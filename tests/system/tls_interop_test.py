#!/usr/bin/env python3
"""The engine and other people's mail servers, with STARTTLS between them, in both directions.

Each server first receives: hundreds of messages at the levels that verify, and one message for each
destination whose host falls short or is asked for less. The Received lines that the servers write
say what was encrypted, and must agree with the delivery log. Then each server relays into the
engine, verifying its certificate, and must be content with ours and with no other.

Usage: tls_interop_test.py BUILD_DIR
"""

import collections
import contextlib
import dataclasses
import re
import smtplib
import ssl

from certificates import Workshop, openssl
from engine_run import Run, build_folder, expect, expect_equal, run_scenarios, wait_until
from mail_catcher import Catcher
from mail_peers import free_port
from mail_servers import DEMANDED, OFFERED, OLD, Exim, OpenSmtpd, Port, Postfix, Relay
from name_server import A, MX, NameServer
from numbered_mail import Mail, expect_same, make_mails, recipients_in_all, send, split_at_number

MESSAGES = 200
OUTCOMES = ("Delivery", "TransientFailure", "Bounce", "Expiration")

# One attempt each.
SECTIONS = """\
initial_retry_s = 36000
max_retry_s = 36000
[dns]
forward = ["{forward}"]
trust_anchor = "none"
[delivery]
port = {port}
allow_addresses = ["127.0.0.0/8"]
[tls]
ca_file = "{ca_file}"
"""

# -------------------------------------------------------------------------------------------------
# The engine delivers.


@dataclasses.dataclass
class Cell:
    """A destination: how its host is found and what is asked of it; what must become of its mail.

    `route` is that of the domain, without the port; none: it has an MX record."""

    domain: str
    level: str
    route: str = "127.0.0.1"
    port: str = "good"
    controls: str = ""
    outcome: str = "Delivery"
    result: str = "verified"
    reason: str = ""
    version: str = "TLSv1.3"


HOST, MX_HOST = "mail.hosts.example", "mx.hosts.example"
DEFERRED = "TransientFailure"

# Hundreds of messages go to these. Of them, the certificate of the port "good" names the first
# domain alone, and the hosts.
MUCH = [
    Cell("verify.example", "require_verify"),
    Cell("hosted.example", "require_verify_hosted", ""),
    Cell("route.example", "require_verify_hosted", HOST),
]
FEW = [
    Cell("address.example", "require_verify_hosted", outcome=DEFERRED, result="name"),
    Cell("name.example", "require_verify", HOST, outcome=DEFERRED, result="name"),
    Cell("name-mx.example", "require_verify", "", outcome=DEFERRED, result="name"),
    Cell("name-on.example", "on", result="unverified", reason="name"),
    Cell("name-required.example", "required", result="unverified", reason="name"),
    Cell("untrusted.example", "require_verify", port="strange", outcome=DEFERRED,
         result="untrusted"),
    Cell("untrusted-host.example", "require_verify_hosted", HOST, "strange", outcome=DEFERRED,
         result="untrusted"),
    Cell("untrusted-on.example", "on", port="strange", result="unverified", reason="untrusted"),
    Cell("untrusted-verify.example", "on_verify", port="strange", result="unverified",
         reason="untrusted"),
    Cell("off.example", "off", result="none", version=""),
    Cell("clear.example", "on", port="clear", result="none", reason="no-starttls", version=""),
    Cell("clear-required.example", "required", port="clear", outcome=DEFERRED,
         result="no-starttls"),
    Cell("demanded.example", "require_verify", port="demanding"),
    Cell("demanded-off.example", "off", port="demanding", outcome="Bounce", result="none"),
]
OLD_ONES = [
    Cell("old.example", "require_verify", port="old", version="TLSv1.2"),
    Cell("too-old.example", "require_verify", port="old", controls="tls_min = 1.3\n",
         outcome=DEFERRED, result="protocol"),
    Cell("too-old-on.example", "on", port="old", controls="tls_min = 1.3\n", outcome=DEFERRED,
         result="protocol"),
]
# Its second message has a connection of its own, which resumes the session of the first.
AGAIN = Cell("again.example", "require_verify", port="again",
             controls="max_messages_per_connection = 1\n")

# What the certificate of each port names.
NAMES = {
    "good": [HOST, MX_HOST, "verify.example"],
    "strange": [HOST, "untrusted.example", "untrusted-on.example", "untrusted-verify.example"],
    "demanding": ["demanded.example"],
    "again": ["again.example"],
    "old": ["old.example", "too-old.example", "too-old-on.example"],
}
KINDS = {"demanding": DEMANDED, "old": OLD}


def receiver(build, run, kind, cells, workshop, root):
    """The server and its ports, by their names in cells."""
    stranger = workshop.authority("a stranger")
    ports = {"clear": Port(free_port())}
    for name in sorted({cell.port for cell in cells} - {"clear"}):
        certificate = (stranger if name == "strange" else root).issue(NAMES[name])
        ports[name] = Port(free_port(), certificate, KINDS.get(name, OFFERED))
    domains = [cell.domain for cell in cells]
    return kind(build, run, list(ports.values()), domains), ports


class Delivery:
    """An engine that sends to the cells, and to `near`, whose sender is told of what failed."""

    def __init__(self, run, cells, ports, ca_file, names, near):
        self.awaited = 0
        names.records[(HOST, A)] = names.records[(MX_HOST, A)] = ["127.0.0.1"]
        routes = [f"near.example 127.0.0.1:{near.port}\n"]
        table = ["[DEFAULT]\nmax_host_concurrency = 10\n"]
        for cell in cells:
            table.append(f"[{cell.domain}]\ntable_tls = {cell.level}\n{cell.controls}")
            if cell.route:
                routes.append(f"{cell.domain} {cell.route}:{ports[cell.port].number}\n")
            else:
                names.records[(cell.domain, MX)] = [(10, MX_HOST)]
        self.engine = run.engine(routes="".join(routes), table="".join(table),
                                 profile=SECTIONS.format(forward=names.forward(), ca_file=ca_file,
                                                         port=ports["good"].number))

    def send(self, mails):
        send(self.engine.host_and_port(), mails)

    def outcomes(self):
        return [event for event in self.engine.events(*OUTCOMES)
                if event["queue"] != "near.example"]

    def wait_outcomes(self, more):
        self.awaited += more
        wait_until(lambda: len(self.outcomes()) >= self.awaited or
                   not self.engine.program.running(), f"{self.awaited} outcomes in the log")
        expect(self.engine.program.running(), f"it ended: {self.engine.program.said()}")


def make_all_mails(cells):
    """Many to the destinations of much mail, one to all others, and one more to the last again."""
    mails = make_mails(MESSAGES + 2, *[cell.domain for cell in MUCH])
    readers = [f"r0@{cell.domain}" for cell in cells if cell not in MUCH]
    mails[MESSAGES] = mails[MESSAGES]._replace(recipients=readers)
    mails[MESSAGES + 1] = mails[MESSAGES + 1]._replace(recipients=[f"r1@{AGAIN.domain}"])
    return mails


def to_be_delivered(mails, cells):
    taken = {cell.domain for cell in cells if cell.outcome == "Delivery"}
    return {number: mail._replace(recipients=[reader for reader in mail.recipients
                                              if reader.split("@")[1] in taken])
            for number, mail in mails.items()}


def serves_tls(port):
    """To a client that is not ours, and takes any certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with contextlib.suppress(OSError):
        with smtplib.SMTP("127.0.0.1", port.number) as client:
            client.starttls(context=context)
            return client.ehlo()[0] == 250
    return False


def with_broken_tls(cells):
    """The same cells where handshakes fail, and one message for all of them."""
    def broken(cell):
        if cell.level == "off" or cell.port == "clear":
            return cell
        return dataclasses.replace(cell, outcome=DEFERRED, result="handshake")
    readers = [f"r0@{cell.domain}" for cell in cells]
    return [broken(cell) for cell in cells], {0: Mail(readers, make_mails(1, "any")[0].data)}


def send_all(delivery, mails):
    """The last one when all others have their outcome."""
    last = max(mails)
    for part in ({number: mails[number] for number in mails if number != last},
                 {last: mails[last]}):
        delivery.send(part)
        delivery.wait_outcomes(recipients_in_all(part))


def check_log(cells, outcomes):
    """What the delivery log says of each cell."""
    seen = collections.defaultdict(set)
    for event in outcomes:
        seen[event["queue"]].add((event["type"], event["tls_level"], event["tls_result"],
                                  event.get("tls_reason", "")))
    for cell in cells:
        reason = cell.result if cell.outcome == DEFERRED else cell.reason
        expect_equal(seen[cell.domain], {(cell.outcome, cell.level, cell.result, reason)},
                     f"the log of {cell.domain}")


def standard_names():
    """Of ciphers, by the names that OpenSSL has for them."""
    lines = [line.split() for line in openssl("ciphers", "-stdname", "ALL").splitlines()]
    return {words[2]: words[0] for words in lines}


def tls_by_receiver(peer, arrived):
    """How often each domain's mail came by each version and cipher, as Received lines say."""
    names, seen = standard_names(), collections.Counter()
    for recipient, data in arrived:
        top = re.sub(rb"\s+", b" ", split_at_number(data)[0]).decode()
        found = re.search(peer.received_tls, top)
        version, cipher = found.groups() if found else ("", "")
        if version == "1.3":
            # Exim puts a key exchange into the name, which it hasn't had since this version.
            cipher = re.sub("^TLS_ECDHE_RSA_WITH_", "TLS_", cipher)
        seen[recipient.split("@")[1], version and f"TLSv{version}", names.get(cipher, cipher)] += 1
    return seen


def tls_by_log(outcomes):
    return collections.Counter(
        (event["queue"], event.get("tls_protocol_version", ""), event.get("tls_cipher", ""))
        for event in outcomes if event["type"] == "Delivery")


def check_tls(cells, peer, arrived, outcomes):
    """The receiver and the log agree on each message's TLS, and it is that of the cell."""
    told, logged = tls_by_receiver(peer, arrived), tls_by_log(outcomes)
    expect(told == logged, f"the receiver saw {told - logged}, the log has {logged - told}")
    for cell in cells:
        versions = {version for domain, version, _ in told if domain == cell.domain}
        wanted = {cell.version} if cell.outcome == "Delivery" else set()
        expect_equal(versions, wanted, f"versions of TLS for {cell.domain}")


def check_told(near):
    """The sender of what was refused for want of TLS learns why."""
    caught = near.wait_for(1)
    expect_equal(len(caught), 1, "bounces")
    for words in (b"demanded-off.example", b"530"):
        expect(words in caught[0].data, f"{words} is missing in the bounce: {caught[0].data!r}")


def deliver_to(build, kind):
    cells = MUCH + FEW + (OLD_ONES if kind.has_old else []) + [AGAIN]
    with Run(build) as run, NameServer() as names, Catcher() as near:
        workshop = Workshop(run.folder / "certificates")
        root = workshop.authority("the root")
        peer, ports = receiver(build, run, kind, cells, workshop, root)
        mails = make_all_mails(cells)
        with peer.start():
            works = serves_tls(ports["good"])
            if not works:
                expect(kind.may_be_broken, "the server's TLS does not work")
                cells, mails = with_broken_tls(cells)
            wanted = to_be_delivered(mails, cells)
            delivery = Delivery(run, cells, ports, root.file, names, near)
            send_all(delivery, mails)
            wait_until(lambda: len(peer.arrived()) >= recipients_in_all(wanted),
                       "all mail at the receiver")
            check_told(near)
            delivery.engine.drain()
            if peer.resumed:
                wait_until(lambda: peer.sessions_resumed(ports["again"]), "a resumed session")
        arrived, outcomes = peer.arrived(), delivery.outcomes()
        expect_same(wanted, arrived)
        check_log(cells, outcomes)
        check_tls(cells, peer, arrived, outcomes)
        ciphers = sorted({event["tls_cipher"] for event in outcomes if "tls_cipher" in event})
    said = f"{len(cells)} destinations, {len(arrived)} recipients, "
    return said + (", ".join(ciphers) if works else "none by TLS, which is broken there")


def to_postfix(build):
    return deliver_to(build, Postfix)


def to_exim(build):
    return deliver_to(build, Exim)


def to_opensmtpd(build):
    return deliver_to(build, OpenSmtpd)


# -------------------------------------------------------------------------------------------------
# The engine receives.

OURS = "mta.example.net"
OLD_CLIENT = "old.example.net"  # Another name of ours, for clients of TLS 1.2.
LISTENERS = """\
certificate = "ours"
[[listener]]
address = "127.0.0.2:0"
certificate = "ours"
[[listener]]
address = "127.0.0.3:0"
certificate = "strange"
[[certificate]]
name = "ours"
certificate = "{ours.chain}"
key = "{ours.key}"
[[certificate]]
name = "strange"
certificate = "{strange.chain}"
key = "{strange.key}"
"""


def relays_to(engine, kind):
    """Where the server sends what: to us, and to listeners that it must refuse."""
    said = engine.program.wait_line("listening on.*").group()
    good, misnamed, strange = re.findall(r"([\d.]+):(\d+)", said)
    relays = {"far.example": Relay(OURS, *good)}
    if kind.has_old:
        relays["old.example"] = Relay(OLD_CLIENT, *good, OLD)
    return relays, {"name.example": Relay("another.example.net", *misnamed),
                    "untrusted.example": Relay("strange.example.net", *strange)}


def check_received(caught):
    """The engine's own line stands on top; the server's, which had it in clear, below."""
    for each in caught:
        top = re.sub(rb"\s+", b" ", split_at_number(each.data)[0])
        expect(re.match(rb"Received: from \w+\.example \(\[127\.0\.0\.1\]\) by " +
                        OURS.encode() + rb" with ESMTPS id ", top), f"not by TLS: {top}")


def relay_from(build, kind):
    with Run(build) as run, Catcher() as catcher:
        workshop = Workshop(run.folder / "certificates")
        root = workshop.authority("the root")
        stranger = workshop.authority("a stranger")
        listeners = LISTENERS.format(ours=root.issue([OURS, OLD_CLIENT]),
                                     strange=stranger.issue(["strange.example.net"]))
        engine = run.engine(routes=f"ALL 127.0.0.1:{catcher.port}\n", listener=listeners)
        relays, refused = relays_to(engine, kind)
        peer = kind(build, run, [Port(free_port())], relays={**relays, **refused},
                    ca_file=root.file)
        mails = make_mails(MESSAGES, *relays)
        with peer.start() as server:
            others = Mail([f"reader@{domain}" for domain in refused], mails[0].data)
            send(("127.0.0.1", server.port), {**mails, MESSAGES: others})
            wait_until(lambda: sum(len(caught.recipients) for caught in catcher.caught) >=
                       recipients_in_all(mails), "all mail at the receiver")
            for domain in refused:
                wait_until(lambda: peer.has_refused(domain),
                           f"the server's refusal to relay for {domain}")
        engine.drain()
        expect_same(mails, [(to, caught.data) for caught in catcher.caught
                            for to in caught.recipients])
        check_received(catcher.caught)
        if kind.has_old:
            expect_equal(set(re.findall(peer.verified, peer.log())),
                         {(OURS, "1.3"), (OLD_CLIENT, "1.2")}, "what the server has verified")
        domains = {event["recipient"].split("@")[1] for event in engine.events()}
        expect_equal(domains, set(relays), "domains in the log")
    return f"{len(mails)} messages"


def from_postfix(build):
    return relay_from(build, Postfix)


def from_exim(build):
    return relay_from(build, Exim)


def from_opensmtpd(build):
    return relay_from(build, OpenSmtpd)


if __name__ == "__main__":
    run_scenarios(build_folder(__doc__), to_postfix, to_exim, to_opensmtpd, from_postfix,
                  from_exim, from_opensmtpd)
