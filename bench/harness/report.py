"""A result for people: one line a scenario, Markdown, and one HTML file with plots inside.

The plots want Debian's python3-matplotlib; without it the HTML says so in their place.
"""

import html
import io
import re

from . import result as results
from .figures import FIGURES, SPEED

NO_PLOTS = "No plot was made: python3-matplotlib is not installed."
STYLE = """body{font:15px/1.5 sans-serif;max-width:75em;margin:2em auto;padding:0 1em}
table{border-collapse:collapse}td,th{padding:.15em .7em;border-bottom:1px solid #ddd}
td{text-align:right;white-space:nowrap}td:first-child,th:first-child{text-align:left}
svg{max-width:100%;height:auto}"""


def line(result, name):
    """Of one scenario, for the terminal."""
    medians = results.medians(result, name)
    show = {figure: about.show(medians[figure]) for figure, about in FIGURES.items()}
    ratio = results.ratio(result, name)
    beside = result["scenarios"][name]["settings"]["beside"]
    said = [f"{show['messages_per_s']} a second"]
    if medians["engine_cpu_us"] is not None:
        said += [f"engine {show['engine_cpu_us']} CPU us"
                 + (f" ({ratio:.2f} of {beside})" if ratio is not None else "")]
    said += [f"source {show['source_cpu_us']}", f"sink {show['sink_cpu_us']}"]
    if medians["engine_cpu_us"] is not None:
        said += [f"{show['engine_peak_bytes']} MiB", f"{show['written_bytes']} B written",
                 f"{show['syscalls']} calls",
                 f"p50 {show['p50_ms']} p99 {show['p99_ms']} p99.9 {show['p999_ms']} ms"]
    return f"{name:20} " + ", ".join(said)


def conditions(result):
    """What it was taken on, as pairs."""
    for key, value in result["machine"].items():
        if type(value) is dict:
            value = ", ".join(f"{name} {each or '-'}" for name, each in value.items())
        yield key.replace("_", " "), str(value)


def tables(result):
    """A table for each group of figures: its title, then rows of texts, a scenario each; the first
    row has the names of the columns."""
    scenarios = result["scenarios"]
    for group in dict.fromkeys(about.group for about in FIGURES.values()):
        shown = {name: about for name, about in FIGURES.items() if about.group == group}
        first = group == SPEED
        head = [about.title + (f", {about.unit}" if about.unit else "") for about in shown.values()]
        rows = [["", *head, *(["engine to bare ends", "runs", "sync"] if first else [])]]
        for scenario, found in scenarios.items():
            cells = [_cell(about, found["figures"][name]) for name, about in shown.items()]
            rows.append([scenario, *cells, *(_conditions(result, scenario) if first else [])])
        yield group, rows


def _conditions(result, scenario):
    ratio, found = results.ratio(result, scenario), result["scenarios"][scenario]
    runs = len(found["figures"]["messages_per_s"]["runs"])
    return ["-" if ratio is None else f"{ratio:.2f}", str(runs), found["sync"]]


def _cell(about, figure):
    text = about.show(figure["median"])
    if figure["spread"] is not None:
        text += f" ±{50 * figure['spread']:.0f} %"
    return text


def notes(result):
    """Why something is not there."""
    for name, scenario in result["scenarios"].items():
        for why in sorted(set(scenario["unknown"].values())):
            which = [figure for figure, reason in scenario["unknown"].items() if reason == why]
            yield f"{name}: {why}: {', '.join(which)}"


TITLE = "What a message costs"
LEGEND = ("Medians of the runs, and half of the spread from the least to the greatest in percent of"
          " them. CPU is user and system time, divided by the messages that the sink counted.")


def markdown(result):
    lines = [f"# {TITLE}", "", LEGEND]
    for title, rows in tables(result):
        lines += ["", f"## {title}", "", _markdown_row(rows[0]), "|---" * len(rows[0]) + "|"]
        lines += map(_markdown_row, rows[1:])
    lines += ["", *(f"- {note}" for note in notes(result)), "", "## Where", ""]
    lines += [f"- {key}: {value}" for key, value in conditions(result)]
    return "\n".join(lines) + "\n"


