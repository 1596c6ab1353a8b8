"""Rows of JSON Lines and of JSON arrays.

By the standard library: polars refuses columns of mixed types, even those nobody asked for.
"""

from __future__ import annotations

import json
from itertools import chain
from pathlib import Path
from typing import Any

from ampmix.data.tables.table import FileTable, fault, shown
from ampmix.data.tables.unpacked import suffix_of

JSON_LINES = (".jsonl", ".ndjson")


def read_json(path: Path, content: str) -> FileTable:
    """The table in the content of a file, an object a line or an array of objects."""
    rows, notes = array(path, content)
    if rows is None:
        rows = [
            parsed(path, number, line)
            for number, line in enumerate(content.split("\n"), start=1)
            if line.strip()
        ]
    whole = rows[0].values() if len(rows) == 1 else ()
    if whole and all(isinstance(value, (list, dict)) for value in whole):
        raise fault(path, "is one JSON object: write an array of objects, or one object a line")
    columns = list(dict.fromkeys(chain.from_iterable(rows)))
    return FileTable(path, columns, lambda column: [row.get(column) for row in rows], tuple(notes))


def parsed(path: Path, number: int, line: str) -> dict[str, Any]:
    """The object in a line; AmpmixError, with its number, if there is none."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        reason = getattr(error, "msg", "cannot be parsed")
        raise fault(path, f"is not JSON Lines: line {number}: {reason}") from None
    if not isinstance(row, dict):
        raise fault(path, f'is not JSON Lines: line {number} is no object like {{"text": ...}}')
    return row


def array(path: Path, content: str) -> tuple[list[dict[str, Any]] | None, list[str]]:
    """The objects of a JSON array, alone or as the one list in an object, and notes.

    None if it is no such thing, which may then be JSON Lines.
    """
    start = content.lstrip()[:1]
    if start not in ("[", "{") or (start == "{" and _first_line_is_whole(content)):
        return None, []
    try:
        whole = json.loads(content)
    except (ValueError, RecursionError) as error:
        if start == "[" and suffix_of(path) == ".json":
            line, reason = getattr(error, "lineno", 1), getattr(error, "msg", "cannot be parsed")
            raise fault(path, f"is not JSON: line {line}: {reason}") from None
        return None, []
    if whole in ([], {}):
        raise fault(path, "is empty")
    if isinstance(whole, list):
        return (whole, []) if all(isinstance(row, dict) for row in whole) else (None, [])
    lists = {name: value for name, value in whole.items() if isinstance(value, list) and value}
    fitting = {name: rows for name, rows in lists.items() if all(isinstance(r, dict) for r in rows)}
    if len(fitting) != 1:
        raise fault(path, "is one JSON object: write an array of objects, or one object a line")
    ((name, rows),) = fitting.items()
    return rows, [f"of {path.name} the list {shown(name)} is read"]


def _first_line_is_whole(content: str) -> bool:
    try:
        json.loads(content.lstrip().split("\n", 1)[0])
    except (ValueError, RecursionError):
        return False
    return True
