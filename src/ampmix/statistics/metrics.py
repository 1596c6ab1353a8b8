"""Metrics as means over texts, so that every comparison of means compares them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ampmix.errors import AmpmixError, unknown
from ampmix.statistics._arrays import Array

BINS = 10
"""Bins of the calibration error, of equal width."""

SCALE = 100.0
"""Units of a difference in 1: points in a share, centinats in a nat."""

MARGIN = 1.0
"""Units below which a difference does not matter, by default."""

LEAST = 1e-6
"""Probabilities below it count as this much in the log loss."""


@dataclass(frozen=True)
class Metric:
    """A measure of loss: lower is better.

    Attributes:
        name: as of ``--metric``.
        loss: what a sentence calls it.
        unit: of a difference, in the plural: a hundredth of the metric's own.
        needs_scores: true if predicted classes do not suffice.
        values: of labels ``[N]`` and probabilities ``[N, C]`` a number for each text, whose mean is
            the metric.
    """

    name: str
    loss: str
    unit: str
    needs_scores: bool
    values: Callable[[npt.NDArray[np.int64], Array], Array]


def error_values(labels: npt.NDArray[np.int64], scores: Array) -> Array:
    """1 where the class of the highest score is wrong."""
    return np.asarray(scores.argmax(axis=1) != labels, dtype=np.float64)


def macro_f1_values(labels: npt.NDArray[np.int64], scores: Array) -> Array:
    """``1 - macro-F1`` plus the influence of each text on it; their mean is ``1 - macro-F1``.

    ``F1_c = 2 TP / (2 TP + FP + FN)`` is a smooth function of counts, so a text's influence is its
    derivative along the text (Hampel 1974, Journal of the American Statistical Association 69). For
    a class with T texts and P predictions ``d = T + P``: a text adds ``(2 tp - F1 (t + p)) N / d``.
    Only classes that labels or predictions have count.
    """
    n, predicted = len(labels), scores.argmax(axis=1)
    present = np.union1d(labels, predicted)
    found = np.zeros(n)
    for c in present:
        true, said = labels == c, predicted == c
        both, size = true & said, float(true.sum() + said.sum())
        f1 = 2 * float(both.sum()) / size
        found += f1 + (2.0 * both - f1 * (true.astype(float) + said)) * n / size
    return np.asarray(1 - found / len(present))


def log_loss_values(labels: npt.NDArray[np.int64], scores: Array) -> Array:
    """Negative logarithm of the true class's probability."""
    of_truth = np.take_along_axis(scores, labels[:, None], axis=1)[:, 0]
    return np.asarray(-np.log(np.clip(of_truth, LEAST, 1)))


def calibration_values(labels: npt.NDArray[np.int64], scores: Array) -> Array:
    """Expected calibration error as a mean over texts (Naeini, Cooper and Hauskrecht 2015).

    ``ECE = sum_b |sum_(i in b) (confidence_i - right_i)| / N`` over bins b of equal width: given
    the signs of the bins, a mean over texts of ``sign_b (confidence_i - right_i)``. Where a bin's
    gap is near zero its sign is chance, and intervals are wider than need be.
    """
    confidence = scores.max(axis=1)
    gap = confidence - (scores.argmax(axis=1) == labels)
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    signs = np.sign(np.bincount(bins, weights=gap, minlength=BINS))
    return np.asarray(signs[bins] * gap)


METRICS = {
    metric.name: metric
    for metric in (
        Metric("error", "error", "points", False, error_values),
        Metric("macro-f1", "macro-F1 loss", "points", False, macro_f1_values),
        Metric("log-loss", "log loss", "centinats", True, log_loss_values),
        Metric("calibration", "calibration error", "points", True, calibration_values),
    )
}
"""The metrics by name; all are losses, and macro-F1 enters as ``1 - macro-F1``."""


def metric_of(name: str) -> Metric:
    """The metric of a name; AmpmixError for one that there is not.

    >>> metric_of("macro-f1").loss
    'macro-F1 loss'
    """
    if name not in METRICS:
        raise unknown("metric", name, METRICS)
    return METRICS[name]


def values_of(metric: Metric, labels: npt.ArrayLike, scores: npt.ArrayLike) -> Array:
    """The metric's values for runs of the same texts, ``[S, N]``; each row's mean is the metric.

    Args:
        metric: the metric.
        labels: true classes, ``[N]``, whole numbers from 0.
        scores: probabilities of the classes, ``[S, N, C]``.

    Raises:
        AmpmixError: shapes do not fit, a score is not finite, or no probability where the metric
            needs one.

    >>> values_of(METRICS["error"], [0, 1], [[[0.9, 0.1], [0.8, 0.2]]]).tolist()
    [[0.0, 1.0]]
    """
    y, table = np.asarray(labels), np.asarray(scores, dtype=np.float64)
    if y.ndim != 1 or table.ndim != 3 or table.shape[1] != len(y):
        raise AmpmixError(
            f"scores have shape {table.shape} and labels {y.shape}: give a score for each run, "
            "text and class"
        )
    if not np.isfinite(table).all():
        raise AmpmixError("a score is NaN or infinite: leave that run out, or count it as failed")
    if metric.needs_scores and ((table < 0) | (table > 1)).any():
        raise AmpmixError(f"{metric.loss} needs probabilities from 0 to 1, and a score is not one")
    return np.stack([metric.values(y, one) for one in table])
