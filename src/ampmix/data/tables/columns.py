"""Columns of texts and labels: as given, by name, or by what they hold; and lines without names."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from ampmix.data.tables.table import FileTable, fault, listed, note_on_parts, parts_of, shown
from ampmix.errors import AmpmixError

TEXT_NAMES = "text texts sentence sentences message question content review comment tweet document"
LABEL_NAMES = "label labels class category target intent sentiment topic"
NUMBER_NAMES = "id ids index idx no number row key uid uuid"
LONGEST_NAMES = 120  # letters of two columns' names that a message spells
SHARED = 5  # rows that share a value of a column of labels, on average, at least
ENOUGH = 50  # values by which a column is known to hold texts
KNOWN = f"{TEXT_NAMES} {LABEL_NAMES} {NUMBER_NAMES}".split()


class Preferred(str):
    """A column's name, or several with commas, to take where a file has it and guess elsewhere.

    A model remembers the columns it was trained on in this way.
    """

    def found(self, columns: Sequence[str]) -> bool:
        """Return True if the file has every one of the columns."""
        return all(part in columns for part in parts_of(self, columns))

    def missing(self, path: Path, taken: str) -> str:
        """Sentence on the column that was taken in place of it."""
        return (
            f"the model was trained on the column {shown(self)}, which {path.name} lacks: taken is "
            f"{shown(taken)}"
        )


class Chosen(NamedTuple):
    """A table, the columns whose texts are joined, that of labels, and sentences for the user."""

    table: FileTable
    texts: tuple[str, ...]
    label: str
    notes: list[str]


def choose(table: FileTable, text: str | None, label: str | None) -> Chosen:
    """The columns of texts and labels; AmpmixError if they are not clear."""
    if not table.columns:
        raise table.error("has no columns: it needs one of texts and one of labels")
    if text is not None and text == label:
        raise AmpmixError(f"the columns of texts and labels are both {text!r}: give two columns")
    lacked = [one for one in (text, label) if isinstance(one, Preferred)]
    lacked = [one for one in lacked if not one.found(table.columns)]
    if lacked:
        chosen = choose(table, None if text in lacked else text, None if label in lacked else label)
        taken = {id(text): ",".join(chosen.texts), id(label): chosen.label}
        said = [one.missing(table.path, taken[id(one)]) for one in lacked]
        return chosen._replace(notes=[*chosen.notes, *said])
    if text is None and label is None:
        table = with_names(table)
    parts = () if text is None else parts_of(text, table.columns)
    for column in (*parts, label):
        if column is not None:
            table.check(column)
    if label in parts:
        raise AmpmixError(f"the column {label!r} is one of texts and that of labels: give two")
    if parts and label is not None:
        return Chosen(table, parts, label, note_on_parts(parts))
    found, label, by_content = _guessed(table, parts, label)
    return Chosen(
        table,
        parts or (found,),
        label,
        [*note_on_parts(parts), *_note(table, text is None, found, label, by_content)],
    )


def _guessed(table: FileTable, parts: tuple[str, ...], label: str | None) -> tuple[str, str, bool]:
    """One column of texts and one of labels, and True if their contents decided."""

    def guess(names: str, others: Sequence[str | None], given: str | None) -> str | None:
        free = [column for column in table.columns if column not in others]
        known = [column for column in free if column.strip().lower() in names.split()]
        if given is not None or len(known) == 1:
            return known[0] if given is None else given
        return free[0] if len(free) == 1 and len(table.columns) == 2 else None

    text = parts[0] if parts else None
    text = guess(TEXT_NAMES, [label], text)
    label = guess(LABEL_NAMES, parts or [text], label)
    text = guess(TEXT_NAMES, [label], text)
    by_content = text is None and label is None and len(table.columns) == 2
    if by_content:
        text, label = _by_content(table)
    if text is None or label is None:
        raise table.error(
            f"has the columns {listed(table.columns)}: which one holds the texts and which the "
            f"labels is not clear; give {table.option.format('text')} and "
            f"{table.option.format('label')}{_probably(table)}{_if_data(table.columns)}"
        )
    return text, label, by_content


def _probably(table: FileTable) -> str:
    """Options to paste, where one column alone holds words and one alone a few values again."""
    if len(table.columns) > ENOUGH or not table.option.startswith("--"):
        return ""
    try:
        strings = {column: table.strings(column) for column in table.columns}
    except AmpmixError:  # a column of lists
        return ""
    texts = [column for column, values in strings.items() if wordy(values)]
    labels = [
        column
        for column, values in strings.items()
        if column not in texts and 2 <= len(set(values)) <= len(values) / SHARED
    ]
    if len(texts) != 1 or len(labels) != 1 or len(texts[0] + labels[0]) > LONGEST_NAMES:
        return ""
    return f" (probably --text {shlex.quote(texts[0])} --label {shlex.quote(labels[0])})"


def _if_data(columns: Sequence[str]) -> str:
    """A way out for a file without names, if none of these is known."""
    if any(column.strip().lower() in KNOWN for column in columns):
        return ""
    return ", or put a line of names first if that is data"


def _by_content(table: FileTable) -> tuple[str | None, str | None]:
    """Of two columns the one of more and longer values holds the texts."""
    variety, length = [], []
    for column in table.columns:
        strings = table.strings(column)
        variety.append(len(set(strings)))
        length.append(sum(map(len, strings)))
    for mine, other in ((0, 1), (1, 0)):
        if variety[mine] > variety[other] and length[mine] > length[other]:
            return table.columns[mine], table.columns[other]
    return None, None


def _note(table: FileTable, guessed: bool, text: str, label: str, by_content: bool) -> list[str]:
    """A sentence on which columns were taken, where others could have been meant."""
    taken = (
        f"of {table.path.name} the texts are taken from column {shown(text)} and the labels from "
        f"{shown(label)}"
    )
    options = f"{table.option.format('text')} and {table.option.format('label')}"
    if by_content:
        return [f"{taken}, by what they hold: {options} say otherwise{_if_data(table.columns)}"]
    others = [
        one
        for one in likely_texts(table.columns)
        if one not in (text, label) and wordy(table.values(one)[:ENOUGH])
    ]
    if label.strip().lower() in NUMBER_NAMES.split():
        return [f"{taken}: {options} say otherwise"]
    if not guessed or not others:
        return []
    return [f"{taken}: {options} take others, such as {listed(others[:5])}"]


def wordy(values: Iterable[Any]) -> bool:
    """Return True if most of the values are texts of several words."""
    words = [len(one.split()) for one in values if isinstance(one, str)]
    filled = [n for n in words if n]
    return sum(n > 1 for n in filled) * 2 > len(filled)


def likely_texts(columns: Sequence[str]) -> list[str]:
    """Columns that by their names are neither numbers nor labels."""
    others = f"{LABEL_NAMES} {NUMBER_NAMES}".split()
    return [one for one in columns if one.strip() and one.strip().lower() not in others]


def text_columns(
    path: Path,
    columns: Sequence[str],
    text: str | None,
    values: Callable[[str], Iterable[Any]] = lambda column: (),
) -> tuple[tuple[str, ...], list[str]]:
    """The columns with the texts to predict, and a note if they were guessed or are joined.

    `values` gives some values of a column, by which it could be meant, too.

    Raises AmpmixError if there is none of that name, or none is likely.
    """
    if isinstance(text, Preferred) and not text.found(columns):
        chosen, notes = text_columns(path, columns, None, values)
        return chosen, [*notes, text.missing(path, ",".join(chosen))]
    if text is not None:
        parts = parts_of(text, columns)
        if missing := [part for part in parts if part not in columns]:
            raise fault(path, f"has no column {shown(missing[0])}: it has {listed(columns)}")
        return parts, note_on_parts(parts)
    left = likely_texts(columns)
    named = [column for column in columns if column.strip().lower() in TEXT_NAMES.split()]
    for likely in (named, left, list(columns)):
        if len(likely) == 1:
            others = [one for one in left if one != likely[0] and wordy(values(one))]
            note = (
                f"of {path.name} the texts are taken from column {shown(likely[0])}: --text COLUMN "
                f"takes another, such as {listed(others[:5])}"
            )
            return (likely[0],), [note] if others else []
    raise fault(
        path,
        f"has the columns {listed(columns)}: which one holds the texts is not clear; "
        f"give --text COLUMN{_if_data(columns)}, or --text-lines if every line is a text",
    )


def with_names(table: FileTable, text: str = "text", label: str = "label") -> FileTable:
    """The table, with its first line as a row where that holds a label and no names.

    Such a line has none of the usual names, and one of its fields stands further down in its column
    again, among few different ones. Raises AmpmixError if there are more than two columns.
    """
    at = _label_in_first_line(table.rows)
    if at is None:
        return table
    first = table.rows[0]
    if len(first) != 2:
        raise table.error(
            f"begins with a line that looks like data, not names ({listed(first)}): put a line of "
            "names first, such as id,text,label"
        )
    columns = [label, text] if at == 0 else [text, label]
    rows = table.rows
    note = (
        f"{table.path.name} has no line of names: its first line, {shown(first[1 - at])} with the "
        f"label {shown(first[at])}, is read as a row; put a line first, such as "
        f"{','.join(columns)}, to be sure"
    )
    return replace(
        table.noted(note),
        columns=columns,
        values=lambda column: [
            row[columns.index(column)] if columns.index(column) < len(row) else None for row in rows
        ],
        rows=(),
    )


def _label_in_first_line(rows: Sequence[Sequence[str]]) -> int | None:
    """Place of a label in the first line that stands further down; None if it may hold names."""
    if len(rows) < 3 or len(rows[0]) < 2:
        return None
    if any(name.strip().lower() in KNOWN for name in rows[0]):
        return None
    found: list[tuple[int, int]] = []
    for at, name in enumerate(rows[0]):
        values = {row[at].strip() for row in rows[1:] if at < len(row)}
        if name.strip() in values - {""} and len(values) <= max(2, (len(rows) - 1) / 2):
            found.append((len(values), at))
    if not found:
        return None
    at = min(found)[1]
    # a column of y and n may be named y; no line of data is made of names alone
    others = [name for i, name in enumerate(rows[0]) if i != at]
    short = rows[0][at].strip().isalpha() and len(rows[0][at].strip()) < 3
    return None if short and all(name.strip().isidentifier() for name in others) else at
