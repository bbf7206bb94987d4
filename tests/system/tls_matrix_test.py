#!/usr/bin/env python3
"""Every level of TLS before every kind of host, over real sockets: what is delivered, and how.

One engine is given one message for many domains. Each is a cell: a level, and what its host does
with STARTTLS or shows for a certificate. The expected cells are the appliance's outcome matrix, in
the letters of ROWS. What was delivered is judged by the hosts' transcripts: not one byte in clear
where TLS is asked for, nothing said to a host before the verdict on it. Then the delivery log must
say the same. Where a cell says that nothing is sent, a second domain of the same kind has a good
host behind the bad one, and must be delivered there.

A host that is silent is not among them, since it is borne for minutes: unit tests have it, with a
clock of their own.

Usage: tls_matrix_test.py BUILD_DIR
"""

import collections
import dataclasses
import datetime
import smtplib
import ssl

import tls_host
from certificates import Workshop, openssl
from engine_run import Failed, Run, build_folder, expect, expect_equal, run_scenarios, wait_until
from name_server import A, MX, NameServer
from tls_host import Script, TlsHosts, alert, answer, at_the_hello, offer, server_context

LEVELS = ["off", "on", "required", "on_verify", "require_verify", "require_verify_hosted"]
CELL_NAMES = ["*.cell.example", "*.next.example"]  # What a certificate of the domain says.
MESSAGE = "Subject: a cell\r\n\r\n.A line of the message.\r\n"
OUTCOMES = ("Delivery", "TransientFailure", "Bounce", "Expiration")
A_YEAR = datetime.timedelta(days=365)

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


@dataclasses.dataclass
class Row:
    """`cells`, in the order of LEVELS: C in clear, R in clear on a new connection, E encrypted,
    V the same and verified, X nothing is sent to this host, L nothing either, but it was verified.

    `reasons`: the log's words for what fell short, any of them; `none`: it may be without."""

    name: str
    cells: str
    reasons: str
    script: Script
    controls: str = ""  # Beside the level.
    route: str = "127.0.0.1:{port}"  # Empty: the domain has an MX record.
    next_by: object = None  # Who vouches for the next host; none: the root.

    def action(self, level):
        return self.cells.split()[LEVELS.index(level)]


NOT_OFFERED = "C C X C X X"
REFUSED = "C C X C X X"
LOST = "C R X R X X"
AFTER_220 = "C X X X X X"
LOST_UNDER_TLS = "C L L L L L"
DOMAIN = "C V V V V V"
HOST_ONLY = "C V V E X V"
NOT_VERIFIED = "C E E E X X"


def rows_without_tls(context):
    """What a host may do instead of a handshake."""
    refusal = "454 4.7.0 TLS is not available due to a temporary reason"

    def row(name, cells, reasons, act=None, **script):
        return Row(name, cells, reasons, Script(act, **script))

    return [
        row("no-starttls", NOT_OFFERED, "no-starttls"),
        row("ehlo-refused", NOT_OFFERED, "no-starttls", ehlo_reply="502 5.5.1 what?"),
        row("refused-454", REFUSED, "starttls-refused", answer(refusal)),
        row("refused-554", REFUSED, "starttls-refused", answer("554 5.7.3 never")),
        row("refused-501", REFUSED, "starttls-refused", answer("501 5.5.4 no parameters")),
        row("closing-421", LOST, "starttls-closed", answer("421 4.3.2 closing")),
        row("garbage", LOST, "starttls-garbage", answer("hello, who is there?")),
        row("other-code", LOST, "starttls-garbage", answer("250 2.0.0 ok")),
        row("two-replies", LOST, "starttls-garbage", answer(refusal + "\r\n250 2.0.0 ok")),
        row("close", LOST, "starttls-closed", tls_host.close),
        row("reset", LOST, "starttls-closed", tls_host.reset),
        row("injected", AFTER_220, "injected", tls_host.inject(b"250 2.0.0 ok\r\n", context)),
        # By then it is a handshake that begins with something else.
        row("injected-later", AFTER_220, "handshake",
            tls_host.inject_later(b"250 2.0.0 ok\r\n", context)),
    ]


