"""CSV that is safe to open in a spreadsheet, which takes some texts for formulas and runs them.

A cell that begins with one of ``= + - @``, a tab or a line break, and is no number, gets an
apostrophe before it; so does one that has apostrophes before such a beginning already, so that
:func:`unguarded` gives every cell back as it was. Source: OWASP, CSV Injection.
"""

from __future__ import annotations

import re

_FORMULA = re.compile(r"'*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
_GUARDED = re.compile(r"'+[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
_NUMBER = re.compile(r"[-+]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:[eE][-+]?\d+)? ?%?", re.ASCII)


def guarded(cell: str) -> str:
    """The cell, with an apostrophe before it if a spreadsheet could take it for a formula.

    >>> guarded("=1+1"), guarded("-1.5"), guarded("fine")
    ("'=1+1", '-1.5', 'fine')
    """
    if _FORMULA.match(cell) is None or _NUMBER.fullmatch(cell) is not None:
        return cell
    return f"'{cell}"


def unguarded(cell: str) -> str:
    """The cell that :func:`guarded` was given.

    >>> unguarded("'=1+1"), unguarded("'tis"), unguarded(guarded("'-x"))
    ('=1+1', "'tis", "'-x")
    """
    return cell[1:] if _GUARDED.match(cell) is not None else cell
