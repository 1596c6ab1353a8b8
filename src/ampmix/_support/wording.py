"""Format counts with singular or plural nouns."""

from __future__ import annotations

from collections.abc import Sequence


def counted(number: int, one: str, more: str = "") -> str:
    """A number and what there is of it, as `one` or `more` (by default `one` with an s).

    >>> counted(1, "run"), counted(1200, "run")
    ('1 run', '1,200 runs')
    >>> counted(0, "class was", "classes were")
    '0 classes were'
    """
    return f"{number:,} {one if number == 1 else more or one + 's'}"


def mean_std(mean: float | None, std: float | None, decimals: int = 1) -> str:
    """``8.6 ± 0.4``; without a standard deviation the mean alone.

    `decimals` are those of the deviation: the paper prints two.
    """
    if mean is None:
        return "failed"
    return f"{mean:.1f}" if std is None else f"{mean:.1f} ± {std:.{decimals}f}"


def error_heading(selection: str | None) -> str:
    """Head of a column of test errors, which says so if checkpoints were chosen by them."""
    return "oracle_test error %" if selection == "oracle_test" else "test error %"


def signed(value: float | None) -> str:
    """``+0.4`` or ``-1.2``."""
    return "" if value is None else f"{value:+.1f}"


def interval(bounds: Sequence[float] | None) -> str:
    """``[-1.2, +0.3]``."""
    return "" if bounds is None else f"[{bounds[0]:+.1f}, {bounds[1]:+.1f}]"


def quoted_range(bounds: Sequence[float] | None, signed: bool = False) -> str:
    """An interval as an aside, with a blank before it; "" for None.

    >>> quoted_range((10.94, 16.0)), quoted_range((-3.0, -0.2), signed=True)
    (' [10.9 to 16.0]', ' [-3.0 to -0.2]')
    """
    if bounds is None:
        return ""
    low, high = (f"{value:+.1f}" if signed else f"{value:.1f}" for value in bounds)
    return f" [{low} to {high}]"


def p_value(p: float | None) -> str:
    """Three decimals, ``<0.001`` below."""
    if p is None:
        return ""
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def duration(seconds: float) -> str:
    """``40 s``, ``3 min`` or ``2.5 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def shortened(text: str, longest: int) -> str:
    """The text; if it has more than `longest` letters, its beginning and an ellipsis.

    >>> shortened("mixing", 4)
    'mix…'
    """
    return text if len(text) <= longest else text[: longest - 1] + "…"
