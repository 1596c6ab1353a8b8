"""A user's own texts: CSV, TSV, JSON Lines or Parquet, with a column of texts and one of labels."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ampmix._support.wording import counted
from ampmix.data.dataset import Examples, TextDataset
from ampmix.data.overlap import with_overlap_note
from ampmix.data.tables.readers import Table, listed, read
from ampmix.errors import AmpmixError

TEXT_NAMES = "text texts sentence sentences message question content review comment tweet document"
LABEL_NAMES = "label labels class category target intent sentiment topic"
NUMBER_NAMES = "id ids index idx no number row key uid uuid"


def read_table(
    path: str | Path,
    *,
    text: str | None = None,
    label: str | None = None,
    test: str | Path | None = None,
    dev: str | Path | None = None,
    encoding: str | None = None,
) -> TextDataset:
    """A data set from the file `path`, and from the files `test` and `dev` if they are given.

    `text` and `label` name the columns, of all files; without them they are guessed from common
    names, or in a file of two columns from what they hold. Texts stay as they are; labels are text
    with outer blanks removed, and classes are sorted, by number if all are whole numbers. Rows
    without a text or a label are left out. What was left out or is doubtful stands in ``notes``.
    `encoding` is UTF-8 unless given; Parquet needs none.

    Raises AmpmixError, with the file, the line where there is one and a way out, for everything
    about the files that cannot be read.
    """
    files = (read(Path(file), encoding) if file is not None else None for file in (dev, test))
    return of_tables(Path(path).stem, read(Path(path), encoding), *files, text=text, label=label)


def of_tables(
    name: str,
    table: Table,
    dev: Table | None = None,
    test: Table | None = None,
    *,
    text: str | None = None,
    label: str | None = None,
) -> TextDataset:
    """Make the data set from tables already read: training, and test and development if given."""
    columns = _columns(table, text, label)
    texts, labels, notes = _rows(table, *columns)
    classes = _classes(labels, table, columns[1])
    notes = [*table.notes, *notes, *_contradictions(texts, labels)]
    parts: list[Examples | None] = []
    for other in (dev, test):
        if other is None:
            parts.append(None)
            continue
        own_texts, own_labels, more = _rows(other, *columns)
        parts.append(_examples(own_texts, own_labels, classes, other))
        notes += [*other.notes, *more]
    return with_overlap_note(
        TextDataset(
            name=name,
            classes=classes,
            train=_examples(texts, labels, classes, table),
            dev=parts[0],
            test=parts[1],
            notes=tuple(notes),
        )
    )


class Labelled(NamedTuple):
    """Texts with labels as they stand in a file, and sentences for the user."""

    texts: list[str]
    labels: list[str]
    notes: tuple[str, ...]


def read_labelled(
    path: str | Path,
    text: str | None = None,
    label: str | None = None,
    encoding: str | None = None,
) -> Labelled:
    """Texts and labels of a file, by the rules of `read_table` but with any labels."""
    table = read(Path(path), encoding)
    texts, labels, notes = _rows(table, *_columns(table, text, label))
    return Labelled(texts, labels, (*table.notes, *notes))


def _columns(table: Table, text: str | None, label: str | None) -> tuple[str, str]:
    """The columns of texts and labels: as given, by name, or in two columns by what they hold."""
    if not table.columns:
        raise table.error("has no columns: it needs one of texts and one of labels")
    if text is not None and text == label:
        raise AmpmixError(f"the columns of texts and labels are both {text!r}: give two columns")
    for column in (text, label):
        if column is not None:
            table.check(column)

    def guess(names: str, other: str | None, given: str | None) -> str | None:
        free = [column for column in table.columns if column != other]
        known = [column for column in free if column.strip().lower() in names.split()]
        if given is not None or len(known) == 1:
            return known[0] if given is None else given
        return free[0] if len(free) == 1 and len(table.columns) == 2 else None

    text = guess(TEXT_NAMES, label, text)
    label = guess(LABEL_NAMES, text, label)
    text = guess(TEXT_NAMES, label, text)
    if text is None and label is None and len(table.columns) == 2:
        variety, length = [], []
        for column in table.columns:
            strings = table.strings(column)
            variety.append(len(set(strings)))
            length.append(sum(map(len, strings)))
        for mine, other in ((0, 1), (1, 0)):
            if variety[mine] > variety[other] and length[mine] > length[other]:
                text, label = table.columns[mine], table.columns[other]
    if text is None or label is None:
        raise table.error(
            f"has the columns {listed(table.columns)}: which one holds the texts and which the "
            f"labels is not clear; give {table.option.format('text')} and "
            f"{table.option.format('label')}"
        )
    return text, label


def _rows(table: Table, text: str, label: str) -> tuple[list[str], list[str], list[str]]:
    """Texts, labels and notes, without the rows that miss one of them."""
    rows = list(zip(table.strings(text), map(str.strip, table.strings(label)), strict=True))
    with_text = [row for row in rows if row[0].strip()]
    kept = [row for row in with_text if row[1]]
    if not kept:
        what = f"no row with both a text in {text!r} and a label in {label!r}" if rows else "no row"
        raise table.error(f"has {what}: nothing is left to work with")
    missing = {"text": len(rows) - len(with_text), "label": len(with_text) - len(kept)}
    counts = " and ".join(f"{counted(n, 'row')} without {w}" for w, n in missing.items() if n)
    notes = [f"{counts} left out of {table.path.name}"] if counts else []
    return [row[0] for row in kept], [row[1] for row in kept], notes


def _classes(labels: list[str], table: Table, column: str) -> tuple[str, ...]:
    classes = set(labels)
    if len(classes) > max(2, len(labels) / 2):
        raise table.error(
            f"has {len(classes)} different labels in {counted(len(labels), 'row')}: column "
            f"{column!r} seems to hold no classes; give the right one with "
            f"{table.option.format('label')}"
        )
    if all(re.fullmatch(r"-?\d{1,18}", label) for label in classes):
        return tuple(sorted(classes, key=lambda label: (int(label), label)))
    return tuple(sorted(classes))


def _examples(
    texts: list[str], labels: list[str], classes: tuple[str, ...], table: Table
) -> Examples:
    index = {name: i for i, name in enumerate(classes)}
    if strange := sorted(set(labels) - set(classes)):
        raise table.error(
            f"has the label {strange[0]!r}, which no training text has: those are "
            f"{listed(classes)}; mend the label or add training texts"
        )
    return Examples(tuple(texts), np.array([index[label] for label in labels]))


def _contradictions(texts: list[str], labels: list[str]) -> list[str]:
    """A note if the same text stands in the training part with different labels."""
    first: dict[str, str] = {}
    pairs = zip(texts, labels, strict=True)
    count = len({text for text, label in pairs if first.setdefault(text, label) != label})
    return [f"{counted(count, 'text')} given more than once, with different labels"] * bool(count)
