"""Seeds crossed with test examples: two-way variance components and their interval."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from ampmix.statistics._arrays import Array, check_level
from ampmix.statistics.comparison import (
    POWER,
    Comparison,
    FewTexts,
    p_where,
    widened,
    without_variance,
)
from ampmix.statistics.pairing import is_binary, paired_errors


class MeanSquares(NamedTuple):
    """Mean squares of a two-way layout without replication; arrays for a stack of layouts."""

    seeds: Array
    examples: Array
    residual: Array


def crossed_difference(
    wrong: npt.ArrayLike,
    wrong_baseline: npt.ArrayLike,
    level: float = 0.95,
    overlap: float = 0.0,
) -> Comparison:
    """Compare two policies over seeds and test examples, both taken as random samples.

    The paired differences ``D[s, i] = mu + seed_s + example_i + residual_si`` are a two-way crossed
    layout without replication, so the variance of their mean is that of ``(MS_seed + MS_example -
    MS_residual) / (S N)`` in expectation (Searle, Casella and McCulloch 1992, Variance Components,
    ch. 4). The interval speaks of new seeds and of new examples at once; `reach` has its formula.

    Args:
        wrong: 1 where the policy erred, ``[S seeds, N examples]``; booleans or finite numbers.
        wrong_baseline: the same for the baseline, same seeds and examples in the same order.
        level: coverage of the interval, a fraction.
        overlap: share of its training texts that a seed has in common with another, in [0, 1);
            0 where training sets are independent, or one and the same and the claim is for it.

    **Redrawn training sets.** Seeds that train on a share F of one pool, drawn anew for each, have
    an `overlap` of F. What the pool as a whole does is in all of them and does not show between
    them: their variance is ``1 - F`` of that of training sets, and further seeds take no more than
    that away. The variance of seeds then counts ``1/S + F / (1 - F)`` instead of ``1/S``, as in
    Nadeau and Bengio (2003) for random splits, and the interval speaks of new training sets of that
    size, too. It is too wide where seeds differ for other reasons: they count as much. Measured by
    ``benchmarks/redrawn.py``; `reach` has the formula.

    Raises:
        AmpmixError: the two are not paired: numbers of seeds or examples differ.
        ValueError: not ``[S >= 1, N >= 2]``, a value is not finite, `level` is not a fraction, or
            `overlap` is not in [0, 1).

    >>> crossed_difference([[1, 0, 0, 1], [1, 0, 0, 0]], [[1, 1, 0, 1], [1, 0, 1, 0]]).difference
    -0.25

    Coverage of 95 % intervals, measured in normal and 0/1 worlds with 50 and 500 examples
    (``benchmarks/coverage.py``), is 93 to 97 % from 5 seeds on. Its limits:

    - 2 seeds: 95 to 99.5 %; 3 and 4: 93 to 98 %. Where seeds do not differ by more than noise, S-1
      degrees of freedom cannot tell so, and an interval that is ready for seeds that do differ is
      then too wide. Of all rules that never claim to be surer than the test examples alone allow,
      the best must err by 2.8 points for 2 seeds, 2.0 for 3, 1.6 for 4 and 1.4 for 5 (a linear
      programme over the rules, ``benchmarks/_best_rule.py``). With 2 seeds this one errs upwards.
    - 2 or 3 errors a run (50 examples, 5 % wrong): 98 to 99 %. The mean of a handful of +-1 takes
      few values and has lighter tails than Student's t allows for.

    False alarms are what is left: 3 to 7 % from 5 seeds on.

    Where the two err on the same texts in every seed there is no variance to go by: the interval is
    then exact (:func:`ampmix.statistics.comparison.identical_reach`). Where the texts that differ
    are so few that no test of signs could show anything, fewer than 6 at 95 %, the interval goes as
    far as an exact one, too (:func:`ampmix.statistics.comparison.widened`).
    """
    check_level(level)
    if not 0 <= overlap < 1:
        raise ValueError(f"overlap is {overlap}: it must be in [0, 1)")
    at = partial(_at, *paired_errors(wrong, wrong_baseline), overlap)
    return replace(at(level), at_level=at)


def _at(own: Array, baseline: Array, overlap: float, level: float) -> Comparison:
    differences = np.subtract(own, baseline)
    texts = own.shape[1] if is_binary(own) else None
    if (degenerate := without_variance(differences, "crossed", texts, level)) is not None:
        return degenerate
    ms, (seeds, examples) = mean_squares(differences), differences.shape
    difference, tail = float(differences.mean()), (1 - level) / 2
    at_tail = partial(reach, ms, seeds, examples, overlap=overlap)
    half = float(at_tail(tail))
    found = Comparison(
        difference=difference,
        standard_error=float(standard_error(ms, seeds, examples, overlap)),
        interval=(difference - half, difference + half),
        p=p_where(lambda t: float(at_tail(t)), abs(difference)),
        detectable=half + float(at_tail(1 - POWER)),
        n_seeds=seeds,
        method="crossed",
        reach_after=partial(_expected_reach, ms, seeds, examples, overlap),
    )
    return widened(found, _few(own, baseline), level)


def _expected_reach(
    ms: MeanSquares, seeds: int, examples: int, overlap: float, more: int, tail: float
) -> float:
    """Reach after `more` seeds, at the mean squares to expect then."""
    of_seeds = (ms.seeds - ms.residual).clip(0)
    of_examples = (ms.examples - ms.residual).clip(0) * (more / seeds)
    expected = MeanSquares(ms.residual + of_seeds, ms.residual + of_examples, ms.residual)
    return float(reach(expected, more, examples, tail, overlap))


def _few(own: Array, baseline: Array) -> FewTexts | None:
    """Count the texts that differ, averaged over the seeds; None where errors are not 0 or 1."""
    if not (is_binary(own) and is_binary(baseline)):
        return None
    of_texts = np.subtract(own, baseline).sum(axis=0)
    return FewTexts(int((of_texts > 0).sum()), int((of_texts < 0).sum()), len(of_texts))


def mean_squares(differences: Array) -> MeanSquares:
    """Mean squares of layouts ``[..., S >= 2 seeds, N >= 2 examples]``, each ``[...]``.

    >>> float(mean_squares(np.array([[0.0, 1.0], [1.0, 2.0]])).seeds)
    1.0
    """
    seeds, examples = differences.shape[-2:]
    mean = differences.mean(axis=(-2, -1), keepdims=True)
    by_seed = differences.mean(axis=-1, keepdims=True) - mean
    by_example = differences.mean(axis=-2, keepdims=True) - mean
    residual = differences - mean - by_seed - by_example
    return MeanSquares(
        examples * (by_seed**2).sum(axis=(-2, -1)) / (seeds - 1),
        seeds * (by_example**2).sum(axis=(-2, -1)) / (examples - 1),
        (residual**2).sum(axis=(-2, -1)) / ((seeds - 1) * (examples - 1)),
    )


def standard_error(ms: MeanSquares, seeds: int, examples: int, overlap: float = 0.0) -> Array:
    """Standard error of the mean; components estimated below zero are set to zero."""
    of_examples = np.maximum(ms.examples, ms.residual / 2)
    of_seeds = (1 + _shared(seeds, overlap)) * np.maximum(ms.seeds - ms.residual, 0)
    return np.asarray(np.sqrt((of_examples + of_seeds) / (seeds * examples)))


def _shared(seeds: int, overlap: float) -> float:
    """Variance of the mean by what all training sets share, in variances by what they do not."""
    return seeds * overlap / (1 - overlap)


def reach(ms: MeanSquares, seeds: int, examples: int, tail: float, overlap: float = 0.0) -> Array:
    """Half-width of the interval around the mean, in the unit of the differences.

    With ``t_A, t_B, t_E`` the quantiles of Student's t with S - 1, N - 1 and (S - 1)(N - 1) degrees
    of freedom that leave `tail` above them::

        reach**2 * S * N = t_B**2 * MS_example + max(0, t_A**2 * MS_seed - h * MS_residual)
                           + c * max(0, t_A**2 * MS_seed - t_E**2 / 2 * MS_residual)
        h = (1 - 1/(S-1)) * t_A**2 + 1/(S-1) * t_E**2
        c = S * F / (1 - F)

    The first term alone is the paired t interval over the test examples, of differences averaged
    over the seeds: it would do if no seed but these were of interest. The second is what new seeds
    add. Each mean square has the quantile of its own degrees of freedom: squares of reaches add up
    as variances do, which keeps the level for any components (Banerjee 1960, Sankhya 22). Taking
    off MS_residual, which both mean squares contain, with the weight t_A**2 would be too bold for
    few seeds (86 % at 2), and with t_E**2 too timid for many; h goes from the one to the other.

    The third, with F the `overlap`, is what training sets share. It may be many times the second,
    and so may its errors: with h in it as little as 75 % is covered, with half of t_E**2 93.9 % and
    more in normal worlds of 3 to 20 seeds, F of 0.1 to 0.8 and any share of the variance that is
    theirs.

    Deviations: MS_example counts as MS_residual / 2 where it is smaller, which for 50 examples or
    more is rare, but with a handful of errors it may be 0. No degrees of freedom are approximated
    for the sum (Satterthwaite 1946): at 2 seeds that covers as little as 87 %, at 3 92 %.
    """
    forms = squared_reaches(ms, seeds, examples, tail, overlap)
    return np.asarray(np.sqrt(np.max(forms, axis=0)))


def squared_reaches(
    ms: MeanSquares, seeds: int, examples: int, tail: float, overlap: float = 0.0
) -> list[Array]:
    """The forms, linear in the mean squares, whose largest is the square of `reach`."""
    t_seeds, t_examples, t_residual = (
        float(stdtrit(df, tail)) ** 2
        for df in (seeds - 1, examples - 1, (seeds - 1) * (examples - 1))
    )
    h = t_seeds - (t_seeds - t_residual) / (seeds - 1)
    of_seeds = t_seeds * ms.seeds - h * ms.residual
    of_pool = _shared(seeds, overlap) * (t_seeds * ms.seeds - t_residual / 2 * ms.residual)
    nothing = np.zeros_like(of_seeds)
    return [
        (t_examples * of_examples + more + common) / (seeds * examples)
        for of_examples in (ms.examples, ms.residual / 2)
        for more in (nothing, of_seeds)
        for common in ((nothing, of_pool) if overlap else (nothing,))
    ]
