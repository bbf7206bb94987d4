#!/usr/bin/env python3
"""What a large queue costs: the start with it, the memory for it, draining it.

    queue.py BUILD_DIR [--messages N] [--size BYTES] [--destinations D] [--shards S]
                       [--deferred K] [--folder PATH] [--cold] [--drain]

Fills a spool with N messages, starts the engine on it, and says: seconds from the start of the
process to the first message at the sink (which is up before), until all are known, and resident
memory a queued recipient then, less that of the same engine with an empty spool. One message in K
has been tried before; the others are due. --cold drops the page cache before the start. --drain
goes on until all are delivered, and says how many a second.
"""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from engine_config import CONFIG

# With the sink stopped, nothing leaves: what is measured is the queue.
CONTROLS = "[DEFAULT]\nmax_host_concurrency = 20\nmax_messages_per_connection = 1000\n"


def resident_kib(pid, field):
    with open(f"/proc/{pid}/status") as status:
        return int(re.search(rf"^{field}:\s+(\d+) kB", status.read(), re.M).group(1))


class Lines:
    """Lines of a process's standard error, awaited."""

    def __init__(self, process):
        self.process = process

    def wait(self, pattern):
        for line in self.process.stderr:
            found = re.search(pattern, line)
            if found:
                return found
        sys.exit(f"a program ended without saying {pattern}")


class Bench:
    def __init__(self, options, folder):
        self.options, self.folder = options, folder
        self.build = os.path.abspath(options.build)
        self.spool = os.path.join(folder, "spool")

    def start_sink(self):
        received = os.path.join(self.folder, "received")
        open(received, "w").close()
        self.sink = subprocess.Popen(
            [os.path.join(self.build, "tools/sluice-sink"), "--listen", "127.0.0.1:0", "--received",
             received], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.sink_address = Lines(self.sink).wait(r"listening on (\S+)").group(1)
        return received

    def write_configuration(self, spool):
        with open(os.path.join(self.folder, "sluice.toml"), "w") as config:
            config.write(CONFIG.format(shards=self.options.shards, spool=spool))
        with open(os.path.join(self.folder, "destinations.ini"), "w") as controls:
            controls.write(CONTROLS)
        with open(os.path.join(self.folder, "routes"), "w") as routes:
            routes.write(f"ALL {self.sink_address}\n")

    def start_engine(self, spool):
        self.write_configuration(spool)
        self.engine = subprocess.Popen(
            [os.path.join(self.build, "tools/sluiced"), "--config", "sluice.toml"],
            cwd=self.folder, stderr=subprocess.PIPE, text=True)
        return Lines(self.engine)

    def end_engine(self):
        self.engine.send_signal(signal.SIGKILL)
        self.engine.wait()

    def idle_kib(self):
        lines = self.start_engine(os.path.join(self.folder, "empty"))
        lines.wait("messages in the spool")
        idle = resident_kib(self.engine.pid, "VmRSS")
        self.end_engine()
        return idle

    def fill(self):
        options = self.options
        began = time.monotonic()
        subprocess.run([os.path.join(self.build, "bench/fill_spool"), self.spool,
                        str(options.messages), str(options.size), str(options.destinations),
                        str(options.shards), str(options.deferred)], check=True)
        print(f"filled with {options.messages} messages of {options.size} bytes to "
              f"{options.destinations} domains in {time.monotonic() - began:.1f} s", flush=True)

    def run(self):
        options = self.options
        received = self.start_sink()
        idle = self.idle_kib()
        self.fill()
        if options.cold:
            subprocess.run(["sync"], check=True)
            with open("/proc/sys/vm/drop_caches", "w") as caches:
                caches.write("3")
        began = time.monotonic()
        lines = self.start_engine(self.spool)
        lines.wait("listening on")
        listening = time.monotonic() - began
        while os.path.getsize(received) == 0:
            time.sleep(0.001)
        first = time.monotonic() - began
        found = lines.wait(r"(\d+) messages in the spool")
        known = time.monotonic() - began
        resident = resident_kib(self.engine.pid, "VmRSS")
        peak = resident_kib(self.engine.pid, "VmHWM")
        print(f"listening after {listening:.2f} s, first delivery after {first:.2f} s, all "
              f"{found.group(1)} known after {known:.2f} s "
              f"({known * 1e6 / options.messages:.2f} s a million)")
        print(f"memory {(resident - idle) * 1024 / options.messages:.0f} bytes a queued recipient "
              f"({resident >> 10} MiB resident, {peak >> 10} MiB at the most, {idle >> 10} MiB "
              f"with an empty spool)", flush=True)
        if options.drain:
            self.drain(received, began, first)
        self.end_engine()
        self.sink.kill()

    def drain(self, received, began, first):
        due = self.options.messages
        if self.options.deferred:
            due -= (due + self.options.deferred - 1) // self.options.deferred
        lines = 0
        with open(received, "rb") as file:
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
    folder = tempfile.mkdtemp(prefix="queue-", dir=options.folder)
    try:
        Bench(options, folder).run()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
