"""The programs of a run: each pinned to its cores, in the run's folder, awaited by what it says.

    with Run(build, scenario) as run:
        sink = start_sink(run)                 # sink.address: "127.0.0.1:PORT"
        load = start_load(run, to=sink.address)
        run.finish([load, sink])               # sink.report, sink.usage: what it said and used

Any party that cannot start, says nothing in time or ends badly raises PartyFailed, with the end of
its log. All that a run started has ended when the block is left.
"""

import json
import os
import re
import select
import shutil
import signal
import subprocess
import tempfile
import threading
import time

from . import usage

# So long only what hangs takes.
START_S = 60
END_S = 120
MAIL_S = 3600
PEAK_LOOK_MS = 20  # Of who ends by itself: by what the peak grew after the last look is lost.


class PartyFailed(Exception):
    pass


class Party:
    """One process. Its standard error goes to NAME.log, line by line, and may be awaited."""

    def __init__(self, run, name, command, cores):
        self.run, self.name = run, name
        self.lines, self.told, self.said_all = [], threading.Condition(), False
        self.read = 0  # Lines that `line` has passed.
        self.ended, self.usage, self.peak = None, None, None
        pin = ["taskset", "-c", ",".join(map(str, cores))] if cores else []
        self.process = subprocess.Popen(
            pin + command, cwd=run.folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True, errors="replace")
        self.pid = self.process.pid
        self.descriptor = os.pidfd_open(self.pid)
        threading.Thread(target=self._read, daemon=True).start()
        run.parties.append(self)

    def _read(self):
        with open(os.path.join(self.run.folder, f"{self.name}.log"), "w") as log:
            for line in self.process.stderr:
                log.write(line)
                log.flush()
                with self.told:
                    self.lines.append(line)
                    self.told.notify_all()
        with self.told:
            self.said_all = True
            self.told.notify_all()

    def line(self, pattern, timeout_s=START_S):
        """The match in the next line that has one."""
        deadline = time.monotonic() + timeout_s
        with self.told:
            while True:
                while self.read < len(self.lines):
                    self.read += 1
                    if found := re.search(pattern, self.lines[self.read - 1]):
                        return found
                left = deadline - time.monotonic()
                if self.said_all or left <= 0:
                    raise self.failure(f"did not say {pattern!r}")
                self.told.wait(left)

    def failure(self, what):
        return PartyFailed(f"{self.name} {what}; it said:\n{''.join(self.lines[-20:]) or '-'}")

    def look(self):
        self.peak = usage.peak_bytes(self.pid) or self.peak

    def used(self):
        """So far."""
        return usage.of_process(self.pid)

    def tell(self, with_signal):
        """Not by Popen, which would reap a party that has ended, with what it used."""
        signal.pidfd_send_signal(self.descriptor, with_signal)

    def reap(self):
        """After its end: what it used in its life."""
        if self.ended is not None:
            return
        _, status, rusage = os.wait4(self.pid, 0)
        self.ended = self.process.returncode = os.waitstatus_to_exitcode(status)
        self.usage = usage.of_ended(rusage, self.peak)
        os.close(self.descriptor)

    def end(self, with_signal=signal.SIGTERM, timeout_s=END_S):
        """Tells it to end, and waits for that."""
        self.look()
        self.tell(with_signal)
        self.run.finish([self], timeout_s, may_fail=with_signal == signal.SIGKILL)

    def kill(self):
        if self.ended is None:
            self.tell(signal.SIGKILL)
            self.reap()


