"""A printed claim held against our own runs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from scipy.special import stdtrit

from ampmix._support.wording import counted
from ampmix.errors import AmpmixError
from ampmix.statistics._arrays import check_level, quantity
from ampmix.statistics.comparison import Comparison

ClaimDecision = Literal["reproduced", "contradicted", "not decided"]


@dataclass(frozen=True)
class Printed:
    """Two mean errors as printed, of a policy and its baseline, with their standard deviations.

    Attributes:
        error: mean error of the policy, in the unit of the comparison (points for the paper).
        error_baseline: that of its baseline.
        std: standard deviation over the policy's runs, same unit; None where not printed.
        std_baseline: likewise.
        runs: how many runs each mean is of.
    """

    error: float
    error_baseline: float
    std: float | None = None
    std_baseline: float | None = None
    runs: int = 10

    def __post_init__(self) -> None:
        numbers = (self.error, self.error_baseline, self.std or 0.0, self.std_baseline or 0.0)
        if not all(0 <= number < math.inf for number in numbers):
            raise AmpmixError(f"printed errors and deviations must be 0 or more, not {numbers}")
        if self.runs < 1:
            raise AmpmixError(f"printed means must be of 1 run or more, not {self.runs}")

    @property
    def difference(self) -> float:
        """Policy minus baseline: negative where a lower error is claimed. Rounded to 9 decimals."""
        return round(self.error - self.error_baseline, 9)

    def noise(self, level: float = 0.95) -> float:
        """Half-width of the confidence interval of the printed difference.

        Half-width of Welch's interval, ``t * sqrt((std**2 + std_baseline**2) / runs)`` (Welch 1947,
        Biometrika 34): the means are of separate runs, and nothing printed pairs them. 0 where
        deviations or several runs are not printed: the printed difference then counts as exact.
        """
        own, other = self.std or 0.0, self.std_baseline or 0.0
        spread = math.hypot(own, other)
        if spread == 0 or self.runs == 1:
            return 0.0
        df = (self.runs - 1) * spread**4 / (own**4 + other**4)
        return float(stdtrit(df, (1 + level) / 2)) * spread / math.sqrt(self.runs)


def judge_claim(comparison: Comparison, printed: Printed, level: float = 0.95) -> ClaimDecision:
    """Do our runs reproduce a printed difference, contradict it, or leave it open?

    Count in the direction of the claim: with ``s`` the sign of the printed difference, let
    ``e = s * difference`` be our estimate, ``[low, high]`` our interval turned likewise, ``p > 0``
    the printed size, and ``noise`` that of the printed difference. The upper limit for "ours minus
    printed" is ``e - p + sqrt((high - e)**2 + noise**2)``: both are noisy, and independent.

    - "contradicted": that limit is below zero, so the effect is smaller than printed, even allowing
      for the noise in both, whatever its sign; or ``high < 0``, so the effect is shown to be the
      other way round.
    - "reproduced": not contradicted, and ``low > 0``: an effect of the printed sign is shown, and
      the printed size is within what our runs and the printed ones allow (or ours is larger).
    - "not decided": all else, such as an interval that holds both zero and the printed size.

    A printed difference of zero claims that there is none. It is contradicted where our interval,
    widened by `noise` in the same way, excludes zero; it can never be reproduced, for no data show
    that nothing is there.

    Rates, by simulation: a claim that is true to size is contradicted in 2 to 3 %, up to 4.5 % if
    it is so small that noise may have turned the printed sign; an effect that is not there is
    reproduced in at most 2.5 % (one tail of 5 %), and contradicted where ours could have shown it.

    The paper prints means of ten runs whose test errors are not paired, so `noise` is of two
    independent means. If they were tested on our test set, the test texts' share of our interval
    does not separate ours from theirs: then this errs on the side of "not decided".

    Args:
        comparison: ours, with its interval at `level`, in the unit of `printed`.
        printed: what is printed.
        level: of the interval and the noise. Judge m claims at ``1 - 0.05 / m`` to make any wrong
            verdict among them unlikely.

    Raises:
        AmpmixError: the printed numbers cannot be errors.
        ValueError: `level` is not a fraction.

    >>> ours = Comparison(-1.2, 0.3, (-2.0, -0.4), 0.016, 1.1, 5, "crossed")
    >>> judge_claim(ours, Printed(8.4, 9.6, 0.4, 0.5))
    'reproduced'
    """
    check_level(level)
    if comparison.interval is None:
        return "not decided"
    noise = printed.noise(level)
    if printed.difference == 0:
        distance = abs(comparison.difference)
        half = (comparison.interval[1] - comparison.interval[0]) / 2
        return "contradicted" if distance > math.hypot(half, noise) else "not decided"
    sign = math.copysign(1.0, printed.difference)
    estimate = sign * comparison.difference
    low, high = sorted(sign * bound for bound in comparison.interval)
    if high < 0 or estimate - abs(printed.difference) + math.hypot(high - estimate, noise) < 0:
        return "contradicted"
    return "reproduced" if low > 0 else "not decided"


def claim_verdict(
    comparison: Comparison, printed: Printed, level: float = 0.95, unit: str = "points"
) -> str:
    """`judge_claim` in a short sentence.

    Args:
        comparison: as for `judge_claim`, in the unit named by `unit`.
        printed: as for `judge_claim`.
        level: as for `judge_claim`.
        unit: name of the unit.

    Raises:
        AmpmixError, ValueError: as `judge_claim`.

    >>> ours = Comparison(0.1, 0.4, (-0.9, 1.1), 0.8, 1.4, 5, "crossed")
    >>> claim_verdict(ours, Printed(8.4, 9.0, 0.4, 0.5))
    'not decided (5 runs; could have detected 1.4 points)'
    """
    decision = judge_claim(comparison, printed, level)
    if decision == "not decided":
        runs = counted(comparison.n_seeds, "run")
        if comparison.detectable is None:
            return f"{decision} ({runs}; the smallest detectable difference is unknown)"
        return f"{decision} ({runs}; could have detected {quantity(comparison.detectable, unit)})"
    assert comparison.interval is not None
    low, high = comparison.interval
    return (
        f"{decision}: {comparison.difference:+.2f} {unit} [{low:+.2f}, {high:+.2f}], "
        f"printed {printed.difference:+.2f}"
    )
