"""What the fault tests share: one engine on a faulty kernel between an injector and a receiver that
keep their own ledgers, and the judging of these.

A Case is a folder with a spool, and lives of one engine after another on it. Recipients are named
by the number of their message, so that whoever says a name says which message is meant:

    n7@d3.example    is taken at once
    d3@d3.example    is deferred once, with 450
    b5@d1.example    is refused for good; s5@back.example gets the bounce (as it does for any other
                     that the engine gives up)

Segments are small, so that a run uses several and gives some back; or large enough for messages
that come in several pieces.

The injector never sends a message again whose dot was under way, so that what arrives twice was
made twice by the engine.
"""

import asyncio
import collections
import concurrent.futures
import json
import multiprocessing
import os
import pathlib
import random
import re
import shutil
import signal
import tempfile
import time
import zlib

START_TIME_S = 60
STUCK_TIME_S = 120  # Pauses of the engine are of a minute at most.
DOMAINS = 4
LOOK_INTERVAL_S = 0.005


class Failed(Exception):
    """What was expected and what was seen."""


def expect(holds, text):
    if not holds:
        raise Failed(text)


# --- Messages.

Message = collections.namedtuple("Message", "number sender recipients data")


def kind_of(number):
    return {3: "d", 5: "b"}.get(number % 10, "n")


def body_bytes(number, large):
    if large and number % 25 == 8:
        return 300_000  # More than is kept in memory until its end.
    return 500 + number * 37 % 4000


