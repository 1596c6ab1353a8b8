"""A stream of rows, and one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

Value = str | float | None
"""A value to write: None where there is none."""


@dataclass(frozen=True)
class FileRow:
    """One row of a file: its line, its text, and its bytes for writing it unchanged."""

    line: int
    text: str
    source: Any


def _no_notes() -> list[str]:
    return []


@dataclass(frozen=True)
class Stream:
    """A file being read.

    Attributes:
        columns: names of its columns; of JSON Lines, those of the first row.
        rows: its rows, read as they are asked for; raises AmpmixError, with the line, for bad ones.
        head: the text to write first, given the names of the columns added.
        body: the text to write for a row, given names and values (strings, numbers written as
            strings in JSON Lines too, or None) of the columns added.
        notes: sentences for the user.
        guarded: how many cells were written other than they were read, so far.
        later: sentences on the rows read so far.
        tail: the text to write last.
    """

    columns: tuple[str, ...]
    rows: Iterator[FileRow]
    head: Callable[[Sequence[str]], str]
    body: Callable[[FileRow, Sequence[str], Sequence[Value]], str]
    notes: tuple[str, ...] = ()
    guarded: Callable[[], int] = int
    later: Callable[[], list[str]] = _no_notes
    tail: str = ""


def number(value: str | float) -> str:
    """Six significant digits, which is what float32 probabilities are good for."""
    return value if isinstance(value, str) else "%.6g" % value  # noqa: UP031 (twice as fast)
