#!/usr/bin/env python3
"""The main job: mail through Sluice to 50 domains with different limits, judged by the receiver.

    main_job.py BUILD_DIR [--messages N]

Starts sluice-sink (a port for each domain) and sluiced with the configuration beside this file,
injects with sluice-load, and compares the injector's ledger with what the sink received. Exits 0
only if every message that got 250 arrived exactly once with its bytes intact and no limit was
passed.
"""

import argparse
import configparser
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ENGINE = ("127.0.0.1", 26099)
SINK = ("127.0.0.1", 26000)
DELIVERY_TIME_S = 110
SIZES = "2k:50,10k:35,60k:12,300k:3"


def wait_listening(address, process, name):
    """Waits until the process accepts connections at the address."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if process.poll() is not None:
            sys.exit(f"{name} ended with {process.returncode} before it listened")
        try:
            socket.create_connection(address, timeout=1).close()
            return
        except OSError:
            time.sleep(0.02)
    sys.exit(f"{name} does not listen on {address[0]}:{address[1]}")


def check_ports_free():
    for port in [ENGINE[1]] + [SINK[1] + i for i in range(50)]:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                sys.exit(f"port {port} on 127.0.0.1 is in use: the main job needs it")


def read_lines(path):
    with open(path) as lines:
        return [line.split() for line in lines if line.strip() and not line.startswith("#")]


def effective_limits(domain):
    """The limits of a domain, by the rules of destinations.ini: exact, longest partial, default."""
    table = configparser.ConfigParser(default_section=None)
    table.read(os.path.join(HERE, "destinations.ini"))
    sections = ["DEFAULT"]
    labels = domain.split(".")
    sections += ["." + ".".join(labels[i:]) for i in range(len(labels) - 1, 0, -1)]
    sections.append(domain)
    limits = {}
    limits.update(table["DEFAULT"])
    matched = [name for name in sections[1:] if table.has_section(name)]
    if matched:
        limits.update(table[matched[-1]])
    return {
        "connections": int(limits["max_host_concurrency"]),
        "messages": int(limits["max_messages_per_connection"]),
        "recipients": int(limits["recipient_limit"]) if "recipient_limit" in limits else None,
        "minutes": int(limits.get("recipient_minutes", 0)),
    }


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def delivered_lines(path):
    """Deliveries so far, by the engine's own log."""
    if not os.path.exists(path):
        return 0
    with open(path, "rb") as log:
        return sum(line.startswith(b'{"type":"Delivery"') for line in log)


