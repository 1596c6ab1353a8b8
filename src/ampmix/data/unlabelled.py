"""Texts that nobody labelled: read from a file, or what is left of the training part."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ampmix._support.random_streams import numpy_stream
from ampmix._support.wording import counted
from ampmix.data.dataset import Integers, TextDataset, Unlabelled
from ampmix.data.groups import hashes_of
from ampmix.data.tables.columns import LABEL_NAMES, Preferred
from ampmix.data.tables.parquet_stream import ParquetStream
from ampmix.data.tables.stream import open_stream
from ampmix.data.tables.stream_parts import FileRow
from ampmix.data.tables.table import listed, shown
from ampmix.data.texts import texts_of
from ampmix.errors import AmpmixError
from ampmix.text.coverage import LOW, SAMPLE, coverage_of
from ampmix.text.reader import WordReader
from ampmix.text.tokenizers import TOKENIZERS

REST = "rest"
MOST, LARGEST = 100_000, 2**28
"""Texts, and their characters together, that are kept of a file; of more a sample is drawn."""
STRANGE = 0.2  # share of unknown words beyond that of the labelled texts' own halves

Keys = npt.NDArray[np.uint64]


def with_unlabelled(
    dataset: TextDataset, given: str | Path | Any | None, encoding: str | None = None
) -> TextDataset:
    """Return the data set with texts that have no labels, and with notes on them.

    They are read row by row. Of more than :data:`MOST` a sample is drawn, the same again of the
    same file. Of equal texts one is kept. A column of labels is not read.

    Args:
        dataset: with labels.
        given: a file, in any format of ``ampmix predict``, whose texts are in the column of that
            name or in a likely one; ``rest`` for the training texts whose labels a split does not
            keep; a list of texts; None for none.
        encoding: of the file.

    Raises:
        AmpmixError: for a file without a text, or as the readers do.

    >>> from ampmix.data.dataset import Examples
    >>> toy = TextDataset("toy", ("A", "B"), Examples(("good film", "bad film"), [1, 0]))
    >>> with_unlabelled(toy, ["a film", "a  Film"]).unlabelled.texts
    ('a film',)
    """
    if given is None:
        return dataset
    if isinstance(given, str) and given == REST:
        return replace(dataset, unlabelled=Unlabelled(rest=True))
    if isinstance(given, str | Path):
        name, (found, count, notes) = Path(given).name, _read(Path(given), dataset, encoding)
    else:
        listed_texts = texts_of(given, empty=True, name="unlabelled")
        name, (found, count), notes = "the unlabelled texts", _sample(listed_texts), []
    if not found:
        raise AmpmixError(f"{name!r} holds no text: give others as unlabelled, or none")
    keys, first = np.unique(keys_of(found, dataset.tokenizer), return_index=True)
    order = np.argsort(first)
    texts, keys = tuple(found[i] for i in first[order].tolist()), keys[order]
    if count > len(found):
        notes.append(
            f"{name} holds {count:,} texts: {len(found):,} of them, drawn at random, are used"
        )
    if len(texts) < len(found):
        again = counted(len(found) - len(texts), "unlabelled text is", "unlabelled texts are")
        notes.append(f"{again} left out: equal ones are there already")
    notes += [*_shared(dataset, keys), *_strange(dataset, texts)]
    own = Unlabelled(texts, keys)
    return replace(dataset, unlabelled=own, notes=(*dataset.notes, *notes))


def keys_of(texts: Sequence[str], tokenizer: str) -> Keys:
    """64-bit hashes of the texts' tokens, ``[n]``: those of equal texts are equal."""
    return np.array([_key_of(text, tokenizer) for text in texts], np.uint64)


@lru_cache(maxsize=1 << 16)  # each seed of a study asks for the same texts again
def _key_of(text: str, tokenizer: str) -> int:
    (key,) = hashes_of([" ".join(TOKENIZERS[tokenizer](text))]).tolist()
    return int(key)


def unlabelled_of(dataset: TextDataset, left: Integers, held: Sequence[str]) -> tuple[str, ...]:
    """Return the texts without labels to train on in one split.

    Args:
        dataset: which says what they are.
        left: indices of the training texts whose labels are not kept.
        held: texts for development and testing: those that equal one are left out.

    Raises:
        AmpmixError: if none is left.
    """
    given = dataset.unlabelled
    if given is None:
        return ()
    if given.rest and not len(left):
        raise AmpmixError(
            f"unlabelled is {REST!r}, but all labels of {dataset.name!r} are kept, so that no text "
            "is left without one: give a --fraction below 1, such as 0.1, or a file"
        )
    texts, keys = given.texts, given.keys
    if given.rest:
        texts = tuple(dataset.train.texts[i] for i in left.tolist())
        keys = keys_of(texts, dataset.tokenizer)
    free = ~np.isin(keys, keys_of(held, dataset.tokenizer))
    if not free.any():
        raise AmpmixError(
            f"each of the {len(texts):,} unlabelled texts of {dataset.name!r} equals one for "
            "development or testing: give others, or none"
        )
    return tuple(text for text, kept in zip(texts, free.tolist(), strict=True) if kept)


