#!/usr/bin/env python3
"""The engine between other people's mail programs: every message once, byte for byte.

A thousand messages go through the engine to each receiver; what arrives is what was sent, below the
header lines that are added on top and up to the receiver's own line ends. Then injectors of others
send through the engine to a receiver of ours. Last, Exim relays to our sink, which it does by BDAT.

Usage: interop_test.py BUILD_DIR
"""

import collections
import random
import re

from certificates import Workshop
from engine_run import (Run, build_folder, expect, expect_equal, expect_once_and_intact, route,
                        run_scenarios, wait_until)
from mail_catcher import Catcher
from mail_peers import Packages, Server, free_port, run_to_end
from mail_servers import NOBODY, Exim, OpenSmtpd, Port, Postfix, Relay, own
from numbered_mail import (CONNECTIONS, SENDER, difference, expect_same, make_mails, mixed_lines,
                           recipients_in_all, send, split_at_number)

MESSAGES = 1000
ALONE = 20  # Of them, each sent when the one before is delivered.
DOMAIN = "far.example"
ARRIVAL_TIME_S = 120


# --- Receivers.

def deliver(run, server, mails, folder, pattern, files):
    """Sends all through the engine to the server, and waits until so many files are there."""
    engine = run.engine(routes=route(DOMAIN, server.port))

    def send_next(share):
        sent.update(share)
        send(engine.host_and_port(), share)
        wait_until(lambda: len(engine.events("Delivery")) >= recipients_in_all(sent),
                   f"{recipients_in_all(sent)} deliveries", ARRIVAL_TIME_S)

    sent, numbers = {}, list(mails)
    send_next({number: mails[number] for number in numbers[:-ALONE]})
    for number in numbers[-ALONE:]:
        send_next({number: mails[number]})
    wait_until(lambda: len(list(folder.glob(pattern))) >= files,
               f"{files} files of mail at the receiver", ARRIVAL_TIME_S)
    engine.drain()
    recipients, deferrals = recipients_in_all(mails), len(engine.events("TransientFailure"))
    expect_equal(len(engine.events("Delivery")), recipients, "deliveries in the log")
    return f"{len(mails)} messages, {recipients} recipients, {deferrals} deferrals"


def deliver_to_maildirs(build, kind, look=lambda peer: ""):
    """Compares after the server's end, when nothing more can come."""
    with Run(build) as run:
        peer, mails = kind(build, run, [Port(free_port())], [DOMAIN]), make_mails(MESSAGES, DOMAIN)
        with peer.start() as server:
            said = deliver(run, server, mails, peer.mail, "*/new/*", recipients_in_all(mails))
        expect_same(mails, peer.arrived())
        return said + look(peer)


def to_postfix(build):
    return deliver_to_maildirs(build, Postfix)


def by_bdat(exim):
    """Its log has a K where CHUNKING was used. That is on connections that are idle, so that how
    many of those in the crowd do is by the speed of both; most that come alone do."""
    taken = [line for line in exim.log().splitlines() if " <= " in line]
    chunked = sum(" K " in line for line in taken)
    alone = sum(" K " in line for line in taken[-ALONE:])
    expect(alone > ALONE / 2, f"{alone} of {ALONE} came by BDAT")
    return f", {chunked} of {len(taken)} by BDAT, {alone} of the {ALONE} that came alone"


def to_exim(build):
    return deliver_to_maildirs(build, Exim, by_bdat)


def to_opensmtpd(build):
    return deliver_to_maildirs(build, OpenSmtpd)


# --- smtp-sink.

def dumped(path):
    """smtp-sink writes the envelope on top, and an empty line below."""
    data = path.read_bytes()
    expect(data.endswith(b"\n\n"), f"the end of {path.name}: {data[-20:]}")
    recipients = re.findall(rb"^X-Rcpt-Args: <(.*)>$", split_at_number(data)[0], re.MULTILINE)
    return [(recipient.decode(), data[:-1]) for recipient in recipients]


def to_smtp_sink(build):
    packages = Packages(build, "postfix")
    port = free_port()
    with Run(build) as run:
        folder, mails = run.folder / "mail", make_mails(MESSAGES, DOMAIN)
        folder.mkdir()
        own(folder, NOBODY)
        command = (packages.program("usr/sbin/smtp-sink"), "-u", "nobody", "-d", folder / "m.",
                   f"127.0.0.1:{port}", "128")
        with Server(run, packages, port, *command) as server:
            said = deliver(run, server, mails, folder, "m.*", len(mails))
        expect_same(mails, [copy for path in folder.iterdir() for copy in dumped(path)])
    return said


