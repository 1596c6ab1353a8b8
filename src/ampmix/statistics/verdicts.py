"""Verdicts of comparisons in words."""

from __future__ import annotations

import math
from typing import Literal

from ampmix._support.wording import counted
from ampmix.statistics._arrays import check_level, quantity
from ampmix.statistics.comparison import Comparison

Decision = Literal["lower error", "higher error", "no difference shown", "not decided"]


def decide(comparison: Comparison, adjusted_p: float | None, level: float = 0.95) -> Decision:
    """Decide a comparison at `level`, in one of four phrases.

    Args:
        comparison: in any unit.
        adjusted_p: its p-value after `holm`, or its own `p` if it is the only one; None or NaN
            where there is none.
        level: confidence, a fraction; a difference is shown where ``adjusted_p <= 1 - level``.

    Raises:
        ValueError: `level` is not between 0 and 1.

    >>> same = Comparison(0.0, 0.0, (0.0, 0.0), 1.0, None, 3, "crossed")
    >>> decide(same, same.p)
    'no difference shown'
    """
    check_level(level)
    if comparison.p is None or adjusted_p is None or math.isnan(adjusted_p):
        return "not decided"
    if adjusted_p > 1 - level:
        return "no difference shown"
    return "lower error" if comparison.difference < 0 else "higher error"


def verdict(
    comparison: Comparison, adjusted_p: float | None, level: float = 0.95, unit: str = "points"
) -> str:
    """`decide` in a short sentence: why not decided, or how small a difference was detectable.

    Args:
        comparison: in the unit named by `unit`, so ``scaled(100)`` for points.
        adjusted_p: as for `decide`.
        level: as for `decide`.
        unit: name of the unit, in the plural.

    Raises:
        ValueError: `level` is not between 0 and 1.

    >>> verdict(Comparison(0.3, 0.5, (-1.1, 1.7), 0.58, 1.9, 5, "crossed"), 0.58)
    'no difference shown; 5 seeds could have detected 1.9 points or more'
    """
    decision = decide(comparison, adjusted_p, level)
    runs = "seed" if comparison.method == "crossed" else "fold"
    if decision == "not decided":
        if comparison.n_seeds == 1:
            return f"{decision}: one {runs} says nothing about new {runs}s"
        if comparison.standard_error == 0:
            return f"{decision}: all {runs}s differ equally, so the standard error is unknown"
        return f"{decision}: there is no p-value"
    if decision != "no difference shown":
        return decision
    if comparison.detectable is None:
        same = "every prediction" if comparison.method == "crossed" else "every fold"
        return f"{decision}: {same} was the same"
    if comparison.p is not None and comparison.p <= 1 - level:
        # The smallest difference is that of a single test: naming it here would contradict.
        return f"{decision} after correcting for all comparisons; shown before it"
    return (
        f"{decision}; {counted(comparison.n_seeds, runs)} could have detected "
        f"{quantity(comparison.detectable, unit)} or more"
    )
