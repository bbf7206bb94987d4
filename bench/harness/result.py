"""A result as a file, and the difference of two.

    {"format": 1, "machine": {…}, "scenarios": {NAME: {
        "settings": {KEY: value}, "sync": …,
        "figures": {FIGURE: {"median", "spread", "runs": […]}}, "unknown": {FIGURE: reason}}}}

`machine` is what machine.py tells; FIGURE one of figures.py. `spread` is of the runs, from the
least to the greatest, as a share of the median. A figure that nobody could measure has the median
null, and its reason in `unknown`. A change of what a field means gets another number of `format`.
"""

import json

from . import machine, stats
from .figures import FIGURES

FORMAT = 1


class WrongResult(Exception):
    pass


def of_runs(build, scenarios, runs, unknown):
    """`runs`: by scenario's name a list of dictionaries of figures; `unknown`: likewise reasons."""
    return {"format": FORMAT, "machine": machine.describe(build), "scenarios": {
        scenario.name: _of_scenario(scenario, runs[scenario.name], unknown[scenario.name])
        for scenario in scenarios}}


def _of_scenario(scenario, runs, unknown):
    figures = {}
    for name in FIGURES:
        values = [run[name] for run in runs if name in run]
        figures[name] = {"median": stats.median(values), "spread": stats.spread(values),
                         "runs": values}
    return {"settings": scenario.as_read, "sync": sync_policy(scenario), "figures": figures,
            "unknown": {name: why for name, why in unknown.items()
                        if figures[name]["median"] is None}}


def sync_policy(scenario):
    if not scenario.engine.present:
        return "no spool"
    if scenario.engine.sync:
        return "synced before each 250"
    return "NOT synced: a crash would lose what was promised"


def medians(result, scenario):
    """By figure."""
    return {name: each["median"] for name, each in result["scenarios"][scenario]["figures"].items()}


def ratio(result, scenario):
    """CPU of the engine to that of both ends of the scenario that this one is beside; or None."""
    beside = result["scenarios"][scenario]["settings"]["beside"]
    if beside not in result["scenarios"]:
        return None
    bare, own = medians(result, beside), medians(result, scenario)["engine_cpu_us"]
    both = (bare["source_cpu_us"] or 0) + (bare["sink_cpu_us"] or 0)
    return own / both if own is not None and both else None


def write(result, path):
    with open(path, "w") as file:
        json.dump(result, file, indent=1)
        file.write("\n")


def read(path):
    try:
        with open(path) as file:
            result = json.load(file)
    except (OSError, ValueError) as error:
        raise WrongResult(f"{path}: {error}") from None
    if type(result) is not dict or result.get("format") != FORMAT:
        raise WrongResult(f"{path}: no result of format {FORMAT}")
    return result


def compare(before, after):
    """The lines that tell the difference of two results."""
    both = [name for name in before["scenarios"] if name in after["scenarios"]]
    for key in ("commit", "kernel", "cpu", "compiler", "packages"):
        if before["machine"].get(key) != after["machine"].get(key):
            yield f"{key}: {before['machine'].get(key)}, then {after['machine'].get(key)}"
    for name in both:
        yield ""
        yield from _compare_scenario(name, before["scenarios"][name], after["scenarios"][name])
    for name in sorted(set(before["scenarios"]) ^ set(after["scenarios"])):
        yield f"\n{name}: in one result only"


def _compare_scenario(name, before, after):
    yield f"{name}"
    for key, value in before["settings"].items():
        if after["settings"].get(key) != value:
            yield f"  not the same scenario: {key} {value!r}, then {after['settings'].get(key)!r}"
    for figure, about in FIGURES.items():
        found = stats.compare(*(side["figures"].get(figure, {"runs": []})["runs"]
                                for side in (before, after)))
        if found.before is None and found.after is None:
            continue
        percent = "" if found.percent is None else f"{found.percent:+.1f} %"
        verdict = found.why
        if found.exceeds:
            better = (found.after > found.before) == about.more_is_better
            verdict += ": better" if better else ": worse"
        yield (f"  {about.title:36} {about.show(found.before):>11} {about.show(found.after):>11}"
               f" {about.unit:4}{percent:>9}  {verdict}")
