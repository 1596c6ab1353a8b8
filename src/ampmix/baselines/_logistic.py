"""Multinomial logistic regression as a linear layer."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ampmix.backbones.linear_start import row_of_each_class
from ampmix.baselines.base import Numbers
from ampmix.baselines.majority import NEVER


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
        x: features ``[n, d]``, sparse or not.
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
