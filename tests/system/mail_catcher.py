"""A receiver that keeps every message it took, bytes and envelope, for tests that read the mail."""

import collections
import socketserver
import threading

from engine_run import wait_until

Caught = collections.namedtuple("Caught", "sender recipients data")


class Dialogue(socketserver.StreamRequestHandler):
    """One session: takes all it is offered, with PIPELINING and 8BITMIME."""

    def handle(self):
        self.reply("220 catcher.example ESMTP")
        for line in self.rfile:
            verb = line[:4].upper()
            if verb == b"QUIT":
                return self.reply("221 2.0.0 bye")
            self.command(verb, line)

    def reply(self, line):
        self.wfile.write(line.encode() + b"\r\n")

    def command(self, verb, line):
        if verb == b"EHLO":
            return self.reply("250-catcher.example\r\n250-PIPELINING\r\n250 8BITMIME")
        if verb == b"MAIL":
            self.sender, self.recipients = address_in(line), []
        elif verb == b"RCPT":
            self.recipients.append(address_in(line))
        elif verb == b"DATA":
            self.reply("354 go on")
            self.server.caught.append(Caught(self.sender, self.recipients, self.read_data()))
        return self.reply("250 2.0.0 ok")

    def read_data(self):
        lines = []
        while (line := self.rfile.readline()) != b".\r\n":
            if not line.endswith(b"\r\n"):
                raise ConnectionError("a line without CRLF in the data")
            lines.append(line[1:] if line.startswith(b".") else line)
        return b"".join(lines)


def address_in(line):
    return line.split(b"<", 1)[1].rsplit(b">", 1)[0].decode()


class Catcher(socketserver.ThreadingTCPServer):
    """Listens on a port of its own from start to close."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, dialogue=Dialogue):
        super().__init__(("127.0.0.1", 0), dialogue)
        self.caught = []
        self.port = self.server_address[1]
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05},
                         daemon=True).start()

    def handle_error(self, request, client_address):
        """A session that is cut off is the engine's to speak of."""

    def __exit__(self, *exception):
        self.shutdown()
        self.server_close()

    def wait_for(self, count, timeout_s=60):
        wait_until(lambda: len(self.caught) >= count, f"{count} messages at the receiver",
                   timeout_s)
        return self.caught
