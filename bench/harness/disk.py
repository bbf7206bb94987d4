"""What the block device under a folder was told, whoever told it, and what it can do.

Counts are the whole device's: they mean something on a machine that does nothing else.
"""

import contextlib
import os
import subprocess
import time

# Fields of a block device's stat, from 0 (Documentation/admin-guide/iostats.rst).
SECTORS_WRITTEN_FIELD, FLUSHES_FIELD = 6, 15
SECTOR_BYTES = 512


class Disk:
    def __init__(self, folder):
        self.folder = folder
        device = os.stat(folder).st_dev
        self.stat_path = f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/stat"

    def field(self, number):
        """So far; None where nothing counts it."""
        with contextlib.suppress(OSError, IndexError):
            with open(self.stat_path) as stat:
                return int(stat.read().split()[number]) or None
        return None

    def flushes(self):
        return self.field(FLUSHES_FIELD)

    def written_bytes(self):
        """With what the kernel still held back: journals and indexes too are part of the price."""
        subprocess.run(["sync", "--file-system", self.folder], check=True)
        sectors = self.field(SECTORS_WRITTEN_FIELD)
        return sectors and sectors * SECTOR_BYTES

    def synced_writes_per_s(self, size, seconds):
        """One after the other, each where nothing has been written: as a log grows."""
        path = os.path.join(self.folder, "syncs")
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        try:
            room = 256 << 20
            os.posix_fallocate(file, 0, room)
            os.fsync(file)
            data, count = os.urandom(size), 0
            began = time.monotonic()
            while (spent := time.monotonic() - began) < seconds:
                os.pwrite(file, data, count * size % room)
                os.fdatasync(file)
                count += 1
            return count / spent
        finally:
            os.close(file)
            os.unlink(path)
