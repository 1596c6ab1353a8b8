"""Arrays in, verdicts out: is one policy's error lower than another's, or is no difference shown?

Errors are 0/1 (or any finite numbers), a difference is policy minus baseline, so a negative one
means a lower error. Everything is in the unit of the input; ``Comparison.scaled(100)`` turns
fractions into points.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.special import stdtr, stdtrit

Array = npt.NDArray[np.float64]
Method = Literal["crossed", "corrected-resampled-t"]
Decision = Literal["lower error", "higher error", "no difference shown", "not decided"]

EXACT_SEEDS = 20
"""Sign flips are enumerated up to this many seeds (2**20 sums, 8 MiB) and drawn beyond it."""

SIGN_FLIPS = 99_999
"""Random sign flips beyond `EXACT_SEEDS`."""

CONSTANT = 1e-9
"""Differences whose range is below this part of the largest count as constant: float rounding."""


@dataclass(frozen=True)
class Comparison:
    """A policy minus its baseline: how far apart, and how far apart would have shown.

    Attributes:
        difference: mean of policy minus baseline, in the unit of the input; negative is better.
        standard_error: of `difference`, same unit; 0 where all differences are the same.
        degrees_of_freedom: of the t distribution behind `interval` and `p`.
        interval: confidence interval of `difference`, same unit.
        p: raw two-sided p-value of "no difference"; correct it with `holm` where there are several.
        detectable: smallest true difference that this design would show with 80 % power in a single
            two-sided test at the interval's level, ``(t[.975, df] + t[.8, df]) * se`` at 95 %.
        n_seeds: seeds, or folds for the corrected resampled t.
        method: "crossed" or "corrected-resampled-t".

    What the data cannot tell is None: everything but `difference` for a single seed or fold. Where
    every difference is the same the variance cannot be estimated, so `detectable` is None; if they
    are all zero the interval is (0, 0) and p is 1, else interval and p are None: agreement of a
    few numbers, which may be rounded, is no proof.

    >>> fractions = Comparison(-0.01, 0.002, 4.0, (-0.016, -0.004), 0.007, 0.007, 5, "crossed")
    >>> fractions.scaled(100).difference
    -1.0
    """

    difference: float
    standard_error: float | None
    degrees_of_freedom: float | None
    interval: tuple[float, float] | None
    p: float | None
    detectable: float | None
    n_seeds: int
    method: Method

    def scaled(self, factor: float) -> Comparison:
        """The same comparison in another unit, `factor` of which make one of the present unit.

        Raises ValueError unless `factor` is positive and finite: a sign change would swap sides.
        """
        if not 0 < factor < math.inf:
            raise ValueError(f"factor must be positive and finite, not {factor}")
        return replace(
            self,
            difference=self.difference * factor,
            standard_error=None if self.standard_error is None else self.standard_error * factor,
            interval=None
            if self.interval is None
            else (self.interval[0] * factor, self.interval[1] * factor),
            detectable=None if self.detectable is None else self.detectable * factor,
        )


def crossed_difference(
    wrong: npt.ArrayLike, wrong_baseline: npt.ArrayLike, level: float = 0.95
) -> Comparison:
    """Compare two policies over seeds and test examples, both taken as random samples.

    The paired differences ``D[s, i] = mu + seed_s + example_i + residual_si`` are a two-way crossed
    layout without replication, so ``Var(mean) = (MS_seed + MS_example - MS_residual) / (S * N)``,
    with Satterthwaite's degrees of freedom (Satterthwaite 1946; Searle, Casella and McCulloch 1992,
    ch. 4). The interval speaks of new seeds and of new examples at once.

    Args:
        wrong: 1 where the policy erred, ``[S seeds, N examples]``; booleans or finite numbers.
        wrong_baseline: the same for the baseline, same seeds and examples in the same order.
        level: coverage of the interval, a fraction.

    Raises:
        ValueError: shapes differ or are not ``[S >= 1, N >= 2]``, a value is not finite, or `level`
            is not between 0 and 1.

    >>> crossed_difference([[1, 0, 0, 1], [1, 0, 0, 0]], [[1, 1, 0, 1], [1, 0, 1, 0]]).difference
    -0.25

    Deviations from the textbook, chosen by simulation (``benchmarks/coverage.py`` measures them):

    - A component whose estimate is negative is set to zero and leaves the degrees of freedom too.
    - With few seeds that is too bold, for the seeds' share of the variance is itself known only to
      S - 1 degrees of freedom. So ``1/df = w / (S - 1) + (1 - w) / df_Satterthwaite`` with
      ``w = 1 / (S - 1)**2``: S - 1 itself for two seeds, hardly a change from five on.

    Measured coverage of 95 % intervals over normal and 0/1 data, N = 50 and 500: 94 to 97.5 % at 5
    and 10 seeds, up to 99 % where the policies differ by nothing but residual noise; 94 to 99.7 %
    at 3 seeds; 95 to 100 % at 2, whose intervals are some 6 times as wide as need be.
    """
    errors = _finite("wrong", wrong, 2)
    baseline = _finite("wrong_baseline", wrong_baseline, 2)
    differences = _paired(errors, baseline)
    seeds = differences.shape[0]
    if seeds == 1:
        return _comparison(differences, None, None, level, "crossed")
    return _comparison(differences, *_crossed_variance(differences), level, "crossed")


def corrected_resampled_t(
    differences: npt.ArrayLike, n_train: npt.ArrayLike, n_test: npt.ArrayLike, level: float = 0.95
) -> Comparison:
    """Compare two policies over K folds or random splits, whose training sets overlap.

    ``Var(mean) = (1/K + n_test/n_train) * s**2`` with K - 1 degrees of freedom: the corrected
    resampled t-test of Nadeau and Bengio 2003 (Machine Learning 52).

    Args:
        differences: error of the policy minus that of the baseline, one a fold, ``[K]``.
        n_train: training examples, one number or one a fold, ``[K]``.
        n_test: test examples, likewise.
        level: coverage of the interval, a fraction.

    Raises:
        ValueError: `differences` is empty or not one-dimensional, a value is not finite, a count is
            negative or no training examples are given, shapes do not fit, or `level` is off.

    >>> round(corrected_resampled_t([0.01, 0.03, 0.02], n_train=90, n_test=10).standard_error, 4)
    0.0067

    Deviation: where the folds differ in size, the ratio is that of the mean sizes. The correction
    assumes a correlation of ``n_test / (n_train + n_test)`` between folds; nobody can estimate it.
    """
    values = _finite("differences", differences, 1)
    train = _mean_size("n_train", n_train, values.size)
    test = _mean_size("n_test", n_test, values.size)
    if train == 0:
        raise ValueError("n_train must be positive")
    if values.size == 1:
        return _comparison(values, None, None, level, "corrected-resampled-t")
    variance = (1 / values.size + test / train) * float(values.var(ddof=1))
    return _comparison(values, variance, values.size - 1.0, level, "corrected-resampled-t")


def holm(p_values: Sequence[float | None] | Array) -> Array:
    """P-values adjusted for their number, so that any false alarm at all has the stated rate.

    ``adjusted_(k) = max over j <= k of min(1, (m - j + 1) * p_(j))`` for the sorted p-values (Holm
    1979, Scandinavian Journal of Statistics 6).

    Args:
        p_values: raw p-values, ``[comparisons]``; None and NaN are comparisons without one: they
            stay NaN and are not counted in m.

    Raises:
        ValueError: not one-dimensional, or a p-value outside 0 to 1.

    >>> holm([0.01, None, 0.04, 0.03])
    array([0.03,  nan, 0.06, 0.06])
    """
    raw = np.asarray(p_values, dtype=np.float64)
    if raw.ndim != 1:
        raise ValueError(f"p_values must be one-dimensional, not of shape {raw.shape}")
    known = np.flatnonzero(~np.isnan(raw))
    if np.any((raw[known] < 0) | (raw[known] > 1)):
        raise ValueError("p_values must lie between 0 and 1")
    order = known[np.argsort(raw[known], kind="stable")]
    remaining = np.arange(known.size, 0, -1)
    adjusted = np.full_like(raw, np.nan)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(remaining * raw[order]))
    return adjusted


def sign_flip_p(differences: npt.ArrayLike) -> float:
    """Two-sided p-value from flipping the signs of the seeds' mean differences.

    The share of the 2**S sign patterns whose sum is at least as far from zero as the observed one
    (Fisher 1935, The Design of Experiments). It needs no normality, only symmetry about zero, but
    it cannot go below ``2**(1 - S)``: 0.0625 at five seeds, so five seeds alone never reach 5 %.

    Args:
        differences: mean difference of each seed, ``[S]``, any unit.

    Raises:
        ValueError: empty, not one-dimensional, or not finite.

    >>> sign_flip_p([-0.02, -0.01, -0.03, -0.01, -0.02])
    0.0625

    Deviation: exact up to `EXACT_SEEDS`; beyond, `SIGN_FLIPS` patterns from a generator with a
    fixed seed, and the observed pattern counts as one of them, so that p is never 0.
    """
    values = _finite("differences", differences, 1)
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
        ValueError: as `crossed_difference`, and for one seed, or fewer than one resample.

    >>> low, high = pigeonhole_interval([[1, 0, 0, 1], [1, 0, 0, 0]], [[1, 1, 0, 1], [1, 0, 1, 0]])
    >>> low < -0.25 < high
    True

    No normality is assumed, but few seeds make it too narrow where seeds matter: if only they
    vary, 95 % intervals were measured to cover 50 % at 2 seeds, 72 % at 3, 80 % at 5 and 90 % at
    10. Pure residual noise is counted three times, which makes it too wide (near 100 %). Memory is
    O(S * N), whatever `resamples`.
    """
    _check_level(level)
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1, not {resamples}")
    differences = _paired(_finite("wrong", wrong, 2), _finite("wrong_baseline", wrong_baseline, 2))
    seeds, examples = differences.shape
    if seeds == 1:
        raise ValueError("one seed cannot be resampled: it says nothing about new seeds")
    rng = np.random.default_rng(seed)

    def counts(n: int) -> npt.NDArray[np.intp]:
        return np.bincount(rng.integers(n, size=n), minlength=n)

    totals = [counts(seeds) @ differences @ counts(examples) for _ in range(resamples)]
    low, high = np.quantile(totals, ((1 - level) / 2, (1 + level) / 2)) / differences.size
    return float(low), float(high)


