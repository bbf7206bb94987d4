"""Mail sent and received beside a log that grows: each event is noted with the log's length.

What is noted is on the safe side, whichever way a thread is held up. A promise is placed after its
250 has come: the log was not longer when it was given. A receipt is placed before the receiver says
so: the engine writes down what it makes of it later.
"""

import base64
import collections
import hashlib
import random
import re
import smtplib
import socketserver
import threading
import time

from mail_catcher import address_in

CONNECTIONS = 6
MESSAGES_PER_SESSION_MAX = 20
TIMEOUT_S = 120
TEXT_BYTES = 4 << 20
LINE_BYTES = 900

# Of a body, and how often: a mean of 85 KB.
SIZES = {1 << 10: 40, 8 << 10: 30, 64 << 10: 18, 256 << 10: 8, 1200 << 10: 4}

LARGE = {1200 << 10: 1}

# What a host of each domain does; how often mail goes there.
AT_ONCE, SLOW, LATER, NEVER, REFUSES = (
    f"{name}.example" for name in ("once", "slow", "later", "never", "no"))
DOMAINS = {AT_ONCE: 30, SLOW: 45, LATER: 20, NEVER: 2, REFUSES: 3}
LATER_TRIES = 2
SLOW_S = 1

Mail = collections.namedtuple("Mail", "number sender recipients digest")


def sender_of(number):
    """Each message's own, so that a bounce tells whose it is."""
    return f"s{number}@back.example"


def number_of(address):
    return int(re.match(r"[ms](\d+)", address).group(1))


class MailMaker:
    """Not thread-safe."""

    def __init__(self, seed, sizes):
        self.chance, self.sizes = random.Random(seed), sizes
        self.text = base64.b64encode(self.chance.randbytes(TEXT_BYTES))

    def make(self, number):
        """A Mail, and its bytes. The digest is of what stands on the wire, to the final dot."""
        size = self.chance.choices(list(self.sizes), self.sizes.values())[0]
        size = int(size * self.chance.uniform(0.5, 1.5))
        begin = self.chance.randrange(len(self.text) - size)
        head = b"X-Number: %d\r\nSubject: message %d\r\n\r\n.dotted\r\n" % (number, number)
        lines = (self.text[at:at + LINE_BYTES] for at in
                 range(begin, begin + size, LINE_BYTES))
        data = head + b"".join(line + b"\r\n" for line in lines)
        digest = hashlib.sha256(data.replace(b"\r\n.", b"\r\n..") + b".\r\n").hexdigest()
        return Mail(number, sender_of(number), self.recipients(number), digest), data

    def recipients(self, number):
        domains = set(self.chance.choices(list(DOMAINS), DOMAINS.values(),
                                          k=self.chance.choice((1, 1, 1, 2, 3))))
        if REFUSES in domains:
            domains = {REFUSES}
        return [f"m{number}@{domain}" for domain in sorted(domains)]


class Ledger:
    """What was promised and what was received, each with its place. Places come from `place`."""

    def __init__(self, place):
        self.place = place
        self.mails = {}      # By number, before anything is sent.
        self.promised = {}   # By number.
        self.delivered = collections.defaultdict(list)  # By address.
        self.refused = {}    # By address, for good.
        self.damaged = []    # Addresses.

    def received(self, address):
        return len(self.delivered.get(address, ()))

    def arrive(self, sender, addresses, digest):
        place = self.place()
        for address in addresses:
            mail = self.mails.get(number_of(address))
            # A bounce is the engine's own text.
            if sender and (mail is None or mail.digest != digest):
                self.damaged.append(address)
            self.delivered[address].append(place)

    def refuse(self, address):
        self.refused.setdefault(address, self.place())


# --- Receiving.

