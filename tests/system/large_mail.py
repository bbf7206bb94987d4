"""Messages that are too large to be kept: made as they are sent, and hashed as they come.

`send(address, body)` injects one; a Hasher receives and keeps of each message its length and its
hash. Neither holds more than a piece. What is compared is the wire form, dots stuffed, from the
body's own first line on: what stands before it is the engine's trace.
"""

import collections
import contextlib
import hashlib
import socket
import socketserver
import ssl
import threading

from engine_run import expect, wait_until

TIMEOUT_S = 300
FIRST_LINE = b"Subject: a large message\r\n"
END = b"\r\n.\r\n"
PIECE_BYTES = 1 << 20

Hashed = collections.namedtuple("Hashed", "bytes digest")
Received = collections.namedtuple("Received", "hashed secret")  # `secret`: it came under TLS.


class Body:
    """Lines that differ from piece to piece, with stuffed dots among them."""

    def __init__(self, size):
        self.size = size
        line = bytes(range(33, 33 + 76)) + b"\r\n"
        self.lines = (line * 9 + b"..a dot, stuffed\r\n..\r\n") * (PIECE_BYTES // (9 * 78 + 22))

    def pieces(self):
        yield FIRST_LINE + b"\r\n"
        left = self.size - len(FIRST_LINE) - 2 - len(END)
        number = 0
        while left > 0:
            piece = b"piece %020d\r\n%s" % (number, self.lines)
            if len(piece) > left:
                piece = (b"x" * 62 + b"\r\n") * (left // 64) + b"x" * (left % 64)
            left -= len(piece)
            number += 1
            yield piece
        yield END

    def hashed(self):
        digest, size = hashlib.sha256(), 0
        for piece in self.pieces():
            digest.update(piece)
            size += len(piece)
        return Hashed(size, digest.hexdigest())


class Client:
    """One that speaks no more SMTP than it needs."""

    def __init__(self, address):
        self.link = socket.create_connection(address, timeout=TIMEOUT_S)
        self.answer("220")
        self.command("EHLO client.example", "250")

    def answer(self, code):
        text = b""
        while not text.endswith(b"\r\n") or text.splitlines()[-1][3:4] == b"-":
            more = self.link.recv(4096)
            expect(more, f"the engine closed instead of a {code}; it had said {text!r}")
            text += more
        expect(text.splitlines()[-1].startswith(code.encode()), f"{text!r} instead of a {code}")

    def command(self, line, code):
        self.link.sendall(line.encode() + b"\r\n")
        self.answer(code)

    def secure(self):
        self.command("STARTTLS", "220")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self.link = context.wrap_socket(self.link)
        self.command("EHLO client.example", "250")

    def close(self):
        self.link.close()


def send(address, body, recipient, secret=False):
    """Until its 250. Returns what was sent."""
    with contextlib.closing(Client(address)) as client:
        if secret:
            client.secure()
        client.command("MAIL FROM:<s@sender.example>", "250")
        client.command(f"RCPT TO:<{recipient}>", "250")
        client.command("DATA", "354")
        digest, size = hashlib.sha256(), 0
        for piece in body.pieces():
            client.link.sendall(piece)
            digest.update(piece)
            size += len(piece)
        client.answer("250")
    return Hashed(size, digest.hexdigest())


class Session(socketserver.BaseRequestHandler):
    """Of a Hasher, on a thread of its own."""

    def handle(self):
        self.link, self.unread = self.request, b""
        self.link.settimeout(TIMEOUT_S)
        with contextlib.suppress(ConnectionError, ssl.SSLError, socket.timeout):
            self.reply("220 hasher.example ESMTP")
            while (line := self.read_line())[:4].upper() != b"QUIT":
                self.command(line[:8].upper())
            self.reply("221 2.0.0 bye")

    def read(self):
        data = self.link.recv(PIECE_BYTES)
        if not data:
            raise ConnectionError
        return data

    def read_line(self):
        while b"\r\n" not in self.unread:
            self.unread += self.read()
        line, self.unread = self.unread.split(b"\r\n", 1)
        return line

    def reply(self, line):
        self.link.sendall(line.encode() + b"\r\n")

    def command(self, verb):
        if verb.startswith(b"EHLO"):
            offers = self.server.context and not isinstance(self.link, ssl.SSLSocket)
            more = "250-STARTTLS\r\n" if offers else ""
            return self.reply(f"250-hasher.example\r\n{more}250-PIPELINING\r\n250 8BITMIME")
        if verb == b"STARTTLS":
            self.reply("220 2.0.0 go ahead")
            self.link = self.server.context.wrap_socket(self.link, server_side=True)
            return None
        if verb.startswith(b"DATA"):
            self.reply("354 go on")
            hashed = self.hash_body()
            secret = isinstance(self.link, ssl.SSLSocket)
            self.server.received.append(Received(hashed, secret))
        return self.reply("250 2.0.0 ok")

    def hash_body(self):
        """What ends in the end of the data is held back until it is seen not to be that."""
        while FIRST_LINE not in self.unread:
            self.unread += self.read()
        held = self.unread[self.unread.index(FIRST_LINE):]
        self.unread = b""
        digest, size = hashlib.sha256(), 0
        while not held.endswith(END):
            size += len(held) - min(len(held), len(END))
            digest.update(held[:-len(END)])
            self.server.coming(size)
            held = held[-len(END):] + self.read()
        digest.update(held)
        return Hashed(size + len(held), digest.hexdigest())


class Hasher(socketserver.ThreadingTCPServer):
    """A receiver, from start to close. `context`: it offers STARTTLS. Where it is told to stop, it
    reads no further until it may go on."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True

    def __init__(self, context=None):
        super().__init__(("127.0.0.1", 0), Session)
        self.context = context
        self.received = []
        self.most_bytes = 0  # Of one message, so far.
        self.stops_at = None
        self.stopped, self.may_go_on = threading.Event(), threading.Event()
        self.port = self.server_address[1]
        self.thread = threading.Thread(target=self.serve_forever, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exception):
        self.may_go_on.set()
        self.shutdown()
        self.server_close()

    def coming(self, size):
        self.most_bytes = max(self.most_bytes, size)
        if self.stops_at is None or size < self.stops_at or self.may_go_on.is_set():
            return
        self.stopped.set()
        self.may_go_on.wait(TIMEOUT_S)

    def wait_for(self, count):
        wait_until(lambda: len(self.received) >= count, f"{count} messages received", TIMEOUT_S)
        return list(self.received)
