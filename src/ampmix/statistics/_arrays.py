"""Checks of the arrays that statistics are given."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def finite(name: str, values: npt.ArrayLike, ndim: int) -> Array:
    """`values` as a non-empty array of finite floats with `ndim` axes, or a ValueError."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != ndim or array.size == 0:
        raise ValueError(f"{name} must be a non-empty {ndim}-d array, not of shape {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds a value that is not finite")
    return array


def check_level(level: float, name: str = "level") -> None:
    """A ValueError unless `level` is a fraction between 0 and 1."""
    if not 0 < level < 1:
        raise ValueError(f"{name} must lie between 0 and 1, not {level}")


def brief(value: float) -> str:
    """Two significant digits, and no exponent for large values."""
    return f"{value:.2g}" if value < 10 else f"{value:.0f}"


def quantity(value: float, unit: str) -> str:
    """A brief number with its unit, whose plural s goes after 1.

    >>> quantity(1.04, "points"), quantity(1.9, "points"), quantity(1.0, "pp")
    ('1 point', '1.9 points', '1 pp')
    """
    number = brief(value)
    return f"{number} {unit.removesuffix('s') if number in ('1', '1.0') else unit}"
