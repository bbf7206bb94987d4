"""What the system tests share: running programs, the engine, its two ends, and their ledgers.

A test program is a list of scenarios, each a function of the build folder. A scenario fails by an
exception, and is skipped by Skipped. Programs run in a folder that goes away with the scenario, on
ports that the system chose; all that a scenario starts ends with it.
"""

import collections
import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback

START_TIME_S = 30
END_TIME_S = 60
LOOK_INTERVAL_S = 0.02


class Skipped(Exception):
    """The scenario cannot run here; says why."""


class Failed(Exception):
    """What was expected and what was seen."""


def expect(holds, text):
    if not holds:
        raise Failed(text)


def expect_equal(seen, wanted, what):
    expect(seen == wanted, f"{what}: {seen!r}, not {wanted!r}")


def wait_until(condition, what, timeout_s=END_TIME_S):
    """Waits for what only a look can tell: a file's lines, a report. Returns what the look saw."""
    deadline = time.monotonic() + timeout_s
    while True:
        seen = condition()
        if seen:
            return seen
        if time.monotonic() > deadline:
            raise Failed(f"{what}: not within {timeout_s} s")
        time.sleep(LOOK_INTERVAL_S)


class Program:
    """A running process whose lines on standard error are kept, and can be waited for."""

    def __init__(self, command, folder):
        self.name = pathlib.Path(command[0]).name
        self.lines = []
        self.changed = threading.Condition()
        self.ended = False
        self.process = subprocess.Popen(
            [str(word) for word in command], cwd=folder, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace")
        self.pid = self.process.pid
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stderr:
            with self.changed:
                self.lines.append(line.rstrip("\n"))
                self.changed.notify_all()
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    def wait_line(self, pattern, after=0, timeout_s=START_TIME_S):
        """The match of the first line from number `after` on that matches."""
        def find():
            matches = (re.search(pattern, line) for line in self.lines[after:])
            return next((match for match in matches if match), None)
        with self.changed:
            self.changed.wait_for(lambda: find() or self.ended, timeout_s)
            found = find()
        expect(found, f"{self.name} did not say '{pattern}', but: {self.said()}")
        return found

    def said(self):
        return " | ".join(self.lines[-12:]) or "nothing"

    def running(self):
        return self.process.poll() is None

    def wait(self, timeout_s=END_TIME_S):
        """Its exit code."""
        try:
            code = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise Failed(f"{self.name} did not end within {timeout_s} s; it said: {self.said()}")
        self.reader.join(timeout_s)
        self.process.stderr.close()
        return code

    def terminate(self):
        """Its exit code after SIGTERM."""
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def kill(self):
        if self.running():
            self.process.kill()
        if not self.process.stderr.closed:
            self.wait()


class Run:
    """A scenario's folder and the programs in it."""

    def __init__(self, build):
        self.build = pathlib.Path(build).resolve()
        self.programs = []

    def __enter__(self):
        self.temporary = tempfile.TemporaryDirectory(prefix="sluice-", ignore_cleanup_errors=True)
        self.folder = pathlib.Path(self.temporary.name)
        self.folder.chmod(0o755)
        return self

    def __exit__(self, *exception):
        for program in reversed(self.programs):
            program.kill()
        self.temporary.cleanup()

    def start(self, *command):
        program = Program(command, self.folder)
        self.programs.append(program)
        return program

    def tool(self, name):
        return self.build / "tools" / name

    def write(self, name, text):
        (self.folder / name).write_text(text)

    def sink(self, *options, ports=1):
        return Sink(self, ports, options)

    def engine(self, **settings):
        return Engine(self, **settings)

    def load(self, to, *options, timeout_s=120):
        return Load(self, to, options, timeout_s)


class Sink:
    """sluice-sink: its ports are known at once, its report and what it received after end()."""

    def __init__(self, run, ports, options):
        number = len(run.programs)
        self.report_path = run.folder / f"sink-{number}.json"
        self.received_path = run.folder / f"received-{number}"
        listeners = ["--listen", "127.0.0.1:0"] * ports
        self.program = run.start(
            run.tool("sluice-sink"), *listeners, "--report", self.report_path, "--received",
            self.received_path, *options)
        wait_until(lambda: len(self.addresses()) == ports, "the sink listens", START_TIME_S)
        self.ports = [int(address.rsplit(":", 1)[1]) for address in self.addresses()]

    def addresses(self):
        return [line.split(" ")[-1] for line in self.program.lines if "listening on" in line]

    def received(self):
        """How often each id and recipient came; it is written once a second."""
        if not self.received_path.exists():
            return collections.Counter()
        text = self.received_path.read_text()
        whole = text[:text.rfind("\n") + 1]
        return collections.Counter(tuple(line.split(" ")) for line in whole.splitlines())

    def end(self):
        expect_equal(self.program.terminate(), 0, "the sink's exit")
        return self.read_report()

    def expected(self, timeout_s=120):
        """The report of a sink that was told how many messages to expect."""
        expect_equal(self.program.wait(timeout_s), 0, "the sink's exit")
        return self.read_report()

    def read_report(self):
        report = json.loads(self.report_path.read_text())
        self.totals = report["totals"]
        return report


class Load:
    """sluice-load, running; end() waits for it, the ledger grows meanwhile."""

    def __init__(self, run, to, options, timeout_s):
        number = len(run.programs)  # Each load has a ledger of its own.
        self.ledger_path = run.folder / f"ledger-{number}"
        self.report_path = run.folder / f"load-{number}.json"
        self.timeout_s = timeout_s
        self.program = run.start(
            run.tool("sluice-load"), "--to", to, "--ledger", self.ledger_path, "--report",
            self.report_path, "--timeout", timeout_s, *options)

    def ledger(self):
        """How often each id and recipient got 250."""
        if not self.ledger_path.exists():
            return collections.Counter()
        text = self.ledger_path.read_text()
        whole = text[:text.rfind("\n") + 1]
        lines = (line.split(" ") for line in whole.splitlines())
        return collections.Counter((line[0], to) for line in lines for to in line[1:])

    def ledger_lines(self):
        return self.ledger_path.read_bytes().count(b"\n") if self.ledger_path.exists() else 0

    def end(self, exit_code=0):
        code = self.program.wait(self.timeout_s + 10)
        expect(code == exit_code, f"the load's exit is {code}, not {exit_code}: "
               f"{self.program.said()}")
        self.report = json.loads(self.report_path.read_text())
        return self.report


CONFIG = """\
hostname = "mta.example.net"
[engine]
shards = {shards}
[[listener]]
address = "{address}"
{listener}
[spool]
path = "{spool}"
sync = {sync}
{spool_keys}
[destinations]
table = "destinations.ini"
{destinations}
[routes]
table = "routes"
[[bounce_profile]]
name = "Default"
{profile}
[log]
delivery = "delivery.jsonl"
[control]
socket = "control.sock"
"""

QUICK_RETRIES = "initial_retry_s = 1\nmax_retry_s = 1"


class Engine:
    """sluiced in the run's folder. It keeps its port and its spool over restarts."""

    def __init__(self, run, shards=2, address="127.0.0.1:0", listener="", routes="", table="",
                 profile=QUICK_RETRIES, spool="spool", sync="true", destinations="",
                 spool_keys="",
                 start=True):
        self.run, self.address, self.shards = run, address, shards
        self.listener, self.profile, self.spool = listener, profile, spool
        self.sync, self.destinations, self.spool_keys = sync, destinations, spool_keys
        self.log_path = run.folder / "delivery.jsonl"
        self.set_routes(routes)
        self.set_table(table)
        self.program = None
        if start:
            self.start()

    def set_routes(self, routes):
        self.run.write("routes", routes)

    def set_table(self, table):
        self.run.write("destinations.ini", table)

    def write_config(self):
        self.run.write("sluice.toml", CONFIG.format(**vars(self)))

    def launch(self, *options):
        self.write_config()
        self.program = self.run.start(self.run.tool("sluiced"), "--config", "sluice.toml",
                                      *options)
        return self.program

    def start(self):
        """Returns how many messages the spool held."""
        program = self.launch()
        self.address = program.wait_line(r"listening on (\S+:\d+)").group(1)
        return int(program.wait_line(r"(\d+) messages in the spool").group(1))

    def host_and_port(self):
        host, port = self.address.rsplit(":", 1)
        return host, int(port)

    def kill(self):
        self.program.process.kill()
        self.program.wait()

    def drain(self):
        """Ends it gently; it must say so with exit 0."""
        code = self.program.terminate()
        expect(code == 0, f"sluiced exited {code} after SIGTERM: {self.program.said()}")

    def reload(self, pattern):
        """Sends SIGHUP and waits for what it says then."""
        said = len(self.program.lines)
        self.program.process.send_signal(signal.SIGHUP)
        return self.program.wait_line(pattern, after=said)

    def events(self, *types):
        """The delivery log's events, of these types or of all. A torn line is none: a kill can cut
        a write short, and the next start appends to what stands there."""
        events = []
        if not self.log_path.exists():
            return events
        for line in self.log_path.read_bytes().splitlines():
            with contextlib.suppress(ValueError):
                event = json.loads(line)
                if not types or event["type"] in types:
                    events.append(event)
        return events

    def wait_events(self, count, *types, timeout_s=END_TIME_S):
        return wait_until(lambda: len(found := self.events(*types)) >= count and found,
                          f"{count} {' or '.join(types)} in the delivery log", timeout_s)


def route(domain, port):
    return f"{domain} 127.0.0.1:{port}\n"


def expect_nothing_lost(load, sink):
    """All that got 250 was received."""
    ledger, received = load.ledger(), sink.received()
    lost = [pair for pair in ledger if pair not in received]
    expect(not lost, f"{len(lost)} of {len(ledger)} that got 250 are lost, the first: {lost[:3]}")


def expect_once_and_intact(load, sink):
    """The ledger and what was received are the same, byte for byte."""
    expect_nothing_lost(load, sink)
    for name in ("duplicates", "damaged", "without_probe"):
        expect_equal(sink.totals[name], 0, f"messages {name}")
    expect_equal(sum(sink.received().values()), sum(load.ledger().values()), "recipients received")


def run_scenarios(build, *scenarios):
    """Prints a line for each; exits with 1 if any failed."""
    failed = 0
    for scenario in scenarios:
        name, begin = scenario.__name__, time.monotonic()
        try:
            said = scenario(build)
            print(f"ok {name}: {said or 'as it should'} ({time.monotonic() - begin:.1f} s)",
                  flush=True)
        except Skipped as why:
            print(f"skipped {name}: {why}", flush=True)
        except Failed as why:
            failed += 1
            print(f"FAILED {name}: {why}", flush=True)
        except Exception as fault:  # A fault of the test itself, or of what it relied upon.
            failed += 1
            traceback.print_exc()
            print(f"FAILED {name}: {fault!r}", flush=True)
    sys.exit(1 if failed else 0)


def build_folder(usage):
    """The command line's BUILD_DIR."""
    if len(sys.argv) != 2 or not os.path.isdir(sys.argv[1]):
        sys.exit(usage)
    # So that the scenarios clean up when the run is stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    return pathlib.Path(sys.argv[1]).resolve()
