"""What a process used: processor time, memory at its peak, bytes that the kernel wrote for it.

    before = usage.of_process(pid)
    ...
    spent = usage.of_process(pid).since(before)

The kernel tells the time of a living process exactly, but its parts, user and system, in ticks of
10 ms: they say only which share of the exact time is whose. System calls are counted by
`SyscallCount`, which traces: a run that is traced gives no other figure.
"""

import os
import re
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Usage:
    cpu_us: float = 0
    # In any unit.
    user: float = 0
    system: float = 0
    peak_bytes: int | None = None  # Resident, the most since it started.
    written_bytes: int | None = None  # write_bytes of /proc/PID/io: what went to a disk's cache.

    @property
    def user_us(self):
        return self.cpu_us * self.user / (self.user + self.system) if self.user else 0

    @property
    def system_us(self):
        return self.cpu_us - self.user_us

    def since(self, before):
        """What was used since; the peak is that of the whole life."""
        written = None
        if self.written_bytes is not None and before.written_bytes is not None:
            written = self.written_bytes - before.written_bytes
        return Usage(self.cpu_us - before.cpu_us, self.user - before.user,
                     self.system - before.system, self.peak_bytes, written)


def of_process(pid):
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    tick_us = 1e6 / os.sysconf("SC_CLK_TCK")
    return Usage(
        # Of all threads, ended ones too: clock_getcpuclockid(3) makes the clock's number like this.
        cpu_us=time.clock_gettime_ns((~pid << 3) | 2) / 1e3,
        user=int(fields[11]) * tick_us,
        system=int(fields[12]) * tick_us,
        peak_bytes=peak_bytes(pid),
        written_bytes=_field(f"/proc/{pid}/io", "write_bytes"),
    )


def of_ended(rusage, peak):
    """Of what wait4 told. Its own peak is no use: it counts the memory of whoever forked, so the
    caller hands in what it saw last."""
    return Usage(
        cpu_us=(rusage.ru_utime + rusage.ru_stime) * 1e6,
        user=rusage.ru_utime * 1e6,
        system=rusage.ru_stime * 1e6,
        peak_bytes=peak,
        written_bytes=rusage.ru_oublock * 512,
    )


def peak_bytes(pid):
    """None where the process has ended."""
    kib = _field(f"/proc/{pid}/status", "VmHWM")
    return None if kib is None else kib * 1024


def _field(path, name):
    try:
        with open(path) as file:
            found = re.search(rf"^{name}:\s+(\d+)", file.read(), re.M)
    except OSError:
        return None
    return int(found.group(1)) if found else None


class SyscallCount:
    """System calls that all threads of a process begin, from now until `stop`."""

    EVENT = "raw_syscalls:sys_enter"

    def __init__(self, pid):
        told, tell = os.pipe()
        hear, heard = os.pipe()
        self.process = subprocess.Popen(
            ["perf", "stat", "-x,", "-e", self.EVENT, "-p", str(pid), "--delay=-1",
             f"--control=fd:{told},{heard}"], pass_fds=(told, heard),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        os.close(told)
        os.close(heard)
        # Counts from here on: perf has attached when it answers.
        with open(tell, "w") as control, open(hear) as answer:
            print("enable", file=control, flush=True)
            answer.readline()

    def stop(self):
        """The count; RuntimeError with what perf said."""
        self.process.send_signal(signal.SIGINT)
        said = self.process.communicate(timeout=20)[1]
        found = re.search(rf"^(\d+),.*{self.EVENT}", said, re.M)
        if not found:
            raise RuntimeError(f"perf counts no system calls: {said.strip()}")
        return int(found.group(1))

    @classmethod
    def why_not(cls):
        """Why it cannot be used here; None where it can."""
        if shutil.which("perf") is None:
            return "perf is not installed"
        tried = subprocess.run(["perf", "stat", "-x,", "-e", cls.EVENT, "true"],
                               capture_output=True, text=True)
        if tried.returncode == 0 and re.match(r"\d+,", tried.stderr):
            return None
        return "perf cannot count raw_syscalls:sys_enter here: " + " ".join(tried.stderr.split())