class _Likewise(Preferred):
    """The column of the labelled texts, to take where the unlabelled ones have it."""

    def missing(self, path: Path, taken: str) -> str:
        """Sentence on the column that was taken in place of it."""
        return (
            f"the labelled texts are in the column {shown(self)}, which {path.name} lacks: taken "
            f"is {shown(taken)}"
        )


def _read(
    path: Path, dataset: TextDataset, encoding: str | None
) -> tuple[list[str], int, list[str]]:
    """A sample of the texts of a file, how many it has, and notes."""
    column = None if dataset.columns is None else _Likewise(dataset.columns[0])
    with _rows(path, column, encoding) as (columns, rows, notes, later):
        found, count = _sample(row.text for row in rows)
        notes = [*notes, *later()]
    label = {*LABEL_NAMES.split(), *(dataset.columns or ())[1:]}
    if ignored := [one for one in columns if one in label or one.strip().lower() in label]:
        notes.append(
            f"the labels of {path.name}, in {listed(ignored)}, are not read: its texts are taken "
            "for unlabelled"
        )
    return found, count, notes


@contextmanager
def _rows(
    path: Path, column: str | None, encoding: str | None
) -> Iterator[tuple[Sequence[str], Iterable[FileRow], Sequence[str], Callable[[], list[str]]]]:
    """The columns of a file, its rows, and sentences on them before and after they are read."""
    if path.is_dir():
        raise AmpmixError(f"{str(path)!r} is a folder: give one file in it as unlabelled")
    try:
        file = path.open("rb")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise AmpmixError(
            f"cannot read the unlabelled texts {str(path)!r} ({reason}): check the path, or write "
            f"{REST} for the training texts without kept labels"
        ) from None
    with file:
        if path.suffix.lower() == ".parquet":
            parquet = ParquetStream(path, column, written=False)
            yield parquet.columns, parquet.rows, parquet.notes, list
        else:
            stream = open_stream(file, path, column, encoding)
            yield stream.columns, stream.rows, stream.notes, stream.later


def _sample(texts: Iterable[str]) -> tuple[list[str], int]:
    """Texts that are not blank, at most as many as there is room for, and how many there are.

    Each text draws a number; those with the smallest stay, in their order.
    """
    rng = numpy_stream(0, "unlabelled sample")
    kept: list[tuple[float, int, str]] = []
    count, size, limit = 0, 0, 0.0  # numbers are negative: a heap gives its smallest away
    for text in texts:
        if not text.strip():
            continue
        count += 1
        number = -float(rng.random())
        if not limit or number > limit:
            heapq.heappush(kept, (number, count, text))
            size += len(text)
        while len(kept) > 1 and (len(kept) > MOST or size > LARGEST):
            limit, _, dropped = heapq.heappop(kept)
            size -= len(dropped)
    return [text for _, _, text in sorted(kept, key=lambda one: one[1])], count


def _shared(dataset: TextDataset, keys: Keys) -> list[str]:
    """A note on texts that stand in the labelled data too."""
    count = int(np.isin(keys, keys_of(dataset.texts, dataset.tokenizer)).sum())
    if not count:
        return []
    number = counted(count, "unlabelled text stands", "unlabelled texts stand")
    return [
        f"{number} in the labelled data too: no run trains on those that it develops or tests on"
    ]


def _strange(dataset: TextDataset, texts: Sequence[str]) -> list[str]:
    """A note on texts of words that few labelled texts have, as those of another language."""

    def unknown(known: Sequence[str], asked: Sequence[str]) -> float:
        reader = WordReader.of_texts(known, dataset.tokenizer)
        found = coverage_of(reader, reader.encode(asked[:: -(-len(asked) // SAMPLE)]))
        return found.unknown / max(found.tokens, 1)

    train = dataset.train.texts
    share, own = unknown(train, texts), unknown(train[::2], train[1::2])
    if share <= max(LOW, own + STRANGE):
        return []
    return [
        f"{share:.0%} of the words of the unlabelled texts stand in no training text (between two "
        f"halves of these it is {own:.0%}): texts of another kind may do harm"
    ]
