"""JSON Lines and JSON arrays as streams of rows."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ampmix.data.tables.columns import text_columns
from ampmix.data.tables.json_rows import array, parsed
from ampmix.data.tables.stream_parts import FileRow, Stream, Value, number
from ampmix.data.tables.table import as_text, fault, joined, shown

Lines = Iterator[tuple[int, str]]
Members = dict[str, Any]


def of_json_lines(path: Path, lines: Lines, text: str | None, notes: list[str]) -> Stream:
    """An object a line; what stands in a line stays as it is, to the letter."""
    rows = ((at, line, parsed(path, at, line)) for at, line in lines if line.strip())
    return _stream(path, rows, text, notes)


def of_array(path: Path, lines: Lines, text: str | None, notes: list[str], longest: int) -> Stream:
    """An array of objects, read whole and written as an array; or JSON Lines by its name."""
    kept, size = [], 0
    for line in lines:
        kept.append(line)
        size += len(line[1])
        if size > 16 * longest:
            raise fault(path, "is a JSON of more than a billion characters: write .jsonl")
    objects, more = array(path, "".join(line for _, line in kept))
    if objects is None:
        return of_json_lines(path, iter(kept), text, notes)
    rows = ((at, json.dumps(o, ensure_ascii=False), o) for at, o in enumerate(objects, start=1))
    made = _stream(path, rows, text, [*notes, *more], "row")
    written = 0

    def body(row: FileRow, names: Sequence[str], values: Sequence[Value]) -> str:
        nonlocal written
        written += 1
        return ",\n" * (written > 1) + made.body(row, names, values).rstrip("\n")

    return Stream(made.columns, made.rows, lambda names: "[\n", body, made.notes, tail="\n]\n")


def _stream(
    path: Path,
    given: Iterable[tuple[int, str, Members]],
    text: str | None,
    notes: list[str],
    unit: str = "line",
) -> Stream:
    """The stream of objects with what stands for them in the file."""
    objects = iter(given)
    start = next(objects)
    columns, more = text_columns(path, tuple(start[2]), text, lambda name: [start[2][name]])

    def rows() -> Iterator[FileRow]:
        for at, line, members in itertools.chain([start], objects):
            where = f"{unit} {at}"
            parts = [_text(path, where, members, column) for column in columns]
            yield FileRow(
                at, parts[0] if len(parts) == 1 else joined(parts), (line, members.keys())
            )

    def body(row: FileRow, names: Sequence[str], values: Sequence[Value]) -> str:
        line, keys = row.source
        for name in names:
            if name in keys:
                raise fault(
                    path,
                    f"has {name!r} in {unit} {row.line} but not in its first row: give another "
                    "name to what is added, with --prefix",
                )
        # the row's own members stay as they are written, to the letter: 1e400 and 1.10 too
        added = ", ".join(
            f"{json.dumps(name, ensure_ascii=False)}: {_written(value)}"
            for name, value in zip(names, values, strict=True)
        )
        return f"{line.rstrip()[:-1].rstrip()}{', ' if keys else ''}{added}}}\n"

    return Stream(tuple(start[2]), rows(), lambda names: "", body, (*notes, *more))


def _text(path: Path, where: str, members: Members, column: str) -> str:
    if column not in members:
        raise fault(path, f"has no {shown(column)} in {where}: give every row one")
    try:
        return as_text(members[column])
    except TypeError as error:
        raise fault(
            path, f"holds a {error} in {shown(column)} of {where}: it must hold text"
        ) from None


def _written(value: Value) -> str:
    if value is None:
        return "null"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else number(value)
