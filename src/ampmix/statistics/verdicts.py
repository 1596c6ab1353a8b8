"""Verdicts of comparisons in words."""

from __future__ import annotations

import math
from typing import Literal

from ampmix._support.wording import counted
from ampmix.statistics._arrays import check_level, quantity
from ampmix.statistics.comparison import Comparison

Decision = Literal["lower error", "higher error", "the same", "no difference shown", "not decided"]

UNITS = {
    "crossed": "seed",
    "corrected-resampled-t": "fold",
    "repeated-cv": "repeat",
    "bootstrap": "seed",
}
"""The runs of a comparison by its method, each in the singular."""

MOST_RUNS = 100
"""Seeds or repeats beyond which more are not advised."""


def decide(
    comparison: Comparison,
    adjusted_p: float | None,
    level: float = 0.95,
    margin: float = 0.0,
    family: int = 1,
) -> Decision:
    """Decide a comparison at `level`, in one of five phrases.

    Args:
        comparison: in any unit.
        adjusted_p: its p-value after `holm`, or its own `p` if it is the only one; None or NaN
            where there is none.
        level: confidence, a fraction; a difference is shown where ``adjusted_p <= 1 - level``.
        margin: a difference below it does not matter, in the unit of the comparison; at 0 nothing
            is ever "the same". Two one-sided tests (Schuirmann 1987, Journal of Pharmacokinetics
            and Biopharmaceutics 15): the interval at ``1 - 2 (1 - level) / family`` lies inside
            ``-margin .. margin``.
        family: number of comparisons that are made together.

    Raises:
        ValueError: `level` is not between 0 and 1, or `margin` is negative.

    >>> same = Comparison(0.0, 0.0, (0.0, 0.0), 1.0, None, 3, "crossed")
    >>> decide(same, same.p)
    'no difference shown'
    """
    check_level(level)
    if not margin >= 0:
        raise ValueError(f"margin must be 0 or more, not {margin}")
    if comparison.p is None or adjusted_p is None or math.isnan(adjusted_p):
        return "not decided"
    if adjusted_p > 1 - level:
        alike = within(comparison, margin, level, family)
        return "the same" if alike else "no difference shown"
    return "lower error" if comparison.difference < 0 else "higher error"


def within(comparison: Comparison, margin: float, level: float = 0.95, family: int = 1) -> bool:
    """Return True if two one-sided tests show a difference of less than `margin` either way."""
    alpha = 2 * (1 - level) / family
    if margin == 0 or comparison.at_level is None or alpha >= 1:
        return False
    interval = comparison.at(1 - alpha).interval
    return interval is not None and -margin < interval[0] and interval[1] < margin


def would_decide(
    comparison: Comparison, level: float = 0.95, margin: float = 0.0, family: int = 1
) -> int | None:
    """Return how many seeds, or repeats, in all would decide, if the difference stays as it is.

    The smallest number for which the expected interval excludes zero, or the two one-sided tests
    exclude a difference of `margin`; None where no number up to `MOST_RUNS` does, since texts are
    too few, or where nothing is known of more runs.
    """
    reach, tail = comparison.reach_after, (1 - level) / family
    if reach is None:
        return None
    size = abs(comparison.difference)
    for runs in range(comparison.n_seeds + 1, MOST_RUNS + 1):
        if reach(runs, tail / 2) < size or (margin and size + reach(runs, tail) < margin):
            return runs
    return None


def verdict(
    comparison: Comparison,
    adjusted_p: float | None,
    level: float = 0.95,
    unit: str = "points",
    margin: float = 0.0,
    family: int = 1,
) -> str:
    """`decide` in a short sentence: why not decided, or how small a difference was detectable.

    Args:
        comparison: in the unit named by `unit`, so ``scaled(100)`` for points.
        adjusted_p: as for `decide`.
        level: as for `decide`.
        unit: name of the unit, in the plural.
        margin: as for `decide`.
        family: as for `decide`; the smallest detectable difference is that of the corrected test.

    Raises:
        ValueError: `level` is not between 0 and 1.

    >>> verdict(Comparison(0.3, 0.5, (-1.1, 1.7), 0.58, 1.9, 5, "crossed"), 0.58)
    'no difference shown; 5 seeds could have detected 1.9 points or more'
    """
    decision = decide(comparison, adjusted_p, level, margin, family)
    if decision == "not decided":
        return f"{decision}: {_why_open(comparison)}"
    if decision == "the same":
        return f"the same to within {quantity(margin, unit)}"
    if decision != "no difference shown":
        small = within(comparison, margin, level, family)
        return f"{decision}, by less than {quantity(margin, unit)}" if small else decision
    tested = comparison
    if comparison.at_level is not None and family > 1:
        tested = comparison.at(1 - (1 - level) / family)
    runs = UNITS[comparison.method]
    if tested.detectable is None:
        same = "every fold" if comparison.method == "corrected-resampled-t" else "every prediction"
        return f"{decision}: {same} was the same"
    if comparison.p is not None and comparison.p <= 1 - level:
        if tested is comparison:  # its smallest difference is that of a single test
            return f"{decision} after correcting for all comparisons; shown before it"
        decided = f"{decision} after correcting for {family} comparisons"
        return f"{decided}; {_could_have(tested, runs, unit)}"
    return f"{decision}; {_could_have(tested, runs, unit)}"


def _could_have(tested: Comparison, runs: str, unit: str) -> str:
    assert tested.detectable is not None
    return (
        f"{counted(tested.n_seeds, runs)} could have detected "
        f"{quantity(tested.detectable, unit)} or more"
    )


def _why_open(comparison: Comparison) -> str:
    runs = UNITS[comparison.method]
    if comparison.n_seeds == 1:
        return f"one {runs} says nothing about new {runs}s"
    if comparison.standard_error == 0:
        return f"all {runs}s differ equally, so the standard error is unknown"
    return "there is no p-value"
