"""A last layer that starts from a logistic regression on features (linear probing)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ampmix._support.cores import one_blas_thread

C = 10.0
"""Inverse strength of the L2 penalty, on features whose mean distance from their mean is 1.

Errors of cross-validation hardly depend on it from 3 to 100 (MiniLM: 489 and 144 TREC questions,
595 support tickets).
"""

Array = npt.NDArray[np.float64]


def linear_head(features: Array, labels: npt.NDArray[Any], classes: int) -> tuple[Array, Array]:
    """Fit a linear layer by multinomial logistic regression.

    Args:
        features: ``[n, d]``.
        labels: class indices ``[n]``, of two classes at least.
        classes: how many classes the layer has; one without a text gets a bias as low as one text
            among all the others would have, and no weights.

    Returns:
        Weight ``[classes, d]`` and bias ``[classes]``.

    >>> weight, bias = linear_head(np.array([[-1.0], [1.0]]), np.array([0, 1]), 2)
    >>> bool(weight[0, 0] < 0 < weight[1, 0])
    True
    """
    from sklearn.linear_model import LogisticRegression

    centre = features.mean(0)
    scale = float(np.linalg.norm(features - centre, axis=1).mean()) or 1.0
    model = LogisticRegression(C=C, max_iter=1000)
    with one_blas_thread():
        model.fit((features - centre) / scale, labels)
    weight, bias = row_of_each_class(model)
    weight = weight / scale
    bias = bias - weight @ centre
    wide, low = np.zeros((classes, features.shape[1])), np.log(1.0 / len(labels))
    level = np.full(classes, bias.mean() + low)
    wide[model.classes_], level[model.classes_] = weight, bias
    return wide, level


def row_of_each_class(model: Any) -> tuple[Array, Array]:
    """Slopes ``[C, d]`` and biases ``[C]`` of a fitted ``LogisticRegression`` of scikit-learn.

    Of two classes it has the difference alone, which is shared out evenly.
    """
    slopes, bias = model.coef_, model.intercept_
    if len(slopes) > 1:
        return slopes, bias
    return np.concatenate([-slopes, slopes]) / 2, np.concatenate([-bias, bias]) / 2