# --- Injectors.

def from_smtp_source(build):
    packages = Packages(build, "postfix")
    lines = mixed_lines(random.Random(21))
    text = [b"Subject: from smtp-source", b"From: a@near.example", b"", *lines]
    with Run(build) as run, Catcher() as catcher:
        engine = run.engine(routes=route(DOMAIN, catcher.port))
        (run.folder / "text").write_bytes(b"".join(line + b"\n" for line in text))
        run_to_end(packages, run.folder, packages.program("usr/sbin/smtp-source"), "-s",
                   CONNECTIONS, "-m", MESSAGES, "-r", 2, "-N", "-F", "text", "-f", SENDER, "-t",
                   f"to@{DOMAIN}", engine.address)
        catcher.wait_for(MESSAGES)
        engine.drain()
        copies = collections.Counter(to for caught in catcher.caught for to in caught.recipients)
        expect_equal(len(copies), 2 * MESSAGES, "recipients")
        expect_equal(set(copies.values()), {1}, "copies for a recipient")
        # smtp-source ends a file with an empty line of its own.
        wanted = b"".join(line + b"\r\n" for line in [*text, b""])
        for caught in catcher.caught:
            at = caught.data.find(text[0])
            expect(caught.data[at:] == wanted, difference(caught.data[at:], wanted))
    return f"{MESSAGES} messages, {len(copies)} recipients"


SWAKS_COUNT = 10


def from_swaks(build):
    packages = Packages(build, "swaks")
    with Run(build) as run, Catcher() as catcher:
        engine = run.engine(routes=route(DOMAIN, catcher.port))
        # swaks takes a dot in the last line for the end of the data, hence another last line.
        mails = {number: mail._replace(data=mail.data + b"That is all.\r\n")
                 for number, mail in make_mails(SWAKS_COUNT, DOMAIN).items()}
        for number, mail in mails.items():
            # swaks adds the last line's end.
            (run.folder / "text").write_bytes(mail.data.replace(b"\r\n", b"\n")[:-1])
            pipelining = ["--pipeline"] if number % 2 else []
            run_to_end(packages, run.folder, packages.program("usr/bin/swaks"), "--server",
                       engine.address, "--from", SENDER, "--to", ",".join(mail.recipients),
                       "--data", "@text", *pipelining)
        catcher.wait_for(len(mails))
        engine.drain()
        expect_same(mails, [(to, caught.data) for caught in catcher.caught
                            for to in caught.recipients])
    return f"{len(mails)} messages"


# --- CHUNKING (RFC 3030).

CHUNKED = 200
CHUNKED_DOMAIN = "dest-0000.example"  # sluice-load's.
SINK_HOST = "sink.example"


def exim_to_sink_by_bdat(build):
    """From our load, whose bodies have lines that begin with dots, to our sink."""
    with Run(build) as run:
        root = Workshop(run.folder / "certificates").authority("the root")
        certificate = root.issue([SINK_HOST])
        sink = run.sink("--certificate", certificate.chain, "--key", certificate.key, "--expect",
                        CHUNKED)
        relay = Relay(SINK_HOST, "127.0.0.1", sink.ports[0])
        peer = Exim(build, run, [Port(free_port())], relays={CHUNKED_DOMAIN: relay},
                    ca_file=root.file)
        with peer.start() as server:
            load = run.load(f"127.0.0.1:{server.port}", "--messages", CHUNKED, "--connections",
                            CONNECTIONS, "--domain-count", 1, "--sizes", "512:1,10k:2,300k:1")
            load.end()
            sink.expected()
        expect_once_and_intact(load, sink)
        expect_equal(sink.totals["messages"], CHUNKED, "messages")
        expect_equal(sink.totals["chunked"], CHUNKED, "messages by BDAT")
    return f"{CHUNKED} messages"


if __name__ == "__main__":
    run_scenarios(build_folder(__doc__), to_smtp_sink, from_smtp_source, from_swaks, to_postfix,
                  to_exim, to_opensmtpd, exim_to_sink_by_bdat)
