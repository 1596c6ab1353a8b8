"""Texts that hold rows: a quote that is closed some rows too late makes one text of them."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence

from ampmix._support.wording import counted

MOST, SUSPECTS = 1000, 50  # values kept of a column; texts under suspicion
LONGEST = 80  # characters of a value that is kept
_NUMBER = re.compile(r"[-+\d.,:/ T]+")


class Swallowed:
    """Watches rows for texts of several lines that are rows themselves.

    Such a line has as many fields as the header, and in the other columns values that stand there
    in ordinary rows, or numbers if those do: a letter with commas is no such text.
    """

    def __init__(self, width: int, delimiter: str) -> None:
        self._width, self._delimiter = width, delimiter
        self._seen: list[set[str]] = [set() for _ in range(min(width, 16))]
        self._suspects: list[tuple[int, int, list[list[str]]]] = []

    def keep(self, row: Sequence[str]) -> None:
        """Keep the values of an ordinary row: of the first ones, and of some of the others."""
        for seen, field in zip(self._seen, row, strict=False):
            if len(seen) < MOST and len(field) <= LONGEST:
                seen.add(field.strip())

    def suspect(self, line: int, row: Sequence[str]) -> None:
        """Look at a row of several lines that begins in that line."""
        if self._width < 2:
            return
        for at, field in enumerate(row):
            if "\n" in field and len(self._suspects) < SUSPECTS and (rows := self._rows_in(field)):
                self._suspects.append((line, at, rows))

    def _rows_in(self, field: str) -> list[list[str]]:
        """The lines of a text as rows, if all but its first and last can be such."""
        pieces = field[:100_000].split("\n")[1:]
        try:
            rows = [next(csv.reader([piece], delimiter=self._delimiter), []) for piece in pieces]
        except csv.Error:
            return []
        fitting = [row for row in rows if len(row) == self._width]
        inner_fit = all(len(row) == self._width for row in rows[:-1])
        return fitting if inner_fit and len(fitting) >= 2 else []

    def notes(self, name: str) -> list[str]:
        """A sentence on the rows seen so far, if there is a doubt."""
        found = [
            (line, len(rows))
            for line, at, rows in self._suspects
            if all(self._usual(row, at) for row in rows)
        ]
        if not found:
            return []
        line, rows = found[0]
        texts = f"the text in line {line} of {name} holds"
        if len(found) > 1:
            texts = f"{counted(len(found), 'text')} of {name}, the first in line {line}, hold"
        return [
            f"{texts} {rows} lines that look like rows of their own: check whether a quote there "
            'is closed too late, and write a quote inside a text as ""'
        ]

    def _usual(self, row: Sequence[str], text_at: int) -> bool:
        others = [(at, field.strip()) for at, field in enumerate(row) if at != text_at]
        return all(self._known(at, field) for at, field in others)

    def _known(self, at: int, field: str) -> bool:
        if at >= len(self._seen) or field in self._seen[at]:
            return True
        numbers = sum(_NUMBER.fullmatch(one) is not None for one in self._seen[at])
        if numbers * 2 > len(self._seen[at]):
            return _NUMBER.fullmatch(field) is not None
        return len(self._seen[at]) > 20  # of a column of texts no value need stand there again
