"""Medians of runs, and which differences of two results exceed the noise.

The rule, for two sets of runs of one figure: with at least RUNS_MIN runs on each side, the two
medians are drawn again RESAMPLES times, each from as many runs taken at random, with replacement,
from its own side's (a bootstrap, from a fixed seed). A difference exceeds the noise if the interval
that holds the middle 99 % of the drawn differences does not hold 0, and if the medians differ by
more than SMALLEST of the first. With fewer runs nothing is claimed.

Of five runs the drawn median is the greatest one in 5.8 % of the draws. So with five a side one run
that reaches over the other side's median is enough to claim nothing; with more runs it takes more.
"""

import random
import statistics
from dataclasses import dataclass

RUNS_MIN = 5
RESAMPLES = 2000
CONFIDENCE = 0.99
SMALLEST = 0.005  # Of the first median: nobody cares about less.
SEED = 1


def median(values):
    """Of those that are known; None where none is."""
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def spread(values):
    """From the least to the greatest, as a share of the median; None of fewer than two."""
    known = [value for value in values if value is not None]
    middle = median(known)
    if len(known) < 2 or not middle:
        return None
    return (max(known) - min(known)) / abs(middle)


def percentile(sorted_values, share):
    """The least value that at least `share` of them do not exceed (nearest rank)."""
    if not sorted_values:
        return None
    rank = -(-round(share * 1e6) * len(sorted_values) // 1_000_000)
    return sorted_values[max(0, rank - 1)]


@dataclass(frozen=True)
class Difference:
    before: float | None  # Medians.
    after: float | None
    percent: float | None  # Of the first; None where it is 0 or one is not known.
    exceeds: bool | None  # None: nothing can be said,
    why: str  # and why.


def compare(before, after):
    """Of the runs of one figure in two results."""
    before = [value for value in before if value is not None]
    after = [value for value in after if value is not None]
    a, b = median(before), median(after)
    if a is None or b is None:
        return Difference(a, b, None, None, "not measured")
    percent = 100 * (b - a) / abs(a) if a else None
    fewest = min(len(before), len(after))
    if fewest < RUNS_MIN:
        return Difference(a, b, percent, None, f"{fewest} runs are too few: {RUNS_MIN} at least")
    low, high = _interval(before, after)
    if low <= 0 <= high or abs(b - a) <= SMALLEST * abs(a):
        return Difference(a, b, percent, False, "within the noise")
    return Difference(a, b, percent, True, "exceeds the noise")


def _interval(before, after):
    """That holds CONFIDENCE of the bootstrapped differences of medians."""
    chance = random.Random(SEED)
    drawn = sorted(
        statistics.median(chance.choices(after, k=len(after)))
        - statistics.median(chance.choices(before, k=len(before)))
        for _ in range(RESAMPLES))
    outside = (1 - CONFIDENCE) / 2
    return percentile(drawn, outside), percentile(drawn, 1 - outside)
