"""X and y as users of data frames and arrays have them: a list of texts, and class indices."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.preprocessing import LabelEncoder
from sklearn.utils.multiclass import check_classification_targets

from ampmix.data.dataset import Integers
from ampmix.errors import AmpmixError

_MISSING = {"None", "nan", "NaN", "<NA>", "NaT"}


class DataError(AmpmixError, ValueError):
    """Texts or labels that cannot be used: a ValueError, as scikit-learn raises for such."""


def texts_of(X: Any, empty: bool = False) -> list[str]:
    """X as a list of texts; DataError for what is not one."""
    if isinstance(X, (str, bytes)) or getattr(X, "ndim", 1) == 0:
        raise DataError("X is a single text: give a list of texts")
    if isinstance(X, (Mapping, Set)):
        raise DataError(f"X is a {type(X).__name__}: give a list of texts, or one column of them")
    if hasattr(X, "to_numpy"):  # pandas and Polars, without importing either
        X = X.to_numpy()
    elif not isinstance(X, (list, tuple)) and hasattr(X, "__array__"):
        X = np.asarray(X)
    shape = getattr(X, "shape", ())
    if len(shape) > 1:
        if shape[1:] != (1,):
            raise DataError(
                f"X has shape {shape}: give raw texts, as a list or one column, "
                "without a vectorizer before"
            )
        X = X[:, 0]
    try:
        texts = X.tolist() if isinstance(X, np.ndarray) else list(X)
    except TypeError:
        raise DataError(f"X is a {type(X).__name__}: give a list of texts") from None
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            if _missing(text):
                raise DataError(f"X[{i}] is missing ({text}): fill or drop missing texts first")
            raise DataError(
                f"X[{i}] is of type {type(text).__name__}, not a text: give raw texts (str), "
                "without a vectorizer before"
            )
    if not texts and not empty:
        raise DataError("X has 0 samples: give texts to train on")
    return texts


def labels_of(y: Any) -> tuple[npt.NDArray[Any], Integers]:
    """The classes and the index of each label; ValueError for what is no vector of labels."""
    if y is None:
        raise DataError("fit requires y to be passed, but the target y is None: give the labels")
    if hasattr(y, "to_numpy"):
        y = y.to_numpy()
    # before NumPy makes 'nan' of it, a string among strings
    for i, label in enumerate(np.asarray(y, dtype=object).ravel().tolist()):
        if not isinstance(label, str) and _missing(label):
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


def _missing(value: Any) -> bool:
    return str(value) in _MISSING
