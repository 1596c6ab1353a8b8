"""Several comparisons at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ampmix.statistics._arrays import Array


def holm(p_values: Sequence[float | None] | Array) -> Array:
    """P-values adjusted for their number, so that any false alarm at all has the stated rate.

    ``adjusted_(k) = max over j <= k of min(1, (m - j + 1) * p_(j))`` for the sorted p-values (Holm
    1979, Scandinavian Journal of Statistics 6).

    Args:
        p_values: raw p-values, ``[comparisons]``; None and NaN are comparisons without one: they
            stay NaN and are not counted in m.

    Raises:
        ValueError: not one-dimensional, or a p-value outside 0 to 1.

    >>> holm([0.01, None, 0.04, 0.03])
    array([0.03,  nan, 0.06, 0.06])
    """
    raw = np.asarray(p_values, dtype=np.float64)
    if raw.ndim != 1:
        raise ValueError(f"p_values must be one-dimensional, not of shape {raw.shape}")
    known = np.flatnonzero(~np.isnan(raw))
    if np.any((raw[known] < 0) | (raw[known] > 1)):
        raise ValueError("p_values must lie between 0 and 1")
    order = known[np.argsort(raw[known], kind="stable")]
    remaining = np.arange(known.size, 0, -1)
    adjusted = np.full_like(raw, np.nan)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(remaining * raw[order]))
    return adjusted
