"""A table that was read: its columns' names, their values as text, and words about it."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ampmix.errors import AmpmixError


@dataclass(frozen=True)
class FileTable:
    """A file that was read: its columns' names, and each column's values as they came.

    `option` is how a column is given by whoever asked for the table. `rows` are those of a table
    whose first line may be data, with that line before them; empty where names are certain.
    """

    path: Path
    columns: list[str]
    values: Callable[[str], list[Any]]
    notes: tuple[str, ...] = ()
    option: str = "--{} COLUMN"
    rows: Sequence[Sequence[str]] = ()

    def error(self, problem: str) -> AmpmixError:
        """An error about this file; `problem` continues a sentence that its path begins."""
        return fault(self.path, problem)

    def noted(self, *notes: str) -> FileTable:
        """The table with more sentences for the user."""
        return replace(self, notes=(*self.notes, *notes))

    def check(self, column: str) -> None:
        """Raise AmpmixError, with near names, if there is no such column."""
        if column not in self.columns:
            near = difflib.get_close_matches(column[:80], self.columns[:200], n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise self.error(f"has no column {shown(column)}: {hint}It has {listed(self.columns)}")

    def strings(self, column: str, lists: str = "it must hold text") -> list[str]:
        """A column as text, "" where a value is missing; `lists` is what to say of several."""
        self.check(column)
        try:
            return [as_text(value) for value in self.values(column)]
        except TypeError as error:
            wanted = lists if str(error) in ("list", "dict") else "it must hold text"
            raise self.error(f"holds a {error} in column {shown(column)}: {wanted}") from None

    def texts(self, columns: Sequence[str]) -> list[str]:
        """Columns as one text a row, with a blank between."""
        if len(columns) == 1:
            return self.strings(columns[0])
        return [joined(row) for row in zip(*map(self.strings, columns), strict=True)]


def joined(parts: Sequence[str]) -> str:
    """Parts of a text with a blank between; empty ones are left out.

    >>> joined(["Late box", " ", "Where is it?"])
    'Late box Where is it?'
    """
    return " ".join(part for part in parts if part.strip())


def parts_of(text: str, columns: Sequence[str]) -> tuple[str, ...]:
    """Columns that ``--text`` names: one, or several with commas between, to be joined.

    >>> parts_of("title,body", ["title", "body"]), parts_of("a,b", ["a,b"])
    (('title', 'body'), ('a,b',))
    """
    parts = tuple(part.strip() for part in text.split(","))
    if text in columns or len(parts) < 2 or len(set(parts)) < len(parts):
        return (text,)
    return parts if all(part in columns for part in parts) else (text,)


def note_on_parts(parts: Sequence[str]) -> list[str]:
    """A note that columns are joined, if there are several."""
    if len(parts) < 2:
        return []
    names = f"{listed(parts[:-1])} and {shown(parts[-1])}"
    return [f"the columns {names} are joined to one text, with a blank between"]


def as_text(value: Any) -> str:
    """Return a cell's value as text; half surrogate pairs of JSON are replaced."""
    if isinstance(value, str):
        # JSON can spell half a surrogate pair, which is no text and which no file can hold.
        return value if value.isascii() else value.encode("utf-8", "replace").decode()
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, dict, bytes)):
        raise TypeError(type(value).__name__)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # whole numbers become floats where a value is missing
    return str(value)


def fault(path: Path, problem: str) -> AmpmixError:
    """An error about a file; `problem` continues a sentence that its path begins."""
    return AmpmixError(f"{str(path)!r} {problem}")


def listed(names: Sequence[str]) -> str:
    """Name at most twenty columns, and say how many more there are."""
    first = ", ".join(map(shown, names[:20]))
    return f"{first} and {len(names) - 20} more" if len(names) > 20 else first


def shown(name: str) -> str:
    """A name as a message has it: quoted, and no longer than a line.

    >>> shown("text"), len(shown("a" * 10**6))
    ("'text'", 83)
    """
    return repr(name if len(name) <= 80 else f"{name[:80]}…")
