#!/usr/bin/env python3
"""The engine between other people's mail programs: every message once, byte for byte.

A thousand messages go through the engine to each receiver; what arrives is what was sent, below the
header lines that are added on top and up to the receiver's own line ends. Then injectors of others
send through the engine to a receiver of ours.

Usage: interop_test.py BUILD_DIR
"""

import collections
import concurrent.futures
import os
import pwd
import random
import re
import smtplib

from engine_run import Run, build_folder, expect, expect_equal, route, run_scenarios, wait_until
from mail_catcher import Catcher
from mail_peers import Accounts, Packages, Server, free_port, run_to_end

MESSAGES = 1000
CONNECTIONS = 8
MAILBOXES = 20
DOMAIN = "far.example"
SENDER = "writer@near.example"
ARRIVAL_TIME_S = 120
NOBODY = pwd.getpwnam("nobody").pw_uid

# --- What is sent.

Mail = collections.namedtuple("Mail", "recipients data")

HEADER = """\
X-Number: {number}
From: A Writer <writer@near.example>
To: Readers <readers@far.example>
Date: Mon, 6 Jul 2026 10:00:00 +0200
Message-ID: <{number}@near.example>
Subject: message {number}
  on two lines
MIME-Version: 1.0
Content-Type: text/plain; charset=iso-8859-1
Content-Transfer-Encoding: 8bit

"""


def plain_lines(chance):
    letters = b"abcdefghijklmnopqrstuvwxyz 0123456789=.,"
    return [bytes(chance.choices(letters, k=chance.randrange(79)))
            for _ in range(chance.choice((1, 10, 10, 100, 1000)))]


def dotted_lines(chance):
    lines = [b".", b"..", b"...", b".text", b". text", b"..text", b"text.", b"", b"." * 998]
    return chance.choices(lines, k=30) + [b"."]


def long_lines(chance):
    return [bytes([chance.randrange(33, 127)]) * 998 for _ in range(chance.choice((1, 20, 60)))]


def eight_bit_lines(chance):
    return [bytes(chance.choices(range(128, 256), k=chance.choice((1, 70, 998))))
            for _ in range(20)]


def odd_lines(_):
    return [b"", b"From here on", b">From there", b"\t", b" ", b"QUIT", b"\x7f\x01", b"", b"", b""]


def mixed_lines(chance):
    lines = (plain_lines(chance) + dotted_lines(chance) + long_lines(chance) +
             eight_bit_lines(chance) + odd_lines(chance))
    chance.shuffle(lines)
    return lines


def no_lines(_):
    return []


BODIES = (plain_lines, dotted_lines, long_lines, eight_bit_lines, odd_lines, mixed_lines, no_lines,
          plain_lines)


def recipients_count(number):
    if number % 50 == 0:
        return 10
    return 3 if number % 5 == 0 else 1


def make_mails():
    """Numbered, as the first header line says."""
    chance = random.Random(20)
    mails = {}
    for number in range(MESSAGES):
        lines = HEADER.format(number=number).encode().splitlines()
        lines += BODIES[number % len(BODIES)](chance)
        mailboxes = chance.sample(range(MAILBOXES), recipients_count(number))
        mails[number] = Mail([f"r{mailbox}@{DOMAIN}" for mailbox in mailboxes],
                             b"".join(line + b"\r\n" for line in lines))
    return mails


def send_share(engine, mails):
    with smtplib.SMTP(*engine.host_and_port()) as client:
        for mail in mails:
            options = [] if mail.data.isascii() else ["BODY=8BITMIME"]
            expect_equal(client.sendmail(SENDER, mail.recipients, mail.data, options), {},
                         "recipients refused")


def send(engine, mails):
    shares = [list(mails.values())[first::CONNECTIONS] for first in range(CONNECTIONS)]
    with concurrent.futures.ThreadPoolExecutor(CONNECTIONS) as pool:
        list(pool.map(lambda share: send_share(engine, share), shares))


# --- What arrives.

def split_at_number(data):
    """The header lines that were added on top, the message's number, and what was sent."""
    data = data.replace(b"\r\n", b"\n")
    found = re.search(rb"^X-Number: (\d+)$", data, re.MULTILINE)
    expect(found, f"a message without its number: {data[:300]}")
    return data[:found.start()], int(found.group(1)), data[found.start():]


def difference(seen, wanted):
    at = next((i for i, (a, b) in enumerate(zip(seen, wanted)) if a != b),
              min(len(seen), len(wanted)))
    return (f"{len(seen)} octets, not {len(wanted)}; from octet {at}: {seen[at:at + 60]!r}, not "
            f"{wanted[at:at + 60]!r}")


