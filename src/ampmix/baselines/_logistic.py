"""Multinomial logistic regression as a linear layer, and its strength by cross-validation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ampmix.backbones.linear_start import row_of_each_class
from ampmix.baselines.base import Numbers
from ampmix.baselines.majority import NEVER

Real = npt.NDArray[np.floating[Any]]

STRENGTHS = (1.0, 3.0, 10.0, 30.0, 100.0)
"""Values of C, the inverse strength of the L2 penalty, that :func:`out_of_fold` may try."""
USUAL = 10.0  # where texts are too few to choose
PARTS, MOST = 3, 1000  # parts of the cross-validation, and texts that C is chosen on


def fitted(
    x: Any,
    labels: npt.NDArray[np.int64],
    weights: Numbers,
    classes: int,
    **options: Any,
) -> tuple[Numbers, Numbers]:
    """Fit scikit-learn's logistic regression; return slopes ``[C, d]`` and biases ``[C]``.

    A class without a text gets no probability.

    Args:
        x: features ``[n, d]``, sparse or not; in float32 it takes 0.6 of the time.
        labels: of the texts, ``[n]``.
        weights: of the texts, ``[n]``.
        classes: how many classes there are, C.
        options: of ``sklearn.linear_model.LogisticRegression``.
    """
    from sklearn.linear_model import LogisticRegression

    slopes, bias = np.zeros((classes, x.shape[1])), np.full(classes, NEVER)
    seen = np.unique(labels)
    if len(seen) == 1:
        bias[seen] = 0
        return slopes, bias
    model = LogisticRegression(max_iter=1000, random_state=0, **options)
    model.fit(x, labels, weights)
    slopes[model.classes_], bias[model.classes_] = row_of_each_class(model)
    return slopes, bias


def rotated(x: Real) -> Real:
    """Features ``[n, d]`` in at most n dimensions, with the same products: the same models."""
    n, d = x.shape
    if n >= d:
        return x
    triangle: Any = np.linalg.qr(x.T, mode="r")
    turned: Real = triangle.T
    return turned


def some_of(labels: npt.NDArray[np.int64], most: int = MOST) -> npt.NDArray[np.int64]:
    """Indices of the texts on which settings are chosen: all, or so many drawn from them."""
    every = np.arange(len(labels))
    if len(every) <= most:
        return every
    return np.sort(np.random.default_rng(0).permutation(every)[:most])


def out_of_fold(
    x: Any,
    labels: npt.NDArray[np.int64],
    weights: Numbers,
    strengths: Sequence[float],
    **options: Any,
) -> Numbers | None:
    """Log probabilities of the classes seen, by models that have not seen the text, ``[S, n, c]``.

    Args:
        x: features ``[n, d]``, sparse or not.
        labels: of the texts, ``[n]``.
        weights: of the texts, ``[n]``.
        strengths: the S values of C.
        options: of ``sklearn.linear_model.LogisticRegression``.

    Returns:
        None if there is but one class, or a class with one text alone.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold

    seen, counts = np.unique(labels, return_counts=True)
    parts = min(PARTS, int(counts.min()))
    if parts < 2 or len(seen) < 2:
        return None
    found = np.empty((len(strengths), len(labels), len(seen)))
    for rest, held in StratifiedKFold(parts, shuffle=True, random_state=0).split(labels, labels):
        model = LogisticRegression(max_iter=1000, random_state=0, warm_start=True, **options)
        for i, strength in enumerate(strengths):  # each starts from the one before
            model.set_params(C=strength).fit(x[rest], labels[rest], weights[rest])
            found[i, held] = model.predict_log_proba(x[held])
    return found


def best_strength(x: Real, labels: npt.NDArray[np.int64], weights: Numbers) -> float:
    """The C with the lowest log loss in a cross-validation on some of the texts."""
    some = some_of(labels)
    labels, weights = labels[some], weights[some]
    log_p = out_of_fold(rotated(x[some]), labels, weights, STRENGTHS)
    return USUAL if log_p is None else STRENGTHS[int(np.argmin(losses(log_p, labels, weights)))]


def losses(
    log_p: Numbers, labels: npt.NDArray[np.int64], weights: Numbers
) -> npt.NDArray[np.float64]:
    """Weighted log losses ``[S]`` of log probabilities ``[S, n, c]``, normalised or not."""
    top = log_p.max(-1, keepdims=True)
    normal = log_p - top - np.log(np.exp(log_p - top).sum(-1, keepdims=True))
    own = np.unique(labels, return_inverse=True)[1]
    found: Numbers = -(normal[:, np.arange(len(own)), own] * weights).sum(1) / weights.sum()
    return found
