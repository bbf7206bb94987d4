"""One run of a scenario: its figures, by the names of figures.py.

    source ──► engine ──► sink

The source injects, the engine delivers what it has synced, the sink ends when all has come. A run
in which a message is missing, came twice, was damaged or came in clear where it must not, fails.
"""

from . import latency, parties, sluice, usage
from .figures import FIGURES
from .parties import MAIL_S, PartyFailed
from .scenario import SLOW_DOMAIN

# Why a figure is not there.
NO_ENGINE = "there is no engine in it"
TOO_SHORT = "it ended before its memory was looked at"
NO_TLS = "nothing is delivered under TLS"
NOT_TOLD = "neither the kernel nor the delivery log tells it"


def run(build, scenario):
    """Figures, and of those that are None the reason: two dictionaries."""
    with parties.Run(build, scenario) as place:
        if scenario.engine.present:
            return _through_engine(place, scenario)
        return _bare(place, scenario)


def count_syscalls(build, scenario):
    """The one figure of a run in which the engine is traced."""
    with parties.Run(build, scenario) as place:
        sink, engine = _start(place, scenario)
        counting = usage.SyscallCount(engine.pid)
        load = parties.start_load(place, engine.address, starttls=scenario.tls.injection)
        place.finish([load, sink], MAIL_S, meanwhile=[engine])
        return {"syscalls": counting.stop() / scenario.messages}


def _start(place, scenario):
    """Sink and engine, and in it the mail that waits, before anything is measured."""
    parties.make_certificate(place)
    sink = parties.start_sink(place)
    engine = sluice.start(place, sink.address)
    if scenario.sink.slow_s:
        waiting = parties.start_load(place, engine.address, name="waiting", domains=[SLOW_DOMAIN],
                                     messages=scenario.sink.slow_waiting,
                                     starttls=scenario.tls.injection)
        place.finish([waiting], MAIL_S, meanwhile=[engine, sink])
    return sink, engine


def _through_engine(place, scenario):
    sink, engine = _start(place, scenario)
    before = engine.used()
    load = parties.start_load(place, engine.address, starttls=scenario.tls.injection)
    place.finish([load, sink], MAIL_S, meanwhile=[engine])
    spent = engine.used().since(before)
    engine.end_drained(no_wait=bool(scenario.sink.slow_s))
    figures = _figures_of_ends(scenario, load, sink) | _figures_of("engine", spent, scenario)
    figures["written_bytes"] = _each(spent.written_bytes, scenario)
    figures |= latency.of_log(place.path("delivery.jsonl"), leave_out=SLOW_DOMAIN)
    return figures, _unknown(figures, NOT_TOLD)


def _bare(place, scenario):
    parties.make_certificate(place)
    sink = parties.start_sink(place)
    load = parties.start_load(
        place, sink.address, starttls=scenario.tls.under_way,
        messages_per_connection=scenario.limits.messages_per_connection)
    place.finish([load, sink], MAIL_S)
    figures = dict.fromkeys(FIGURES) | _figures_of_ends(scenario, load, sink)
    return figures, _unknown(figures, NO_ENGINE)


def _unknown(figures, why_others):
    """The reason of each figure that is None."""
    reasons = {"source_peak_bytes": TOO_SHORT, "sink_peak_bytes": TOO_SHORT,
               "share_resumed": NO_TLS}
    return {name: reasons.get(name, why_others) for name, value in figures.items()
            if value is None}


def _figures_of_ends(scenario, load, sink):
    report = sink.report
    _judge(scenario, report)
    totals = report["totals"]
    handshakes = totals["tls_connections"]
    return {
        "messages_per_s": report["messages_per_s"],
        "connections": totals["connections"],
        "share_resumed": totals["tls_resumed"] / handshakes if handshakes else None,
        **_figures_of("source", load.usage, scenario),
        **_figures_of("sink", sink.usage.since(sink.before), scenario),
    }


def _judge(scenario, report):
    totals = report["totals"]
    wrong = {
        "messages": totals["messages"] - scenario.messages,
        "duplicates": totals["duplicates"],
        "damaged": totals["damaged"],
        "in clear" if scenario.tls.under_way else "under TLS":
            totals["messages_in_clear" if scenario.tls.under_way else "messages_under_tls"],
    }
    if any(row["name"] == SLOW_DOMAIN and row["messages"] for row in report["domains"]):
        raise PartyFailed(f"{SLOW_DOMAIN} took mail before all others' had come: it is less slow "
                          "than the run is long; take fewer messages, or a greater sink.slow_s")
    if any(wrong.values()):
        raise PartyFailed(f"the sink's count is wrong by {wrong}")


def _figures_of(party, used, scenario):
    return {
        f"{party}_cpu_us": _each(used.cpu_us, scenario),
        f"{party}_user_us": _each(used.user_us, scenario),
        f"{party}_system_us": _each(used.system_us, scenario),
        f"{party}_peak_bytes": used.peak_bytes,
    }


def _each(amount, scenario):
    return None if amount is None else amount / scenario.messages
