"""What a party of many processes used, however many of them came and went: a control group.

    group = UsageGroup("postfix")
    subprocess.Popen(group.enter("taskset", "-c", "0", "master", "-d"))
    before = group.cpu()
    ...
    used = group.cpu() - before
    group.end()               # Ends all that is left in it.

The kernel counts for it: version 2 of control groups where it is mounted, else version 1's cpuacct
and memory. As root. `NoGroups` says why there can be none.
"""

import collections
import contextlib
import errno
import os
import pathlib
import signal
import threading
import time

END_TIME_S = 30
LOOK_INTERVAL_S = 0.02
# The kernel keeps the peak only of a group's whole memory, in which is also what it read and wrote
# of files. What its programs hold for themselves is looked at so often.
MEMORY_INTERVAL_S = 0.1


class NoGroups(Exception):
    """No control group can be made here; says why."""


class Cpu(collections.namedtuple("Cpu", "us user_us")):
    """The kernel may know the user's part of it by samples only."""

    def __sub__(self, before):
        return Cpu(self.us - before.us, self.user_us - before.user_us)


def mounted():
    """(type, options, folder) of each mounted hierarchy of control groups."""
    with open("/proc/self/mounts") as mounts:
        for line in mounts:
            _, folder, kind, options = line.split(" ")[:4]
            if kind in ("cgroup", "cgroup2"):
                yield kind, options.split(","), pathlib.Path(folder)


def keyed(path):
    """A file of lines `key number`."""
    return {key: int(number) for key, number in map(str.split, path.read_text().splitlines())}


class Version2:
    def __init__(self, root, name):
        self.folders = [root / name]
        # Of processor time every group has a count; of memory where its parent says so.
        with contextlib.suppress(OSError):
            (root / "cgroup.subtree_control").write_text("+memory")

    def cpu(self):
        counts = keyed(self.folders[0] / "cpu.stat")
        return Cpu(counts["usage_usec"], counts["user_usec"])

    def memory_bytes(self):
        return keyed(self.folders[0] / "memory.stat")["anon"]


class Version1:
    def __init__(self, cpuacct, memory, name):
        self.folders = [cpuacct / name] + ([memory / name] if memory not in (None, cpuacct) else [])
        self.memory = memory and memory / name

    def cpu(self):
        nanoseconds = [int((self.folders[0] / name).read_text())
                       for name in ("cpuacct.usage", "cpuacct.usage_user")]
        return Cpu(*(number / 1000 for number in nanoseconds))

    def memory_bytes(self):
        if self.memory is None:
            raise FileNotFoundError("no memory controller")
        return keyed(self.memory / "memory.stat")["total_rss"]


def version_for(name):
    """Where both are mounted, version 1 has the memory."""
    roots = {}
    for kind, options, folder in mounted():
        if kind == "cgroup2":
            roots["v2"] = folder
        else:
            roots.update({controller: folder for controller in ("cpuacct", "memory")
                          if controller in options})
    if "cpuacct" in roots:
        return Version1(roots["cpuacct"], roots.get("memory"), name)
    if "v2" in roots:
        return Version2(roots["v2"], name)
    raise NoGroups("no control groups are mounted")


class UsageGroup:
    def __init__(self, name):
        self.version = version_for(f"sluice-bench-{os.getpid()}-{name}")
        try:
            for folder in self.version.folders:
                folder.mkdir()
        except OSError as why:
            self.removed()
            raise NoGroups(f"{why.filename}: {why.strerror}")
        self.memory_peak = None
        self.ended = threading.Event()
        self.watcher = threading.Thread(target=self.watch_memory, daemon=True)
        self.watcher.start()

    def enter(self, *command):
        """The command, that first enters the group with all that it will start."""
        folders = " ".join(f"'{folder}/cgroup.procs'" for folder in self.version.folders)
        script = f'for procs in {folders}; do echo $$ > "$procs" || exit 1; done; exec "$@"'
        return ["sh", "-c", script, "sh", *map(str, command)]

    def cpu(self):
        """Of all processes so far, those that ended too."""
        return self.version.cpu()

    def memory_peak_bytes(self):
        """The most that they held for themselves at one time, each shared page once; None: it
        cannot be known here."""
        return self.memory_peak

    def watch_memory(self):
        with contextlib.suppress(OSError, KeyError):
            while not self.ended.wait(MEMORY_INTERVAL_S):
                self.memory_peak = max(self.memory_peak or 0, self.version.memory_bytes())

    def processes(self):
        """Of it now; none once it is removed."""
        with contextlib.suppress(FileNotFoundError):
            return (self.version.folders[0] / "cgroup.procs").read_text().split()
        return []

    def end(self):
        """Kills what is left in it, and takes it away."""
        self.ended.set()
        self.watcher.join()
        deadline = time.monotonic() + END_TIME_S
        while not self.removed():
            if time.monotonic() > deadline:
                raise TimeoutError(f"processes {self.processes()} do not end")
            for process in self.processes():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(process), signal.SIGKILL)
            time.sleep(LOOK_INTERVAL_S)

    def removed(self):
        """Whether all of it could be: the kernel keeps a group with processes in it."""
        for folder in self.version.folders:
            with contextlib.suppress(FileNotFoundError):
                try:
                    folder.rmdir()
                except OSError as why:
                    if why.errno != errno.EBUSY:
                        raise
                    return False
        return True
