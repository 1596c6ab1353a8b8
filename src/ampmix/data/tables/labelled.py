"""A user's own texts: a table in any of the formats, with columns of texts and one of labels."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ampmix._support.wording import counted
from ampmix.data.dataset import Examples, TextDataset
from ampmix.data.overlap import with_overlap_note
from ampmix.data.tables.columns import Chosen, choose, with_names
from ampmix.data.tables.labels import doubts, missing_texts, unified
from ampmix.data.tables.readers import read
from ampmix.data.tables.table import Table, listed
from ampmix.data.tables.unpacked import PACKED


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
    names, or in a file of two columns from what they hold. ``text="title,body"`` joins columns.
    Texts stay as they are; labels get one spelling whatever the format
    (:func:`ampmix.data.tables.labels.canonical`), and classes are sorted, by number if all are
    whole numbers. Rows without a text or a label are left out. What was left out or is doubtful
    stands in ``notes``. `encoding` is UTF-8 or told by a byte order mark unless given; Parquet and
    workbooks need none.

    Raises AmpmixError, with the file, the line where there is one and a way out, for everything
    about the files that cannot be read.
    """
    path = Path(path)
    files = (read(Path(file), encoding) if file is not None else None for file in (dev, test))
    name = path.with_suffix("").stem if path.suffix.lower() in PACKED else path.stem
    return of_tables(name, read(path, encoding), *files, text=text, label=label)


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
    chosen = choose(table, text, label)
    texts, labels, notes = _rows(chosen)
    classes = _classes(labels, table, chosen.label)
    notes = [*notes, *_contradictions(texts, labels)]
    parts: list[Examples | None] = []
    for other in (dev, test):
        if other is None:
            parts.append(None)
            continue
        own_texts, own_labels, more = _rows(_as_chosen(other, chosen))
        parts.append(_examples(own_texts, own_labels, classes, other))
        notes += more
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


def _as_chosen(other: Table, chosen: Chosen) -> Chosen:
    """The columns of another table, by the same names; it may have no line of names, as files of
    one series do.
    """
    if chosen.label not in other.columns and len(chosen.texts) == 1:
        other = with_names(other, chosen.texts[0], chosen.label)
    return chosen._replace(table=other, notes=[])


class Labelled(NamedTuple):
    """Texts with labels in their one spelling, and sentences for the user."""

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
    texts, labels, notes = _rows(choose(read(Path(path), encoding), text, label))
    return Labelled(texts, labels, tuple(notes))


def _rows(chosen: Chosen) -> tuple[list[str], list[str], list[str]]:
    """Texts, labels and notes, without the rows that miss one of them."""
    table, file = chosen.table, chosen.table.path.name
    given = table.strings(chosen.label, "several labels a text are not supported, give one")
    unique, notes = unified(given, file)
    rows = list(zip(table.texts(chosen.texts), unique, strict=True))
    with_text = [row for row in rows if row[0].strip()]
    kept = [row for row in with_text if row[1]]
    if not kept:
        columns = listed(chosen.texts)
        both = f"no row with both a text in {columns} and a label in {chosen.label!r}"
        raise table.error(f"has {both if rows else 'no row'}: nothing is left to work with")
    missing = {"text": len(rows) - len(with_text), "label": len(with_text) - len(kept)}
    counts = " and ".join(f"{counted(n, 'row')} without {w}" for w, n in missing.items() if n)
    left_out = [f"{counts} left out of {file}"] if counts else []
    texts, labels = [row[0] for row in kept], [row[1] for row in kept]
    doubtful = [*doubts(labels, file), *missing_texts(texts, file)]
    return texts, labels, [*table.notes, *chosen.notes, *left_out, *notes, *doubtful]


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
