"""Receivers on Python's `ssl` that do with STARTTLS what a script says, and keep all they saw.

    with TlsHosts() as hosts:
        host = hosts.listen(Script(offer(server_context(certificate))))
        ...                                       # Mail to 127.0.0.1, host.port.
        host.connections[0].commands_in_clear     # [b"EHLO mta.example.net", b"STARTTLS"]

A script is mostly what happens at STARTTLS: a function of the Talk, which may reply, secure the
connection, cut it off. What follows is a plain server's dialogue, in clear or under TLS. All that a
client sends is kept: commands in clear, the bytes behind our 220 as they were on the wire, commands
and messages under TLS.
"""

import collections
import contextlib
import dataclasses
import selectors
import socket
import ssl
import struct
import threading
import typing
import warnings

from engine_run import wait_until

TIMEOUT_S = 60
HANDSHAKE_RECORD = 0x16
RECORD_TYPES = range(0x14, 0x18)  # ChangeCipherSpec, alert, handshake, data: RFC 8446 B.1.

# `secret`: it came under TLS.
Taken = collections.namedtuple("Taken", "secret sender recipients data")


class Closed(Exception):
    """The client has closed."""


class Over(Exception):
    """Nothing more is to be said."""


class Connection:
    """What a host saw of one connection."""

    def __init__(self):
        self.commands_in_clear = []
        self.commands_under_tls = []
        self.early = b""           # What came behind STARTTLS, before our 220.
        self.before_220 = b""      # All that the client sent, as it was on the wire,
        self.behind_220 = b""      # and where STARTTLS was taken, what came since.
        self.secured = False       # The handshake was over, as the host sees it.
        self.tls = {}              # version, cipher, resumed, server_name, certificate
        self.messages = []
        self.end_was_said = False  # The client's close_notify.
        self.trouble = ""
        self.ended = False

    def commands(self):
        return self.commands_in_clear + self.commands_under_tls

    def asked_for_tls(self):
        return b"STARTTLS" in self.commands_in_clear

    def only_records_behind_220(self):
        """A handshake first, and TLS records to the end; the last one may be cut short."""
        rest = self.behind_220
        if rest and rest[0] != HANDSHAKE_RECORD:
            return False
        while rest:
            if rest[0] not in RECORD_TYPES or rest[1:2] not in (b"\x03", b""):
                return False
            rest = rest[5 + int.from_bytes(rest[3:5], "big"):]
        return True


class PythonTls:
    """TLS on a connection, by the `ssl` module, over buffers: what is on the wire passes by us."""

    def __init__(self, talk, context):
        self.talk = talk
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.session = context.wrap_bio(self.incoming, self.outgoing, server_side=True)

    def handshake(self):
        self.drive(self.session.do_handshake)
        return {"version": self.session.version(), "cipher": self.session.cipher()[0],
                "resumed": self.session.session_reused,
                "server_name": getattr(self.session, "server_name_asked", None),
                "certificate": self.session.getpeercert()}

    def drive(self, step):
        while True:
            try:
                done = step()
                self.flush()
                return done
            except ssl.SSLWantReadError:
                self.flush()
                self.incoming.write(self.talk.take_received())
            except ssl.SSLError:
                self.flush()  # The alert.
                raise

    def flush(self):
        self.talk.transmit(self.outgoing.read())

    def read(self):
        """Empty: the client has said that no more comes."""
        return self.drive(lambda: self.session.read(1 << 16))

    def write(self, data):
        self.drive(lambda: self.session.write(data))

    def say_end(self):
        with contextlib.suppress(ssl.SSLError):  # It would like the client to have ended, too.
            self.session.unwrap()
        self.flush()

    def end(self):
        """Says that no more comes, and waits for the client to say the same."""
        self.drive(self.session.unwrap)


