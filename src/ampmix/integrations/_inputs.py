"""Read labels as users of data frames and arrays have them, as class indices."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.preprocessing import LabelEncoder
from sklearn.utils.multiclass import check_classification_targets

from ampmix._support.wording import counted
from ampmix.data.dataset import Integers
from ampmix.data.texts import DataError, is_missing


def weighted_texts(
    texts: list[str], y: Any, sample_weight: Any
) -> tuple[list[str], Any, npt.NDArray[np.float64]]:
    """Texts, labels and weights of those whose weight is above 0; DataError for what is none."""
    try:
        weights = np.asarray(sample_weight, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError("sample_weight holds what is no number: give one number a text") from None
    if weights.shape != (len(texts),):
        raise DataError(
            f"sample_weight has shape {list(weights.shape)} for {counted(len(texts), 'text')}: "
            "give one number each"
        )
    if not (np.isfinite(weights) & (weights >= 0)).all():
        at = int(np.argmin(np.isfinite(weights) & (weights >= 0)))
        raise DataError(f"sample_weight[{at}] is {weights[at]:g}: it must be a number of 0 or more")
    kept = np.flatnonzero(weights)
    if not len(kept):
        raise DataError("sample_weight is 0 for all texts: nothing is left to train on")
    labels = y.to_numpy() if hasattr(y, "to_numpy") else np.asarray(y)
    if len(kept) < len(texts) == len(labels):
        return [texts[i] for i in kept], labels[kept], weights[kept]
    return texts, y, weights


def labels_of(y: Any) -> tuple[npt.NDArray[Any], Integers]:
    """The classes and the index of each label; ValueError for what is no vector of labels."""
    if y is None:
        raise DataError("fit requires y to be passed, but the target y is None: give the labels")
    if hasattr(y, "to_numpy"):
        y = y.to_numpy()
    # before NumPy makes 'nan' of it, a string among strings
    for i, label in enumerate(np.asarray(y, dtype=object).ravel().tolist()):
        if not isinstance(label, str) and is_missing(label):
            raise DataError(f"y[{i}] is missing ({label}): drop the texts without a label first")
    encoder = LabelEncoder()
    check_classification_targets(y)
    labels = encoder.fit_transform(y)
    classes: npt.NDArray[Any] = encoder.classes_
    if len(classes) < 2:
        raise DataError(
            f"y has one class only ({', '.join(map(str, classes)) or 'none'}): a classifier needs "
            "at least two"
        )
    return classes, np.asarray(labels, dtype=np.int64)
