"""Read labels as users of data frames and arrays have them, as class indices."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.preprocessing import LabelEncoder
from sklearn.utils.multiclass import check_classification_targets

from ampmix.data.dataset import Integers
from ampmix.data.texts import DataError, is_missing


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
