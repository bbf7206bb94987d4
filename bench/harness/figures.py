"""The figures of a run: what each is called, its unit, how it is shown, in which table, and which
way is better."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    title: str
    unit: str
    digits: int = 1
    group: str = ""  # The table it stands in.
    more_is_better: bool = False
    scale: float = 1  # Shown in `unit` after division by this.

    def show(self, value):
        return "-" if value is None else f"{value / self.scale:,.{self.digits}f}"


MIB = 1 << 20
SPEED, CPU, COST, TIME = "Speed and CPU", "CPU, user and system", "Memory, disk, calls", "Times"
FIGURES = {
    "messages_per_s": Figure("messages a second", "1/s", 0, SPEED, more_is_better=True),
    "engine_cpu_us": Figure("engine CPU a message", "us", 1, SPEED),
    "engine_user_us": Figure("engine, user", "us", 1, CPU),
    "engine_system_us": Figure("engine, system", "us", 1, CPU),
    "source_cpu_us": Figure("source CPU a message", "us", 1, SPEED),
    "source_user_us": Figure("source, user", "us", 1, CPU),
    "source_system_us": Figure("source, system", "us", 1, CPU),
    "sink_cpu_us": Figure("sink CPU a message", "us", 1, SPEED),
    "sink_user_us": Figure("sink, user", "us", 1, CPU),
    "sink_system_us": Figure("sink, system", "us", 1, CPU),
    "engine_peak_bytes": Figure("engine, peak memory", "MiB", 1, COST, scale=MIB),
    "source_peak_bytes": Figure("source, peak memory", "MiB", 1, COST, scale=MIB),
    "sink_peak_bytes": Figure("sink, peak memory", "MiB", 1, COST, scale=MIB),
    "written_bytes": Figure("engine, bytes written a message", "B", 0, COST),
    "syscalls": Figure("engine, system calls a message", "", 2, COST),
    "p50_ms": Figure("from 250 to delivered, p50", "ms", 2, TIME),
    "p99_ms": Figure("from 250 to delivered, p99", "ms", 2, TIME),
    "p999_ms": Figure("from 250 to delivered, p99.9", "ms", 2, TIME),
    "connections": Figure("connections to the sink", "", 0, SPEED),
    "share_resumed": Figure("of their handshakes, resumed", "%", 1, SPEED, scale=0.01),
}