def expect_same(mails, arrived):
    """Each of `arrived` is a recipient and the bytes that came for it."""
    copies = collections.Counter()
    for recipient, data in arrived:
        top, number, data = split_at_number(data)
        expect(re.fullmatch(rb"([!-9;-~]+:.*\n([ \t].*\n)*)+", top),
               f"on top of message {number} stand not header lines alone: {top}")
        wanted = mails[number].data.replace(b"\r\n", b"\n")
        expect(data == wanted, f"message {number}: {difference(data, wanted)}")
        copies[number, recipient] += 1
    wanted = collections.Counter(
        (number, recipient) for number, mail in mails.items() for recipient in mail.recipients)
    expect(copies == wanted, f"missing {list((wanted - copies).items())[:5]}, too many "
           f"{list((copies - wanted).items())[:5]}")


def in_maildirs(folder):
    """A maildir for each mailbox, named like its local part."""
    return [(f"{path.parent.parent.name}@{DOMAIN}", path.read_bytes())
            for path in folder.glob("*/new/*")]


def own(folder, user):
    os.chown(folder, user, -1)


def mail_folder(run, user):
    """Where the receiver, as that user, puts its mail."""
    folder = run.folder / "mail"
    folder.mkdir()
    own(folder, user)
    return folder


def recipients_in_all(mails):
    return sum(len(mail.recipients) for mail in mails.values())


def deliver(run, server, mails, folder, pattern, files):
    """Sends all through the engine to the server, and waits until so many files are there."""
    engine = run.engine(routes=route(DOMAIN, server.port))
    send(engine, mails)
    wait_until(lambda: len(list(folder.glob(pattern))) >= files,
               f"{files} files of mail at the receiver", ARRIVAL_TIME_S)
    engine.drain()
    recipients, deferrals = recipients_in_all(mails), len(engine.events("TransientFailure"))
    expect_equal(len(engine.events("Delivery")), recipients, "deliveries in the log")
    return f"{len(mails)} messages, {recipients} recipients, {deferrals} deferrals"


def deliver_to_maildirs(run, server, folder):
    """Compares after the server's end, when nothing more can come."""
    mails = make_mails()
    with server:
        said = deliver(run, server, mails, folder, "*/new/*", recipients_in_all(mails))
    expect_same(mails, in_maildirs(folder))
    return said


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
        folder, mails = mail_folder(run, NOBODY), make_mails()
        command = (packages.program("usr/sbin/smtp-sink"), "-u", "nobody", "-d", folder / "m.",
                   f"127.0.0.1:{port}", "128")
        with Server(run, packages, port, *command) as server:
            said = deliver(run, server, mails, folder, "m.*", len(mails))
        expect_same(mails, [copy for path in folder.iterdir() for copy in dumped(path)])
    return said


# --- Postfix.

POSTFIX_MAIN = """\
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
command_directory = {root}/usr/sbin
daemon_directory = {root}/usr/lib/postfix/sbin
shlib_directory = {root}/usr/lib/postfix
import_environment = MAIL_CONFIG LD_LIBRARY_PATH
maillog_file = {folder}/postfix/log
maillog_file_prefixes = {folder}
mail_owner = postfix
setgid_group = postdrop
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = postfix.example
mydestination =
mynetworks = 127.0.0.0/8
local_recipient_maps =
alias_maps =
alias_database =
smtpd_peername_lookup = no
smtpd_relay_restrictions = permit_mynetworks, reject
virtual_mailbox_domains = far.example
virtual_mailbox_base = {mail}
virtual_mailbox_maps = texthash:{folder}/postfix/mailboxes
virtual_mailbox_limit = 0
virtual_minimum_uid = 1
virtual_uid_maps = static:{user}
virtual_gid_maps = static:{user}
"""

