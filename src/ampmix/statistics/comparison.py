"""A policy minus its baseline, with what is known of that difference."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.special import bdtr, betaincinv

from ampmix.statistics._arrays import Array

Method = Literal["crossed", "corrected-resampled-t", "repeated-cv", "bootstrap"]

POWER = 0.8
"""Of `Comparison.detectable`, and the default of `seeds_needed`."""

LEAST_TAIL = 1e-16
"""No p-value is given below twice this: floats would not tell it from rounding."""

CONSTANT = 1e-9
"""Differences whose range is below this part of the largest count as constant: float rounding."""


@dataclass(frozen=True)
class Comparison:
    """A policy minus its baseline: how far apart, and how far apart would have shown.

    Attributes:
        difference: mean of policy minus baseline, in the unit of the input; negative is better.
        standard_error: of `difference`, same unit; 0 where all differences are the same.
        interval: confidence interval of `difference`, same unit.
        p: raw two-sided p-value of "no difference"; correct it with `holm` where there are several.
            It is 1 minus the level of the interval that just reaches zero.
        detectable: smallest true difference that this design would show with about 80 % power in a
            single two-sided test at the interval's level, same unit (simulated: 74 to 81 % from 5
            seeds on, 62 to 80 % with 2 or 3, whose variance is little known).
        n_seeds: seeds, folds for the corrected resampled t, repeats of cross-validation.
        method: "crossed", "corrected-resampled-t", "repeated-cv" or "bootstrap".
        at_level: the same comparison at another level, None where its data are not at hand.
        reach_after: expected half-width of the interval after so many seeds (or repeats), which
            leaves so much on either side; None where it cannot be told.

    What the data cannot tell is None: everything but `difference` for a single seed or fold. Where
    every difference is the same the variance cannot be estimated, so `detectable` is None. If they
    are all zero p is 1 and the interval is that of :func:`identical_reach`, or None where the
    numbers do not say how many answers agreed; else interval and p are None: agreement of a few
    numbers, which may be rounded, is no proof. Where a handful of answers differ see
    :func:`widened`.

    >>> fractions = Comparison(-0.01, 0.002, (-0.016, -0.004), 0.007, 0.007, 5, "crossed")
    >>> fractions.scaled(100).difference
    -1.0
    """

    difference: float
    standard_error: float | None
    interval: tuple[float, float] | None
    p: float | None
    detectable: float | None
    n_seeds: int
    method: Method
    at_level: Callable[[float], Comparison] | None = field(default=None, repr=False, compare=False)
    reach_after: Callable[[int, float], float] | None = field(
        default=None, repr=False, compare=False
    )

    def at(self, level: float) -> Comparison:
        """Return the comparison at another level: its interval and `detectable`.

        Raises:
            ValueError: its data are not at hand.
        """
        if self.at_level is None:
            raise ValueError("this comparison has no data to compute another interval from")
        return replace(self.at_level(level), at_level=self.at_level)

    def scaled(self, factor: float) -> Comparison:
        """Return the comparison in another unit, `factor` of which make one of the present unit.

        Raises ValueError unless `factor` is positive and finite: a sign change would swap sides.
        """
        if not 0 < factor < math.inf:
            raise ValueError(f"factor must be positive and finite, not {factor}")
        at_level, after = self.at_level, self.reach_after
        return replace(
            self,
            reach_after=None if after is None else lambda n, tail: factor * after(n, tail),
            at_level=None if at_level is None else lambda level: at_level(level).scaled(factor),
            difference=self.difference * factor,
            standard_error=None if self.standard_error is None else self.standard_error * factor,
            interval=None
            if self.interval is None
            else (self.interval[0] * factor, self.interval[1] * factor),
            detectable=None if self.detectable is None else self.detectable * factor,
        )


def p_where(reach: Callable[[float], float], distance: float) -> float:
    """Twice the tail at which an interval around the mean just reaches as far as `distance`."""
    if distance == 0:
        return 1.0
    if reach(LEAST_TAIL) <= distance:
        return 2 * LEAST_TAIL

    def beyond(tail: float) -> float:
        return reach(tail) - distance

    return 2 * float(brentq(beyond, LEAST_TAIL, 0.5, xtol=1e-18, rtol=1e-12))


def identical_reach(texts: int, level: float) -> float:
    """Reach of the interval where two policies err on the same of `texts` texts: ``1 - a**(1/n)``.

    The exact upper bound of Clopper and Pearson (1934, Biometrika 26) for the share of texts on
    which the two differ, of which none was seen among n; the difference of their errors, either
    way, is no larger than that share. About ``3 / n`` (Hanley and Lippman-Hand 1983, JAMA 249).
    Seeds that read the same texts are no new texts: n is the number of texts, not of seeds times
    texts, and the bound speaks of new texts for seeds like these. With a = 1 - level, a share above
    the bound shows no such text with probability a or less.

    >>> round(100 * identical_reach(500, 0.95), 2)
    0.6
    """
    return float(1 - (1 - level) ** (1 / texts))


class FewTexts(NamedTuple):
    """Counts of texts on which two policies differ, too few for a mean of them to be near normal.

    Attributes:
        worse: texts that the policy errs on more than its baseline.
        better: texts that it errs on less.
        texts: of all.
    """

    worse: int
    better: int
    texts: int

    def too_few(self, level: float) -> bool:
        """Return True if an exact test of signs could not show a difference, were all one way.

        ``2 * 0.5**k > 1 - level`` for k texts: at 95 % these are fewer than 6.
        """
        return 2.0 ** (1 - self.worse - self.better) > 1 - level

    def reach(self, level: float) -> tuple[float, float]:
        """Return the exact interval of the mean difference, ``-u(better) .. u(worse)``.

        ``u(k)`` is the upper bound of Clopper and Pearson (1934, Biometrika 26) at ``(1 + level) /
        2`` for the share of texts of which k were seen: a difference is no larger than the share of
        texts that speak for it. Zero is always inside.

        >>> low, high = FewTexts(1, 0, 500).reach(0.95)
        >>> round(100 * low, 2), round(100 * high, 2)
        (-0.74, 1.11)
        """
        high, low = (
            1.0 if k >= self.texts else float(betaincinv(k + 1, self.texts - k, (1 + level) / 2))
            for k in (self.worse, self.better)
        )
        return -low, high

    @property
    def p(self) -> float:
        """Two-sided p-value of the exact test of signs: as many either way, given their number."""
        fewer, both = min(self.worse, self.better), self.worse + self.better
        return min(1.0, 2 * float(bdtr(fewer, both, 0.5)))


def widened(found: Comparison, few: FewTexts | None, level: float) -> Comparison:
    """Return a comparison with the interval that holds for few discordant texts, too.

    A handful of +-1 among many zeros is far from normal, and Student's t is too sure of it: of 500
    texts one, where 4 are expected, gives an interval up to 0.6 points. Where the texts that differ
    are :meth:`FewTexts.too_few`, the interval goes as far as either it or the exact one does, and p
    is the larger of both.

    Args:
        found: by a variance.
        few: the counts; None where they are not known.
        level: of the interval.
    """
    if few is None or found.interval is None or found.p is None or not few.too_few(level):
        return found
    low, high = few.reach(level)
    return replace(
        found,
        interval=(min(low, found.interval[0]), max(high, found.interval[1])),
        p=max(few.p, found.p),
    )


def without_variance(
    differences: Array, method: Method, texts: int | None, level: float
) -> Comparison | None:
    """The comparison where seeds (first axis) tell no variance: one alone, or all the same.

    Args:
        differences: policy minus baseline.
        method: of the comparison.
        texts: how many texts both answered alike, where all differences are zero; None if that is
            not known.
        level: of the interval.
    """
    difference, n = float(differences.mean()), differences.shape[0]
    if n == 1:
        return Comparison(difference, None, None, None, None, n, method)
    # The squares are what the variance is made of, and they may underflow.
    largest, spread = np.abs(differences).max(), np.ptp(differences)
    if spread**2 > 0 and spread > CONSTANT * largest:
        return None
    if difference != 0:
        return Comparison(difference, 0.0, None, None, None, n, method)
    reach = None if texts is None else identical_reach(texts, level)
    interval = None if reach is None else (-reach, reach)
    return Comparison(difference, 0.0, interval, 1.0, None, n, method)
