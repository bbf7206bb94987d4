"""Mail through the engine, its spool on a disk that keeps a log of its writes.

In order: segments are used and left behind, nothing of which is logged; the log begins, and the
load; the engine is killed half-way and started again; it is killed at the end.
"""

import collections
import contextlib
import filecmp

from block_log import BlockLog, Replay
from engine_run import Run, expect, expect_equal, wait_until
from logged_disk import LoggedDisk, memory
from placed_mail import LARGE, Injector, Ledger, Receiver
from spool_judge import Census

FIRST_DEAD = 10**6      # Number of the mails that are done before the log begins;
DEAD_OF_A_SHARD = 80    # large ones: more than a segment.
# Nothing is given up, however slow the machine is.
PROFILE = "initial_retry_s = 1\nmax_retry_s = 1\nmax_retries = 100000"
TIMEOUT_S = 300         # Of what takes seconds, on a machine that has more to do.
MEMORY_BYTES = 6 << 30  # At most; a load takes a quarter of it.


class LoadedDisk:
    """A load that is over: its ledger, the log of its disk, and the spans of the log in which it
    ran and in which the engine was killed and started again."""

    def __init__(self, build, run, folder, system):
        self.build, self.run, self.folder, self.system = build, run, folder, system

    def carry(self, messages, seed, shards=1, sync="true", long=True):
        """A long load meets used segments, and a kill of the engine."""
        self.shards, self.sync = shards, sync
        prepare = self.use_segments if long else lambda root: None
        with LoggedDisk(self.run, self.folder, self.system, prepare) as self.disk:
            self.ledger = Ledger(self.disk.place)
            begin = self.disk.place()
            with Receiver(self.ledger) as receiver:
                self.engine = self.start_engine(self.disk.root, receiver)
                injector = Injector(self.ledger, self.engine.host_and_port(), range(messages),
                                    seed)
                restarted = self.restart(injector, messages) if long else (begin, begin)
                injector.join()
                end = self.disk.place()
                self.engine.kill()
            if long and shards == 1:
                self.expect_turnover(Census(self.build, self.disk.root / "spool"))
        expect(not self.ledger.damaged, f"damaged on delivery: {self.ledger.damaged[:3]}")
        self.log = BlockLog(self.disk.log)
        self.span = tuple(map(self.log.entries_before, (begin, end)))
        self.restarted = tuple(map(self.log.entries_before, restarted))
        self.places = sorted(self.ledger.promised.values())
        self.last_said = {event["recipient"]: event["type"] for event in self.engine.events()
                          if "recipient" in event}

    def start_engine(self, root, receiver):
        return self.run.engine(shards=self.shards, routes=receiver.routes, sync=self.sync,
                               profile=PROFILE, spool=root / "spool")

    def use_segments(self, root):
        """So that the load meets segments that have been written: what is torn in one that never
        was, a file system does not show."""
        ledger = Ledger(lambda: 0)

        def inject(engine):
            numbers = range(FIRST_DEAD, FIRST_DEAD + DEAD_OF_A_SHARD * self.shards)
            Injector(ledger, engine.host_and_port(), numbers, 1, LARGE).join()
            return {address for mail in ledger.mails.values() for address in mail.recipients}
        self.used = self.deliver(root, ledger, inject).greatest_sequence()

    def expect_turnover(self, census):
        """The first segment that the load began has been given back."""
        expect(min(census.segments["0"]) > self.used + 1,
               "no segment was given back: the load was too light")

    def deliver(self, root, ledger, inject):
        """The engine starts on what is there and is given mail. It delivers all, which `inject`
        tells, once, and leaves no message. Returns the census of what it leaves."""
        with Receiver(ledger, takes_all=True) as receiver:
            engine = self.start_engine(root, receiver)
            addresses = inject(engine)
            wait_until(lambda: not addresses - ledger.delivered.keys(), "all delivered",
                       TIMEOUT_S)
            engine.drain()
        expect(not ledger.damaged, f"damaged on delivery: {ledger.damaged[:3]}")
        expect_equal(collections.Counter({address: len(places) for address, places
                                          in ledger.delivered.items()}),
                     collections.Counter(addresses), "delivered by the engine")
        census = Census(self.build, root / "spool")
        expect_equal(len(census.messages), 0, "messages left by the engine")
        return census

    def restart(self, injector, messages):
        """Recovery writes too: the power may go in it."""
        wait_until(lambda: len(self.ledger.promised) > messages / 2 or injector.faults,
                   "half of the load", TIMEOUT_S)
        injector.interrupt()
        begin = self.disk.place()
        self.engine.kill()
        self.engine.start()
        end = self.disk.place()
        injector.go_on()
        return begin, end

    def replay(self):
        return Replay(self.log, self.disk.fresh)

    def expect_whole(self, replay):
        """The log makes the very disk that was written."""
        replay.reach(len(self.log.entries))
        expect(filecmp.cmp(self.disk.fresh, self.disk.image, shallow=False),
               "the log's writes do not make the disk that they were logged of")


@contextlib.contextmanager
def loaded_disk(build, system, *load, **options):
    with Run(build) as run:
        folder = run.folder / "disks"
        with memory(folder, MEMORY_BYTES) as mounted:
            expect(mounted.fault is None, f"memory: {mounted.fault}")
            loaded = LoadedDisk(build, run, folder, system)
            loaded.carry(*load, **options)
            with loaded.log:
                yield loaded