POSTFIX_MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
error unix - - n - - error
retry unix - - n - - error
proxymap unix - - n - - proxymap
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"""

POSTFIX_QUEUES = ("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming",
                  "maildrop", "private", "public", "saved", "trace")


def write_postfix(run, port, root, mail):
    """Its folders, and a configuration of the services that a delivery to a maildir needs.
    Returns its accounts."""
    accounts = Accounts(run, "postfix", "postdrop")
    for name in ("queue", "postfix", "queue/pid"):
        (run.folder / name).mkdir()
    for name in ["data"] + [f"queue/{queue}" for queue in POSTFIX_QUEUES]:
        (run.folder / name).mkdir(mode=0o755)
        own(run.folder / name, accounts.numbers["postfix"])
    fields = {"folder": run.folder, "root": root, "mail": mail, "port": port, "user": NOBODY}
    run.write("postfix/main.cf", POSTFIX_MAIN.format(**fields))
    run.write("postfix/master.cf", POSTFIX_MASTER.format(**fields))
    run.write("postfix/mailboxes",
              "".join(f"r{i}@{DOMAIN} r{i}/\n" for i in range(MAILBOXES)))
    return accounts


def to_postfix(build):
    packages = Packages(build, "postfix")
    port = free_port()
    with Run(build) as run:
        folder = mail_folder(run, NOBODY)
        accounts = write_postfix(run, port, packages.root, folder)
        server = Server(run, packages, port, packages.program("usr/lib/postfix/sbin/master"), "-d",
                        "-c", run.folder / "postfix", mounts=accounts.mounts)
        return deliver_to_maildirs(run, server, folder)


# --- Exim.

EXIM = """\
exim_path = {program}
keep_environment = LD_LIBRARY_PATH
spool_directory = {folder}/spool-exim
log_file_path = {folder}/spool-exim/%slog
pid_file_path =
primary_hostname = exim.example
domainlist local_domains = far.example
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port}
host_lookup =
rfc1413_query_timeout = 0s
tls_advertise_hosts =
# Deliveries begin at once, by the process that took the message.
deliver_drop_privilege = true
smtp_accept_max = 0
smtp_accept_queue_per_connection = 0
recipients_max = 100
acl_smtp_rcpt = accept_local

begin acl
accept_local:
  accept domains = +local_domains

begin routers
mailboxes:
  driver = accept
  domains = +local_domains
  transport = maildir

begin transports
maildir:
  driver = appendfile
  maildir_format
  directory = {mail}/${{lookup{{$local_part}}lsearch{{{folder}/mailboxes}}}}
  create_directory
  user = Debian-exim
  return_path_add

begin retry
* * F,1h,1m
"""


def to_exim(build):
    packages = Packages(build, "exim4-daemon-light")
    program = packages.program("usr/sbin/exim4")
    port = free_port()
    with Run(build) as run:
        accounts = Accounts(run, "Debian-exim")
        user = accounts.numbers["Debian-exim"]
        folder = mail_folder(run, user)
        (run.folder / "spool-exim").mkdir()
        own(run.folder / "spool-exim", user)
        # Exim uses no name that came from outside in a path, but what it looked up.
        run.write("mailboxes", "".join(f"r{i}: r{i}\n" for i in range(MAILBOXES)))
        run.write("exim.conf", EXIM.format(program=program, folder=run.folder, mail=folder,
                                           port=port))
        server = Server(run, packages, port, program, "-C", run.folder / "exim.conf", "-bdf",
                        mounts=accounts.mounts)
        return deliver_to_maildirs(run, server, folder)


# --- OpenSMTPD.

OPENSMTPD = """\
listen on 127.0.0.1 port {port} hostname opensmtpd.example
table mailboxes {{ "@" = "nobody" }}
action "maildirs" maildir "{mail}/%{{dest.user}}" virtual <mailboxes> user nobody
match from any for domain far.example action "maildirs"
"""


def to_opensmtpd(build):
    packages = Packages(build, "opensmtpd")
    program = packages.program("usr/sbin/smtpd")
    port = free_port()
    with Run(build) as run:
        folder = mail_folder(run, NOBODY)
        for name in ("var-spool", "var-lib/opensmtpd/empty", "run"):
            (run.folder / name).mkdir(parents=True)
        run.write("smtpd.conf", OPENSMTPD.format(mail=folder, port=port))
        # Its paths are built in.
        mounts = {**Accounts(run, "opensmtpd", "opensmtpq").mounts,
                  run.folder / "var-spool": "/var/spool", run.folder / "var-lib": "/var/lib",
                  run.folder / "run": "/run", packages.root / "usr/libexec": "/usr/libexec"}
        server = Server(run, packages, port, program, "-d", "-f", run.folder / "smtpd.conf",
                        mounts=mounts)
        return deliver_to_maildirs(run, server, folder)


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
                 for number, mail in make_mails().items() if number < SWAKS_COUNT}
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


if __name__ == "__main__":
    run_scenarios(build_folder(__doc__), to_smtp_sink, from_smtp_source, from_swaks, to_postfix,
                  to_exim, to_opensmtpd)
