"""A disk that keeps a log of its writes (block_log.py), with a file system on it that is mounted.

    image file ─ blklogwrites ─ FUSE export  (both qemu-storage-daemon) ─ loop device ─ file system

All of it lives in a mount and a process namespace of the test's own and on a file system in memory
that is mounted there: when the test ends, however it ends, the kernel kills what runs in them,
unmounts, and lets go of the loop devices, which clear themselves.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import time

from engine_run import LOOK_INTERVAL_S, START_TIME_S, Skipped, wait_until

NAMESPACE = "SLUICE_TEST_OWN_MOUNTS_AND_PROCESSES"
UNSHARE = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]

# The spool's segments are 64 MiB, two to six of them for each of two shards. Sparse.
DISK_BYTES = 1 << 30

MAKE = {
    # Nothing is left to be made by the kernel later, so that the log is the engine's.
    "ext4": ["mkfs.ext4", "-q", "-F", "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0"],
    "xfs": ["mkfs.xfs", "-q", "-K"],
}
# Two disks with one identity may be mounted at the same time.
MOUNT_OPTIONS = {"ext4": "loop", "xfs": "loop,nouuid"}


def why_not():
    """Why there can be no such disk here; None if there can."""
    if os.geteuid() != 0:
        return "it mounts file systems, and this is not root"
    for program in ("qemu-storage-daemon", "mkfs.ext4", "mkfs.xfs", "mount", "unshare"):
        if not shutil.which(program):
            return f"{program} is not installed"
    for device in ("/dev/fuse", "/dev/loop-control"):
        if not os.path.exists(device):
            return f"there is no {device}"
    if os.environ.get(NAMESPACE):
        return None
    tried = subprocess.run([*UNSHARE, "true"], capture_output=True, text=True)
    return tried.stderr.strip() or None if tried.returncode else None


def enter_own_namespaces():
    """Runs this program again in namespaces of its own, once."""
    if not os.environ.get(NAMESPACE):
        os.environ[NAMESPACE] = "1"
        os.execvp("unshare", [*UNSHARE, sys.executable, *sys.argv])


def command(*words):
    return subprocess.run([str(word) for word in words], capture_output=True, text=True)


class Mounted:
    """Something mounted for a while."""

    def __init__(self, at, *words):
        self.at = pathlib.Path(at)
        self.at.mkdir(exist_ok=True)
        done = command("mount", *words, self.at)
        self.fault = done.stderr.strip() if done.returncode else None

    def __enter__(self):
        return self

    def __exit__(self, failed, *exception):
        if self.fault is not None:
            return
        # The kernel closes the files of a killed engine's ring a moment after its end.
        deadline = time.monotonic() + START_TIME_S
        while (done := command("umount", self.at)).returncode and time.monotonic() < deadline:
            time.sleep(LOOK_INTERVAL_S)
        if done.returncode:
            command("umount", "--lazy", self.at)
            if not failed:
                raise OSError(done.stderr.strip())


def memory(folder, bytes_max):
    return Mounted(folder, "-t", "tmpfs", "-o", f"size={bytes_max}", "tmpfs")


def mounted_image(system, image, at):
    return Mounted(at, "-t", system, "-o", MOUNT_OPTIONS[system], image)


class LoggedDisk:
    """In a folder of `run`. Inside `with`, the file system is mounted at `root`; after it, `log`
    and `image` are complete, and `fresh` is what the image was before its first entry. `prepare` is
    called before, with the file system mounted and nothing logged."""

    def __init__(self, run, folder, system, prepare):
        self.run, self.system, self.folder, self.prepare = run, system, folder, prepare
        self.image, self.log, self.fresh, self.export = (
            folder / name for name in ("image", "log", "fresh", "export"))
        self.root = folder / "root"

    def __enter__(self):
        with open(self.image, "wb") as file:
            file.truncate(DISK_BYTES)
        made = command(*MAKE[self.system], self.image)
        if made.returncode:
            raise Skipped(f"mkfs: {made.stderr.strip()}")
        with mounted_image(self.system, self.image, self.root) as mounted:
            if mounted.fault:
                raise Skipped(f"no {self.system} can be mounted: {mounted.fault}")
            self.prepare(self.root)
        subprocess.run(["fallocate", "--dig-holes", self.image], check=True)
        subprocess.run(["cp", "--sparse=auto", self.image, self.fresh], check=True)
        self.start_daemon()
        self.mounted = mounted_image(self.system, self.export, self.root)
        if self.mounted.fault:
            self.end_daemon()
            raise Skipped(f"no {self.system} can be mounted: {self.mounted.fault}")
        subprocess.run(["sync", "--file-system", self.root], check=True)
        self.log_file = open(self.log, "rb")
        return self

    # The image's own syncs are left out: the machine stays on.
    def start_daemon(self):
        self.log.touch()
        self.export.touch()
        self.daemon = self.run.start(
            "qemu-storage-daemon",
            "--blockdev", f"driver=file,node-name=image,filename={self.image},cache.no-flush=on",
            "--blockdev", f"driver=file,node-name=writes,filename={self.log},cache.no-flush=on",
            "--blockdev", "driver=blklogwrites,node-name=disk,file=image,log=writes,"
            "log-sector-size=512",
            "--export", f"type=fuse,id=export,node-name=disk,mountpoint={self.export},writable=on")

        def ready():
            if not self.daemon.running():
                raise Skipped(f"qemu-storage-daemon: {self.daemon.said()}")
            return self.export.stat().st_size == DISK_BYTES
        wait_until(ready, "the disk is exported", START_TIME_S)

    def end_daemon(self):
        return self.daemon.terminate()

    def place(self):
        """How long the log is now."""
        return os.fstat(self.log_file.fileno()).st_size

    def __exit__(self, *exception):
        try:
            self.mounted.__exit__(*exception)
        finally:
            self.log_file.close()
            self.end_daemon()
