#!/usr/bin/env python3
"""How fast mail is accepted, each message synced before its 250, beside what the disk itself syncs.

    accept.py BUILD_DIR [--seconds S] [--size BYTES] [--sessions N,N,…] [--shards S] [--folder PATH]

All of it is for one spool on an empty folder of PATH, and nothing is delivered meanwhile: all mail
is suspended. First the disk's own rate: synced writes one after the other into a preallocated file
beside the spool, of 4 KiB and of 256 KiB. Then the engine's, with each number of injecting
sessions; then, of messages of several sizes, the bytes that the engine had the kernel write for
each byte of them (write_bytes of /proc/PID/io, with its delivery log).

Flushes are those that the whole block device was told to make (/sys/dev/block/…/stat), whoever
wanted them: run it on a quiet machine. Where the device counts none, a dash stands for them.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile

from harness import parties, scenario, sluice
from harness.disk import Disk

AMPLIFIED_SIZES = {"1 KB": 1_000, "10 KB": 10_000, "100 KB": 100_000, "1 MB": 1_000_000}
AMPLIFIED_SESSIONS = 100
# More than any run can take in its time: sluice-load's --timeout ends it.
MESSAGES = 1_000_000_000
NOWHERE = "127.0.0.1:1"


def suspended_engine(place):
    """On an empty spool; it delivers nothing."""
    engine = sluice.start(place, NOWHERE)
    subprocess.run([place.program("sluice"), "suspenddel", "--socket", "control.sock", "--reason",
                    "a benchmark"], cwd=place.folder, check=True, stdout=subprocess.DEVNULL)
    return engine


def load(place, engine, sessions, size, seconds):
    """The report of so many seconds of injection."""
    load = parties.Reporter(place, "load", [
        place.program("sluice-load"), "--to", engine.address, "--connections", str(sessions),
        "--messages", str(MESSAGES), "--size", str(size), "--domain-count", "100", "--timeout",
        str(seconds), "--report", "load.json"], None)
    place.finish([load], may_fail=True)
    load.line("timeout")  # That is what ended it.
    report = load.report
    if report["refused"] or report["sessions_lost"] or not report["accepted"]:
        raise parties.PartyFailed(f"not all was accepted: {report}")
    return report


class Bench:
    def __init__(self, options, folder):
        self.options, self.folder, self.disk = options, folder, Disk(folder)

    def accept(self, sessions, size):
        """One run on a new engine: the load's report, with flushes and bytes written."""
        unpinned = scenario.unpinned(shards=self.options.shards)
        with parties.Run(self.options.build, unpinned, self.folder) as place:
            engine = suspended_engine(place)
            flushes, before = self.disk.flushes(), engine.used()
            report = load(place, engine, sessions, size, self.options.seconds)
            report["written"] = engine.used().since(before).written_bytes
            report["flushes"] = None if flushes is None else self.disk.flushes() - flushes
            return report

    def run(self):
        self.print_disk()
        self.print_rates()
        self.print_amplification()

    def print_disk(self):
        print("| one after the other | synced writes a second | flushes each |")
        print("|---|---|---|")
        for name, size in (("4 KiB", 4 << 10), ("256 KiB", 256 << 10)):
            flushes = self.disk.flushes()
            rate = self.disk.synced_writes_per_s(size, self.options.seconds)
            each = "-"
            if flushes is not None:
                each = f"{(self.disk.flushes() - flushes) / (rate * self.options.seconds):.2f}"
            print(f"| {name} | {rate:.0f} | {each} |", flush=True)

    def print_rates(self):
        """The disk's rate is taken again beside each: it drifts."""
        size = self.options.size
        print(f"\n| sessions, {size} bytes a message | accepted a second | of 4 KiB synced writes "
              "then | p50, p99 of the dot, ms | flushes a message |")
        print("|---|---|---|---|---|")
        for sessions in self.options.sessions:
            syncs = self.disk.synced_writes_per_s(4 << 10, 1)
            report = self.accept(sessions, size)
            rate, dot = report["messages_per_s"], report["dot_ms"]
            print(f"| {sessions} | {rate:.0f} | {rate / syncs:.2f} of {syncs:.0f} | "
                  f"{dot['p50']:.1f}, {dot['p99']:.1f} | {self.flushes_each(report)} |", flush=True)

    def print_amplification(self):
        print(f"\n| message, {AMPLIFIED_SESSIONS} sessions | accepted a second | MB a second | "
              "bytes written a byte accepted | flushes a message |")
        print("|---|---|---|---|---|")
        for name, size in AMPLIFIED_SIZES.items():
            report = self.accept(AMPLIFIED_SESSIONS, size)
            rate = report["messages_per_s"]
            print(f"| {name} | {rate:.0f} | {rate * size / 1e6:.0f} | "
                  f"{report['written'] / (report['accepted'] * size):.2f} | "
                  f"{self.flushes_each(report)} |", flush=True)

    @staticmethod
    def flushes_each(report):
        if report["flushes"] is None:
            return "-"
        return f"{report['flushes'] / report['accepted']:.3f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("build")
    parser.add_argument("--seconds", type=float, default=5, help="of each run")
    parser.add_argument("--size", type=int, default=10_000)
    parser.add_argument("--sessions", default="1,10,100,1000",
                        type=lambda text: [int(count) for count in text.split(",")])
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--folder", help="where the spool is made; a new one is removed again")
    options = parser.parse_args()
    folder = tempfile.mkdtemp(prefix="accept-", dir=options.folder)
    try:
        Bench(options, folder).run()
    except parties.PartyFailed as failure:
        sys.exit(str(failure))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