class Host(socketserver.StreamRequestHandler):
    """One session of a receiver."""

    wbufsize = -1

    def handle(self):
        self.reply("220 receiver.example ESMTP")
        self.sender, self.addresses = "", []
        for line in self.rfile:
            verb = line[:4].upper()
            if verb == b"QUIT":
                return self.reply("221 2.0.0 bye")
            self.reply(self.answer(verb, line))

    def reply(self, line):
        self.wfile.write(line.encode() + b"\r\n")
        self.wfile.flush()

    def answer(self, verb, line):
        if verb == b"EHLO":
            return "250-receiver.example\r\n250-PIPELINING\r\n250 8BITMIME"
        if verb == b"MAIL":
            self.sender, self.addresses = address_in(line), []
        if verb == b"RCPT":
            return self.recipient(address_in(line))
        if verb == b"DATA":
            return self.data() if self.addresses else "554 5.5.1 no valid recipients"
        return "250 2.0.0 ok"

    def recipient(self, address):
        domain = address.rsplit("@", 1)[1]
        if not self.server.takes_all:
            self.server.tries[address] += 1
            if domain == REFUSES:
                self.server.ledger.refuse(address)
                return "550 5.1.1 nobody here"
            if domain == NEVER or (domain == LATER and self.server.tries[address] <= LATER_TRIES):
                return "450 4.2.1 later"
        self.addresses.append(address)
        return "250 2.1.5 ok"

    def data(self):
        self.reply("354 go on")
        digest = self.read_data()
        if not self.server.takes_all and any(SLOW in address for address in self.addresses):
            time.sleep(random.uniform(0, SLOW_S))
        self.server.ledger.arrive(self.sender, self.addresses, digest)
        return "250 2.0.0 ok"

    def read_data(self):
        """The digest from the line with the number on, the engine's own lines being on top."""
        digest, begun = hashlib.sha256(), False
        for line in self.rfile:
            begun = begun or line.startswith(b"X-Number: ")
            if begun:
                digest.update(line)
            if line == b".\r\n":
                return digest.hexdigest()
        raise ConnectionError("the session ended in the data")


class Receiver(socketserver.ThreadingTCPServer):
    """Hosts of all domains on one port. `takes_all`: none of them makes difficulties."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 512

    def __init__(self, ledger, takes_all=False):
        super().__init__(("127.0.0.1", 0), Host)
        self.ledger, self.takes_all = ledger, takes_all
        self.tries = collections.Counter()
        self.routes = f"ALL 127.0.0.1:{self.server_address[1]}\n"
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05},
                         daemon=True).start()

    def handle_error(self, request, client_address):
        """A session that is cut off is the engine's to speak of."""

    def __exit__(self, *exception):
        self.shutdown()
        self.server_close()


# --- Sending.

class Injector:
    """Sends mails on several connections. What was cut off in doubt is not sent again: its number
    has no promise."""

    def __init__(self, ledger, host_and_port, numbers, seed, sizes=SIZES):
        self.ledger, self.host_and_port = ledger, host_and_port
        self.maker, self.numbers = MailMaker(seed, sizes), iter(numbers)
        self.making = threading.Lock()
        self.open = threading.Event()
        self.open.set()
        self.interruptions = 0
        self.faults = []
        self.threads = [threading.Thread(target=self.run, daemon=True)
                        for _ in range(CONNECTIONS)]
        for thread in self.threads:
            thread.start()

    def interrupt(self):
        """The engine will be killed: sessions that are lost from now on are no fault."""
        self.interruptions += 1
        self.open.clear()

    def go_on(self):
        self.open.set()

    def join(self):
        for thread in self.threads:
            thread.join()
        if self.faults:
            raise self.faults[0]

    def run(self):
        try:
            while self.session():
                pass
        except Exception as fault:  # Told by join.
            self.faults.append(fault)

    def session(self):
        """False when nothing is left to send."""
        self.open.wait()
        interruptions = self.interruptions
        try:
            with smtplib.SMTP(*self.host_and_port, timeout=TIMEOUT_S) as client:
                client.ehlo("injector.example")
                return all(self.send_one(client) for _ in range(MESSAGES_PER_SESSION_MAX))
        except (smtplib.SMTPServerDisconnected, ConnectionError):
            if interruptions == self.interruptions:
                raise
        return True

    def send_one(self, client):
        """False when nothing is left to send."""
        with self.making:
            number = next(self.numbers, None)
            if number is None:
                return False
            mail, data = self.maker.make(number)
            self.ledger.mails[number] = mail
        try:
            client.mail(mail.sender)
            for address in mail.recipients:
                client.rcpt(address)
            code, _ = client.data(data)
        except smtplib.SMTPResponseException:
            code = 0
        if code == 250:
            self.ledger.promised[number] = self.ledger.place()
        else:
            client.rset()
        return True
