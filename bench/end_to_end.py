#!/usr/bin/env python3
"""What a message costs in CPU microseconds: through Sluice, and straight to the sink.

    end_to_end.py BUILD_DIR [--messages N] [--size BYTES] [--runs R] [--tls [out|both]]

One shard pinned to the first core; injector and sink pinned to the second. Every message is synced
before its 250. Two dialogues: pipelined and not. The runs are interleaved and their medians
printed, since the machine's speed drifts; the ratio to the bare dialogue drifts less.

--tls puts what goes to the sink under TLS, from Sluice and straight; --tls both also what is
injected into Sluice. --messages-per-connection is of the connections to the sink, whoever makes
them, and says how many messages share a handshake; injecting connections have 1,000 each.
"""

import argparse
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

SINK_PORT = 26200
ENGINE_PORT = 26201

CONFIG = f"""
hostname = "mta.example.net"
[engine]
shards = 1
[[listener]]
address = "127.0.0.1:{ENGINE_PORT}"
relay_from = ["127.0.0.0/8"]
LISTENER
[spool]
path = "spool"
[destinations]
table = "destinations.ini"
[routes]
table = "routes"
[log]
delivery = "delivery.jsonl"
[control]
socket = "control.sock"
[[certificate]]
name = "bench"
certificate = "bench.pem"
key = "bench.key"
"""
CONTROLS = """
[DEFAULT]
max_host_concurrency = 20
max_messages_per_connection = MESSAGES
table_tls = LEVEL
"""
INJECTED_PER_CONNECTION = 1000


def make_certificate(folder):
    """Self-signed, of a P-256 key, for the sink and for Sluice's listener."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-subj", "/CN=mta.example.net", "-days", "30", "-keyout", "bench.key", "-out",
         "bench.pem"], cwd=folder, check=True, capture_output=True)


def cpu_us(pid):
    """User and system microseconds of a process so far."""
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    tick_us = 1e6 / os.sysconf("SC_CLK_TCK")
    return int(fields[11]) * tick_us, int(fields[12]) * tick_us


class Run:
    def __init__(self, options, folder):
        self.options, self.folder = options, folder
        self.tools = os.path.join(os.path.abspath(options.build), "tools")
        self.processes = []

    def start(self, core, program, *arguments):
        command = ["taskset", "-c", str(core), os.path.join(self.tools, program), *arguments]
        log = open(os.path.join(self.folder, program + ".log"), "w")
        process = subprocess.Popen(
            command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        self.processes.append(process)
        return process

    def sink_listening(self):
        """Waits for the sink's word, and does not connect: that would start the sink's clock."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with open(os.path.join(self.folder, "sluice-sink.log")) as log:
                if "listening on" in log.read():
                    return
            time.sleep(0.01)
        sys.exit("the sink does not listen")

    def listening(self, port):
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.01)
        sys.exit(f"nothing listens on {port}")

    def load(self, through_engine, pipelining):
        tls = self.options.tls == "both" if through_engine else self.options.tls is not None
        per_connection = self.options.messages_per_connection
        load = self.start(
            self.options.load_core,
            "sluice-load",
            "--to",
            f"127.0.0.1:{ENGINE_PORT if through_engine else SINK_PORT}",
            "--connections",
            str(self.options.connections),
            "--messages",
            str(self.options.messages),
            "--size",
            str(self.options.size),
            "--domain-count",
            "10",
            "--report",
            "load.json",
            "--ledger",
            "ledger.txt",
            "--messages-per-connection",
            str(INJECTED_PER_CONNECTION if through_engine else per_connection),
            "--pipelining" if pipelining else "--no-pipelining",
            *(["--starttls"] if tls else []),
        )
        if load.wait() != 0:
            sys.exit("sluice-load failed: see its log")
        with open(os.path.join(self.folder, "load.json")) as report:
            return json.load(report)

    def write_config(self):
        listener = 'certificate = "bench"' if self.options.tls == "both" else ""
        level = "required" if self.options.tls else "off"
        controls = CONTROLS.replace("LEVEL", level)
        controls = controls.replace("MESSAGES", str(self.options.messages_per_connection))
        for name, text in (
            ("sluice.toml", CONFIG.replace("LISTENER", listener)),
            ("destinations.ini", controls),
            ("routes", f"ALL 127.0.0.1:{SINK_PORT}\n"),
        ):
            with open(os.path.join(self.folder, name), "w") as file:
                file.write(text)

    def one(self, through_engine, pipelining):
        """One run; returns its figures."""
        sink = self.start(
            self.options.load_core,
            "sluice-sink",
            "--listen",
            f"127.0.0.1:{SINK_PORT}",
            "--report",
            "sink.json",
            "--expect",
            str(self.options.messages),
            *(["--certificate", "bench.pem", "--key", "bench.key"] if self.options.tls else []),
        )
        self.sink_listening()
        engine = None
        if through_engine:
            self.write_config()
            engine = self.start(self.options.engine_core, "sluiced", "--config", "sluice.toml")
            self.listening(ENGINE_PORT)
            before = cpu_us(engine.pid)
        report = self.load(through_engine, pipelining)
        if sink.wait(timeout=120) != 0:
            sys.exit("sluice-sink failed: see its log")
        with open(os.path.join(self.folder, "sink.json")) as file:
            sink_report = json.load(file)
        in_clear = sink_report["totals"]["messages_in_clear"]
        if in_clear != (0 if self.options.tls else self.options.messages):
            sys.exit(f"{in_clear} messages came in clear")
        figures = {
            "rate": sink_report["messages_per_s"],
            "connections": sink_report["totals"]["connections"],
            "load": report["cpu_us_per_message"],
            "sink": sink_report["cpu_us_per_message"],
        }
        if engine is not None:
            after = cpu_us(engine.pid)
            figures["user"] = (after[0] - before[0]) / self.options.messages
            figures["system"] = (after[1] - before[1]) / self.options.messages
            engine.send_signal(signal.SIGTERM)
            if engine.wait(timeout=60) != 0:
                sys.exit("sluiced failed: see its log")
        return figures

    def clean_up(self):
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.wait()


