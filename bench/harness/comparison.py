"""The figures of several parties beside each other: medians, ratios to Sluice, a table, a plot.

A result is a dict that is written as it is (compare.json): `parties` by name, each with `version`,
`note`, `synced`, `configuration`, `messages`, `runs` (figures of relay_run) and `failed` (reasons);
`skipped` with reasons; the runs `straight` from source to sink; `synced_writes_per_s` and
`handshake_primitives_us`; the `work` that each run was, and the `machine`.
"""

from harness import stats

ENGINE = "sluice"


def median(runs, figure):
    return stats.median([run[figure] for run in runs])


def measured(result):
    """The parties with figures, and those figures' medians."""
    return {name: {figure: median(party["runs"], figure) for figure in party["runs"][0]}
            for name, party in result["parties"].items() if party["runs"]}


def ratio_lines(result):
    """How much dearer and slower the others are: what other programs read."""
    medians = measured(result)
    if ENGINE not in medians:
        return
    ours = medians.pop(ENGINE)
    for name, theirs in medians.items():
        yield f"cpu {name}/{ENGINE} {theirs['cpu_us'] / ours['cpu_us']:.1f}"
        yield f"rate {ENGINE}/{name} {ours['messages_per_s'] / theirs['messages_per_s']:.1f}"
    yield f"cpu us {ENGINE} {ours['cpu_us']:.1f}"


def table(result):
    """Markdown."""
    yield ("| | messages a second | CPU us a message (user) | memory at its peak, MB | "
           "written to disk, KB a message | p50, p99 until 250, ms | connections | "
           "delivered, each run | twice |")
    yield "|" + "---|" * 9
    for name, figures in measured(result).items():
        runs = result["parties"][name]["runs"]
        cells = (
            f"{name} {result['parties'][name]['version']}", f"{figures['messages_per_s']:.0f}",
            f"{figures['cpu_us']:.1f} ({figures['cpu_user_us']:.1f})",
            scaled(figures["memory_bytes"], 1e6), scaled(figures["disk_bytes"], 1e3),
            f"{figures['accept_ms_p50']:.1f}, {figures['accept_ms_p99']:.1f}",
            f"{figures['connections']:.0f}",
            f"{min(run['delivered'] for run in runs)} of {result['parties'][name]['messages']}",
            str(sum(run["twice"] for run in runs)))
        yield "| " + " | ".join(cells) + " |"


def scaled(figure, unit):
    return "-" if figure is None else f"{figure / unit:.1f}"


def ceilings(result):
    """Markdown."""
    yield "| ceiling | |"
    yield "|---|---|"
    straight = result["straight"]
    if straight:
        yield (f"| source straight to sink | {median(straight, 'messages_per_s'):.0f} messages a "
               f"second; {median(straight, 'source_cpu_us'):.1f} us sends, "
               f"{median(straight, 'sink_cpu_us'):.1f} us receives |")
    for size, rate in result["synced_writes_per_s"].items():
        yield f"| synced writes of {size}, one after the other | {rate:.0f} a second |"
    for name, cpu_us in result["handshake_primitives_us"].items():
        yield f"| {name}, of a handshake | {cpu_us:.1f} us |"


def plot(result, path_without_ending):
    """Bars as SVG and PNG; False where there is no matplotlib."""
    try:
        import matplotlib
    except ImportError:
        return False
    matplotlib.use("Agg")
    from matplotlib import pyplot

    medians = measured(result)
    names = list(medians)
    figure, axes = pyplot.subplots(1, 2, figsize=(10, 0.5 * len(names) + 1.5))
    for axis, key, title in zip(axes, ("messages_per_s", "cpu_us"),
                                ("messages a second", "CPU us a message")):
        bars = axis.barh(names, [medians[name][key] for name in names],
                         color=["C0" if name == ENGINE else "0.6" for name in names])
        axis.bar_label(bars, fmt="%.0f", padding=3)
        axis.set_title(title)
        axis.invert_yaxis()
        axis.margins(x=0.2)
    figure.tight_layout()
    for ending in ("svg", "png"):
        figure.savefig(f"{path_without_ending}.{ending}")
    pyplot.close(figure)
    return True
