"""Read a table's columns as text from CSV, TSV, JSON Lines or Parquet, or say what is wrong."""

from __future__ import annotations

import contextlib
import csv
import difflib
import io
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ampmix.data.tables.parquet_probe import survived
from ampmix.errors import AmpmixError

if TYPE_CHECKING:
    import polars

MOST_COLUMNS = 2**14  # a row of a few bytes costs as much as the header when it is written again
UNPACKED_TIMES, UNPACKED_AT_LEAST = 200, 2**26  # of a Parquet: bytes or rows, to the file's bytes
DAMAGED = "is not a Parquet file or is damaged: write it anew"
SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")


@dataclass(frozen=True)
class Table:
    """A file that was read: its columns' names, and each column's values as they came.

    `option` is how a column is given by whoever asked for the table.
    """

    path: Path
    columns: list[str]
    values: Callable[[str], list[Any]]
    notes: tuple[str, ...] = ()
    option: str = "--{} COLUMN"

    def error(self, problem: str) -> AmpmixError:
        """An error about this file; `problem` continues a sentence that its path begins."""
        return _fault(self.path, problem)

    def check(self, column: str) -> None:
        """Raise AmpmixError, with near names, if there is no such column."""
        if column not in self.columns:
            near = difflib.get_close_matches(column[:80], self.columns[:200], n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise self.error(f"has no column {shown(column)}: {hint}It has {listed(self.columns)}")

    def strings(self, column: str) -> list[str]:
        """A column as text, "" where a value is missing."""
        self.check(column)
        try:
            return [as_text(value) for value in self.values(column)]
        except TypeError as error:
            raise self.error(
                f"holds a {error} in column {shown(column)}: it must hold text"
            ) from None


def read(path: Path, encoding: str | None) -> Table:
    """Read the file that `path` names, in `encoding` (UTF-8 unless given; Parquet needs none)."""
    if path.is_dir():
        raise AmpmixError(f"{str(path)!r} is a folder: give one file in it")
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES and path.exists():
        what = f"the suffix {suffix!r}" if suffix else "no suffix"
        raise _fault(path, f"has {what}: files ending in {', '.join(SUFFIXES)} are read")
    try:
        raw = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise AmpmixError(f"there is no file {str(path)!r}: {_near(path)}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise AmpmixError(f"cannot read {str(path)!r}: {reason}") from None
    if suffix == ".parquet" and raw:
        return _read_parquet(path, raw)
    content = _decode(path, raw, encoding or "utf-8").removeprefix("\ufeff")
    if not content.strip():
        raise _fault(path, "is empty")
    return _read_csv(path, content) if suffix in (".csv", ".tsv") else _read_json(path, content)


def as_text(value: Any) -> str:
    """Return a cell's value as text; half surrogate pairs of JSON are replaced."""
    if isinstance(value, str):
        # JSON can spell half a surrogate pair, which is no text and which no file can hold.
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, dict, bytes)):
        raise TypeError(type(value).__name__)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # whole numbers become floats where a value is missing
    return str(value)


def _near(path: Path) -> str:
    with contextlib.suppress(OSError, ValueError):
        names = [sibling.name for sibling in path.parent.iterdir()]
        for near in difflib.get_close_matches(path.name, names, n=1):
            return f"did you mean {str(path.with_name(near))!r}?"
    return "check the path"


def _decode(path: Path, raw: bytes, encoding: str) -> str:
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as error:
        utf16 = raw[:2] in (b"\xff\xfe", b"\xfe\xff")
        line = raw.count(b"\n", 0, error.start) + 1
        raise _fault(
            path,
            f"is not {encoding}: line {line} holds the byte 0x{raw[error.start]:02x}; give its "
            f"encoding, such as --encoding {'utf-16' if utf16 else 'cp1252 or --encoding latin-1'}",
        ) from None
    except (LookupError, ValueError):
        raise AmpmixError(
            f"cannot read {str(path)!r} with encoding {encoding!r}: "
            "give one such as utf-8, utf-16, cp1252 or latin-1"
        ) from None


def _read_csv(path: Path, content: str) -> Table:
    # By the standard library: polars refuses a bare quote inside a text (27" wide), and takes some
    # quotes that are never closed for one long text, which swallows rows in silence.
    delimiter, notes = delimiter_of(path, content.lstrip("\r\n").split("\n", 1)[0])
    rows = _csv_rows(path, content, delimiter)
    columns = rows.pop(0)
    if problem := fault_of_names(columns):
        raise _fault(path, problem)

    def values(column: str) -> list[Any]:
        at = columns.index(column)
        return [row[at] if at < len(row) else None for row in rows]

    return Table(path, columns, values, tuple(notes))


def fault_of_names(columns: Sequence[str]) -> str:
    """Problem of a header, to go after the file's name in a message; "" if there is none."""
    if len(columns) > MOST_COLUMNS:
        return (
            f"has {len(columns):,} columns: at most {MOST_COLUMNS:,} are read; leave some out, or "
            "check what parts them"
        )
    if len(set(columns)) < len(columns):
        twice = next(column for column, count in Counter(columns).items() if count > 1)
        return f"has two columns named {shown(twice)}: rename one"
    return ""


