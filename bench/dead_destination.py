#!/usr/bin/env python3
"""What one dead destination with a large queue costs all others: their time in the engine.

    dead_destination.py BUILD_DIR [--waiting N] [--seconds S] [--rate N] [--size BYTES] [--runs R]
                                  [--destinations D] [--connections C] [--shards S] [--folder PATH]

The dead one is d0.example: its host takes connections and never answers. A spool is filled with N
messages for it; the engine is started on it, and again on an empty one, interleaved R times. Each
time, when all that waited is known and the connections to the dead host hang, messages for D other
domains come in at a steady rate for S seconds, each synced before its 250.

The time of each of them is from its DATA, which its id tells in microseconds (it stands in our
Received line; engine/base/message_id.h), to its final dot at the receiver, which is this program:
the timestamps of the delivery log are whole seconds. Medians over the runs, and their ratio.
"""

import argparse
import json
import os
import re
import shutil
import socket
import socketserver
import statistics
import subprocess
import sys
import threading
import time

from harness import parties, scenario, sluice

DEAD = "d0.example"
ID = re.compile(rb"\bid ([0-9A-HJKMNP-TV-Z]{13})\b")
DIGITS = {digit: value for value, digit in enumerate(b"0123456789ABCDEFGHJKMNPQRSTVWXYZ")}
ARRIVES_S = 120


def made_at(message_id):
    """Seconds since 1970."""
    value = 0
    for digit in message_id:
        value = value << 5 | DIGITS[digit]
    return (value >> 8) / 1e6


class Session(socketserver.StreamRequestHandler):
    # Answers to pipelined commands go out one by one: none may wait for the one before to be
    # acknowledged, which takes 40 ms.
    disable_nagle_algorithm = True

    def handle(self):
        self.wfile.write(b"220 others.example ESMTP\r\n")
        for line in self.rfile:
            verb = line[:4].upper()
            if verb == b"EHLO":
                self.wfile.write(b"250-others.example\r\n250-PIPELINING\r\n250 8BITMIME\r\n")
            elif verb == b"DATA":
                self.wfile.write(b"354 go on\r\n")
                self.message()
            elif verb == b"QUIT":
                self.wfile.write(b"221 bye\r\n")
                return
            else:
                self.wfile.write(b"250 ok\r\n")

    def message(self):
        message_id = None
        while (line := self.rfile.readline()) != b".\r\n":
            if not line:
                return
            if message_id is None and (found := ID.search(line)):
                message_id = found.group(1)
        now = time.time()
        self.wfile.write(b"250 ok\r\n")
        self.server.arrived.append((made_at(message_id), now))


class Receiver(socketserver.ThreadingTCPServer):
    """Of the others' mail: when each message was made, and when it came."""

    daemon_threads = True
    request_queue_size = 1024

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Session)
        self.arrived = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request, client_address):
        """A session that ends with its engine."""


class Bench:
    def __init__(self, options, place):
        self.options, self.place = options, place
        self.receiver = Receiver()
        self.others_address = f"127.0.0.1:{self.receiver.server_address[1]}"
        self.dead = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.dead_route = f"{DEAD} 127.0.0.1:{self.dead.getsockname()[1]}\n"

    def fill(self):
        began = time.monotonic()
        waiting = self.options.waiting
        subprocess.run([self.place.program("fill_spool", "bench"), self.place.path("waiting"),
                        str(waiting), str(self.options.size), "1", str(self.options.shards)],
                       check=True)
        print(f"filled with {waiting} messages to {DEAD} in {time.monotonic() - began:.1f} s",
              flush=True)

    def wait_held(self):
        """Until as many connections to the dead host hang as there may be."""
        while True:
            told = subprocess.run(
                [self.place.program("sluice"), "hoststatus", DEAD, "--json", "--socket",
                 "control.sock"], cwd=self.place.folder, check=True, capture_output=True)
            if json.loads(told.stdout)["binding_limit"] == "concurrency":
                return
            time.sleep(0.05)

    def stream(self, engine):
        """Milliseconds of each message, sorted."""
        count = int(self.options.rate * self.options.seconds)
        self.receiver.arrived = arrived = []
        subprocess.run(
            [self.place.program("sluice-load"), "--to", engine.address, "--messages", str(count),
             "--rate", str(self.options.rate), "--size", str(self.options.size), "--domain-count",
             str(self.options.destinations), "--connections", "20", "--report", "load.json",
             "--timeout", str(self.options.seconds + ARRIVES_S)], cwd=self.place.folder, check=True)
        deadline = time.monotonic() + ARRIVES_S
        while len(arrived) < count:
            if time.monotonic() > deadline:
                sys.exit(f"{len(arrived)} of {count} messages for others came in {ARRIVES_S} s")
            time.sleep(0.01)
        if len(arrived) != count:
            sys.exit(f"{len(arrived)} messages came, of {count}")
        return sorted(1e3 * (came - made) for made, came in arrived)

    def one(self, dead):
        """p50 and p99 of one run."""
        if not dead:
            shutil.rmtree(self.place.path("empty"), ignore_errors=True)
        engine = sluice.begin(self.place, self.others_address, "waiting" if dead else "empty",
                              other_routes=self.dead_route)
        engine.await_listening()
        found = engine.await_spool()
        if found != (self.options.waiting if dead else 0):
            sys.exit(f"{found} messages in the spool")
        if dead:
            self.wait_held()
        times = self.stream(engine)
        engine.end()
        figures = {"p50": times[len(times) // 2], "p99": times[len(times) * 99 // 100],
                   "max": times[-1]}
        print(f"{'with' if dead else 'without':8} "
              f"{', '.join(f'{name} {value:.2f} ms' for name, value in figures.items())}",
              flush=True)
        return figures

    def run(self):
        options = self.options
        self.fill()
        runs = {True: [], False: []}
        for _ in range(options.runs):
            for dead in (False, True):
                runs[dead].append(self.one(dead))
        print(f"{options.rate} messages of {options.size} bytes a second to "
              f"{options.destinations} others, {options.seconds} s; medians of {options.runs}:")
        for name in ("p50", "p99"):
            present, absent = (statistics.median(run[name] for run in runs[dead])
                               for dead in (True, False))
            print(f"others' {name} with {present:.2f} ms, without {absent:.2f} ms")
            print(f"others' {name} with / without: {present / absent:.2f}")

    def clean_up(self):
        self.receiver.shutdown()
        self.receiver.server_close()
        self.dead.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("build")
    parser.add_argument("--waiting", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--rate", type=float, default=300)
    parser.add_argument("--size", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--destinations", type=int, default=20)
    parser.add_argument("--connections", type=int, default=100, help="of each destination, at most")
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--folder", help="where the spools are made; a new one is removed again")
    options = parser.parse_args()
    unpinned = scenario.unpinned(shards=options.shards, concurrency=options.connections)
    try:
        with parties.Run(options.build, unpinned, options.folder) as place:
            bench = Bench(options, place)
            try:
                bench.run()
            finally:
                bench.clean_up()
    except parties.PartyFailed as failure:
        sys.exit(str(failure))


if __name__ == "__main__":
    main()