class Run:
    """A folder of its own, below `folder` or the build's, and the parties in it."""

    def __init__(self, build, scenario, folder=None):
        self.build, self.scenario, self.parties = os.path.abspath(build), scenario, []
        self.folder = os.path.abspath(tempfile.mkdtemp(prefix="bench-", dir=folder or self.build))

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        for party in reversed(self.parties):
            party.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def program(self, name, folder="tools"):
        return os.path.join(self.build, folder, name)

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, text):
        with open(self.path(name), "w") as file:
            file.write(text)

    def read_report(self, name):
        with open(self.path(name)) as file:
            return json.load(file)

    def start(self, name, command, cores=None):
        return Party(self, name, command, cores)

    def finish(self, parties, timeout_s=END_S, may_fail=False, meanwhile=()):
        """Waits until all have ended by themselves, whichever is first; none of `meanwhile` may."""
        deadline = time.monotonic() + timeout_s
        left = [party for party in parties if party.ended is None]
        while left:
            for party in ended_of([*left, *meanwhile], PEAK_LOOK_MS):
                party.reap()
                if party not in left or (party.ended != 0 and not may_fail):
                    raise party.failure(f"ended with {party.ended}")
                left.remove(party)
            for party in left:
                party.look()
                if time.monotonic() > deadline:
                    raise party.failure(f"did not end in {timeout_s} s")


def ended_of(parties, wait_ms):
    """Those that have ended; waits for the first one, but no longer than so."""
    waiting = select.poll()
    by_descriptor = {party.descriptor: party for party in parties}
    for descriptor in by_descriptor:
        waiting.register(descriptor, select.POLLIN)
    return [by_descriptor[descriptor] for descriptor, _ in waiting.poll(wait_ms)]


class Reporter(Party):
    """A party that writes a JSON report when it ends."""

    @property
    def report(self):
        return self.run.read_report(f"{self.name}.json")


def make_certificate(run):
    """bench.pem and bench.key, where the scenario has TLS: self-signed, of a P-256 key."""
    if not run.scenario.tls.under_way and not run.scenario.tls.injection:
        return
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-subj", "/CN=mta.example.net", "-days", "30", "-keyout", "bench.key", "-out",
         "bench.pem"], cwd=run.folder, check=True, capture_output=True)


def start_sink(run, expect=None):
    """Ends when it has taken so many messages (all of the scenario's, where nothing is said)."""
    scenario = run.scenario
    command = [run.program("sluice-sink"), "--listen", "127.0.0.1:0", "--report", "sink.json",
               "--expect", str(expect or scenario.messages), "--remember",
               str(max(1, 2 * scenario.messages * scenario.mail.recipients))]
    if not scenario.pipelining:
        command.append("--no-pipelining")
    if not scenario.sink.chunking:
        command.append("--no-chunking")
    if scenario.tls.under_way:
        command += ["--certificate", "bench.pem", "--key", "bench.key",
                    "--tickets", str(scenario.tls.tickets)]
    for fault in scenario.sink.all_faults:
        command += ["--fault", fault]
    sink = Reporter(run, "sink", command, scenario.cores.sink)
    sink.address = sink.line(r"listening on (\S+:\d+)").group(1)
    sink.before = sink.used()
    return sink


def start_load(run, to, name="load", messages=None, domains=None, messages_per_connection=1000,
               starttls=False):
    """Injects the scenario's mail; `domains` (a list) instead of the scenario's."""
    scenario = run.scenario
    mail, source = scenario.mail, scenario.source
    command = [run.program("sluice-load"), "--to", to, "--report", f"{name}.json",
               "--messages", str(messages or scenario.messages),
               "--connections", str(source.connections),
               "--messages-per-connection", str(messages_per_connection),
               "--recipients-per-message", str(mail.recipients),
               "--pipelining" if scenario.pipelining else "--no-pipelining"]
    command += ["--sizes", mail.sizes] if mail.sizes else ["--size", str(mail.size)]
    if domains:
        run.write(f"{name}.domains", "".join(f"{domain}\n" for domain in domains))
        command += ["--domains", f"{name}.domains"]
    else:
        command += ["--domain-count", str(scenario.domains.count)]
    command += ["--distribution", scenario.domains.distribution]
    if source.rate:
        command += ["--rate", str(source.rate)]
    if starttls:
        command.append("--starttls")
    return Reporter(run, name, command, scenario.cores.source)
