"""Rows of a file one at a time, to be written again with columns added."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, cast

from ampmix.data.tables import csv_stream, json_stream
from ampmix.data.tables.columns import Preferred
from ampmix.data.tables.csv_rows import LONGEST_FIELD
from ampmix.data.tables.encodings import (
    advice,
    check_marked,
    marked,
    other_reading,
    unknown_encoding,
)
from ampmix.data.tables.fasttext import is_fasttext
from ampmix.data.tables.json_rows import JSON_LINES
from ampmix.data.tables.stream_parts import FileRow, Stream
from ampmix.data.tables.table import fault
from ampmix.data.tables.unpacked import HEAD, suffix_of, unpacked
from ampmix.data.tables.workbook import SUFFIXES as WORKBOOKS
from ampmix.data.tables.workbook import read_sheet
from ampmix.errors import AmpmixError

__all__ = ["LONGEST_FIELD", "FileRow", "Stream", "of_texts", "open_stream"]


def open_stream(
    file: BinaryIO,
    path: Path,
    text: str | None = None,
    encoding: str | None = None,
    guard: bool = True,
    text_lines: bool = False,
) -> Stream:
    """Begin to read.

    `path` names the file in messages and by its suffix tells the format; without a suffix (standard
    input) JSON begins with ``{`` or ``[``. `text` names the column with the texts, or several with
    commas between, which are joined; it is guessed from common names, or the only column, unless
    given. `encoding` is UTF-8, or told by a byte order mark, unless given. With `guard` no cell of
    CSV or TSV is written so that a spreadsheet takes it for a formula
    (:mod:`ampmix.data.tables.spreadsheet`); JSON stays as it is. With `text_lines`, and in a file
    ending in .txt, each line is a text. Workbooks and JSON arrays are read whole.

    Raises AmpmixError for what cannot be read, with the line.
    """
    suffix = suffix_of(path)
    if suffix in WORKBOOKS:
        rows, notes = read_sheet(path, file.read())
        return csv_stream.of_sheet(path, rows, notes, text, guard)
    reader, notes = unpacked(file, path)
    head = cast(Any, reader).peek(HEAD)[:HEAD]
    check_marked(path, head, encoding)
    notes += other_reading(path, head, encoding)
    lines = _lines(reader, path, encoding or marked(head) or "utf-8", head)
    if text_lines:
        if text is not None:
            raise AmpmixError(f"--text {text} names a column, and --text-lines has none: give one")
        return csv_stream.of_lines(path, lines, guard, notes)
    first = next((line for line in lines if line[1].strip()), None)
    if first is None:
        raise fault(path, "is empty")
    lines = itertools.chain([first], lines)
    return _of_format(path, suffix, lines, first, text, guard, notes)


def _of_format(
    path: Path,
    suffix: str,
    lines: Iterator[tuple[int, str]],
    first: tuple[int, str],
    text: str | None,
    guard: bool,
    notes: list[str],
) -> Stream:
    """The stream of a file by its suffix, or without one by how it begins."""
    start = first[1].lstrip()[:1]
    if suffix == ".json" or (not suffix and start == "["):
        return json_stream.of_array(path, lines, text, notes, LONGEST_FIELD)
    if suffix in JSON_LINES or (not suffix and start == "{"):
        return json_stream.of_json_lines(path, lines, text, notes)
    if is_fasttext(first[1]):
        return csv_stream.of_fasttext(path, lines, guard, notes)
    if suffix == ".txt" and (text is None or isinstance(text, Preferred)):
        blank = [(number, "\n") for number in range(1, first[0])]
        return csv_stream.of_lines(path, itertools.chain(blank, lines), guard, notes)
    if suffix in (".csv", ".tsv", ""):
        return csv_stream.of_csv(path, lines, text, guard, notes, LONGEST_FIELD)
    raise fault(
        path,
        "cannot be read row by row: write it as .csv, .tsv, .txt (a text a line), .json, .xlsx, "
        ".jsonl or .parquet",
    )


def of_texts(texts: Sequence[str], guard: bool = True) -> Stream:
    """Texts as a stream, which is written as CSV."""
    numbered = enumerate(texts, start=1)
    return csv_stream.of_lines(Path("arguments"), iter(numbered), guard, [])


def _lines(file: BinaryIO, path: Path, encoding: str, head: bytes) -> Iterator[tuple[int, str]]:
    """Numbered lines with their ends; each is checked, so that an error knows its line."""
    try:
        reader = io.TextIOWrapper(file, encoding, errors="surrogateescape", newline="\n")
    except (LookupError, ValueError):
        raise unknown_encoding(path, encoding) from None
    for number in itertools.count(1):
        try:
            line = reader.readline(LONGEST_FIELD)
        except UnicodeError:  # what no escape can stand for, such as half a character of UTF-16
            raise fault(
                path, f"is not {encoding}: line {number} is damaged, or give its --encoding"
            ) from None
        if not line:
            return
        if len(line) >= LONGEST_FIELD:
            raise fault(
                path, f"has a line of more than {LONGEST_FIELD >> 20} million characters: {number}"
            )
        if not line.isascii():
            line = line.removeprefix("\ufeff") if number == 1 else line
            if any("\ud800" <= c <= "\udfff" for c in line):
                raise fault(path, _damage(line, number, encoding, head))
        yield number, line


def _damage(line: str, number: int, encoding: str, head: bytes) -> str:
    """The problem of a line that does not decode, and advice that fits what was read."""
    bad = next(c for c in line if "\ud800" <= c <= "\udfff")
    what = f"the byte 0x{ord(bad) - 0xDC00:02x}" if bad >= "\udc80" else "half a letter"
    try:
        raw = line.encode(encoding, "surrogateescape")
    except (UnicodeError, LookupError):
        raw = b""
    return f"is not {encoding}: line {number} holds {what}; {advice(head + raw)}"
