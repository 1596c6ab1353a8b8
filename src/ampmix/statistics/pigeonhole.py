"""A second opinion on crossed seeds and examples: the pigeonhole bootstrap."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ampmix.statistics._arrays import Array, check_level
from ampmix.statistics.comparison import identical_reach
from ampmix.statistics.pairing import is_binary, paired_errors


def pigeonhole_interval(
    wrong: npt.ArrayLike,
    wrong_baseline: npt.ArrayLike,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """A second opinion on `crossed_difference`: seeds and examples resampled independently.

    Each resample draws S seeds and N examples with replacement, as counts u and v, and has the mean
    ``u' D v / (S * N)``; the interval is between their quantiles (Owen 2007, The pigeonhole
    bootstrap, Annals of Applied Statistics 1).

    Args:
        wrong: 1 where the policy erred, ``[S seeds, N examples]``; booleans or finite numbers.
        wrong_baseline: the same for the baseline, same seeds and examples in the same order.
        level: nominal coverage, a fraction.
        resamples: number of resamples.
        seed: of the generator; the same seed gives the same interval.

    Raises:
        AmpmixError: the two are not paired: numbers of seeds or examples differ.
        ValueError: as `crossed_difference`, and for one seed, or fewer than one resample.

    >>> low, high = pigeonhole_interval([[1, 0, 0, 1], [1, 0, 0, 0]], [[1, 1, 0, 1], [1, 0, 1, 0]])
    >>> low < -0.25 < high
    True

    No normality is assumed, but the level is nominal, so no verdict rests on it. Few seeds make it
    too narrow where seeds matter: if only they vary, 95 % intervals were measured to cover 50 % at
    2 seeds, 74 % at 3, 83 % at 5, 89 % at 10 and 93 % at 20. Pure residual noise is counted three
    times, as Owen shows, which makes it too wide (near 100 %). Where examples vary most and from 10
    seeds on it covers 94 to 98 % and should agree with the other; if not, look at the data. Memory
    is O(S * N), whatever `resamples`.
    """
    check_level(level)
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1, not {resamples}")
    own, baseline = paired_errors(wrong, wrong_baseline)
    differences = np.subtract(own, baseline)
    if differences.shape[0] == 1:
        raise ValueError("one seed cannot be resampled: it says nothing about new seeds")
    if not differences.any() and is_binary(own):  # what is all the same stays so when resampled
        reach = identical_reach(own.shape[1], level)
        return -reach, reach
    means = resampled_means(differences, resamples, np.random.default_rng(seed))
    low, high = np.quantile(means, ((1 - level) / 2, (1 + level) / 2))
    return float(low), float(high)


def resampled_means(differences: Array, resamples: int, rng: np.random.Generator) -> Array:
    """Means ``[resamples, ...]`` of layouts ``[..., S, N]``, all resampled by the same counts."""
    seeds, examples = differences.shape[-2:]

    def counts(n: int) -> Array:
        return np.bincount(rng.integers(n, size=n), minlength=n).astype(np.float64)

    totals: Array = np.empty((resamples, *differences.shape[:-2]))
    for k in range(resamples):
        of_seeds = counts(seeds)
        totals[k] = (differences @ counts(examples)) @ of_seeds
    return np.asarray(totals / (seeds * examples))
