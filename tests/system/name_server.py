"""A name server on loopback with a few records, for engines that are told to forward to it."""

import socket
import socketserver
import struct
import threading

A, MX, AAAA = 1, 15, 28
TTL_S = 300
NO_SUCH_NAME = 3


def wire_name(name):
    labels = [label.encode() for label in name.split(".") if label]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def read_question(query):
    """The question's name, type, and bytes."""
    labels, at = [], 12
    while query[at] > 0:
        labels.append(query[at + 1:at + 1 + query[at]].decode())
        at += 1 + query[at]
    return ".".join(labels).lower(), struct.unpack("!H", query[at + 1:at + 3])[0], query[12:at + 5]


def record(kind, value):
    if kind in (A, AAAA):
        data = socket.inet_pton(socket.AF_INET6 if kind == AAAA else socket.AF_INET, value)
    else:
        preference, host = value
        data = struct.pack("!H", preference) + wire_name(host)
    return b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, TTL_S, len(data)) + data


class Answerer(socketserver.BaseRequestHandler):
    def handle(self):
        query, link = self.request
        name, kind, question = read_question(query)
        found = self.server.records.get((name, kind), [])
        known = any(name == other for other, _ in self.server.records)
        flags = 0x8580 | (0 if known else NO_SUCH_NAME)
        answers = b"".join(record(kind, value) for value in found)
        link.sendto(query[:2] + struct.pack("!HHHHH", flags, 1, len(found), 0, 0) + question +
                    answers, self.client_address)


class NameServer(socketserver.ThreadingUDPServer):
    """`records`: (name, type) to the values, an address or (preference, host). From start to
    close."""

    daemon_threads = True

    def __init__(self, records=()):
        super().__init__(("127.0.0.1", 0), Answerer)
        self.records = dict(records)
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05},
                         daemon=True).start()

    def forward(self):
        """As [dns] forward wants it."""
        return f"127.0.0.1@{self.server_address[1]}"

    def __exit__(self, *exception):
        self.shutdown()
        self.server_close()
