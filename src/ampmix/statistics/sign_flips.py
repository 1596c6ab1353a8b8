"""The exact test over seeds: flip the signs of their differences."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ampmix._support.wording import counted
from ampmix.statistics._arrays import check_level, finite
from ampmix.statistics.verdicts import Decision

EXACT_SEEDS = 20
"""Sign flips are enumerated up to this many seeds (2**20 sums, 8 MiB) and drawn beyond it."""

SIGN_FLIPS = 99_999
"""Random sign flips beyond `EXACT_SEEDS`."""


@dataclass(frozen=True)
class SignFlips:
    """Result of a sign-flip test.

    Attributes:
        p: two-sided p-value of "no difference on these test examples".
        smallest_p: the smallest that this many seeds can give, ``2**(1 - n)`` for n seeds that
            differ at all.
        n_seeds: seeds, those that do not differ included.
        decision: as `decide`, but "not decided" where not even `smallest_p` would do.
    """

    p: float
    smallest_p: float
    n_seeds: int
    decision: Decision

    def sentence(self) -> str:
        """In words.

        >>> sign_flip_test([-0.02, -0.01, -0.03, -0.01, -0.02]).sentence()
        'cannot decide: 5 seeds give p = 0.0625 at the least'
        """
        if self.decision != "not decided":
            return f"{self.decision} (p = {self.p:.2g})"
        seeds = counted(self.n_seeds, "seed gives", "seeds give")
        return f"cannot decide: {seeds} p = {self.smallest_p:.3g} at the least"


def sign_flip_test(differences: npt.ArrayLike, level: float = 0.95) -> SignFlips:
    """Decide over the seeds by `sign_flip_p`, where their number allows it to decide.

    With n seeds no p-value is below ``2**(1 - n)``; where that is above ``1 - level`` nothing that
    the seeds might have shown could have decided: 6 seeds are the fewest at 95 %. Seeds whose
    difference is zero flip in vain and do not count. The rate of false alarms is at most
    ``1 - level`` and mostly less, for p takes few values: 3.1 % at 6 seeds, 4.7 % at 7.

    Args:
        differences: mean difference of each seed, ``[S]``, any unit.
        level: confidence, a fraction.

    Raises:
        ValueError: as `sign_flip_p`, or `level` is not a fraction.

    >>> sign_flip_test([-0.02, -0.01, -0.03, -0.01, -0.02, -0.01]).decision
    'lower error'
    """
    check_level(level)
    values = finite("differences", differences, 1)
    p, differing = sign_flip_p(values), int(np.count_nonzero(values))
    smallest = max(2.0 ** min(0, 1 - differing), 1 / (SIGN_FLIPS + 1))
    decision: Decision
    if smallest > _alpha(level):
        decision = "not decided"
    elif p > _alpha(level):
        decision = "no difference shown"
    else:
        decision = "lower error" if values.mean() < 0 else "higher error"
    return SignFlips(p, smallest, values.size, decision)


def sign_flip_p(differences: npt.ArrayLike) -> float:
    """Two-sided p-value from flipping the signs of the seeds' mean differences.

    The share of the 2**S sign patterns whose sum is at least as far from zero as the observed one
    (Fisher 1935, The Design of Experiments). It needs no normality, only symmetry about zero, but
    it cannot go below ``2**(1 - S)``: 0.0625 at five seeds, so five seeds alone never reach 5 %.
    It speaks of new seeds on these same test examples, and says nothing of new examples.

    Args:
        differences: mean difference of each seed, ``[S]``, any unit.

    Raises:
        ValueError: empty, not one-dimensional, or not finite.

    >>> sign_flip_p([-0.02, -0.01, -0.03, -0.01, -0.02])
    0.0625

    Deviation: exact up to `EXACT_SEEDS`; beyond, `SIGN_FLIPS` patterns from a generator with a
    fixed seed, and the observed pattern counts as one of them, so that p is never 0.
    """
    values = finite("differences", differences, 1)
    exact = values.size <= EXACT_SEEDS
    sums = np.zeros(1 if exact else SIGN_FLIPS)
    rng = np.random.default_rng(0)
    for value in values:
        if exact:
            sums = np.concatenate((sums + value, sums - value))
        else:
            sums += value * rng.choice((-1.0, 1.0), SIGN_FLIPS)
    if not exact:
        sums = np.append(sums, values.sum())
    # Ties are common (errors are counts), and a sum in another order rounds differently.
    slack = 1e-12 * float(np.abs(values).sum())
    return float(np.mean(np.abs(sums) >= abs(float(values.sum())) - slack))


def _alpha(level: float) -> float:
    """``1 - level`` and a rounding error's worth: at 96.875 % six seeds just decide."""
    return (1 - level) * (1 + 1e-9)