def decide(comparison: Comparison, adjusted_p: float | None, level: float = 0.95) -> Decision:
    """What the comparison shows at `level`, in one of four phrases.

    Args:
        comparison: in any unit.
        adjusted_p: its p-value after `holm`, or its own `p` if it is the only one; None or NaN
            where there is none.
        level: confidence, a fraction; a difference is shown where ``adjusted_p <= 1 - level``.

    Raises:
        ValueError: `level` is not between 0 and 1.

    >>> decide(crossed_difference([[1, 0], [0, 1]], [[1, 0], [0, 1]]), 1.0)
    'no difference shown'
    """
    _check_level(level)
    if comparison.p is None or adjusted_p is None or math.isnan(adjusted_p):
        return "not decided"
    if adjusted_p > 1 - level:
        return "no difference shown"
    return "lower error" if comparison.difference < 0 else "higher error"


def verdict(
    comparison: Comparison, adjusted_p: float | None, level: float = 0.95, unit: str = "points"
) -> str:
    """`decide` in a short sentence: why not decided, or how small a difference could have shown.

    Args:
        comparison: in the unit named by `unit`, so ``scaled(100)`` for points.
        adjusted_p: as for `decide`.
        level: as for `decide`.
        unit: name of the unit.

    Raises:
        ValueError: `level` is not between 0 and 1.

    >>> verdict(Comparison(0.3, 0.5, 4.0, (-1.1, 1.7), 0.58, 1.9, 5, "crossed"), 0.58)
    'no difference shown; 5 seeds could have shown 1.9 points or more'
    """
    decision = decide(comparison, adjusted_p, level)
    runs = "seed" if comparison.method == "crossed" else "fold"
    if decision == "not decided":
        if comparison.n_seeds == 1:
            return f"{decision}: one {runs} says nothing about new {runs}s"
        if comparison.standard_error == 0:
            return f"{decision}: all {runs}s differ by the same, so the error of it is unknown"
        return f"{decision}: there is no p-value"
    if decision != "no difference shown":
        return decision
    if comparison.detectable is None:
        same = "every prediction" if comparison.method == "crossed" else "every fold"
        return f"{decision}: {same} was the same"
    if comparison.p is not None and comparison.p <= 1 - level:
        # The smallest difference is that of a single test: naming it here would contradict.
        return f"{decision} once all comparisons are counted; alone it would have been"
    return (
        f"{decision}; {comparison.n_seeds} {runs}s could have shown "
        f"{_brief(comparison.detectable)} {unit} or more"
    )


