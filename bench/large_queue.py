#!/usr/bin/env python3
"""What a large queue costs: the start with it, the memory for it, draining it.

    large_queue.py BUILD_DIR [--messages N] [--size BYTES] [--destinations D] [--shards S]
                             [--deferred K] [--folder PATH] [--cold] [--drain]

Fills a spool with N messages, starts the engine on it, and says: seconds from the start of the
process to the first message at the sink (which is up before), until all are known, and resident
memory a queued recipient then, less that of the same engine with an empty spool. One message in K
has been tried before; the others are due (with 1, none is). --cold drops the page cache before the
start. --drain goes on until all are delivered, and says how many a second.
"""

import argparse
import os
import re
import subprocess
import sys
import time

from harness import parties, scenario, sluice


def resident_kib(pid, field):
    with open(f"/proc/{pid}/status") as status:
        return int(re.search(rf"^{field}:\s+(\d+) kB", status.read(), re.M).group(1))


class Bench:
    def __init__(self, options, place):
        self.options, self.place = options, place
        # With the sink stopped, nothing leaves: what is measured is the queue.
        self.received = place.path("received")
        place.write("received", "")
        sink = place.start("sink", [place.program("sluice-sink"), "--listen", "127.0.0.1:0",
                                    "--received", "received"])
        self.sink_address = sink.line(r"listening on (\S+)").group(1)

    def idle_kib(self):
        engine = sluice.start(self.place, self.sink_address, spool="empty")
        idle = resident_kib(engine.pid, "VmRSS")
        engine.kill()
        return idle

    def fill(self):
        options = self.options
        began = time.monotonic()
        subprocess.run([self.place.program("fill_spool", "bench"), self.place.path("spool"),
                        str(options.messages), str(options.size), str(options.destinations),
                        str(options.shards), str(options.deferred)], check=True)
        print(f"filled with {options.messages} messages of {options.size} bytes to "
              f"{options.destinations} domains in {time.monotonic() - began:.1f} s", flush=True)

    def run(self):
        options = self.options
        idle = self.idle_kib()
        self.fill()
        if options.cold:
            subprocess.run(["sync"], check=True)
            with open("/proc/sys/vm/drop_caches", "w") as caches:
                caches.write("3")
        began = time.monotonic()
        engine = sluice.begin(self.place, self.sink_address)
        engine.await_listening()
        listening = time.monotonic() - began
        while self.due() > 0 and os.path.getsize(self.received) == 0:
            time.sleep(0.001)
        first = time.monotonic() - began
        delivery = f"first delivery after {first:.2f} s, " if self.due() > 0 else ""
        found = engine.await_spool()
        known = time.monotonic() - began
        resident = resident_kib(engine.pid, "VmRSS")
        peak = resident_kib(engine.pid, "VmHWM")
        print(f"listening after {listening:.2f} s, {delivery}all "
              f"{found} known after {known:.2f} s ({known * 1e6 / options.messages:.2f} s a "
              "million)")
        print(f"memory {(resident - idle) * 1024 / options.messages:.0f} bytes a queued recipient "
              f"({resident >> 10} MiB resident, {peak >> 10} MiB at the most, {idle >> 10} MiB "
              f"with an empty spool)", flush=True)
        if options.drain and self.due() > 0:
            self.drain(began, first)

    def due(self):
        due, deferred = self.options.messages, self.options.deferred
        return due - (due + deferred - 1) // deferred if deferred else due

    def drain(self, began, first):
        due, lines = self.due(), 0
        with open(self.received, "rb") as file:
            while lines < due:
                part = file.read(1 << 20)
                lines += part.count(b"\n")
                if not part:
                    time.sleep(0.05)
        spent = time.monotonic() - began
        print(f"all {due} delivered after {spent:.1f} s, {due / (spent - first):.0f} a second")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("build")
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--size", type=int, default=1000)
    parser.add_argument("--destinations", type=int, default=1000)
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--deferred", type=int, default=0)
    parser.add_argument("--folder", help="where the spool is made; a new one is removed again")
    parser.add_argument("--cold", action="store_true")
    parser.add_argument("--drain", action="store_true")
    options = parser.parse_args()
    unpinned = scenario.unpinned(shards=options.shards)
    try:
        with parties.Run(options.build, unpinned, options.folder) as place:
            Bench(options, place).run()
    except parties.PartyFailed as failure:
        sys.exit(str(failure))


if __name__ == "__main__":
    main()
