"""Rows of a CSV, TSV or JSON Lines file one at a time, to be written again with columns added."""

from __future__ import annotations

import csv
import io
import itertools
import json
import operator
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from ampmix.data.tables.labelled import LABEL_NAMES, NUMBER_NAMES, TEXT_NAMES
from ampmix.data.tables.readers import as_text, delimiter_of, fault_of_names, listed, shown
from ampmix.data.tables.spreadsheet import guarded
from ampmix.errors import AmpmixError

LONGEST_FIELD = 2**26  # characters: a quote that is never closed must not swallow a whole stream

Formatter = Callable[[str, Sequence[str]], str]
"""A row's source (what :attr:`Row.source` holds) and the added values, as the text to write."""


@dataclass(frozen=True)
class Row:
    """One row of a file: its line, its text, and its bytes for writing it unchanged."""

    line: int
    text: str
    source: Any


@dataclass(frozen=True)
class Stream:
    """A file being read.

    Attributes:
        columns: names of its columns; of JSON Lines, those of the first row.
        rows: its rows, read as they are asked for; raises AmpmixError, with the line, for bad ones.
        head: the text to write first, given the names of the columns added.
        body: the text to write for a row, given names and values (strings, or numbers written as
            strings in JSON Lines too) of the columns added.
        notes: sentences for the user.
        guarded: how many cells were written other than they were read, so far.
    """

    columns: tuple[str, ...]
    rows: Iterator[Row]
    head: Callable[[Sequence[str]], str]
    body: Callable[[Row, Sequence[str], Sequence[str | float]], str]
    notes: tuple[str, ...] = ()
    guarded: Callable[[], int] = int


def open_stream(
    file: BinaryIO,
    path: Path,
    text: str | None = None,
    encoding: str | None = None,
    guard: bool = True,
) -> Stream:
    """Begin to read.

    `path` names the file in messages and by its suffix tells the format; without a suffix (standard
    input) JSON Lines begin with ``{``. `text` names the column with the texts, which is guessed
    from common names, or the only column, unless given. `encoding` is UTF-8 unless given. With
    `guard` no cell of CSV or TSV is written so that a spreadsheet takes it for a formula
    (:mod:`ampmix.data.tables.spreadsheet`); JSON Lines stay as they are.

    Raises AmpmixError for what cannot be read, with the line.
    """
    lines = _lines(file, path, encoding or "utf-8")
    first = next((line for line in lines if line[1].strip()), None)
    if first is None:
        raise _fault(path, "is empty")
    lines = itertools.chain([first], lines)
    suffix = path.suffix.lower()
    if suffix in (".jsonl", ".ndjson") or (not suffix and first[1].lstrip().startswith("{")):
        return _json_stream(path, lines, text)
    if suffix in (".csv", ".tsv", ""):
        return _csv_stream(path, lines, first[1], text, guard)
    raise _fault(path, "cannot be read row by row: write it as .csv, .tsv, .jsonl or .parquet")


def _lines(file: BinaryIO, path: Path, encoding: str) -> Iterator[tuple[int, str]]:
    """Numbered lines with their ends; each is checked, so that an error knows its line."""
    try:
        reader = io.TextIOWrapper(file, encoding, errors="surrogateescape", newline="\n")
    except (LookupError, ValueError):
        raise AmpmixError(
            f"cannot read {str(path)!r} with encoding {encoding!r}: "
            "give one such as utf-8, utf-16, cp1252 or latin-1"
        ) from None
    for number in itertools.count(1):
        try:
            line = reader.readline(LONGEST_FIELD)
        except UnicodeError:  # what no escape can stand for, such as half a character of UTF-16
            raise _fault(
                path, f"is not {encoding}: line {number} is damaged, or give its --encoding"
            ) from None
        if not line:
            return
        if len(line) >= LONGEST_FIELD:
            raise _fault(
                path, f"has a line of more than {LONGEST_FIELD >> 20} million characters: {number}"
            )
        if not line.isascii():
            line = line.removeprefix("\ufeff") if number == 1 else line
            bad = next((c for c in line if "\ud800" <= c <= "\udfff"), None)
            if bad is not None:
                what = f"the byte 0x{ord(bad) - 0xDC00:02x}" if bad >= "\udc80" else "half a letter"
                raise _fault(
                    path,
                    f"is not {encoding}: line {number} holds {what}; "
                    "give its encoding, such as --encoding cp1252 or --encoding latin-1",
                )
        yield number, line


def text_column(path: Path, columns: Sequence[str], text: str | None) -> str:
    """The column with the texts; AmpmixError if there is none of that name, or none is likely."""
    if text is None:
        others = f"{LABEL_NAMES} {NUMBER_NAMES}".split()
        named = [column for column in columns if column.strip().lower() in TEXT_NAMES.split()]
        left = [column for column in columns if column.strip().lower() not in others]
        for likely in (named, left, list(columns)):
            if len(likely) == 1:
                return likely[0]
        raise _fault(
            path,
            f"has the columns {listed(list(columns))}: which one holds the texts is not clear; "
            "give --text COLUMN",
        )
    if text not in columns:
        raise _fault(path, f"has no column {shown(text)}: it has {listed(list(columns))}")
    return text