def server_context(certificate, oldest=ssl.TLSVersion.TLSv1_2, newest=ssl.TLSVersion.TLSv1_3,
                   ciphers="DEFAULT", groups_file=None, clients_by=None, clients=ssl.CERT_OPTIONAL):
    """`clients_by`: whose certificates are asked of clients; none: they are not asked."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Of old versions: that's the test.
        context.minimum_version, context.maximum_version = oldest, newest
    context.set_ciphers(ciphers)
    context.load_cert_chain(certificate.chain, certificate.key)
    context.sni_callback = note_server_name
    if groups_file:
        context.load_dh_params(groups_file)
    if clients_by:
        context.verify_mode = clients
        context.load_verify_locations(clients_by)
    return context


def note_server_name(session, name, _context):
    session.server_name_asked = name


@dataclasses.dataclass
class Script:
    at_starttls: typing.Callable = None  # None: it is not offered.
    ehlo_reply: str = None               # Instead of taking it.
    under_tls: typing.Callable = None    # Once the handshake is over.
    in_body: typing.Callable = None      # Behind the 354, with the body on its way.
    after_message: typing.Callable = None  # Once the dot is answered.
    byte_by_byte: bool = False  # Each byte in a send, and under TLS in a record, of its own.


# What may happen at STARTTLS.

def offer(context):
    """It is done, and done well."""
    def act(talk):
        talk.go_ahead()
        talk.secure(PythonTls(talk, context))
    return act


def answer(line):
    return lambda talk: talk.reply(line)


def close(talk):
    talk.link.shutdown(socket.SHUT_WR)
    raise Over


def silence(talk):
    """Until the client has had enough."""
    while talk.link.recv(4096):
        pass
    raise Over


def end(talk):
    """Says under TLS that no more comes, and does not wait for the client's word."""
    talk.tls.say_end()
    close(talk)


def reset(talk):
    talk.reset()
    raise Over


def inject(data, context):
    """Bytes in clear with the 220, as if somebody between had put them there."""
    def act(talk):
        talk.go_ahead(data)
        talk.secure(PythonTls(talk, context))
    return act


def inject_later(data, context):
    """The same, once the client has begun its handshake."""
    def act(talk):
        talk.go_ahead()
        talk.wait_for_record()
        talk.transmit(data)
        talk.secure(PythonTls(talk, context))
    return act


def go_ahead_and(act):
    """No handshake but this."""
    def begin(talk):
        talk.go_ahead()
        act(talk)
    return begin


def at_the_hello(act):
    """This, once the client has begun its handshake."""
    def begin(talk):
        talk.go_ahead()
        talk.wait_for_record()
        act(talk)
    return begin


def send_instead(data):
    """These bytes for a handshake's, and no more."""
    def act(talk):
        talk.transmit(data)
        close(talk)
    return act


def alert(number):
    return send_instead(b"\x15\x03\x03\x00\x02\x02" + bytes([number]))


