"""Comparisons that are made together: verdicts, and the intervals that belong to them."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from ampmix.statistics._arrays import quantity
from ampmix.statistics.comparison import Comparison
from ampmix.statistics.multiplicity import holm
from ampmix.statistics.verdicts import UNITS, Decision, decide, verdict, would_decide

Name = TypeVar("Name", bound=Hashable)


@dataclass(frozen=True)
class Judgement:
    """Verdict on one of several comparisons.

    Attributes:
        comparison: with the interval and smallest detectable difference of the verdict's own test.
        p: after `holm`; None where there is none.
        decision: as of `decide`.
        verdict: the same in a sentence.
        runs_needed: seeds, or repeats, in all that would decide; None where it is decided, or where
            more cannot help.
        advice: a clause on what would decide, "" where it is decided or nothing is known.
    """

    comparison: Comparison
    p: float | None
    decision: Decision
    verdict: str
    runs_needed: int | None = None
    advice: str = ""


def judge_together(
    comparisons: Mapping[Name, Comparison],
    level: float = 0.95,
    margin: float = 0.0,
    unit: str = "points",
) -> dict[Name, Judgement]:
    """Judge comparisons so that any false claim among them has the rate ``1 - level`` at most.

    Differences are shown by Holm's step-down test, sameness by two one-sided tests at ``(1 - level)
    / m``. Intervals are Bonferroni's, at ``1 - (1 - level) / m``, and so hold all at once; where a
    later step of Holm's shows a difference that they do not, they end at zero: Holm's own intervals
    (Guilbaud 2008, Biometrical Journal 50). So an interval excludes zero where its verdict does.

    Args:
        comparisons: in one unit, by name.
        level: of all together, a fraction.
        margin: a difference below it does not matter, in the unit of the comparisons.
        unit: name of the unit, in the plural.

    >>> one = Comparison(-1.2, 0.3, (-2.0, -0.4), 0.016, 1.1, 5, "crossed")
    >>> judge_together({"amp": one})["amp"].decision
    'lower error'
    """
    family = max(sum(c.p is not None for c in comparisons.values()), 1)
    adjusted = holm([comparison.p for comparison in comparisons.values()]).tolist()
    made = {}
    for (name, found), p in zip(comparisons.items(), adjusted, strict=True):
        decision = decide(found, p, level, margin, family)
        told = verdict(found, p, level, unit, margin, family)
        own = found
        if found.at_level is not None and family > 1:
            own = found.at(1 - (1 - level) / family)
        if own.interval is not None and decision in ("lower error", "higher error"):
            own = replace(own, interval=_of_side(own.interval, decision))
        runs, advice = None, ""
        if decision == "no difference shown":
            runs = would_decide(found, level, margin, family)
            advice = _advice(found, runs, margin, unit)
        made[name] = Judgement(own, None if math.isnan(p) else p, decision, told, runs, advice)
    return made


def _of_side(interval: tuple[float, float], decision: Decision) -> tuple[float, float]:
    """End an interval at zero where Holm's step has shown the side that it is on."""
    low, high = interval
    return (low, min(high, 0.0)) if decision == "lower error" else (max(low, 0.0), high)


def _advice(found: Comparison, runs: int | None, margin: float, unit: str) -> str:
    """Say what would decide."""
    if found.reach_after is None:
        return ""
    name = UNITS[found.method]
    if runs is None:
        what = f"{quantity(abs(found.difference), unit)}"
        return f"more {name}s cannot help: a difference of {what} needs more texts"
    return f"about {runs} {name}s in all would decide, if the difference stays as it is"
