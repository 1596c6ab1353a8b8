"""Format counts with singular or plural nouns."""

from __future__ import annotations


def counted(number: int, one: str, more: str = "") -> str:
    """A number and what there is of it, as `one` or `more` (by default `one` with an s).

    >>> counted(1, "run"), counted(1200, "run")
    ('1 run', '1,200 runs')
    >>> counted(0, "class was", "classes were")
    '0 classes were'
    """
    return f"{number:,} {one if number == 1 else more or one + 's'}"