def rows_without_handshake(certificate, folder):
    """After the 220 it fails."""
    weak_group = folder / "group-1024"
    openssl("dhparam", "-dsaparam", "-out", weak_group, "1024")
    old = {"ciphers": "ALL:@SECLEVEL=0"}
    version = ssl.TLSVersion
    tls10 = server_context(certificate, version.TLSv1, version.TLSv1, **old)
    tls11 = server_context(certificate, version.TLSv1_1, version.TLSv1_1, **old)
    tls12 = server_context(certificate, newest=version.TLSv1_2)
    weak = server_context(certificate, newest=version.TLSv1_2, groups_file=weak_group,
                          ciphers="DHE-RSA-AES128-GCM-SHA256:@SECLEVEL=0")
    cbc = server_context(certificate, newest=version.TLSv1_2, ciphers="ECDHE-RSA-AES128-SHA")
    half_hello = b"\x16\x03\x03\x00\x7a\x02\x00\x00\x76\x03\x03"

    def row(name, reasons, act, controls=""):
        return Row(name, AFTER_220, reasons, Script(act), controls)

    return [
        row("close-after-220", "handshake", tls_host.go_ahead_and(tls_host.close)),
        row("close-at-hello", "handshake", at_the_hello(tls_host.close)),
        row("reset-at-hello", "handshake", at_the_hello(tls_host.reset)),
        row("garbage-at-hello", "handshake",
            at_the_hello(tls_host.send_instead(b"HTTP/1.1 400 Bad Request\r\n\r\n"))),
        row("half-a-hello", "handshake", at_the_hello(tls_host.send_instead(half_hello))),
        row("alert-40", "handshake", at_the_hello(alert(40))),
        row("alert-70", "protocol", at_the_hello(alert(70))),
        row("alert-71", "cipher", at_the_hello(alert(71))),
        row("only-1.0", "protocol", offer(tls10)),
        row("only-1.1", "protocol", offer(tls11)),
        row("only-1.2-below-least", "protocol", offer(tls12), "tls_min = 1.3"),
        # A server has one alert for all that it has not in common with a client.
        row("only-cbc", "cipher handshake", offer(cbc)),
        row("weak-group", "cipher", offer(weak)),
    ]


