"""A spool that is a small file system in memory, so that a test can come to its end.

It is mounted in a mount namespace of the test program's own, so that it is gone with it: the
program calls enter_own_mounts() first of all.
"""

import os
import shutil
import subprocess
import sys

from engine_run import Skipped

NAMESPACE = "SLUICE_TEST_OWN_MOUNTS"


def enter_own_mounts():
    """Runs this program again in a mount namespace of its own, if there can be one."""
    if os.environ.get(NAMESPACE):
        return
    if subprocess.run(["unshare", "--mount", "true"], stderr=subprocess.DEVNULL).returncode != 0:
        return
    os.environ[NAMESPACE] = "1"
    os.execvp("unshare", ["unshare", "--mount", sys.executable, *sys.argv])


class SmallSpool:
    """The run's folder `spool`, while it is entered."""

    def __init__(self, run, mib):
        if not os.environ.get(NAMESPACE):
            raise Skipped("no mount namespace can be made")
        self.path, self.mib = run.folder / "spool", mib
        self.path.mkdir()
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs",
                                  self.path], capture_output=True, text=True)
        if mounted.returncode != 0:
            raise Skipped(f"no tmpfs can be mounted: {mounted.stderr.strip()}")

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        subprocess.run(["umount", "--lazy", self.path], check=True)

    def fill(self):
        """Leaves no free byte."""
        free = shutil.disk_usage(self.path).free
        with open(self.path / "filler", "wb") as filler:
            os.posix_fallocate(filler.fileno(), 0, free)

    def make_room(self):
        (self.path / "filler").unlink()

    def enlarge(self):
        subprocess.run(["mount", "-o", f"remount,size={2 * self.mib}m", self.path], check=True)