class Talk:
    """One connection, on a thread of its own."""

    def __init__(self, link, script, seen):
        self.link, self.script, self.seen = link, script, seen
        self.unread = b""  # Of the dialogue, in clear or out of TLS.
        self.wire = b""    # Behind the 220, and not yet handed to TLS.
        self.past_220 = False
        self.tls = None
        self.sender, self.recipients = None, []
        link.settimeout(TIMEOUT_S)
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def run(self):
        try:
            self.serve()
        except Over:
            self.see_it_end()
        except (Closed, OSError) as why:  # An ssl.SSLError is an OSError.
            self.seen.trouble = repr(why)
            self.watch_wire()
        finally:
            self.link.close()
            self.seen.ended = True

    # --- The wire.

    def receive(self):
        data = self.link.recv(1 << 16)
        if self.past_220:
            self.seen.behind_220 += data
        else:
            self.seen.before_220 += data
        if not data:
            raise Closed
        return data

    def take_received(self):
        """For TLS: what has come already, else what comes."""
        data, self.wire = self.wire, b""
        return data or self.receive()

    def wait_for_record(self):
        while len(self.wire) < 5 or len(self.wire) < 5 + int.from_bytes(self.wire[3:5], "big"):
            self.wire += self.receive()

    def transmit(self, data):
        for piece in self.pieces(data):
            self.link.sendall(piece)

    def pieces(self, data):
        if self.script.byte_by_byte:
            return [data[i:i + 1] for i in range(len(data))]
        return [data] if data else []

    def reset(self):
        self.link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.link.close()

    def watch_wire(self):
        """Until the client closes; what it still sends is kept."""
        with contextlib.suppress(Closed, OSError):
            while True:
                self.receive()

    def see_it_end(self):
        with contextlib.suppress(Closed, OSError):
            while self.tls and not self.seen.end_was_said:
                self.seen.end_was_said = not self.tls.read()
        self.watch_wire()

    # --- Lines.

    def read_line(self):
        while b"\r\n" not in self.unread:
            self.unread += self.read_more()
        line, self.unread = self.unread.split(b"\r\n", 1)
        return line

    def read_more(self):
        if not self.tls:
            return self.receive()
        data = self.tls.read()
        if not data:
            self.seen.end_was_said = True
            raise Closed
        return data

    def reply(self, line):
        self.say(line.encode() + b"\r\n")

    def say(self, data):
        if not self.tls:
            return self.transmit(data)
        for piece in self.pieces(data):
            self.tls.write(piece)

    def go_ahead(self, more=b""):
        self.past_220 = True
        self.transmit(b"220 2.0.0 go ahead\r\n" + more)

    # --- The dialogue.

    def serve(self):
        self.reply("220 host.example ESMTP")
        while True:
            line = self.read_line()
            self.commands().append(line)
            verb = line.split(b" ")[0].decode("latin-1").lower()
            act = getattr(self, "on_" + verb, None)
            if act:
                act(line)
            else:
                self.reply("500 5.5.1 what?")

    def commands(self):
        return self.seen.commands_under_tls if self.tls else self.seen.commands_in_clear

    def on_ehlo(self, _line):
        if self.script.ehlo_reply:
            return self.reply(self.script.ehlo_reply)
        may_begin = self.script.at_starttls and not self.tls
        words = ["host.example", "PIPELINING"] + (["STARTTLS"] if may_begin else [])
        return self.reply("".join(f"250-{word}\r\n" for word in words) + "250 8BITMIME")

    def on_helo(self, _line):
        self.reply("250 host.example")

    def on_starttls(self, _line):
        if self.tls or not self.script.at_starttls:
            return self.reply("503 5.5.1 not now")
        self.seen.early = self.wire = self.unread
        self.unread = b""
        return self.script.at_starttls(self)

    def secure(self, tls):
        self.seen.tls = tls.handshake()
        self.seen.secured = True
        self.tls = tls
        if self.script.under_tls:
            self.script.under_tls(self)

    def on_mail(self, line):
        self.sender, self.recipients = address_in(line), []
        self.reply("250 2.1.0 ok")

    def on_rcpt(self, line):
        self.recipients.append(address_in(line))
        self.reply("250 2.1.5 ok")

    def on_data(self, _line):
        self.reply("354 go on")
        if self.script.in_body:
            self.script.in_body(self)
        lines = []
        while (line := self.read_line()) != b".":
            lines.append(line[1:] if line.startswith(b".") else line)
        data = b"".join(line + b"\r\n" for line in lines)
        self.seen.messages.append(
            Taken(self.tls is not None, self.sender, self.recipients, data))
        self.reply("250 2.0.0 taken")
        if self.script.after_message:
            self.script.after_message(self)

    def on_rset(self, _line):
        self.reply("250 2.0.0 ok")

    def on_quit(self, _line):
        self.reply("221 2.0.0 bye")
        if self.tls:
            self.tls.end()
            self.seen.end_was_said = True
        raise Over


def address_in(line):
    return line.split(b"<", 1)[1].rsplit(b">", 1)[0].decode()


class Host:
    """A port and its script."""

    def __init__(self, script, address, port):
        self.script = script
        self.listener = socket.create_server((address, port), backlog=512)
        self.listener.setblocking(False)
        self.port = self.listener.getsockname()[1]
        self.connections = []

    def accept(self):
        with contextlib.suppress(BlockingIOError):
            link, _ = self.listener.accept()
            seen = Connection()
            self.connections.append(seen)
            threading.Thread(target=Talk(link, self.script, seen).run, daemon=True).start()

    def messages(self):
        return [message for seen in list(self.connections) for message in list(seen.messages)]

    def wait_ended(self):
        wait_until(lambda: all(seen.ended for seen in list(self.connections)),
                   f"the connections to port {self.port} end")


class TlsHosts:
    """Any number of hosts, from start to close."""

    def __init__(self):
        self.selector = selectors.DefaultSelector()
        self.hosts = []
        self.wake, self.waker = socket.socketpair()
        self.selector.register(self.wake, selectors.EVENT_READ)
        self.thread = threading.Thread(target=self.run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exception):
        self.waker.send(b"x")
        self.thread.join()
        for host in self.hosts:
            host.listener.close()
        self.selector.close()
        self.wake.close()
        self.waker.close()

    def listen(self, script, address="127.0.0.1", port=0):
        host = Host(script, address, port)
        self.hosts.append(host)
        self.selector.register(host.listener, selectors.EVENT_READ, host)
        return host

    def run(self):
        while True:
            for key, _ in self.selector.select():
                if key.data is None:
                    return
                key.data.accept()