def rows_with_tls(workshop, root):
    """The handshake is good, and the certificate is what it is."""
    stranger = workshop.authority("a stranger")
    weak_root = workshop.authority("a weak one below the root", key="rsa:1024")
    below = root.authority("below the root")
    not_sent = root.authority("below the root, and not shown")
    not_sent.above = ""
    no_authority = root.below(root.issue(["host.example"]))
    both_roots = workshop.folder / "both-roots"
    both_roots.write_text(root.file.read_text() + weak_root.file.read_text())

    def row(name, cells, reasons, certificate, controls="", route="127.0.0.1:{port}",
            next_by=None, under_tls=None, **context):
        script = Script(offer(server_context(certificate, **context)), under_tls=under_tls)
        return Row(name, cells, reasons, script, controls, route, next_by)

    def cell(level):
        return f"{label(level, 'exact')}.cell.example"

    version = ssl.TLSVersion
    own_ca = f"tls_ca_file = {stranger.file}"
    weak = {"ciphers": "DEFAULT@SECLEVEL=0"}
    others = {"clients_by": root.file, "clients": ssl.CERT_REQUIRED}
    return [
        row("exact", DOMAIN, "", root.issue(["other.example"] + [cell(each) for each in LEVELS] +
                                            ["*.next.example"])),
        row("wildcard", DOMAIN, "", root.issue(CELL_NAMES)),
        row("rsa", DOMAIN, "", root.issue(CELL_NAMES, key="rsa:2048")),
        row("intermediate", DOMAIN, "", below.issue(CELL_NAMES)),
        row("version-1.2", DOMAIN, "", root.issue(CELL_NAMES), newest=version.TLSv1_2),
        row("version-1.3", DOMAIN, "", root.issue(CELL_NAMES), "tls_min = 1.3",
            oldest=version.TLSv1_3),
        row("own-ca", DOMAIN, "", stranger.issue(CELL_NAMES), own_ca),
        row("common-name-taken", DOMAIN, "", root.issue([], subject="*.cell.example"),
            "tls_accept_cn = on"),
        row("common-name", NOT_VERIFIED, "name", root.issue([], subject="*.cell.example")),
        row("not-own-ca", NOT_VERIFIED, "untrusted", root.issue(CELL_NAMES), own_ca,
            next_by=stranger),
        row("self-signed", NOT_VERIFIED, "untrusted", workshop.self_signed(CELL_NAMES)),
        row("unknown-ca", NOT_VERIFIED, "untrusted", stranger.issue(CELL_NAMES)),
        row("missing-intermediate", NOT_VERIFIED, "untrusted", not_sent.issue(CELL_NAMES)),
        row("expired", NOT_VERIFIED, "expired",
            root.issue(CELL_NAMES, begins=-2 * A_YEAR, ends=-A_YEAR)),
        row("not-yet-valid", NOT_VERIFIED, "not-yet-valid",
            root.issue(CELL_NAMES, begins=A_YEAR, ends=2 * A_YEAR)),
        row("other-name", NOT_VERIFIED, "name", root.issue(["host.other.example"])),
        row("name-above", NOT_VERIFIED, "name", root.issue(["cell.example", "*.example"])),
        row("weak-key", NOT_VERIFIED, "weak-key", root.issue(CELL_NAMES, key="rsa:1024"), **weak),
        row("weak-root", NOT_VERIFIED, "weak-key", weak_root.issue(CELL_NAMES),
            f"tls_ca_file = {both_roots}", **weak),
        row("for-clients-only", NOT_VERIFIED, "bad-chain",
            root.issue(CELL_NAMES, usage="clientAuth")),
        row("by-no-authority", NOT_VERIFIED, "bad-chain", no_authority.issue(CELL_NAMES)),
        row("mx-host", HOST_ONLY, "name", root.issue(["*.mx.example"]), route=""),
        row("route-host", HOST_ONLY, "name", root.issue(["mail.hosts.example"]),
            route="mail.hosts.example:{port}"),
        row("address", HOST_ONLY, "name", root.issue(["127.0.0.1"])),
        row("closes-under-tls", LOST_UNDER_TLS, "", root.issue(CELL_NAMES),
            under_tls=tls_host.close),
        row("ends-under-tls", LOST_UNDER_TLS, "", root.issue(CELL_NAMES), under_tls=tls_host.end),
        row("resets-under-tls", LOST_UNDER_TLS, "", root.issue(CELL_NAMES),
            under_tls=tls_host.reset),
        row("wants-another-client-1.2", AFTER_220, "handshake", root.issue(CELL_NAMES),
            newest=version.TLSv1_2, **others),
        # Under TLS 1.3 the client is done before the server has looked at its certificate: the
        # server's alert comes later, or is lost in the reset that follows.
        row("wants-another-client-1.3", LOST_UNDER_TLS, "none handshake",
            root.issue(CELL_NAMES), **others),
    ]


def label(level, row_name):
    return f"{level.replace('_', '-')}-{row_name.replace('.', '-')}"


@dataclasses.dataclass
class Cell:
    row: Row
    level: str
    domain: str
    host: tls_host.Host
    next_host: tls_host.Host = None

    def action(self):
        return self.row.action(self.level)

    def recipient(self):
        return f"reader@{self.domain}"


