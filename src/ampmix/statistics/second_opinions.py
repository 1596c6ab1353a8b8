"""Other intervals of cross-validation, for a second opinion; no verdict rests on them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from ampmix.errors import AmpmixError
from ampmix.statistics._arrays import check_level, finite
from ampmix.statistics.pairing import paired_differences


def per_text_interval(
    wrong: npt.ArrayLike, wrong_baseline: npt.ArrayLike, level: float = 0.95
) -> tuple[float, float]:
    """Interval of the difference of the models at hand, by the texts alone.

    ``mean +- z * sqrt(var_i(mean_r D[r, i]) / N)`` (Bayle et al. 2020, Cross-validation confidence
    intervals for test error, NeurIPS 33). It speaks of the models that were trained, not of ones
    trained anew: for these 95 % intervals were measured to cover 85 to 97 %.

    Args:
        wrong: 1 where the policy erred when the text was held out, ``[R repeats, N texts]``.
        wrong_baseline: the same for the baseline.
        level: coverage, a fraction.

    Raises:
        AmpmixError, ValueError: as :func:`ampmix.statistics.repeated_difference`.

    >>> low, high = per_text_interval([[1, 0, 1, 0]], [[0, 0, 1, 1]])
    >>> round(low, 2), round(high, 2)
    (-0.8, 0.8)
    """
    check_level(level)
    of_texts = paired_differences(wrong, wrong_baseline).mean(axis=0)
    half = float(ndtri((1 + level) / 2)) * math.sqrt(float(of_texts.var(ddof=1)) / len(of_texts))
    mean = float(of_texts.mean())
    return mean - half, mean + half


def nested_interval(
    outer: Sequence[npt.ArrayLike], inner: Sequence[npt.ArrayLike], level: float = 0.95
) -> tuple[float, float]:
    """Interval by nested cross-validation (Bates, Hastie and Tibshirani 2023, JASA 119).

    Each outer fold is compared with the cross-validation of all other texts, which has not seen it:
    ``MSE = mean_f((mean(inner_f) - mean(outer_f))**2 - var(outer_f) / n_f)``. The standard error is
    ``sqrt((K-1)/K * MSE)``, within that of the texts alone and sqrt(K) times it; the mean of the
    inner ones is moved by ``(1 + (K-2)/K)`` times its distance to that of the outer ones, as they
    had fewer texts. Of a difference of two policies, and K times the models.

    Args:
        outer: differences of the texts of each of K >= 2 outer folds, one array a fold.
        inner: for each outer fold the differences of all other texts in cross-validation without
            it, one array a fold.
        level: coverage, a fraction.

    Raises:
        AmpmixError: fewer than two folds, or numbers of folds that differ.
        ValueError: a value is not finite, or a fold has one text only.

    >>> low, high = nested_interval([[1.0, 0.0], [0.0, 1.0]], [[0.5, 0.5], [0.5, 0.5]])
    >>> low < 0.5 < high
    True
    """
    check_level(level)
    folds = len(outer)
    if folds < 2 or folds != len(inner):
        raise AmpmixError(
            f"{folds} outer folds and {len(inner)} inner cross-validations: give one of each for "
            "every fold, two or more"
        )
    out = [finite("outer", one, 1) for one in outer]
    within = [finite("inner", one, 1) for one in inner]
    if any(len(one) < 2 for one in out):
        raise ValueError("an outer fold has one text only")
    excess = [
        (float(b.mean()) - float(a.mean())) ** 2 - float(a.var(ddof=1)) / len(a)
        for a, b in zip(out, within, strict=True)
    ]
    every, nested = np.concatenate(out), float(np.concatenate(within).mean())
    alone = math.sqrt(float(every.var(ddof=1)) / len(every))
    error = math.sqrt((folds - 1) / folds * max(float(np.mean(excess)), 0.0))
    error = min(max(error, alone), math.sqrt(folds) * alone)
    middle = nested - (1 + (folds - 2) / folds) * (nested - float(every.mean()))
    half = float(ndtri((1 + level) / 2)) * error
    return middle - half, middle + half