class Job:
    def __init__(self, build, folder, messages):
        self.build, self.folder, self.messages = build, folder, messages
        self.processes = []

    def start(self, program, *arguments):
        command = [os.path.join(self.build, "tools", program), *arguments]
        with open(os.path.join(self.folder, program + ".log"), "w") as log:
            process = subprocess.Popen(
                command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self.processes.append(process)
        return process

    def end(self, process, name):
        process.send_signal(signal.SIGTERM)
        if process.wait(timeout=40) != 0:
            self.fail(process, name)

    def fail(self, process, name):
        """Ends the job with what the program said."""
        with open(os.path.join(self.folder, name + ".log")) as log:
            print("".join(log.readlines()[-20:]), file=sys.stderr)
        sys.exit(f"{name} ended with {process.returncode}")

    def clean_up(self):
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.wait()

    def run(self):
        for name in ("sluice.toml", "destinations.ini", "routes", "domains"):
            shutil.copy(os.path.join(HERE, name), self.folder)
        sink = self.start(
            "sluice-sink",
            "--listen",
            f"{SINK[0]}:{SINK[1]}",
            "--ports",
            "50",
            "--window",
            "60",
            "--report",
            "sink.json",
            "--received",
            "received.txt",
        )
        wait_listening(SINK, sink, "sluice-sink")
        engine = self.start("sluiced", "--config", "sluice.toml")
        wait_listening(ENGINE, engine, "sluiced")

        begin = time.monotonic()
        load = self.start(
            "sluice-load",
            "--to",
            f"{ENGINE[0]}:{ENGINE[1]}",
            "--connections",
            "20",
            "--messages",
            str(self.messages),
            "--sizes",
            SIZES,
            "--domains",
            "domains",
            "--ledger",
            "ledger.txt",
            "--report",
            "load.json",
            "--timeout",
            "100",
        )
        self.follow(load, begin)
        if load.wait() != 0:
            self.fail(load, "sluice-load")
        seconds = time.monotonic() - begin
        cpu_us = cpu_seconds(engine.pid) * 1e6 / self.messages
        self.end(engine, "sluiced")
        self.end(sink, "sluice-sink")
        return self.judge(seconds, cpu_us)

    def follow(self, load, begin):
        """Shows progress until all is delivered or the time is over."""
        log = os.path.join(self.folder, "delivery.jsonl")
        terminal = sys.stdout.isatty()
        last = -1
        while True:
            delivered = delivered_lines(log)
            elapsed = time.monotonic() - begin
            if terminal or int(elapsed) // 10 != last:
                last = int(elapsed) // 10
                print(
                    f"  {elapsed:5.1f} s  {delivered:6d} of {self.messages} delivered",
                    end="\r" if terminal else "\n",
                    flush=True,
                )
            if delivered >= self.messages or elapsed > DELIVERY_TIME_S:
                print(
                    f"  {elapsed:5.1f} s  {delivered:6d} of {self.messages} delivered", flush=True
                )
                return
            if load.poll() not in (None, 0):
                self.fail(load, "sluice-load")
            time.sleep(0.25)

    def judge(self, seconds, cpu_us):
        with open(os.path.join(self.folder, "sink.json")) as report:
            sink = json.load(report)
        accepted = [
            (line[0], recipient)
            for line in read_lines(os.path.join(self.folder, "ledger.txt"))
            for recipient in line[1:]
        ]
        received = [tuple(line) for line in read_lines(os.path.join(self.folder, "received.txt"))]
        faults = self.print_table(sink)
        missing = len(set(accepted) - set(received))
        totals = sink["totals"]
        more = len(received) - len(set(received))
        print(
            f"\n{len(accepted)} messages got 250; the sink received {len(received)}: "
            f"{missing} missing, {more} more than once, {totals['damaged']} damaged"
        )
        with open(os.path.join(self.folder, "load.json")) as report:
            accepted_rate = json.load(report)["messages_per_s"]
        print(
            f"accepted, each synced to disk, at {accepted_rate:.0f} messages a second while "
            f"delivering; all delivered in {seconds:.0f} s, as the limits by the minute allow; "
            f"{cpu_us:.0f} CPU microseconds a message"
        )
        faults += missing + more + totals["damaged"] + totals["without_probe"]
        faults += len(accepted) != self.messages
        if faults:
            print("FAILED: not every message arrived once and intact within the limits")
            return 1
        print(
            "every message that got 250 arrived exactly once with its bytes intact, "
            "and no limit was passed"
        )
        return 0

    def print_table(self, sink):
        """A row a domain: its limits, and beside each the peak that the sink saw."""
        print(
            f"\n{'destination':<22} {'delivered':>9}  {'connections':>13}  {'messages each':>13}  "
            f"{'recipients/min':>16}"
        )
        print(f"{'':<22} {'':>9}  {'peak  limit':>13}  {'peak  limit':>13}  {'peak  limit':>16}")
        passed = 0
        domains = [line[0] for line in read_lines(os.path.join(HERE, "domains"))]
        for domain, port in zip(domains, sink["ports"]):
            limits = effective_limits(domain)
            most = max(window["recipients_max"] for window in port["windows"])
            row = [
                (port["connections_peak"], limits["connections"]),
                (port["messages_on_connection_max"], limits["messages"]),
                (most, limits["recipients"]),
            ]
            over = any(limit is not None and peak > limit for peak, limit in row)
            passed += over
            cells = [f"{peak:5d}  {limit if limit is not None else '-':>5}" for peak, limit in row]
            print(
                f"{domain:<22} {port['messages']:>9}  {cells[0]:>13}  {cells[1]:>13}  "
                f"{cells[2]:>16}{'  PASSED' if over else ''}"
            )
        return passed


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    arguments.add_argument("build", help="where the programs were built")
    arguments.add_argument("--messages", type=int, default=20000)
    options = arguments.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    check_ports_free()
    build = os.path.abspath(options.build)
    with tempfile.TemporaryDirectory(prefix="main-job-", dir=build) as folder:
        job = Job(build, folder, options.messages)
        try:
            return job.run()
        finally:
            job.clean_up()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