def _csv_stream(
    path: Path, lines: Iterator[tuple[int, str]], first: str, text: str | None, guard: bool
) -> Stream:
    delimiter, notes = delimiter_of(path, first)
    records = _records(path, lines, delimiter)
    _, columns = next(records)
    if problem := fault_of_names(columns):
        raise _fault(path, problem)
    at = columns.index(text_column(path, columns, text))
    plain = _row_formatter(delimiter, "\r\n" if first.endswith("\r\n") else "\n")
    changed = 0

    def format_row(fields: Sequence[str]) -> str:
        nonlocal changed
        if not guard:
            return plain(fields)
        safe = [guarded(field) for field in fields]
        changed += sum(map(operator.ne, fields, safe))
        return plain(safe)

    def rows() -> Iterator[Row]:
        for line, record in records:
            if len(record) > len(columns):
                raise _fault(
                    path,
                    f"has {len(record)} fields in line {line} but {len(columns)} in its header: "
                    'put "" around texts that hold the delimiter',
                )
            yield Row(line, record[at] if at < len(record) else "", record)

    def body(row: Row, names: Sequence[str], values: Sequence[str | float]) -> str:
        short = [""] * (len(columns) - len(row.source))  # so that what is added stands in line
        return format_row([*row.source, *short, *map(_number, values)])

    return Stream(
        tuple(columns),
        rows(),
        lambda names: format_row([*columns, *names]),
        body,
        tuple(notes),
        lambda: changed,
    )


def _records(
    path: Path, lines: Iterator[tuple[int, str]], delimiter: str
) -> Iterator[tuple[int, list[str]]]:
    """Records that are not blank, each with the line where it begins."""
    at = read = 0  # the line, and the characters of the record so far

    def feed() -> Iterator[str]:
        nonlocal at, read
        for at, line in lines:  # noqa: B007 (read below)
            read += len(line)
            if read > 2 * LONGEST_FIELD:
                raise _fault(
                    path,
                    f"has a record of more than {2 * LONGEST_FIELD >> 20} million characters in "
                    f"line {begin}: close its quotes",
                )
            yield line

    reader = csv.reader(feed(), delimiter=delimiter, strict=True)
    begin = 1
    while True:
        try:
            with _long_fields():
                record = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise _fault(
                path,
                f"has a record that goes wrong in line {max(begin, 1)} ({error}): close its "
                'quotes, and write a quote inside a quoted text as ""',
            ) from None
        if record:
            yield begin, record
        begin, read = at + 1, 0


@contextmanager
def _long_fields() -> Iterator[None]:
    limit = csv.field_size_limit(LONGEST_FIELD)
    try:
        yield
    finally:
        csv.field_size_limit(limit)


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


def _json_stream(path: Path, lines: Iterator[tuple[int, str]], text: str | None) -> Stream:
    numbered = ((number, line) for number, line in lines if line.strip())
    number, line = next(numbered)
    first = _parse(path, number, line)
    column = text_column(path, tuple(first), text)

    def rows() -> Iterator[Row]:
        for number, line in itertools.chain([(number_of_first, first_line)], numbered):
            members = _parse(path, number, line)
            if column not in members:
                raise _fault(path, f"has no {shown(column)} in line {number}: give every row one")
            try:
                text = as_text(members[column])
            except TypeError as error:
                raise _fault(
                    path, f"holds a {error} in {shown(column)} of line {number}: it must hold text"
                ) from None
            yield Row(number, text, (line, members.keys()))

    number_of_first, first_line = number, line

    def body(row: Row, names: Sequence[str], values: Sequence[str | float]) -> str:
        line, keys = row.source
        for name in names:
            if name in keys:
                raise _fault(
                    path,
                    f"has {name!r} in line {row.line} but not in its first row: give another "
                    "name to what is added, with --prefix",
                )
        # the row's own members stay as they are written, to the letter: 1e400 and 1.10 too
        added = ", ".join(
            f"{json.dumps(name, ensure_ascii=False)}: "
            + (json.dumps(value, ensure_ascii=False) if isinstance(value, str) else _number(value))
            for name, value in zip(names, values, strict=True)
        )
        return f"{line.rstrip()[:-1].rstrip()}, {added}}}\n"

    return Stream(tuple(first), rows(), lambda names: "", body)


def _parse(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        reason = getattr(error, "msg", "cannot be parsed")
        raise _fault(path, f"is not JSON Lines: line {number}: {reason}") from None
    if not isinstance(row, dict):
        raise _fault(path, f'is not JSON Lines: line {number} is no object like {{"text": ...}}')
    return row


def _number(value: str | float) -> str:
    """Six significant digits, which is what float32 probabilities are good for."""
    return value if isinstance(value, str) else "%.6g" % value  # noqa: UP031 (twice as fast)


def _fault(path: Path, problem: str) -> AmpmixError:
    return AmpmixError(f"{str(path)!r} {problem}")