def _markdown_row(cells):
    return "| " + " | ".join(cells) + " |"


def page(result):
    """Self-contained HTML."""
    plots = _plots(result)
    lines = ["<!doctype html><html lang='en'><meta charset='utf-8'>",
             f"<title>{TITLE}</title><style>{STYLE}</style><h1>{TITLE}</h1>",
             *(plots if plots is not None else [f"<p>{NO_PLOTS}</p>"]), f"<p>{LEGEND}</p>"]
    for title, rows in tables(result):
        lines += [f"<h2>{title}</h2><table>", _html_row("th", rows[0])]
        lines += [_html_row("td", row) for row in rows[1:]] + ["</table>"]
    lines += [_html_list(notes(result)), "<h2>Where</h2>",
              _html_list(f"{key}: {value}" for key, value in conditions(result)), "</html>", ""]
    return "\n".join(lines)


def _html_row(tag, cells):
    return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"


def _html_list(texts):
    return "<ul>" + "".join(f"<li>{html.escape(text)}</li>" for text in texts) + "</ul>"


# --- Plots. Each draws on the axes what it shows of a result.


def _plots(result):
    """SVG elements; None where they cannot be drawn."""
    try:
        import matplotlib
        matplotlib.use("svg")
        from matplotlib import pyplot
    except ImportError:
        return None
    return [_svg(pyplot, draw, result) for draw in (_plot_rate, _plot_cpu, _plot_latency)]


def _svg(pyplot, draw, result):
    count = len(result["scenarios"])
    figure, axes = pyplot.subplots(figsize=(10, 1.2 + 0.45 * count))
    draw(axes, result)
    axes.set_yticks(range(count), list(result["scenarios"]))
    axes.set_ylim(count - 0.5, -0.5)
    axes.grid(axis="x", alpha=0.3)
    figure.tight_layout()
    text = io.StringIO()
    figure.savefig(text, format="svg")
    pyplot.close(figure)
    return re.sub(r"^.*?(?=<svg)", "", text.getvalue(), flags=re.S)


def _plot_rate(axes, result):
    axes.set_title("messages a second: the median, and each run")
    for row, scenario in enumerate(result["scenarios"].values()):
        figure = scenario["figures"]["messages_per_s"]
        axes.barh(row, figure["median"] or 0, color="tab:blue", alpha=0.5)
        axes.plot(figure["runs"], [row] * len(figure["runs"]), "k.")
    axes.set_xlim(left=0)


def _plot_cpu(axes, result):
    parts = [(party, kind) for party in ("engine", "source", "sink") for kind in ("user", "system")]
    colors = ("tab:blue", "lightsteelblue", "tab:green", "lightgreen", "tab:orange", "moccasin")
    axes.set_title("CPU microseconds a message")
    for row, name in enumerate(result["scenarios"]):
        medians, left = results.medians(result, name), 0
        for (party, kind), color in zip(parts, colors):
            width = medians[f"{party}_{kind}_us"] or 0
            axes.barh(row, width, left=left, color=color,
                      label=f"{party}, {kind}" if row == 0 else None)
            left += width
    axes.legend(fontsize="small")


def _plot_latency(axes, result):
    axes.set_title("milliseconds from 250 to delivered: p50, p99, p99.9")
    for row, name in enumerate(result["scenarios"]):
        medians = results.medians(result, name)
        times = [medians[figure] for figure in ("p50_ms", "p99_ms", "p999_ms")]
        if None not in times:
            axes.plot(times, [row] * 3, "-", color="tab:blue", alpha=0.5)
            for time, mark in zip(times, "osD"):
                axes.plot(time, row, mark, color="tab:blue")
    axes.set_xscale("log")
