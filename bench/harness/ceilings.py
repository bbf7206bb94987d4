"""What nothing on this machine can pass: the disk's own synced writes, and the primitives that a
TLS handshake cannot do without. The ceiling of the dialogue is `relay_run.straight`.
"""

import json
import os
import subprocess

from harness.disk import Disk

SYNCED_SIZES = {"4 KiB": 4 << 10, "256 KiB": 256 << 10}


def synced_writes(folder, seconds):
    """A second, one after the other, by their size."""
    disk = Disk(folder)
    return {name: disk.synced_writes_per_s(size, seconds) for name, size in SYNCED_SIZES.items()}


def handshake_primitives(build, core, seconds):
    """CPU microseconds of each, by its name in handshake_benchmark.cc; none where the benchmarks
    are not built."""
    program = os.path.join(build, "bench", "micro", "handshake_benchmark")
    if not os.path.exists(program):
        return {}
    prefix = "primitives/"
    done = subprocess.run(
        ["taskset", "-c", str(core), program, f"--benchmark_filter=^{prefix}",
         f"--benchmark_min_time={seconds}", "--benchmark_format=json"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    return {row["name"].removeprefix(prefix): row["cpu_time"]
            for row in json.loads(done.stdout)["benchmarks"]}