def relative_improvement(error_mixup: float, error_amp: float) -> float:
    """Part of Mixup's error that AMP removed, in per cent: RP of the AMP paper's Table 2.

    ``RP = 100 * (error_mixup - error_amp) / error_mixup``; negative where AMP is worse.

    Args:
        error_mixup: error of Mixup, any unit, above 0.
        error_amp: error of AMP, same unit.

    Raises:
        ValueError: a value is not finite, or `error_mixup` is not positive.

    >>> round(relative_improvement(9.6, 8.4), 1)
    12.5
    """
    if not (0 < error_mixup < math.inf and math.isfinite(error_amp)):
        raise ValueError(
            f"errors must be finite and Mixup's positive, not {error_mixup} and {error_amp}"
        )
    return 100 * (error_mixup - error_amp) / error_mixup


def _crossed_variance(differences: Array) -> tuple[float, float]:
    """Variance of the mean of D ``[S, N]``, and its degrees of freedom (`crossed_difference`)."""
    seeds, examples = differences.shape
    mean = differences.mean()
    by_seed = differences.mean(axis=1, keepdims=True) - mean
    by_example = differences.mean(axis=0, keepdims=True) - mean
    residual = differences - mean - by_seed - by_example

    df = np.array([seeds - 1, examples - 1, (seeds - 1) * (examples - 1)], dtype=np.float64)
    squares = [examples * (by_seed**2).sum(), seeds * (by_example**2).sum(), (residual**2).sum()]
    ms = np.array(squares) / df

    # Component by component: a mean square at or below the residual's leaves the sum, and each one
    # that stays brings the residual's with it once too often. Never negative.
    seeds_vary, examples_vary = ms[0] > ms[2], ms[1] > ms[2]
    terms = ms * [seeds_vary, examples_vary, 1 - int(seeds_vary) - int(examples_vary)]
    total = terms.sum()
    if total == 0:  # all differences are the same
        return 0.0, float(df[0])
    satterthwaite_inverse = (terms**2 / df).sum() / total**2
    weight = 1 / df[0] ** 2
    inverse = weight / df[0] + (1 - weight) * satterthwaite_inverse
    return float(total / differences.size), float(1 / inverse)


