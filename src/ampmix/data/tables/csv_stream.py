"""CSV, TSV, lines of text and sheets as streams of rows, all written as CSV or TSV."""

from __future__ import annotations

import csv
import itertools
import operator
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ampmix.data.tables import csv_rows, fasttext
from ampmix.data.tables.columns import ENOUGH, KNOWN, Preferred, text_columns
from ampmix.data.tables.csv_rows import LONGEST_FIELD, Opened
from ampmix.data.tables.spreadsheet import guarded
from ampmix.data.tables.stream_parts import FileRow, Stream, Value, number
from ampmix.data.tables.table import joined, shown

Lines = Iterator[tuple[int, str]]


def of_csv(
    path: Path,
    lines: Lines,
    text: str | None,
    guard: bool,
    notes: list[str],
    longest: int = LONGEST_FIELD,
) -> Stream:
    """The stream of a CSV or TSV file."""
    opened = csv_rows.opened(path, lines, longest)
    opened.notes[:0] = notes
    sample, opened.rows = csv_rows.ahead(opened.rows, 1)
    if isinstance(text, Preferred) and not text.found(opened.columns) and len(opened.columns) == 1:
        text = None  # the only column is meant, or there are no names
    if text is None and _first_is_text(opened, not sample):
        return _of_plain(opened, guard)
    if not sample:
        opened.notes.append(f"{path.name} has no row below its first line, which names the columns")
    return _of_table(opened, text, guard)


def of_sheet(
    path: Path, rows: list[list[str]], notes: list[str], text: str | None, guard: bool
) -> Stream:
    """The stream of rows of a workbook."""
    return _of_table(csv_rows.of_rows(path, rows, notes), text, guard)


def of_lines(path: Path, lines: Lines, guard: bool, notes: list[str]) -> Stream:
    """A stream in which each line is a text."""
    rows = ((at, [line.rstrip("\r\n")]) for at, line in lines)
    return _written(("text",), rows, (0,), ",", "\n", guard, notes, list)


def of_fasttext(path: Path, lines: Lines, guard: bool, notes: list[str]) -> Stream:
    """Lines of fastText, whose labels become a column."""
    rows = ((at, fasttext.label_and_text(path, at, line)) for at, line in lines if line.strip())
    columns = tuple(fasttext.COLUMNS)
    return _written(columns, rows, (1,), ",", "\n", guard, notes, list)


def _first_is_text(opened: Opened, alone: bool) -> bool:
    """Return True if the first line is a text and no line of names; a note where that is unclear.

    It is one if it stands alone in standard input, or is a sentence by itself.
    """
    names = [name.strip().lower() for name in opened.columns]
    if any(name in KNOWN for name in names):
        return False
    first = opened.columns[0]
    if alone and not opened.path.suffix:
        return True
    if len(names) > 1:
        return False
    if len(first.split()) > 3 or first.rstrip().endswith((".", "!", "?")):
        return True
    opened.notes.append(
        f"the first line of {opened.path.name}, {shown(first)}, is taken for the column's name: "
        "--text-lines takes every line for a text"
    )
    return False


def _of_plain(opened: Opened, guard: bool) -> Stream:
    """A stream of texts without a line of names before them."""
    first = opened.form.delimiter.join(opened.columns)
    opened.notes.append(
        f"the first line of {opened.path.name}, {shown(first)}, is taken for a text: put the name "
        "of the column before it if there is one, or give --text-lines"
    )
    rows = itertools.chain([(1, [first])], opened.rows)
    return _written(("text",), rows, (0,), ",", opened.end, guard, opened.notes, list)


def _of_table(opened: Opened, text: str | None, guard: bool) -> Stream:
    """A stream of rows under a header."""
    columns = tuple(opened.columns)
    sample, opened.rows = csv_rows.ahead(opened.rows, ENOUGH)
    parts, more = text_columns(
        opened.path, columns, text, lambda name: _some(sample, columns.index(name))
    )
    at = tuple(map(columns.index, parts))
    rows = (row for row in opened.rows if row[1] is not opened.columns)
    notes = [*opened.notes, *more]
    delimiter, end = opened.form.delimiter, opened.end
    return _written(columns, rows, at, delimiter, end, guard, notes, opened.later)


def _some(rows: list[tuple[int, list[str]]], at: int) -> list[str]:
    return [row[at] for _, row in rows if at < len(row)]


def _written(
    columns: tuple[str, ...],
    rows: Iterator[tuple[int, list[str]]],
    at: tuple[int, ...],
    delimiter: str,
    end: str,
    guard: bool,
    notes: list[str],
    later: Callable[[], list[str]],
) -> Stream:
    """The stream of rows of fields, with the texts in the columns `at`."""
    plain = _row_formatter(delimiter, end)
    changed = 0

    def format_row(fields: Sequence[str]) -> str:
        nonlocal changed
        if not guard:
            return plain(fields)
        safe = [guarded(field) for field in fields]
        changed += sum(map(operator.ne, fields, safe))
        return plain(safe)

    def read() -> Iterator[FileRow]:
        for line, row in rows:
            parts = [row[i] if i < len(row) else "" for i in at]
            yield FileRow(line, parts[0] if len(parts) == 1 else joined(parts), row)

    def body(row: FileRow, names: Sequence[str], values: Sequence[Value]) -> str:
        short = [""] * (len(columns) - len(row.source))  # so that what is added stands in line
        added = ("" if value is None else number(value) for value in values)
        return format_row([*row.source, *short, *added])

    head = lambda names: format_row([*columns, *names])  # noqa: E731
    return Stream(columns, read(), head, body, tuple(notes), lambda: changed, later)


def _row_formatter(delimiter: str, end: str) -> Callable[[Sequence[Any]], str]:
    """Fields as a line of CSV."""
    written: list[str] = []

    class _Sink:
        write = staticmethod(written.append)

    # csv quotes a lone carriage return only where one ends its lines (before Python 3.13), and a
    # reader would take it for a line end: so it ends them, and is replaced after
    writer = csv.writer(_Sink(), delimiter=delimiter, lineterminator="\r\n")

    def format_row(fields: Sequence[Any]) -> str:
        writer.writerow(fields)
        return written.pop()[:-2] + end

    return format_row