def delimiter_of(path: Path, header: str) -> tuple[str, list[str]]:
    """Delimiter of a CSV or TSV file, and a note if its name promises another."""
    if path.suffix.lower() == ".tsv":
        return "\t", []
    header = re.sub('"[^"]*("|$)', "", header)  # inside quotes nothing parts columns
    if "," in header or not (";" in header or "\t" in header):
        return ",", []
    delimiter = max(";\t", key=header.count)
    return delimiter, [f"{path.name} is read with {'semicolons' if delimiter == ';' else 'tabs'}"]


def _csv_rows(path: Path, content: str, delimiter: str) -> list[list[str]]:
    """The header and the rows, without blank lines; a row may be shorter than the header."""
    reader = csv.reader(io.StringIO(content, newline=""), delimiter=delimiter, strict=True)
    rows: list[list[str]] = []
    line = 1  # where the record begins: a quoted text may run over several lines
    limit = csv.field_size_limit(min(len(content) + 1, 2**31 - 1))
    try:
        for row in reader:
            if rows and len(row) > len(rows[0]):
                raise _fault(
                    path,
                    f"has {len(row)} fields in line {line} but {len(rows[0])} in its header: "
                    'put "" around texts that hold the delimiter',
                )
            if row:
                rows.append(row)
            line = reader.line_num + 1
    except csv.Error as error:
        raise _fault(
            path,
            f"has a quote that goes wrong in line {line} ({error}): close it, and write a quote "
            'inside a quoted text as ""',
        ) from None
    finally:
        csv.field_size_limit(limit)
    return rows


def _read_json(path: Path, content: str) -> Table:
    # By the standard library: polars refuses columns of mixed types, even those nobody asked for.
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(content.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            reason = getattr(error, "msg", "cannot be parsed")
            raise _fault(path, f"is not JSON Lines: line {number}: {reason}") from None
        if not isinstance(row, dict):
            raise _fault(
                path, f'is not JSON Lines: line {number} is no object like {{"text": ...}}'
            )
        rows.append(row)
    columns = list(dict.fromkeys(chain.from_iterable(rows)))
    return Table(path, columns, lambda column: [row.get(column) for row in rows])


def _read_parquet(path: Path, raw: bytes) -> Table:
    import polars

    check_parquet(path, _most_unpacked(len(raw)))
    with parquet_explained(path):
        # by its path: early versions of polars scan nothing else
        scanned = polars.scan_parquet(path, glob=False, hive_partitioning=False)
        height = scanned.select(polars.len()).collect().item()
        _check_unpacked(path, height, len(raw))
        frame = polars.read_parquet(io.BytesIO(raw))
        if any(len(frame[name]) != frame.height for name in frame.columns):
            raise ValueError("early versions of polars give damaged columns a length of their own")
        for name in frame.columns:
            if frame[name].dtype == polars.String:
                _check_unpacked(path, int(frame[name].str.len_bytes().sum()), len(raw))
    return Table(path, frame.columns, lambda column: parquet_values(path, frame, column))


def _check_unpacked(path: Path, size: int, packed: int) -> None:
    """A few bytes can spell any number of equal texts; those of people hardly shrink to a tenth."""
    if size > _most_unpacked(packed):
        raise _fault(
            path,
            f"unpacks to more than {UNPACKED_TIMES} times its size: it is no table of texts, or "
            "one text over and over",
        )


def _most_unpacked(packed: int) -> int:
    return max(UNPACKED_AT_LEAST, UNPACKED_TIMES * packed)


def check_parquet(path: Path, most: int = 0) -> None:
    """Raise AmpmixError for a Parquet file that kills who reads it (:func:`survived`)."""
    if not survived(path, most):
        raise _fault(
            path,
            "ends the process that reads it: it is damaged (write it anew), or needs more memory "
            "than there is",
        )


@contextlib.contextmanager
def parquet_explained(path: Path, problem: str = DAMAGED) -> Iterator[None]:
    """Raise one sentence for what polars raises of a Parquet file, panics included."""
    from polars.exceptions import PanicException, PolarsError

    try:
        yield
    except (PolarsError, PanicException, OSError, OverflowError, ValueError):
        raise _fault(path, problem) from None


def parquet_values(path: Path, frame: polars.DataFrame, column: str) -> list[Any]:
    """A column as Python values, which a date of the year 300,000 has not."""
    beyond = f"has values in {shown(column)} that Python cannot hold: write them as text"
    with parquet_explained(path, beyond):
        return frame[column].to_list()


def _fault(path: Path, problem: str) -> AmpmixError:
    return AmpmixError(f"{str(path)!r} {problem}")


def listed(names: tuple[str, ...] | list[str]) -> str:
    """Name at most twenty columns, and say how many more there are."""
    first = ", ".join(map(shown, names[:20]))
    return f"{first} and {len(names) - 20} more" if len(names) > 20 else first


def shown(name: str) -> str:
    """A name as a message has it: quoted, and no longer than a line.

    >>> shown("text"), len(shown("a" * 10**6))
    ("'text'", 83)
    """
    return repr(name if len(name) <= 80 else f"{name[:80]}…")
