"""One run: mail from sluice-load through a party to sluice-sink, or straight, and what it cost.

Source and sink share a core, the party has another one, with all the processes that it starts. Its
spool is a new folder below `Work.folder`, that is gone with the run.
"""

import contextlib
import dataclasses
import os
import pathlib
import tempfile

from harness import parties
from harness.disk import Disk
from harness.peers.peer import Failed, wait_until
from harness.usage_group import UsageGroup

LOAD_TIME_S = 900
# Mail that a party deferred comes later than this, and is none that it passed on at once.
LAST_MESSAGE_S = 120
# What the source's report says of mail that was not.
NOT_ACCEPTED = ("messages", "accepted", "refused", "in_doubt", "connections_failed",
                "sessions_lost")


class NotDelivered(Exception):
    """The party did not take, or did not pass on, all of the mail; says what became of it."""


@dataclasses.dataclass(frozen=True)
class Work:
    """What every party is given."""

    build: str
    folder: str
    messages: int
    size: int
    pipelining: bool
    party_core: int
    ends_core: int
    connections: int = 100
    messages_per_connection: int = 1000
    domains: int = 10


class Ends:
    """The source and the sink of one run."""

    def __init__(self, run, work):
        self.run, self.work = run, work
        command = [run.program("sluice-sink"), "--listen", "127.0.0.1:0", "--report", "sink.json",
                   "--received", "received", "--remember", str(2 * work.messages)]
        if not work.pipelining:
            command.append("--no-pipelining")
        self.sink = run.start("sink", command, [work.ends_core])
        self.sink_port = int(self.sink.line(r"listening on \S+:(\d+)").group(1))

    def inject(self, port, takes_pipelining=True):
        """All of the mail; the source's report."""
        work = self.work
        load = parties.Reporter(self.run, "load", [
            self.run.program("sluice-load"), "--to", f"127.0.0.1:{port}", "--report", "load.json",
            "--ledger", "ledger", "--messages", str(work.messages), "--size", str(work.size),
            "--connections", str(work.connections), "--messages-per-connection",
            str(work.messages_per_connection), "--domain-count", str(work.domains),
            "--timeout", str(LOAD_TIME_S),
            "--pipelining" if work.pipelining and takes_pipelining else "--no-pipelining"],
            [work.ends_core])
        try:
            self.run.finish([load], LOAD_TIME_S + 10)
        except parties.PartyFailed:
            said = {key: load.report[key] for key in NOT_ACCEPTED}
            raise NotDelivered(f"not all of the mail was accepted: {said}")
        return load.report

    def await_all(self):
        """Until what was promised has come, or nothing comes any more."""
        promised, seen = self.promised(), 0
        while not promised <= (received := self.received()):
            try:
                seen = wait_until(lambda: (size := self.received_bytes()) > seen and size,
                                  "one more message", LAST_MESSAGE_S)
            except Failed:
                missing = len(promised - received)
                raise NotDelivered(f"{missing} of {len(promised)} messages did not arrive")

    def end(self):
        """The sink's report."""
        self.sink.end()
        report = self.run.read_report("sink.json")
        if damaged := report["totals"]["damaged"] + report["totals"]["without_probe"]:
            raise NotDelivered(f"{damaged} messages arrived damaged")
        return report

    def promised(self):
        """What got 250: each id and recipient."""
        words = (line.split() for line in self.lines("ledger"))
        return {(word[0], to) for word in words for to in word[1:]}

    def received(self):
        return {tuple(line.split()) for line in self.lines("received")}

    def received_bytes(self):
        with contextlib.suppress(FileNotFoundError):
            return os.path.getsize(self.run.path("received"))
        return 0

    def lines(self, name):
        """The whole lines of a file that grows."""
        path = pathlib.Path(self.run.path(name))
        text = path.read_text() if path.exists() else ""
        return text[:text.rfind("\n") + 1].splitlines()


@contextlib.contextmanager
def running(peer, core):
    """The peer, configured and started; its usage group."""
    peer.configure()
    group = UsageGroup(peer.name)
    try:
        peer.start(group, core)
        yield group
    finally:
        peer.stop()
        group.end()


def straight(work):
    """What both ends cost by themselves: figures of the kernel's TCP with that dialogue."""
    with parties.Run(work.build, work) as run:
        ends = Ends(run, work)
        load = ends.inject(ends.sink_port)
        ends.await_all()
        sink = ends.end()
        return {"messages_per_s": sink["messages_per_s"],
                "source_cpu_us": load["cpu_us_per_message"],
                "sink_cpu_us": sink["cpu_us_per_message"]}


def through(party, work):
    """The figures of one run through a party (a class of peers), each of a message where it can be
    one; and its version and configuration. Skipped: it cannot be had or started."""
    with (parties.Run(work.build, work) as run,
          tempfile.TemporaryDirectory(prefix="compare-", dir=work.folder) as folder):
        os.chmod(folder, 0o755)  # Servers have users of their own.
        ends, disk = Ends(run, work), Disk(folder)
        peer = party(work.build, folder, ends.sink_port)
        with running(peer, work.party_core) as group:
            written_before, cpu_before = disk.written_bytes(), group.cpu()
            load = ends.inject(peer.port, peer.takes_pipelining)
            ends.await_all()
            cpu = group.cpu() - cpu_before
            sink = ends.end()
        written = disk.written_bytes()
        return {
            "version": peer.version(),
            "configuration": peer.configuration(),
            "figures": figures(work, load, sink, cpu, group.memory_peak_bytes(),
                               written and written - written_before),
        }


def figures(work, load, sink, cpu, memory_bytes, disk_bytes):
    totals = sink["totals"]
    return {
        "messages_per_s": sink["messages_per_s"],
        "accepted_per_s": load["messages_per_s"],
        "cpu_us": cpu.us / work.messages,
        "cpu_user_us": cpu.user_us / work.messages,
        "memory_bytes": memory_bytes,
        "disk_bytes": disk_bytes and disk_bytes / work.messages,
        "accept_ms_p50": load["dot_ms"]["p50"],
        "accept_ms_p99": load["dot_ms"]["p99"],
        "delivered": totals["messages"] - totals["duplicates"],
        "twice": totals["duplicates"],
        "connections": totals["connections"],
        "connections_peak": totals["connections_peak"],
    }