class Matrix:
    """Builds all cells, and sends them one message."""

    def __init__(self, run, hosts, names):
        self.run, self.hosts, self.names = run, hosts, names
        self.routes, self.table, self.cells = [], [], []
        self.mx_port, self.mx_hosts = 0, 0
        names.records[("mail.hosts.example", A)] = ["127.0.0.1"]
        self.workshop = Workshop(run.folder / "certificates")
        self.root = self.workshop.authority("the root")
        self.good = {}  # Next hosts' scripts, by who vouches for them.

    def build(self):
        self.rows = self.all_rows()
        for row in self.rows:
            for level in LEVELS:
                self.add(row, level)
                if row.action(level) in "RXL":
                    self.add(row, level, with_next=True)

    def all_rows(self):
        certificate = self.root.issue(CELL_NAMES, key="rsa:2048")
        return (rows_without_tls(server_context(certificate)) +
                rows_without_handshake(certificate, self.run.folder) +
                rows_with_tls(self.workshop, self.root))

    def add(self, row, level, with_next=False):
        kind = "next" if with_next else "cell"
        domain = f"{label(level, row.name)}.{kind}.example"
        scripts = [row.script] + ([self.good_script(row)] if with_next else [])
        made = (self.add_route_hosts if row.route else self.add_mx_hosts)(row, domain, scripts)
        self.table.append(f"[{domain}]\ntable_tls = {level}\n{row.controls}\n")
        self.cells.append(Cell(row, level, domain, *made))

    def good_script(self, row):
        authority = row.next_by or self.root
        if authority not in self.good:
            certificate = authority.issue(["*.next.example"])
            self.good[authority] = Script(offer(server_context(certificate)))
        return self.good[authority]

    def add_route_hosts(self, row, domain, scripts):
        made = [self.hosts.listen(script) for script in scripts]
        words = [row.route.format(port=made[0].port)]
        words += [f"127.0.0.1:{host.port}/pri=10" for host in made[1:]]
        self.routes.append(f"{domain} {', '.join(words)}\n")
        return made

    def add_mx_hosts(self, _row, domain, scripts):
        """An MX record names no port: each host has an address of its own, and the same port."""
        made = []
        records = self.names.records.setdefault((domain, MX), [])
        for preference, script in enumerate(scripts):
            self.mx_hosts += 1
            name, address = f"{self.mx_hosts}.mx.example", f"127.0.1.{self.mx_hosts}"
            made.append(self.hosts.listen(script, address, self.mx_port))
            self.mx_port = made[-1].port
            records.append((preference, name))
            self.names.records[(name, A)] = [address]
        return made

    def deliver(self):
        """Until each cell has its outcome in the log, and all connections have ended."""
        engine = self.run.engine(routes="".join(self.routes), table="".join(self.table),
                                 profile=SECTIONS.format(forward=self.names.forward(),
                                                         port=self.mx_port,
                                                         ca_file=self.root.file))
        with smtplib.SMTP(*engine.host_and_port()) as client:
            refused = client.sendmail("writer@near.example",
                                      [cell.recipient() for cell in self.cells], MESSAGE)
        expect_equal(refused, {}, "recipients refused")
        try:
            self.wait_for_outcomes(engine)
            engine.drain()
            for host in self.hosts.hosts:
                host.wait_ended()
        finally:
            self.events = collections.defaultdict(list)
            for event in engine.events(*OUTCOMES):
                self.events[event["recipient"]].append(event)

    def wait_for_outcomes(self, engine):
        wanted = {cell.recipient() for cell in self.cells}

        def all_there():
            if not engine.program.running():
                raise Failed(f"the engine has ended: {engine.program.said()}")
            return {event["recipient"] for event in engine.events(*OUTCOMES)} >= wanted
        wait_until(all_there, "an outcome for each cell")

    def scenarios(self):
        """The delivery, and one for each row."""
        def one_message_to_all_cells(_build):
            self.deliver()
            return f"{len(self.cells)} cells"

        def of(row):
            def scenario(_build):
                return self.check_row(row)
            scenario.__name__ = row.name
            return scenario
        return [one_message_to_all_cells] + [of(row) for row in self.rows]

    def check_row(self, row):
        faults = []
        cells = [cell for cell in self.cells if cell.row is row]
        for cell in cells:
            try:
                check_host(cell)
                check_log(cell, self.events[cell.recipient()])
            except Failed as why:
                faults.append(f"{cell.domain} ({cell.action()}): {why}")
        if faults:
            raise Failed(f"{len(faults)} of {len(cells)} cells: " + "; ".join(faults[:3]))
        return f"{len(cells)} cells"


def check_host(cell):
    """What the hosts saw."""
    for host in [cell.host] + ([cell.next_host] if cell.next_host else []):
        for seen in host.connections:
            check_any(seen, cell.level)
    {"C": check_clear, "R": check_clear_anew, "E": check_encrypted, "V": check_encrypted,
     "X": check_nothing, "L": check_lost}[cell.action()](cell)


def check_any(seen, level):
    """Whatever the cell."""
    expect_equal(seen.early, b"", "bytes behind STARTTLS")
    expect(seen.only_records_behind_220(), f"behind the 220: {seen.behind_220!r}")
    if level == "off":
        expect(not seen.asked_for_tls(), "STARTTLS at level off")
    if level.startswith("require"):
        for word in (b"MAIL", b"RCPT", b"DATA", b"writer@", b"reader@"):
            expect(word not in seen.before_220.upper() and word not in seen.before_220,
                   f"in clear: {seen.before_220!r}")


