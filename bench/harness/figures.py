"""The figures of a run: what each is called, its unit, how it is shown, which way is better."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    title: str
    unit: str
    digits: int = 1
    more_is_better: bool = False
    scale: float = 1  # Shown in `unit` after division by this.

    def show(self, value):
        return "-" if value is None else f"{value / self.scale:,.{self.digits}f}"


MIB = 1 << 20
FIGURES = {
    "messages_per_s": Figure("messages a second", "1/s", 0, more_is_better=True),
    "engine_cpu_us": Figure("engine CPU a message", "us"),
    "engine_user_us": Figure("engine, user", "us"),
    "engine_system_us": Figure("engine, system", "us"),
    "source_cpu_us": Figure("source CPU a message", "us"),
    "source_user_us": Figure("source, user", "us"),
    "source_system_us": Figure("source, system", "us"),
    "sink_cpu_us": Figure("sink CPU a message", "us"),
    "sink_user_us": Figure("sink, user", "us"),
    "sink_system_us": Figure("sink, system", "us"),
    "engine_peak_bytes": Figure("engine, peak memory", "MiB", scale=MIB),
    "source_peak_bytes": Figure("source, peak memory", "MiB", scale=MIB),
    "sink_peak_bytes": Figure("sink, peak memory", "MiB", scale=MIB),
    "written_bytes": Figure("engine, bytes written a message", "B", 0),
    "syscalls": Figure("engine, system calls a message", "", 2),
    "p50_ms": Figure("from 250 to delivered, p50", "ms", 2),
    "p99_ms": Figure("from 250 to delivered, p99", "ms", 2),
    "p999_ms": Figure("from 250 to delivered, p99.9", "ms", 2),
    "connections": Figure("connections to the sink", "", 0),
}
