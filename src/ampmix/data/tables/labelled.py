"""A user's own texts: a table in any of the formats, with columns of texts and one of labels."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ampmix._support.wording import counted
from ampmix.data.dataset import Examples, TextDataset
from ampmix.data.groups import group_notes, hashes_of, text_groups
from ampmix.data.overlap import with_overlap_note
from ampmix.data.tables.columns import Chosen, choose, with_names
from ampmix.data.tables.frames import is_table, table_of
from ampmix.data.tables.labels import doubts, missing_texts, unified
from ampmix.data.tables.readers import read
from ampmix.data.tables.table import FileTable, listed
from ampmix.data.tables.unpacked import PACKED
from ampmix.errors import unknown

_log = logging.getLogger(__name__)
RARE, MERGED, HOW = 5, "other", ("keep", "merge", "drop")


def read_table(
    path: str | Path | Any,
    *,
    text: str | None = None,
    label: str | None = None,
    test: str | Path | Any | None = None,
    dev: str | Path | Any | None = None,
    encoding: str | None = None,
    group: str | None = None,
    rare: str = "keep",
) -> TextDataset:
    """A data set from the file `path`, and from the files `test` and `dev` if they are given.

    Each may be a table in memory instead: a DataFrame of pandas or Polars, an Arrow table, or a
    part of the library `datasets`.

    `text` and `label` name the columns, of all files; without them they are guessed from common
    names, or in a file of two columns from what they hold. ``text="title,body"`` joins columns.
    Texts stay as they are; labels get one spelling whatever the format
    (:func:`ampmix.data.tables.labels.canonical`), and classes are sorted, by number if all are
    whole numbers. Rows without a text or a label are left out. What was left out or is doubtful
    stands in ``notes``. `encoding` is UTF-8 or told by a byte order mark unless given; Parquet and
    workbooks need none.

    Equal texts, and rows of one value in the column `group`, stay in one part of a split
    (:mod:`ampmix.data.groups`). Classes with fewer than 5 texts are kept, made one class with
    ``rare="merge"``, or left out with ``rare="drop"``.

    Raises AmpmixError, with the file, the line where there is one and a way out, for everything
    about the files that cannot be read.
    """
    table, *files = (
        None if given is None else _read(given, encoding) for given in (path, dev, test)
    )
    assert table is not None
    own = table.path
    name = own.with_suffix("").stem if own.suffix.lower() in PACKED else own.stem
    return of_tables(name, table, *files, text=text, label=label, group=group, rare=rare)


def _read(given: str | Path | Any, encoding: str | None) -> FileTable:
    """A file, or a table in memory."""
    return table_of(given) if is_table(given) else read(Path(given), encoding)


def of_tables(
    name: str,
    table: FileTable,
    dev: FileTable | None = None,
    test: FileTable | None = None,
    *,
    text: str | None = None,
    label: str | None = None,
    group: str | None = None,
    rare: str = "keep",
) -> TextDataset:
    """Make the data set from tables already read: training, and test and development if given."""
    chosen = choose(table, text, label)
    _log.info("%s: texts in %s, labels in %r", table.path, listed(chosen.texts), chosen.label)
    rows = _rows(chosen)
    table = chosen.table
    given = None if group is None else _group_names(table, group, rows.kept)
    rows, given, renamed = without_rare(rows, given, rare)
    texts, labels = rows.texts, rows.labels
    classes = _classes(labels, table, chosen.label)
    hashes = hashes_of(texts)
    notes = [*rows.notes, *_contradictions(texts, labels), *group_notes(texts, given, hashes)]
    parts: list[Examples | None] = []
    for other in (dev, test):
        if other is None:
            parts.append(None)
            continue
        own = _rows(_as_chosen(other, chosen)).renamed(renamed)
        parts.append(_examples(own.texts, own.labels, classes, other))
        notes += own.notes
    return with_overlap_note(
        TextDataset(
            name=name,
            classes=classes,
            train=_examples(texts, labels, classes, table),
            dev=parts[0],
            test=parts[1],
            notes=tuple(notes),
            columns=(",".join(chosen.texts), chosen.label),
            groups=text_groups(texts, given, hashes),
        )
    )


def _as_chosen(other: FileTable, chosen: Chosen) -> Chosen:
    """The columns of another table, by the same names; it may have no line of names, as files of
    one series do.
    """
    if chosen.label not in other.columns and len(chosen.texts) == 1:
        other = with_names(other, chosen.texts[0], chosen.label)
    return chosen._replace(table=other, notes=[])


class Labelled(NamedTuple):
    """Texts with labels in their one spelling, and sentences for the user.

    `kept` are the positions of these rows among those of the file.
    """

    texts: list[str]
    labels: list[str]
    notes: tuple[str, ...]
    kept: tuple[int, ...]

    def renamed(self, names: Mapping[str, str | None]) -> Labelled:
        """Rename labels; rows whose label becomes None are left out."""
        new = [names.get(label, label) for label in self.labels]
        stay = [i for i, label in enumerate(new) if label is not None]
        return Labelled(
            [self.texts[i] for i in stay],
            [str(new[i]) for i in stay],
            self.notes,
            tuple(self.kept[i] for i in stay),
        )


def without_rare(
    rows: Labelled, given: list[str] | None, how: str
) -> tuple[Labelled, list[str] | None, dict[str, str | None]]:
    """Merge or drop classes with fewer than :data:`RARE` texts; also return what became of them.

    Raises:
        AmpmixError: for another `how` than keep, merge or drop.
    """
    if how not in HOW:
        raise unknown("rare", how, HOW)
    counts = Counter(rows.labels)
    rare = sorted(name for name, count in counts.items() if count < RARE)
    if how == "keep" or not rare:
        return rows, given, {}
    texts = sum(counts[name] for name in rare)
    shown = f"{listed(rare[:5])}{', ...' * (len(rare) > 5)}"
    done = f"are one class {MERGED!r}" if how == "merge" else "are left out"
    note = f"{counted(len(rare), 'rare class', 'rare classes')} ({shown}; {texts} texts) {done}"
    names: dict[str, str | None] = dict.fromkeys(rare, MERGED if how == "merge" else None)
    left = rows._replace(notes=(*rows.notes, note)).renamed(names)
    places = {row: i for i, row in enumerate(rows.kept)}
    return left, given and [given[places[row]] for row in left.kept], names


def _group_names(table: FileTable, group: str, kept: Sequence[int]) -> list[str]:
    """The values of the column of groups in the rows that are kept."""
    table.check(group)
    values = ["" if value is None else str(value).strip() for value in table.values(group)]
    return [values[i] for i in kept]


def read_labelled(
    data: str | Path | Any,
    text: str | None = None,
    label: str | None = None,
    encoding: str | None = None,
) -> Labelled:
    """Texts and labels of a file or table, by the rules of `read_table` but with any labels."""
    return _rows(choose(_read(data, encoding), text, label))


def _rows(chosen: Chosen) -> Labelled:
    """Texts, labels and notes, without the rows that miss one of them."""
    table, file = chosen.table, chosen.table.path.name
    given = table.strings(chosen.label, "several labels a text are not supported, give one")
    unique, notes = unified(given, file)
    rows = list(zip(table.texts(chosen.texts), unique, strict=True))
    with_text = [i for i, row in enumerate(rows) if row[0].strip()]
    kept = [i for i in with_text if rows[i][1]]
    if not kept:
        columns = listed(chosen.texts)
        both = f"no row with both a text in {columns} and a label in {chosen.label!r}"
        raise table.error(f"has {both if rows else 'no row'}: nothing is left to work with")
    missing = {"text": len(rows) - len(with_text), "label": len(with_text) - len(kept)}
    counts = " and ".join(f"{counted(n, 'row')} without {w}" for w, n in missing.items() if n)
    left_out = [f"{counts} left out of {file}"] if counts else []
    texts, labels = [rows[i][0] for i in kept], [rows[i][1] for i in kept]
    doubtful = [*doubts(labels, file), *missing_texts(texts, file)]
    said = (*table.notes, *chosen.notes, *left_out, *notes, *doubtful)
    return Labelled(texts, labels, said, tuple(kept))


def _classes(labels: list[str], table: FileTable, column: str) -> tuple[str, ...]:
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
    texts: list[str], labels: list[str], classes: tuple[str, ...], table: FileTable
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
