"""Read texts from what people hold them in: lists, arrays, columns of data frames."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

import numpy as np

from ampmix._support.wording import counted
from ampmix.errors import AmpmixError

_MISSING = {"None", "nan", "NaN", "<NA>", "NaT"}


class DataError(AmpmixError, ValueError):
    """Texts or labels that cannot be used: a ValueError, as scikit-learn raises for such."""


def texts_of(X: Any, empty: bool = False, name: str = "X") -> list[str]:
    """Return texts as a list of strings.

    Args:
        X: a list, tuple or other iterable of strings; a NumPy array; a Series of pandas or Polars;
            an Arrow or ``datasets`` column; or an array or data frame of one column, ``[n, 1]``.
        empty: allow no texts at all.
        name: what messages call X.

    Raises:
        DataError: for what is no list of texts, with the position of the first that is none.

    >>> texts_of(np.array([["good film"], ["bad film"]]))
    ['good film', 'bad film']
    """
    if isinstance(X, (str, bytes)) or getattr(X, "ndim", 1) == 0:
        raise DataError(f"{name} is a single text: give a list of texts")
    if isinstance(X, (Mapping, Set)):
        raise DataError(
            f"{name} is a {type(X).__name__}: give a list of texts, or one column of them"
        )
    texts = _listed(_column(X, name), name)
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            if is_missing(text):
                raise DataError(
                    f"{name}[{i}] is missing ({text}): fill or drop missing texts first"
                )
            raise DataError(
                f"{name}[{i}] is of type {type(text).__name__}, not a text: give raw texts (str), "
                "without a vectorizer before"
            )
    if not texts and not empty:
        raise DataError(f"{name} has 0 samples: give texts to train on")
    return texts


def is_missing(value: Any) -> bool:
    """Return True for None and for the missing values of NumPy, pandas and Polars."""
    return str(value) in _MISSING


def _column(X: Any, name: str) -> Any:
    """Return the only column of something with two dimensions."""
    shape = getattr(X, "shape", ())
    if len(shape) < 2:
        return X
    if hasattr(X, "column_names") or hasattr(X, "columns"):
        names = [str(column) for column in getattr(X, "column_names", None) or list(X.columns)]
        if len(names) != 1:
            raise DataError(
                f"{name} is a table of {counted(len(names), 'column')}: give the one with the "
                f"texts, such as {name}[{names[0] if names else 'text'!r}]"
            )
        return X[names[0]] if hasattr(X, "__getitem__") else X.column(0)
    if shape[1:] != (1,):
        raise DataError(
            f"{name} has shape {shape}: give raw texts, as a list or one column, "
            "without a vectorizer before"
        )
    return X[:, 0]


def _listed(X: Any, name: str) -> list[Any]:
    """Return the elements as Python's own objects."""
    for method in ("to_pylist", "to_list", "tolist"):  # Arrow; pandas and Polars; NumPy
        if hasattr(X, method):
            return list(getattr(X, method)())
    if not isinstance(X, (list, tuple)) and hasattr(X, "__array__"):
        return list(np.asarray(X).tolist())
    try:
        return list(X)
    except TypeError:
        raise DataError(f"{name} is a {type(X).__name__}: give a list of texts") from None
