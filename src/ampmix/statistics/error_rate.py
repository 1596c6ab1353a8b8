"""Interval of one model's error rate, for new texts and a model trained anew."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from ampmix.statistics._arrays import check_level
from ampmix.statistics.crossed import crossed_difference


def cross_validated_error(
    wrong: Sequence[npt.ArrayLike], level: float = 0.95, repeats: int = 1
) -> tuple[float, float]:
    """Interval of the error that a model trained on all texts will have on new ones.

    Wilson's score interval (1927, Journal of the American Statistical Association 22) of the share
    of texts that were misclassified when they were held out, as if there were ``n / (1 + K / (K -
    1))`` of the n texts. With all n it speaks of the K models at hand (Bayle et al., 2020, Cross-
    validation confidence intervals for test error); the factor makes room for training texts that
    are drawn anew. Coverage is measured in ``benchmarks/refit.py``.

    Args:
        wrong: 1 where a text was misclassified, one array for each of K >= 2 folds, of all repeats.
        level: coverage of the interval, a fraction.
        repeats: of the cross-validation; a text counts once, however often it was tested.

    Raises:
        ValueError: fewer than 2 folds, no text, or `level` is not a fraction.

    >>> low, high = cross_validated_error([[1, 0, 0, 0, 0]] * 20)
    >>> round(low, 2), round(high, 2)
    (0.11, 0.33)
    """
    check_level(level)
    every = np.concatenate([np.asarray(fold, float) for fold in wrong])
    folds, n = len(wrong) / repeats, len(every) / repeats
    if folds < 2 or not n:
        raise ValueError(
            f"{folds:g} folds with {n:g} texts: at least 2 folds and a text are needed"
        )
    return _wilson(float(every.mean()), n / (1 + folds / (folds - 1)), level)


def _wilson(share: float, n: float, level: float) -> tuple[float, float]:
    """Wilson's score interval of a share of n texts; n need not be whole."""
    z = float(ndtri((1 + level) / 2))
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(float(middle - half), 0.0), min(float(middle + half), 1.0)


def held_out_error(
    wrong: npt.ArrayLike, level: float = 0.95, overlap: float = 0.0
) -> tuple[float, float] | None:
    """Interval of the mean error on a test set, for new seeds and new texts alike.

    That of :func:`ampmix.statistics.crossed_difference` to a model that never errs, within 0 and 1;
    of one seed Wilson's. None where it cannot be told.

    Args:
        wrong: 1 where a text was misclassified, ``[S seeds, N texts]``.
        level: coverage of the interval, a fraction.
        overlap: of the seeds' training sets, as of `crossed_difference`.

    >>> low, high = held_out_error([[1, 0, 0, 0, 0, 0, 0, 0, 0, 0]] * 2)
    >>> low, round(high, 2)
    (0.0, 0.45)
    """
    table = np.asarray(wrong, float)
    if len(table) == 1 or table.shape[1] < 2:
        return _wilson(float(table.mean()), table.size, level)
    interval = crossed_difference(table, np.zeros_like(table), level, overlap).interval
    return None if interval is None else (max(interval[0], 0.0), min(interval[1], 1.0))
