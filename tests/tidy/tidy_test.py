#!/usr/bin/env python3
"""The rules of the house that a program can check, over the files that git knows.

    tidy_test.py

Prints `ok NAME` or `FAILED NAME: file:line: what` for each rule.
"""

import os
import re
import subprocess
import sys

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))

# Who may include whom: what stands to the right, and itself. The middle six know nothing of each
# other, but tls may use policy's enums.
BELOW = {
    "engine/base": [],
    "policy": ["engine/base"],
    "tls": ["engine/base", "policy"],
    "engine/io": ["engine/base"],
    "engine/smtp": ["engine/base"],
    "engine/dns": ["engine/base"],
    "engine/spool": ["engine/base"],
}
MIDDLE = ["engine/base", "policy", "tls", "engine/io", "engine/smtp", "engine/dns", "engine/spool"]
BELOW["engine/delivery"] = MIDDLE
BELOW["engine/intake"] = MIDDLE + ["engine/delivery"]
BELOW["engine/shard"] = MIDDLE + ["engine/delivery", "engine/intake"]
BELOW["engine/admin"] = BELOW["engine/shard"] + ["engine/shard"]
BELOW["engine"] = BELOW["engine/admin"] + ["engine/admin"]
BELOW["tools"] = BELOW["engine"] + ["engine"]
BELOW["bench"] = BELOW["tools"]

LINE_COLUMNS_MAX = 100

# A clock, chance or blocking name look-up where a simulation could not replay it.
FORBIDDEN = [
    (r"std::chrono::\w+_clock", "a clock outside engine/io/clock.cc"),
    (
        r"\bclock_gettime\s*\(|\bgettimeofday\s*\(|[^\w.>]time\s*\(\s*(nullptr|NULL|0)\s*\)",
        "a clock outside engine/io/clock.cc",
    ),
    (r"\babsl::(Now|BitGen|GetCurrentTimeNanos)\b", "Abseil's clock or chance"),
    (r"std::random_device", "chance that no seed replays"),
    (r"[^\w:.]s?rand\s*\(", "chance that no seed replays"),
    (r"\bgetaddrinfo\s*\(|\bgethostbyname", "a blocking name look-up"),
    (r"\bshared_ptr<(?!const )", "shared ownership of what changes"),
]
# Where the rule does not hold, with the reason.
ALLOWED = {
    "engine/io/clock.cc": "the one place that reads the clocks",
    "engine/engine.cc": "draws the shards' seeds",
    "engine/tables.cc": "draws the key of the controls' fingerprints",
}


def tracked():
    names = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\n")
    return [name for name in names if name and os.path.exists(os.path.join(ROOT, name))]


def lines(name):
    with open(os.path.join(ROOT, name), encoding="utf-8") as file:
        return file.read().split("\n")


def layer(name):
    """The layer of a file: its longest folder that BELOW knows."""
    folder = os.path.dirname(name)
    while folder and folder not in BELOW:
        folder = os.path.dirname(folder)
    return folder


def is_source(name):
    return name.endswith((".cc", ".h"))


def is_script(name):
    """Python or shell; a command has no ending, but names its interpreter."""
    if name.endswith((".py", ".sh")):
        return True
    with open(os.path.join(ROOT, name), "rb") as file:
        return file.read(2) == b"#!"


def arrows(names):
    for name in filter(is_source, names):
        mine = layer(name)
        if not mine:
            continue
        for number, line in enumerate(lines(name), 1):
            found = re.match(r'#include "([^"]+)"', line)
            if not found:
                continue
            theirs = layer(found.group(1))
            if theirs and theirs != mine and theirs not in BELOW[mine]:
                yield f"{name}:{number}: {mine} includes {theirs}"


def readmes(names):
    """A folder's page is its own, or that of the folder above for a part of it (tools/sink) and for
    the tests that mirror the tree; each layer of the engine has its own."""
    folders = {os.path.dirname(name) for name in names if is_source(name)}
    for folder in sorted(folders | {"tests/system", "tests/sim", "tests/tidy"}):
        page = folder
        own = folder in BELOW or folder in ("tests/system", "tests/sim", "tests/tidy")
        while page and not own and f"{page}/README.md" not in names:
            page = os.path.dirname(page)
        if f"{page}/README.md" not in names:
            yield f"{folder}: no README.md"


def built(names):
    builds = {}
    for name in names:
        if os.path.basename(name) == "meson.build":
            builds[os.path.dirname(name)] = "\n".join(lines(name))
    for name in filter(lambda name: name.endswith(".cc"), names):
        folder, base = os.path.split(name)
        above = folder
        while above not in builds:
            above = os.path.dirname(above)
        wanted = os.path.relpath(name, above) if above else name
        stems = [wanted, wanted.removesuffix("_fuzz.cc"), wanted.removesuffix("_benchmark.cc")]
        if not any(f"'{stem}'" in builds[above] for stem in stems):
            yield f"{name}: no meson.build names it"


def forbidden(names):
    for name in filter(is_source, names):
        if not name.startswith(("engine/", "policy/", "tls/")) or name in ALLOWED:
            continue
        for number, line in enumerate(lines(name), 1):
            code = line.split("//")[0]
            for pattern, what in FORBIDDEN:
                if re.search(pattern, code):
                    yield f"{name}:{number}: {what}"


def columns(names):
    for name in names:
        if not is_source(name) and not is_script(name):
            continue
        for number, line in enumerate(lines(name), 1):
            if len(line) > LINE_COLUMNS_MAX:
                yield f"{name}:{number}: {len(line)} columns"


def left_open(names):
    word = re.compile(r"\b(TODO|FIXME|XXX)\b")
    for name in names:
        if not name.endswith((".cc", ".h", ".py", ".md", "meson.build")) or name.startswith(
            "tests/tidy/"
        ):
            continue
        for number, line in enumerate(lines(name), 1):
            if word.search(line):
                yield f"{name}:{number}: left open"


def corpora(names):
    fuzzers = {
        os.path.basename(name)[: -len("_fuzz.cc")] for name in names if name.endswith("_fuzz.cc")
    }
    kept = {name.split("/")[3] for name in names if name.startswith("tests/fuzz/corpus/")}
    for name in sorted(fuzzers - kept):
        yield f"tests/fuzz/{name}_fuzz.cc: no kept corpus"
    for name in sorted(kept - fuzzers):
        yield f"tests/fuzz/corpus/{name}: no fuzzer reads it"


RULES = {
    "arrows_point_down": arrows,
    "every_folder_has_its_page": readmes,
    "every_file_is_built": built,
    "time_and_chance_are_handed_in": forbidden,
    "lines_fit_100_columns": columns,
    "nothing_is_left_open": left_open,
    "every_fuzzer_has_its_corpus": corpora,
}


def main():
    names = tracked()
    failed = 0
    for rule, check in RULES.items():
        found = list(check(names))
        failed += bool(found)
        print(f"ok {rule}" if not found else f"FAILED {rule}: {len(found)} places")
        for place in found:
            print(f"    {place}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
