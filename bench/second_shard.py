#!/usr/bin/env python3
"""What a second shard costs a message, beside a second engine that shares nothing with the first.

    second_shard.py BUILD_DIR [--runs N] [--messages N]

Three ways, interleaved, nothing pinned: an engine of one shard (the scenario one_shard); two of
those at once, each with a source and a sink of its own; an engine of two shards (two_shards). Of
each, the engines' CPU microseconds a message; and by that, how many times one shard's rate two
would give, each on a core that it has to itself: 2 x one / each.

What two engines cost more than one is the machine's: cores that share their memory and a cache.
What two shards cost more than two engines is ours: messages that change their shard.
"""

import argparse
import concurrent.futures
import statistics
import sys

from harness import measure, parties, scenario

ONE, ENGINES, SHARDS = "one engine", "two engines at once", "two shards"


def cpu_us(options, *scenarios):
    """The engines', each with one of the scenarios, at once: the mean."""
    with concurrent.futures.ThreadPoolExecutor(len(scenarios)) as threads:
        runs = [threads.submit(measure.run, options.build, each) for each in scenarios]
    return statistics.mean(run.result()[0]["engine_cpu_us"] for run in runs)


def run(options):
    one, two = (scenario.load(name).with_messages(options.messages)
                for name in ("one_shard", "two_shards"))
    ways = {ONE: [one], ENGINES: [one, one], SHARDS: [two.with_messages(2 * options.messages)]}
    costs = {way: [] for way in ways}
    for _ in range(options.runs):
        for way, scenarios in ways.items():
            costs[way].append(cpu_us(options, *scenarios))
            print(f"{way:20} {costs[way][-1]:6.1f} CPU us a message", flush=True)
    print(f"medians of {options.runs}:")
    alone = statistics.median(costs[ONE])
    for way, cost in costs.items():
        each = statistics.median(cost)
        scale = "" if way == ONE else f", {2 * alone / each:.2f} times one shard's rate"
        print(f"{way:20} {each:6.1f} CPU us a message{scale}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("build")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--messages", type=int, default=40_000, help="an engine, or a shard")
    options = parser.parse_args()
    try:
        run(options)
    except parties.PartyFailed as failure:
        sys.exit(str(failure))


if __name__ == "__main__":
    main()
