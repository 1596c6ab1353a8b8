"""One statement over several data sets: the mean difference to expect on another one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import stdtr, stdtrit

from ampmix._support.wording import counted
from ampmix.errors import AmpmixError
from ampmix.statistics._arrays import Array, check_level, finite


@dataclass(frozen=True)
class Overall:
    """Mean difference over data sets, each with a true difference of its own.

    Attributes:
        mean: random-effects mean, in the unit of the differences.
        interval: its confidence interval; None for a single data set.
        p: two-sided p-value of no difference on average; None likewise.
        spread: standard deviation of the true differences between data sets.
        data_sets: how many.
        better, same, worse: data sets by their verdict; the others are open.
    """

    mean: float
    interval: tuple[float, float] | None
    p: float | None
    spread: float
    data_sets: int
    better: int
    same: int
    worse: int

    def sentence(self, unit: str = "points") -> str:
        """In words.

        >>> overall([-1.0, -2.0, -1.5], [0.5, 0.5, 0.5], ["lower error", "the same", ""]).sentence()
        '-1.5 points [-2.7, -0.3] over 3 data sets: 1 better, 1 the same, 0 worse, 1 open'
        """
        bounds = ""
        if self.interval is not None:
            bounds = f" [{self.interval[0]:+.1f}, {self.interval[1]:+.1f}]"
        open_ones = self.data_sets - self.better - self.same - self.worse
        return (
            f"{self.mean:+.1f} {unit}{bounds} over {counted(self.data_sets, 'data set')}: "
            f"{self.better} better, {self.same} the same, {self.worse} worse, {open_ones} open"
        )


def overall(
    differences: Sequence[float] | Array,
    standard_errors: Sequence[float] | Array,
    decisions: Sequence[str] = (),
    level: float = 0.95,
) -> Overall:
    """Combine comparisons on several data sets, which are a sample of those that there may be.

    The variance between data sets is Paule and Mandel's (1982, Journal of Research of the National
    Bureau of Standards 87), the root of ``sum w_k (d_k - mean)**2 = k - 1`` with
    ``w_k = 1 / (s_k**2 + tau**2)``; the interval is Hartung and Knapp's (2001, Statistics in
    Medicine 20), with Student's t of k - 1 degrees of freedom, and never narrower than that of the
    weights alone.

    Args:
        differences: of each data set, ``[k]``, any unit.
        standard_errors: of these, same unit, above 0.
        decisions: of each, as of `decide`.
        level: coverage of the interval, a fraction.

    Raises:
        AmpmixError: no data set, or numbers of them that differ.
        ValueError: a value is not finite, a standard error is not positive, or `level` is off.

    >>> round(overall([1.0, 2.0, 3.0], [0.1, 0.1, 0.1]).spread, 1)
    1.0
    """
    check_level(level)
    if not len(differences) or len(differences) != len(standard_errors):
        raise AmpmixError(
            f"{counted(len(differences), 'difference')} and {len(standard_errors)} standard "
            "errors: give one of each for every data set"
        )
    d, s = finite("differences", differences, 1), finite("standard_errors", standard_errors, 1)
    if (s <= 0).any():
        raise ValueError("standard_errors must be positive")
    counts = [sum(one == what for one in decisions)
              for what in ("lower error", "the same", "higher error")]  # fmt: skip
    k, between = len(d), _between(d, s)
    weights = 1 / (s**2 + between)
    mean = float((weights * d).sum() / weights.sum())
    if k == 1:
        return Overall(mean, None, None, 0.0, 1, *counts)
    factor = max(float((weights * (d - mean) ** 2).sum()) / (k - 1), 1.0)
    error = math.sqrt(factor / float(weights.sum()))
    half = float(stdtrit(k - 1, (1 + level) / 2)) * error
    p = 2 * float(stdtr(k - 1, -abs(mean) / error))
    return Overall(mean, (mean - half, mean + half), p, math.sqrt(between), k, *counts)


def _between(d: Array, s: Array) -> float:
    """Variance between data sets."""

    def excess(between: float) -> float:
        weights = 1 / (s**2 + between)
        mean = (weights * d).sum() / weights.sum()
        return float((weights * (d - mean) ** 2).sum()) - (len(d) - 1)

    if len(d) == 1 or excess(0.0) <= 0:
        return 0.0
    most = float(np.ptp(d) ** 2) * len(d)
    return float(brentq(excess, 0.0, most, xtol=1e-12 * most))
