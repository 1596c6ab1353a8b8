"""Read a whole file as a table of text, in whichever format, or say what is wrong."""

from __future__ import annotations

import contextlib
import difflib
import io
from collections.abc import Sequence
from pathlib import Path

from ampmix.data.tables import csv_rows
from ampmix.data.tables.csv_rows import MOST_COLUMNS, Opened
from ampmix.data.tables.encodings import decoded, other_reading
from ampmix.data.tables.fasttext import COLUMNS, is_fasttext, label_and_text
from ampmix.data.tables.json_rows import JSON_LINES, read_json
from ampmix.data.tables.parquet import read_parquet
from ampmix.data.tables.table import FileTable, fault
from ampmix.data.tables.unpacked import PACKED, suffix_of, unpacked
from ampmix.data.tables.workbook import SUFFIXES as WORKBOOKS
from ampmix.data.tables.workbook import read_sheet
from ampmix.errors import AmpmixError

__all__ = ["MOST_COLUMNS", "read"]

SUFFIXES = (".csv", ".tsv", *JSON_LINES, ".json", ".parquet", *WORKBOOKS)


def read(path: Path, encoding: str | None) -> FileTable:
    """Read the file that `path` names.

    It may be packed, as ``a.csv.gz``. `encoding` is UTF-8, or told by a byte order mark, unless
    given.
    """
    raw, suffix = _bytes(path), suffix_of(path)
    if suffix == ".parquet" and raw:
        return read_parquet(path, raw)
    if suffix in WORKBOOKS and raw:
        rows, notes = read_sheet(path, raw)
        return _table(csv_rows.of_rows(path, rows, notes))
    file, notes = unpacked(io.BytesIO(raw), path)
    plain = file.read()
    content = decoded(path, plain, encoding)
    notes += other_reading(path, plain, encoding)
    if not content.strip():
        raise fault(path, "is empty")
    if is_fasttext(content[:1000]):
        return _fasttext(path, content, notes)
    if suffix not in SUFFIXES:
        raise _unknown_suffix(path)
    if suffix in (".csv", ".tsv"):
        lines = enumerate(io.StringIO(content, newline=""), start=1)
        return _table(csv_rows.opened(path, iter(lines), len(content) + 1, at_once=1000)).noted(
            *notes
        )
    return read_json(path, content).noted(*notes)


def _bytes(path: Path) -> bytes:
    if path.is_dir():
        raise AmpmixError(f"{str(path)!r} is a folder: give one file in it")
    if suffix_of(path) not in SUFFIXES and path.is_file() and not _may_be_fasttext(path):
        raise _unknown_suffix(path)
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise AmpmixError(f"there is no file {str(path)!r}: {_near(path)}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise AmpmixError(f"cannot read {str(path)!r}: {reason}") from None


def _may_be_fasttext(path: Path) -> bool:
    if path.suffix.lower() in PACKED:
        return True
    with contextlib.suppress(OSError), path.open("rb") as file:
        return is_fasttext(file.read(1000).decode("utf-8", "replace"))
    return False


def _unknown_suffix(path: Path) -> AmpmixError:
    suffix = suffix_of(path)
    what = f"the suffix {suffix!r}" if suffix else "no suffix"
    return fault(
        path,
        f"has {what}: files ending in {', '.join(SUFFIXES)} are read (or these with .gz), and "
        "lines that begin with __label__",
    )


def _near(path: Path) -> str:
    with contextlib.suppress(OSError, ValueError):
        names = [sibling.name for sibling in path.parent.iterdir()]
        for near in difflib.get_close_matches(path.name, names, n=1):
            return f"did you mean {str(path.with_name(near))!r}?"
    return "check the path"


def _table(opened: Opened) -> FileTable:
    """The table of rows under a header; those that repeat it are left out."""
    names = opened.columns
    # tuples of text, unlike lists, are no work for the garbage collector
    everything: list[Sequence[str]] = []
    repeats = []
    for _, row in opened.rows:
        if row is names:
            repeats.append(len(everything))
        everything.append(tuple(row))
    rows = everything
    if repeats:
        left_out = set(repeats)
        rows = [row for at, row in enumerate(everything) if at not in left_out]
    named = [name for name in names if name.strip()]

    def values(column: str) -> list[str | None]:
        at = names.index(column)
        return [row[at] if at < len(row) else None for row in rows]

    return FileTable(
        opened.path,
        named if len(named) > 1 else names,
        values,
        (*opened.notes, *opened.later()),
        rows=[names, *everything],
    )


def _fasttext(path: Path, content: str, notes: list[str]) -> FileTable:
    lines = enumerate(content.split("\n"), start=1)
    rows = [label_and_text(path, number, line) for number, line in lines if line.strip()]
    return FileTable(
        path,
        list(COLUMNS),
        lambda column: [row[COLUMNS.index(column)] for row in rows],
        tuple(notes),
    )