def _comparison(
    differences: Array, variance: float | None, df: float | None, level: float, method: Method
) -> Comparison:
    """The t interval, p and detectable difference of a mean with this variance."""
    _check_level(level)
    difference, n = float(differences.mean()), differences.shape[0]
    if variance is None or df is None:
        return Comparison(difference, None, None, None, None, None, n, method)
    if variance == 0 or np.ptp(differences) <= CONSTANT * np.abs(differences).max():
        same = difference == 0
        interval, p = ((0.0, 0.0), 1.0) if same else (None, None)
        return Comparison(difference, 0.0, None, interval, p, None, n, method)
    error = math.sqrt(variance)
    reach = float(stdtrit(df, (1 + level) / 2)) * error
    return Comparison(
        difference=difference,
        standard_error=error,
        degrees_of_freedom=df,
        interval=(difference - reach, difference + reach),
        p=2 * float(stdtr(df, -abs(difference) / error)),
        detectable=reach + float(stdtrit(df, 0.8)) * error,
        n_seeds=n,
        method=method,
    )


def _finite(name: str, values: npt.ArrayLike, ndim: int) -> Array:
    """`values` as a non-empty array of finite floats with `ndim` axes, or a ValueError."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != ndim or array.size == 0:
        raise ValueError(f"{name} must be a non-empty {ndim}-d array, not of shape {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds a value that is not finite")
    return array


def _paired(wrong: Array, wrong_baseline: Array) -> Array:
    """Differences ``[S, N]`` of two arrays over the same seeds and examples, or a ValueError."""
    if wrong.shape != wrong_baseline.shape:
        raise ValueError(
            f"wrong {wrong.shape} and wrong_baseline {wrong_baseline.shape} must have one shape, "
            "[seeds, examples]"
        )
    if wrong.shape[1] < 2:
        raise ValueError("two or more test examples are needed, not 1")
    return wrong - wrong_baseline


def _mean_size(name: str, sizes: npt.ArrayLike, folds: int) -> float:
    """Mean of one size, or of one a fold, or a ValueError."""
    array = np.asarray(sizes, dtype=np.float64)
    if array.shape not in ((), (folds,)):
        raise ValueError(f"{name} must be one number or {folds}, not of shape {array.shape}")
    if not np.isfinite(array).all() or (array < 0).any():
        raise ValueError(f"{name} must be finite and not negative")
    return float(array.mean())


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, not {level}")


def _brief(value: float) -> str:
    """Two significant digits, and no exponent for large values."""
    return f"{value:.2g}" if value < 10 else f"{value:.0f}"
