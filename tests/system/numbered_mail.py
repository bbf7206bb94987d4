"""Mail of every shape, numbered, and whether it came: every message once, byte for byte.

What arrives must be what was sent, below the header lines that are added on top and up to the
receiver's own line ends.
"""

import collections
import concurrent.futures
import random
import re
import smtplib

from engine_run import expect, expect_equal

CONNECTIONS = 8
MAILBOXES = 20  # Of each domain.
SENDER = "writer@near.example"

Mail = collections.namedtuple("Mail", "recipients data")

# --- What is sent.

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


def mailboxes(domain):
    return [f"r{mailbox}@{domain}" for mailbox in range(MAILBOXES)]


def make_mails(count, *domains):
    """By number, as the first header line says."""
    chance = random.Random(20)
    readers = [reader for domain in domains for reader in mailboxes(domain)]
    mails = {}
    for number in range(count):
        lines = HEADER.format(number=number).encode().splitlines()
        lines += BODIES[number % len(BODIES)](chance)
        mails[number] = Mail(chance.sample(readers, recipients_count(number)),
                             b"".join(line + b"\r\n" for line in lines))
    return mails


def recipients_in_all(mails):
    return sum(len(mail.recipients) for mail in mails.values())


def send_share(host_and_port, mails):
    with smtplib.SMTP(*host_and_port) as client:
        for mail in mails:
            options = [] if mail.data.isascii() else ["BODY=8BITMIME"]
            expect_equal(client.sendmail(SENDER, mail.recipients, mail.data, options), {},
                         "recipients refused")


def send(host_and_port, mails):
    shares = [list(mails.values())[first::CONNECTIONS] for first in range(CONNECTIONS)]
    with concurrent.futures.ThreadPoolExecutor(CONNECTIONS) as pool:
        list(pool.map(lambda share: send_share(host_and_port, share), shares))


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
