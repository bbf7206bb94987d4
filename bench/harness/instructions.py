"""Instructions that the engine executes for a message, counted without noise.

The whole engine runs in the simulator (tests/sim): one thread, virtual time, under callgrind.
The same program executes the same instructions each time, to a handful. Counted is what runs within
Shard::Step, without what the simulator's own functions do that are called from there.

`sluiced` itself cannot be counted so: valgrind 3.19 does not know that io_uring_enter waits, so a
shard that waits for its ring keeps all other threads from running; nor would the number of its
turns be the same twice. What is left out: the ring, wolfSSL, the kernel, the other threads.
"""

import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field

STEP = "sluice::shard::Shard::Step*"
SIMULATOR = "sluice::sim::"

MORE_MAX = 0.03  # Than before, a message: what nobody need explain.

# As lines of tests/sim/seeds.txt. All else is at its least: no faults.
WORKLOADS = {
    "plain": "1 least messages={messages} domains=10 active_min=1 body_bytes_max=40000 "
             "segment_bytes=4194304 peers_pipeline=1",
    "two shards, 200 domains, recipients, limits":
        "2 least messages={messages} shards=2 domains=200 recipients_max=5 active_min=1 "
        "body_bytes_max=40000 segment_bytes=4194304 peers_pipeline=1 controls=1",
}


class CannotCount(Exception):
    pass


@dataclass
class Count:
    deliveries: int
    instructions: int
    by_function: dict = field(default_factory=dict)  # Their own; what they call is not in it.

    @property
    def each(self):
        return self.instructions / self.deliveries


def more(before, after):
    """As a share of what it was, and whether that is too much."""
    return after.each / before.each - 1, after.each > (1 + MORE_MAX) * before.each


def simulator(build):
    return os.path.join(build, "tests", "sim", "simulate")


def count(build, workload, messages):
    if not shutil.which("valgrind"):
        raise CannotCount("valgrind is not installed")
    with tempfile.TemporaryDirectory(prefix="callgrind-", dir=build) as folder:
        with open(os.path.join(folder, "seeds"), "w") as seeds:
            seeds.write(WORKLOADS[workload].format(messages=messages) + "\n")
        done = subprocess.run(
            ["valgrind", "--tool=callgrind", f"--toggle-collect={STEP}",
             "--callgrind-out-file=count.%p", os.path.abspath(simulator(build)), "--known", "seeds",
             "--seeds", "0"], cwd=folder, capture_output=True, text=True)
        found = re.search(r"injected, (\d+) deliveries", done.stdout)
        if done.returncode != 0 or not found or int(found.group(1)) == 0:
            raise CannotCount(f"{simulator(build)} failed:\n{done.stdout}{done.stderr[-2000:]}")
        return _of_profiles(folder, int(found.group(1)))


def _of_profiles(folder, deliveries):
    """Of the process that the simulation ran in: one of two; the other one only waited for it."""
    profiles = [os.path.join(folder, name) for name in os.listdir(folder)
                if name.startswith("count.")]
    with open(max(profiles, key=os.path.getsize)) as profile:
        instructions, by_function = read_profile(profile)
    return Count(deliveries, instructions, by_function)


def read_profile(lines):
    """All instructions and each function's own, without the simulator's, of callgrind's format:
    https://valgrind.org/docs/manual/cl-format.html."""
    names, own, calls, total = {}, {}, {}, 0
    caller = callee = None
    for line in lines:
        if line.startswith("fn="):
            caller = _name(line, names)
        elif line.startswith("cfn="):
            callee = _name(line, names)
        elif line.startswith("calls="):
            # The next line has what the calls cost, with all that was called from there.
            cost = int(next(lines).split()[1])
            below = calls.setdefault(caller, {})
            below[callee] = below.get(callee, 0) + cost
        elif line.startswith("summary:"):
            total = int(line.split()[1])
        elif caller is not None and re.match(r"[+*\d-]", line):
            own[caller] = own.get(caller, 0) + int(line.split()[1])
    engine = _engine(calls)
    simulator = sum(cost for caller in engine for callee, cost in calls.get(caller, {}).items()
                    if SIMULATOR in callee)
    return total - simulator, {name: own.get(name, 0) for name in engine}


def _engine(calls):
    """What Step calls, and so on, as far as it is not the simulator's. Whoever calls Step is not
    of it, be it the simulator's or main."""
    engine, new = set(), {name for name in calls if name.startswith(STEP.rstrip("*"))}
    while new:
        engine |= new
        new = {callee for caller in new for callee in calls.get(caller, {})
               if SIMULATOR not in callee} - engine
    return engine


def _name(line, names):
    """A name is written out once, with a number that stands for it from then on."""
    number, name = re.match(r"c?fn=\((\d+)\)(?: (.*))?", line).groups()
    if name is not None:
        names[number] = name
    return names[number]


def differing(before, after, how_many):
    """The functions whose own instructions a message differ the most: (name, before, after)."""
    each = [(name, before.by_function.get(name, 0) / before.deliveries,
             after.by_function.get(name, 0) / after.deliveries)
            for name in before.by_function.keys() | after.by_function.keys()]
    each.sort(key=lambda row: (-abs(row[2] - row[1]), row[0]))
    return each[:how_many]