def median(runs, key):
    return statistics.median(run[key] for run in runs)


def print_medians(dialogue, bare, through):
    sends, receives = median(bare, "load"), median(bare, "sink")
    user, system = median(through, "user"), median(through, "system")
    times = (user + system) / (sends + receives)
    print(f"{dialogue}:")
    print(
        f"  bare dialogue   sends {sends:5.1f} us, receives {receives:5.1f} us; "
        f"{median(bare, 'rate'):.0f} messages a second on {median(bare, 'connections'):.0f} "
        "connections"
    )
    print(
        f"  through Sluice  {user + system:5.1f} CPU us a message (user {user:.1f}, system "
        f"{system:.1f}), {times:.2f} times the bare dialogue's two sides; "
        f"{median(through, 'rate'):.0f} messages a second on "
        f"{median(through, 'connections'):.0f} connections"
    )


def main():
    arguments = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    arguments.add_argument("build")
    arguments.add_argument("--messages", type=int, default=20000)
    arguments.add_argument("--size", type=int, default=10240)
    arguments.add_argument("--connections", type=int, default=20)
    arguments.add_argument("--runs", type=int, default=3)
    arguments.add_argument("--engine-core", type=int, default=0)
    arguments.add_argument("--load-core", type=int, default=1)
    arguments.add_argument("--tls", choices=("out", "both"), nargs="?", const="out")
    arguments.add_argument(
        "--messages-per-connection", type=int, help="to the sink; 1000, and 50 with --tls"
    )
    options = arguments.parse_args()
    if options.messages_per_connection is None:
        options.messages_per_connection = 50 if options.tls else 1000
    tls = {None: "no TLS", "out": "TLS to the sink", "both": "TLS on both sides"}[options.tls]
    print(
        f"{options.messages} messages of {options.size} bytes, {options.connections} injecting "
        f"connections, 10 destinations, one shard, sync on, {tls}, "
        f"{options.messages_per_connection} messages a connection to the sink; "
        f"medians of {options.runs}"
    )
    with tempfile.TemporaryDirectory(
        prefix="end-to-end-", dir=os.path.abspath(options.build)
    ) as folder:
        make_certificate(folder)
        run = Run(options, folder)
        try:
            for pipelining in (True, False):
                bare, through = [], []
                for _ in range(options.runs):
                    bare.append(run.one(False, pipelining))
                    through.append(run.one(True, pipelining))
                print_medians("pipelined" if pipelining else "not pipelined", bare, through)
        finally:
            run.clean_up()


if __name__ == "__main__":
    main()