def make_message(number, large):
    chance = random.Random(number)
    kind = kind_of(number)
    recipients = [f"{kind}{number}@d{number % DOMAINS}.example"]
    if number % 10 == 7:
        recipients.append(f"n{number}@d{(number + 1) % DOMAINS}.example")
    line = bytes(chance.choices(b"abcdefghijklmnopqrstuvwxyz ", k=70)) + b"\r\n"
    body = line * (body_bytes(number, large) // len(line) + 1)
    head = f"X-Number: {number}\r\nX-Sum: {zlib.crc32(body)}\r\n\r\n".encode()
    return Message(number, f"s{number}@back.example", recipients, head + body)


def intact(data):
    found = re.search(rb"^X-Sum: (\d+)\r\n\r\n", data, re.MULTILINE)
    return found and zlib.crc32(data[found.end():]) == int(found.group(1))


def shard_of(message_id):
    value = 0
    for digit in message_id:
        value = value * 32 + "0123456789ABCDEFGHJKMNPQRSTVWXYZ".index(digit)
    return value & 0xff


# --- The receiver.

class Receiver:
    """What was taken: how often each recipient, and each refused one in a bounce."""

    def __init__(self, pulse):
        self.pulse = pulse
        self.taken = collections.Counter()
        self.reported = collections.Counter()
        self.deferred = set()
        self.damaged = []
        self.servers = []
        self.sessions = 0  # That are open.

    async def listen(self):
        loop = asyncio.get_running_loop()
        for _ in range(2):
            self.servers.append(await loop.create_server(lambda: ReceiverSession(self),
                                                         "127.0.0.1", 0))
        return [server.sockets[0].getsockname()[1] for server in self.servers]

    def close(self):
        for server in self.servers:
            server.close()

    def verdict(self, recipient):
        if recipient.startswith("b"):
            return b"550 5.1.1 no such user\r\n"
        if recipient.startswith("d") and recipient not in self.deferred:
            self.deferred.add(recipient)
            return b"450 4.2.1 later\r\n"
        return b"250 2.1.5 ok\r\n"

    def take(self, sender, recipients, data):
        for recipient in recipients:
            self.taken[recipient] += 1
        if sender:
            if not intact(data):
                self.damaged.append(recipients)
        else:
            for refused in set(re.findall(rb"<(\w\d+@d\d\.example)>", data)):
                self.reported[refused.decode()] += 1
        self.pulse.set()

    def has(self, recipient):
        return self.taken[recipient] > 0 or self.reported[recipient] > 0


class ReceiverSession(asyncio.Protocol):
    def __init__(self, receiver):
        self.receiver = receiver
        self.buffer = bytearray()
        self.in_data = False
        self.sender = ""
        self.recipients = []

    def connection_made(self, transport):
        self.transport = transport
        self.receiver.sessions += 1
        transport.write(b"220 sink.example ESMTP\r\n")

    def connection_lost(self, _):
        self.receiver.sessions -= 1
        self.receiver.pulse.set()

    def data_received(self, data):
        self.buffer += data
        replies = bytearray()
        while True:
            if self.in_data:
                end = self.buffer.find(b"\r\n.\r\n")
                if end < 0:
                    break
                self.receiver.take(self.sender, self.recipients, bytes(self.buffer[:end + 2]))
                del self.buffer[:end + 5]
                self.in_data, self.recipients = False, []
                replies += b"250 2.0.0 taken\r\n"
                continue
            end = self.buffer.find(b"\r\n")
            if end < 0:
                break
            line = bytes(self.buffer[:end]).decode()
            del self.buffer[:end + 2]
            replies += self.answer(line)
            if line == "QUIT":
                self.transport.write(bytes(replies))
                self.transport.close()
                return
        if replies:
            self.transport.write(bytes(replies))

    def answer(self, line):
        verb = line[:4].upper()
        path = re.search(r"<([^>]*)>", line)
        if verb == "EHLO":
            return b"250-sink.example\r\n250-PIPELINING\r\n250 8BITMIME\r\n"
        if verb == "MAIL":
            self.sender, self.recipients = path.group(1), []
            return b"250 2.1.0 ok\r\n"
        if verb == "RCPT":
            reply = self.receiver.verdict(path.group(1))
            if reply.startswith(b"250"):
                self.recipients.append(path.group(1))
            return reply
        if verb == "DATA":
            if not self.recipients:
                return b"554 5.5.1 no recipients\r\n"
            self.in_data = True
            return b"354 go\r\n"
        if verb == "RSET":
            self.recipients = []
            return b"250 2.0.0 ok\r\n"
        return b"221 2.0.0 bye\r\n" if verb == "QUIT" else b"500 5.5.1 what?\r\n"


# --- The injector.

# reply: the line, or None. Times in nanoseconds of the monotonic clock.
Dot = collections.namedtuple("Dot", "message sent_at reply replied_at")


class Injector:
    """Sends messages over some sessions at once; the ledger is `dots`."""

    def __init__(self, dots, pulse, messages):
        self.dots, self.pulse = dots, pulse
        self.waiting = collections.deque(messages)

    async def run(self, port, sessions):
        await asyncio.gather(*(self.keep_sending(port) for _ in range(sessions)))

    async def keep_sending(self, port):
        """Until all is sent, or nobody listens any more."""
        while self.waiting:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
            except OSError:
                return
            try:
                await self.serve(reader, writer)
            except (OSError, EOFError, asyncio.IncompleteReadError):
                pass
            writer.transport.abort()

    async def serve(self, reader, writer):
        await self.reply(reader)
        writer.write(b"EHLO injector.example\r\n")
        await self.reply(reader)
        while self.waiting:
            message = self.waiting.popleft()
            try:
                if not await self.envelope(reader, writer, message):
                    continue
            except (OSError, EOFError):
                self.waiting.appendleft(message)  # Nothing of it can have been promised.
                raise
            await self.content(reader, writer, message)
        writer.write(b"QUIT\r\n")
        await self.reply(reader)

    async def reply(self, reader):
        """Of one command; EOFError when the session is over."""
        while True:
            line = await reader.readuntil(b"\r\n")
            if line[3:4] != b"-":
                text = line.decode().rstrip()
                if text.startswith("421"):
                    raise EOFError(text)
                return text

    async def envelope(self, reader, writer, message):
        commands = [f"MAIL FROM:<{message.sender}>"]
        commands += [f"RCPT TO:<{recipient}>" for recipient in message.recipients]
        writer.write("".join(command + "\r\n" for command in commands + ["DATA"]).encode())
        replies = [await self.reply(reader) for _ in commands]
        last = await self.reply(reader)
        return all(reply.startswith("250") for reply in replies) and last.startswith("354")

    async def content(self, reader, writer, message):
        sent_at = time.monotonic_ns()  # Before: what is stamped late may have been promised early.
        writer.write(message.data + b".\r\n")
        reply = None
        try:
            await writer.drain()
            line = await reader.readuntil(b"\r\n")
            reply = line.decode().rstrip()
        finally:
            self.dots.append(Dot(message, sent_at, reply, time.monotonic_ns()))
            self.pulse.set()


# --- The engine.

CONFIG = """\
hostname = "mta.example.net"
[engine]
shards = {shards}
handshake_threads = 1
[[listener]]
address = "127.0.0.1:0"
relay_from = ["127.0.0.0/8"]
[spool]
path = "spool"
{spool}
[destinations]
table = "destinations.ini"
[routes]
table = "routes"
[tls]
ca_file = "ca.pem"
[log]
delivery = "delivery.jsonl"
[control]
socket = "control.sock"
"""

TABLE = """\
[d3.example]
recipient_minutes = 1
recipient_limit = 1000000
limit_type = host
limit_apply = system
"""


Hit = collections.namedtuple("Hit", "call shard at")


class Life:
    """One process of the engine."""

    def __init__(self, case, process):
        self.case, self.process = case, process
        self.lines = []
        self.listens = self.port = None  # The latter once all of its spool is known.
        self.found = 0
        self.code = None
        self.tasks = [asyncio.create_task(self.read()), asyncio.create_task(self.watch())]
        self.read_all = self.tasks[0]

    async def read(self):
        async for line in self.process.stderr:
            text = line.decode(errors="replace").rstrip()
            self.lines.append(text)
            if found := re.search(r"listening on \S+:(\d+)", text):
                self.listens = int(found.group(1))
            if found := re.search(r"(\d+) messages in the spool", text):
                self.port, self.found = self.listens, int(found.group(1))
            self.case.pulse.set()

    async def watch(self):
        code = await self.process.wait()
        await self.read_all
        self.code = code
        self.case.pulse.set()

    def ended(self):
        return self.code is not None

    def said(self, pattern):
        return next((found for line in self.lines if (found := re.search(pattern, line))), None)

    def quarantined(self):
        """Those that it named; there may be more."""
        found = (re.search(r"message (\w+) was at work in several crashes", line)
                 for line in self.lines)
        return [each.group(1) for each in found if each]

    def hit(self):
        """The first call that was hit, of which shard (-1: of none), and when; or None."""
        found = self.said(r"^fault: hit (\S+) \d+ of shard (-?\d+) at (\d+)")
        return Hit(found.group(1), int(found.group(2)), int(found.group(3))) if found else None

    def hits(self):
        return sum(line.startswith("fault: hit ") for line in self.lines)

    def counts(self):
        found = self.said(r"^fault: counted (.*)")
        expect(found, f"no counts: {self.lines}")
        return {name: int(count) for name, count in
                (word.split("=") for word in found.group(1).split())}

    def terminate(self):
        if not self.ended():
            self.process.send_signal(signal.SIGTERM)

    async def messages_at_home(self):
        """As the control socket says; None while it does not answer."""
        try:
            reader, writer = await asyncio.open_unix_connection(str(self.case.folder /
                                                                    "control.sock"))
            writer.write(b"GET /v1/status HTTP/1.1\r\nHost: sluice\r\nConnection: close\r\n\r\n")
            text = await reader.read()
            writer.close()
            status = json.loads(text[text.index(b"\r\n\r\n") + 4:])
            return sum(shard["messages"] for shard in status["shards"])
        except (OSError, ValueError, KeyError):
            return None


class Case:
    """A folder with a spool, an injector's and a receiver's ledger."""

    def __init__(self, build, shards=2, large=False, sync=True):
        self.program = pathlib.Path(build).resolve() / "tests/faults/faulty_sluiced"
        self.operator = pathlib.Path(build).resolve() / "tools/sluice"
        self.shards, self.large, self.sync = shards, large, sync

    async def __aenter__(self):
        # Faults are made above the disk: memory is as good a place, and sooner synced.
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="sluice-", dir=memory))
        self.pulse = asyncio.Event()
        self.receiver = Receiver(self.pulse)
        self.ports = await self.receiver.listen()
        self.dots = []  # The injectors' ledger.
        self.life = None
        files = {
            "sluice.toml": CONFIG.format(shards=self.shards,
                                         spool="" if self.sync else "sync = false"),
            "destinations.ini": TABLE,
            "ca.pem": "",
        }
        for name, text in files.items():
            (self.folder / name).write_text(text)
        self.route_to(*self.ports)
        return self

    async def __aexit__(self, *exception):
        if self.life and not self.life.ended():
            self.life.process.kill()
            await self.life.tasks[1]
        self.receiver.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def route_to(self, first, second):
        """For the next life."""
        (self.folder / "routes").write_text(f"ALL 127.0.0.1:{first}, 127.0.0.1:{second}/pri=20\n")

    async def fill(self, messages):
        """Mail in the spool, of which nothing has been delivered."""
        self.route_to(1, 2)  # Nobody listens there.
        await self.start()
        await self.inject(range(messages))
        expect(len(self.promised()) >= messages, "not all was promised without a fault")
        self.life.process.kill()
        await self.until(self.life.ended, "the kill")
        self.route_to(*self.ports)

    async def until(self, condition, what, timeout_s=STUCK_TIME_S):
        """Awaits what a pulse can bring about."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            self.pulse.clear()
            left = deadline - time.monotonic()
            try:
                await asyncio.wait_for(self.pulse.wait(), max(left, 0.001))
            except asyncio.TimeoutError:
                raise Failed(f"{what}: not within {timeout_s} s; it said: "
                             f"{' | '.join(self.life.lines[-8:])}") from None

    async def start(self, *options):
        """A new life: serves, or has ended."""
        process = await asyncio.create_subprocess_exec(
            self.program, "--config", "sluice.toml", "--segment-bytes",
            str((1280 if self.large else 64) << 10), *options, cwd=self.folder,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE)
        self.life = Life(self, process)
        await self.until(lambda: self.life.ended() or self.life.port, "the start", START_TIME_S)
        return self.life

    async def inject(self, numbers, sessions=4):
        messages = [make_message(number, self.large) for number in numbers]
        await Injector(self.dots, self.pulse, messages).run(self.life.port, sessions)

    def promised(self):
        return [recipient for dot in self.dots if dot.reply and dot.reply.startswith("250")
                for recipient in dot.message.recipients]

    def without_reply(self):
        return [dot for dot in self.dots if dot.reply is None]

    def missing(self):
        return [recipient for recipient in self.promised() if not self.receiver.has(recipient)]

    async def idle(self):
        """Until nothing is at home, or the engine has ended. What was promised has come then, or is
        lost."""
        deadline = time.monotonic() + STUCK_TIME_S
        while not self.life.ended() and await self.life.messages_at_home() != 0:
            expect(time.monotonic() < deadline, f"messages stay at home; missing: "
                   f"{self.missing()}; it said: {' | '.join(self.life.lines[-8:])}")
            await asyncio.sleep(LOOK_INTERVAL_S)

    async def end(self):
        self.life.terminate()
        await self.until(self.life.ended, "the end")
        return self.life.code

    async def recover(self):
        """A life without faults, to the end of all mail."""
        while True:
            await self.start()
            expect(not self.life.ended(), f"no start after the fault: {self.life.lines}")
            quarantined = self.life.quarantined()
            if not quarantined:
                break
            await self.end()
            for message in quarantined:
                await self.release(message)
        await self.idle()
        code = await self.end()
        expect(code == 0, f"the end without faults is {code}: {self.life.lines}")

    async def release(self, message):
        """It was at work in several kills in a row, and is held until the operator says so."""
        process = await asyncio.create_subprocess_exec(
            self.operator, "spool", "release", message, "--config", "sluice.toml", cwd=self.folder,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL)
        expect(await process.wait() == 0, f"{message} cannot be released")

    def events(self):
        """Of the delivery log, by type; a kill can cut its last line short."""
        events = collections.defaultdict(list)
        path = self.folder / "delivery.jsonl"
        for line in path.read_bytes().splitlines() if path.exists() else []:
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if "recipient" in event:
                events[event["type"]].append(event)
        return events

    def told(self, kind):
        return {event["recipient"] for event in self.events()[kind]}

    async def in_doubt(self):
        """Of a life that has ended: what the receiver has taken, and the log has not told of."""
        await self.until(lambda: self.receiver.sessions == 0, "the end of all sessions")
        delivered, bounced = self.told("Delivery"), self.told("Bounce")
        doubt = {recipient for recipient in self.receiver.taken if recipient not in delivered}
        for refused in self.receiver.reported:
            sender = "s" + refused[1:refused.index("@")] + "@back.example"
            if refused not in bounced or sender not in delivered:
                doubt |= {refused, sender}
        return doubt

    def told_in_doubt(self):
        """What the log itself calls in doubt: the session was lost under the reply to the dot."""
        told = {event["recipient"] for event in self.events()["TransientFailure"]
                if event.get("in_doubt")}
        return told | {refused for refused in self.receiver.reported
                       if "s" + refused[1:refused.index("@")] + "@back.example" in told}

    def twice(self):
        """What came more than once, and how often too much."""
        counts = collections.Counter()
        for ledger in (self.receiver.taken, self.receiver.reported):
            for recipient, count in ledger.items():
                if count > 1:
                    counts[recipient] = max(counts[recipient], count - 1)
        # A bounce that comes twice is one thing, not two.
        for refused in self.receiver.reported:
            counts.pop("s" + refused[1:refused.index("@")] + "@back.example", None)
        return counts


# --- Many cases.

def run_case(coroutine, arguments):
    asyncio.set_child_watcher(asyncio.PidfdChildWatcher())
    return asyncio.run(coroutine(*arguments))


def run_all(coroutine, jobs, workers, on_result):
    """Runs coroutine(*job) for each job, some at a time. `jobs` is an iterator that may look at
    what on_result(job, result or the exception) has seen."""
    context = multiprocessing.get_context("forkserver")
    with concurrent.futures.ProcessPoolExecutor(workers, mp_context=context) as pool:
        running = {}
        more = True
        while more or running:
            while more and len(running) < workers:
                job = next(jobs, None)
                more = job is not None
                if more:
                    running[pool.submit(run_case, coroutine, job)] = job
            done, _ = concurrent.futures.wait(
                running, return_when=concurrent.futures.FIRST_COMPLETED)
            for future in done:
                fault = future.exception()
                on_result(running.pop(future), fault if fault else future.result())
