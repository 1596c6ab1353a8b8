"""Before more is run: how many seeds would decide a given difference, and can seeds decide it?"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from ampmix.errors import AmpmixError
from ampmix.statistics._arrays import brief, check_level
from ampmix.statistics.comparison import POWER
from ampmix.statistics.crossed import MeanSquares, mean_squares, reach
from ampmix.statistics.pairing import paired_differences


@dataclass(frozen=True)
class Components:
    """Variances of one difference ``mu + seed_s + example_i + residual_si``, in squared units.

    Attributes:
        seed: how much seeds differ on average over all examples.
        example: how much examples differ on average over all seeds.
        residual: what is left in a single seed and example.
        examples: test examples that these were estimated from.
    """

    seed: float
    example: float
    residual: float
    examples: int

    def mean_squares(self, seeds: int) -> MeanSquares:
        """Expected mean squares of a study with that many seeds."""
        expected = (
            self.residual + self.examples * self.seed,
            self.residual + seeds * self.example,
            self.residual,
        )
        return MeanSquares(*(np.asarray(value) for value in expected))

    def detectable(self, seeds: int, level: float = 0.95, power: float = POWER) -> float:
        """Smallest true difference that `seeds` seeds on these test examples would show.

        ``reach(level) + reach(2 * power - 1)`` at the expected mean squares: the interval must
        exclude zero although the mean may fall short of the truth. An approximation: where 80 % is
        asked for, simulated power is 72 to 83 %.
        """
        ms = self.mean_squares(seeds)
        tails = (1 - level) / 2, 1 - power
        return float(sum(reach(ms, seeds, self.examples, tail) for tail in tails))

    def limit(self, level: float = 0.95, power: float = POWER) -> float:
        """Limit of `detectable` for infinitely many seeds, which the test examples set."""
        quantiles = stdtrit(self.examples - 1, [(1 + level) / 2, power]).sum()
        return float(quantiles * math.sqrt(self.example / self.examples))


def variance_components(wrong: npt.ArrayLike, wrong_baseline: npt.ArrayLike) -> Components:
    """Components of the paired differences, estimated by equating mean squares; none below zero.

    Args:
        wrong: 1 where the policy erred, ``[S >= 2 seeds, N >= 2 examples]``.
        wrong_baseline: the same for the baseline, same seeds and examples in the same order.

    Raises:
        AmpmixError: the two are not paired, or there is one seed only.
        ValueError: as `crossed_difference`.

    >>> variance_components([[1, 0, 0, 1], [1, 0, 0, 1]], [[1, 1, 0, 1], [1, 1, 0, 1]])
    Components(seed=0.0, example=0.25, residual=0.0, examples=4)
    """
    differences = paired_differences(wrong, wrong_baseline)
    seeds, examples = differences.shape
    if seeds == 1:
        raise AmpmixError("one seed tells no variance between seeds: run 2 or more")
    ms = mean_squares(differences)
    return Components(
        seed=max(0.0, float(ms.seeds - ms.residual) / examples),
        example=max(0.0, float(ms.examples - ms.residual) / seeds),
        residual=float(ms.residual),
        examples=examples,
    )


@dataclass(frozen=True)
class SeedsNeeded:
    """Number of seeds needed to decide a difference.

    Attributes:
        difference: the difference to be decided, positive.
        seeds: fewest seeds, or None where no number of them can.
        limit: smallest difference that any number of seeds would show on this test set.
    """

    difference: float
    seeds: int | None
    limit: float

    def sentence(self, unit: str = "points") -> str:
        """In words.

        >>> SeedsNeeded(0.5, None, 0.83).sentence()
        '0.5 points: more seeds cannot help, the test set is the limit (0.83 points)'
        """
        wanted = f"{brief(self.difference)} {unit}"
        if self.seeds is None:
            return (
                f"{wanted}: more seeds cannot help, the test set is the limit "
                f"({brief(self.limit)} {unit})"
            )
        return f"{wanted}: {self.seeds} seeds would decide it"


def seeds_needed(
    components: Components, difference: float, level: float = 0.95, power: float = POWER
) -> SeedsNeeded:
    """Fewest seeds that would show a true `difference` at `level` with `power`.

    The test set stays: where its examples alone, which no seed averages out, hide the difference,
    more seeds cannot help. The components are estimates, so this is a plan and no promise: from 3
    seeds the seeds' component is known to a factor of 6 or so.

    Args:
        components: of a study done; its unit squared is that of `difference` squared.
        difference: true difference to be shown, not 0; its sign does not matter.
        level: of the interval that must exclude zero, a fraction.
        power: probability that it does, a fraction above 0.5.

    Raises:
        AmpmixError: all differences were the same, so that there is no variance to plan with.
        ValueError: `difference` is 0 or not finite, or `level` or `power` is off.

    >>> seeds_needed(Components(seed=1.0, example=0.0, residual=0.0, examples=500), 1.0)
    SeedsNeeded(difference=1.0, seeds=10, limit=0.0)
    """
    check_level(level)
    check_level(power, "power")
    if power <= 0.5:
        raise ValueError(f"power must be above 0.5, not {power}")
    size = abs(difference)
    if not 0 < size < math.inf:
        raise ValueError(f"difference must be finite and not 0, not {difference}")
    if components.seed + components.example + components.residual == 0:
        raise AmpmixError(
            "all differences were the same, so there is no variance to plan with: compare policies "
            "that differ, or more runs of them"
        )
    limit = components.limit(level, power)
    if size <= limit:
        return SeedsNeeded(size, None, limit)
    # Between 2**k seeds, too few, and twice as many: halve the gap until it is one seed.
    few, enough = 1, 2
    while components.detectable(enough, level, power) > size and enough < 2**60:
        few, enough = enough, 2 * enough
    while enough - few > 1:
        middle = (few + enough) // 2
        if components.detectable(middle, level, power) > size:
            few = middle
        else:
            enough = middle
    return SeedsNeeded(size, enough, limit)
