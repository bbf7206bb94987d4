"""The log of all that was written to a disk, and the disks that a power cut could have left.

The log is that of Linux's dm-log-writes, as QEMU's driver blklogwrites keeps it: a sector with the
superblock (magic, version, number of entries, sector size), then for each write a sector that tells
of it (sector, number of sectors, flags, length of data) and the sectors written. All numbers are
little-endian. A flush is an entry of no sectors. An entry is written when the disk has done what it
tells of and before whoever asked hears so: what was done before something else was asked for
stands before it.

A disk keeps what was written before its last flush ended, and what was written through (FUA). Of
the later writes it may have any, in part, sector by sector. Of a sector that was written twice
meanwhile, it has an earlier state if it has not the later one.
"""

import bisect
import collections
import os
import struct
import subprocess

SECTOR_BYTES = 512
MAGIC = 0x6A736677736872
VERSION = 1
SUPERBLOCK = struct.Struct("<QQQI")
ENTRY = struct.Struct("<QQQQ")
FLUSH, FUA, DISCARD, MARK = 1, 2, 4, 8

# `data`: where the sectors stand in the log's file; `end`: where the next entry begins.
Entry = collections.namedtuple("Entry", "sector sectors flags data end")


class BrokenLog(Exception):
    """What is not as the format says, and where."""


class BlockLog:
    """Reads a log whose disk is closed."""

    def __init__(self, path):
        self.file = open(path, "rb")
        self.entries = list(self.read_entries())
        self.ends = [entry.end for entry in self.entries]
        self.flushes = [number for number, entry in enumerate(self.entries)
                        if entry.flags & FLUSH]

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.file.close()

    def read_entries(self):
        magic, version, count, sector_bytes = SUPERBLOCK.unpack(self.at(0, SUPERBLOCK.size))
        if (magic, version, sector_bytes) != (MAGIC, VERSION, SECTOR_BYTES):
            raise BrokenLog(f"superblock {magic:#x}, version {version}, sectors of {sector_bytes}")
        size = os.fstat(self.file.fileno()).st_size
        place, read = SECTOR_BYTES, 0
        while place < size:
            entry = self.read_entry(place)
            if entry.end > size:
                raise BrokenLog(f"the entry at {place} reaches over the end, {size}")
            yield entry
            place, read = entry.end, read + 1
        # The superblock is not written for each entry.
        if read < count:
            raise BrokenLog(f"{read} entries, and the superblock tells of {count}")

    def read_entry(self, place):
        sector, sectors, flags, length = ENTRY.unpack(self.at(place, ENTRY.size))
        data = place + SECTOR_BYTES
        is_flush = flags == FLUSH and sectors == 0
        is_write = flags in (0, FUA) and sectors > 0
        if length != 0 or not (is_flush or is_write):
            raise BrokenLog(f"at {place}: {sectors} sectors, flags {flags:#x}, length {length}")
        return Entry(sector, sectors, flags, data, data + sectors * SECTOR_BYTES)

    def at(self, place, count):
        found = os.pread(self.file.fileno(), count, place)
        if len(found) != count:
            raise BrokenLog(f"{len(found)} bytes of {count} at {place}")
        return found

    def sectors_of(self, entry, first, count):
        return self.at(entry.data + first * SECTOR_BYTES, count * SECTOR_BYTES)

    def entries_before(self, place):
        """How many entries end at this place of the file or before it."""
        return bisect.bisect_right(self.ends, place)

    def count_reaching(self, place):
        """How many entries it takes to make the file this long."""
        return bisect.bisect_left(self.ends, place) + 1 if place > SECTOR_BYTES else 0

    def place_after(self, count):
        """The length of the file that `count` entries make."""
        return self.ends[count - 1] if count else SECTOR_BYTES

    def next_flush(self, number):
        """The number of the first flush from this entry on. The unmounting ends with one."""
        return self.flushes[bisect.bisect_left(self.flushes, number)]

    def flushes_between(self, begin, end):
        return self.flushes[bisect.bisect_left(self.flushes, begin):
                            bisect.bisect_left(self.flushes, end)]

    def flushed_before(self, count):
        """How many of the first `count` entries the last flush among them makes safe."""
        flushes = bisect.bisect_left(self.flushes, count)
        return self.flushes[flushes - 1] + 1 if flushes else 0


class Replay:
    """A disk's image, brought forward along its log. `image` is a copy from before its first
    entry, and changes."""

    def __init__(self, log, image):
        self.log, self.image, self.reached = log, image, 0
        self.file = open(image, "r+b", buffering=0)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.file.close()

    def reach(self, count):
        """Applies all of the first `count` entries."""
        if count < self.reached:
            raise ValueError("a replay goes forward only")
        for entry in self.log.entries[self.reached:count]:
            self.apply(self.file, entry, [(0, entry.sectors)])
        self.reached = count

    def apply(self, file, entry, kept):
        for first, count in kept:
            os.pwrite(file.fileno(), self.log.sectors_of(entry, first, count),
                      (entry.sector + first) * SECTOR_BYTES)

    def cut(self, count, kept, path):
        """Makes the disk of a power cut after `count` entries. `kept` chooses of the writes that
        are not flushed: from a list of entries, for each the parts that the disk has, as pairs of
        first sector and number."""
        safe = self.log.flushed_before(count)
        self.reach(safe)
        pending = self.log.entries[safe:count]
        subprocess.run(["cp", "--sparse=auto", self.image, path], check=True)
        with open(path, "r+b", buffering=0) as file:
            for entry, parts in zip(pending, kept(pending)):
                whole = entry.flags & FUA
                self.apply(file, entry, [(0, entry.sectors)] if whole else parts)


# --- What a disk may keep of the writes that no flush has made safe.

def all_of(pending):
    return [[(0, entry.sectors)] for entry in pending]


def none_of(pending):
    return [[] for _ in pending]


def some_of(chance):
    """Whole writes, each or not."""
    def kept(pending):
        share = chance.choice((0.1, 0.5, 0.9))
        return [[(0, entry.sectors)] if chance.random() < share else [] for entry in pending]
    return kept


def torn(chance):
    """Writes whole, gone, or torn: to their front, their end, or sectors here and there."""
    def part(entry):
        edge = chance.randrange(entry.sectors + 1)
        return chance.choice((
            lambda: [(0, entry.sectors)],
            lambda: [],
            lambda: [(0, edge)],
            lambda: [(edge, entry.sectors - edge)],
            lambda: [(sector, 1) for sector in range(entry.sectors) if chance.random() < 0.5]))()

    def kept(pending):
        return [[(first, count) for first, count in part(entry) if count] for entry in pending]
    return kept