def check_message(host, cell, secret):
    messages = host.messages()
    expect_equal(len(messages), 1, "messages taken")
    expect_equal(messages[0][:3], (secret, "writer@near.example", [cell.recipient()]),
                 "what was taken")
    expect(messages[0].data.endswith(MESSAGE.encode()), f"data: {messages[0].data!r}")


def check_untouched(cell):
    if cell.next_host:
        expect_equal(len(cell.next_host.connections), 0, "connections to the next host")


def check_clear(cell):
    expect_equal(len(cell.host.connections), 1, "connections")
    seen = cell.host.connections[0]
    wanted = cell.level != "off" and cell.row.script.at_starttls is not None
    wanted = wanted and cell.row.script.ehlo_reply is None
    expect_equal(seen.asked_for_tls(), wanted, "STARTTLS was sent")
    check_message(cell.host, cell, secret=False)
    check_untouched(cell)


def check_clear_anew(cell):
    expect_equal(len(cell.host.connections), 2, "connections")
    first, second = cell.host.connections
    expect_equal(first.commands(), [b"EHLO mta.example.net", b"STARTTLS"], "the first connection")
    expect_equal(second.asked_for_tls(), False, "STARTTLS on the second connection")
    check_message(cell.host, cell, secret=False)
    check_untouched(cell)


def check_encrypted(cell):
    expect_equal(len(cell.host.connections), 1, "connections")
    seen = cell.host.connections[0]
    expect_equal(seen.commands_in_clear, [b"EHLO mta.example.net", b"STARTTLS"], "in clear")
    expect_equal(seen.commands_under_tls[0], b"EHLO mta.example.net", "first under TLS")
    expect(seen.end_was_said, "the engine closed without close_notify")
    check_message(cell.host, cell, secret=True)


def check_nothing(cell):
    check_lost(cell)
    seen = cell.host.connections[0]
    expect_equal(seen.commands_under_tls, [], "said under TLS that was refused")


def check_lost(cell):
    expect_equal(len(cell.host.connections), 1, "connections to the bad host")
    seen = cell.host.connections[0]
    for word in (b"MAIL", b"RCPT", b"DATA"):
        expect(word not in seen.before_220.upper(), f"in clear: {seen.before_220!r}")
    expect(seen.commands_under_tls in ([], [b"EHLO mta.example.net"]),
           f"said under TLS: {seen.commands_under_tls}")
    expect_equal(cell.host.messages(), [], "messages taken")
    if cell.next_host:
        check_message(cell.next_host, cell, secret=True)


def check_log(cell, events):
    """What the delivery log says."""
    expect_equal(len(events), 1, f"outcomes in the log ({events})")
    event = events[0]
    action, reasons = cell.action(), cell.row.reasons.split()
    if action in "XL" and cell.next_host:
        action, reasons = "V", []  # The event is about the next host.
    expect_equal(event["type"], "TransientFailure" if action in "XL" else "Delivery", "outcome")
    expect_equal(event["tls_level"], cell.level, "tls_level")
    reason = event.get("tls_reason", "")
    if cell.level == "off" or action == "V":
        reasons = []
    known = [word.replace("none", "") for word in reasons] or [""]
    expect(reason in known, f"tls_reason: {reason!r}, not {known}")
    result = {"C": "none", "R": "none", "E": "unverified", "V": "verified",
              "L": reason or "verified", "X": reason}[action]
    expect_equal(event["tls_result"], result, "tls_result")
    host = cell.next_host or cell.host
    check_session(event, host.connections[-1] if action in "EV" else None)


def check_session(event, seen):
    keys = ("tls_protocol_version", "tls_cipher")
    if seen:
        expect_equal(event["tls_protocol_version"], seen.tls["version"], "version")
        expect(event["tls_cipher"].startswith("TLS_"), f"cipher {event['tls_cipher']!r}")
    elif event["type"] == "Delivery":
        expect(not any(key in event for key in keys), f"TLS of a delivery in clear: {event}")


def main():
    build = build_folder(__doc__)
    with Run(build) as run, TlsHosts() as hosts, NameServer() as names:
        matrix = Matrix(run, hosts, names)
        matrix.build()
        run_scenarios(build, *matrix.scenarios())


if __name__ == "__main__":
    main()
