"""Labelled texts and how they are split into training, development and test parts.

Protocol of the AMP paper (section 4.1): a given test set, or cross-validation without one; a given
development set, or a random 10 % of the training part. Every draw is stratified and comes from a
stream of its own (`ampmix.streams`), so that one seed gives all policies the same split.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from ampmix.counting import counted
from ampmix.errors import AmpmixError
from ampmix.streams import numpy_stream
from ampmix.text import TOKENIZERS

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Examples:
    """Texts with their labels: `texts` [n] and `labels`, int64 [n], read-only.

    >>> examples = Examples(("good film", "bad film"), [1, 0])
    >>> len(examples), examples.take([1]).texts
    (2, ('bad film',))
    """

    texts: tuple[str, ...]
    labels: Integers

    def __post_init__(self) -> None:
        labels = np.array(self.labels, dtype=np.int64)
        if labels.shape != (len(self.texts),):
            raise ValueError(f"{len(self.texts)} texts with labels of shape {labels.shape}")
        labels.setflags(write=False)
        object.__setattr__(self, "texts", tuple(self.texts))
        object.__setattr__(self, "labels", labels)

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, indices: Sequence[int] | Integers) -> Examples:
        """The examples at `indices`, in that order."""
        wanted = np.asarray(indices, dtype=np.int64)
        return Examples(tuple(self.texts[i] for i in wanted.tolist()), self.labels[wanted])


@dataclass(frozen=True, eq=False)
class TextDataset:
    """A data set before it is split; label i is the class ``classes[i]``.

    `tokenizer` is a key of `ampmix.text.TOKENIZERS`; `title` is the name printed in the paper's
    tables ("" for a user's table); `notes` are sentences for the user. Two data sets are compared
    by `fingerprint`.

    Raises AmpmixError if there are fewer than two classes or a class has no training text.
    """

    name: str
    classes: tuple[str, ...]
    train: Examples
    dev: Examples | None = None
    test: Examples | None = None
    tokenizer: str = "words"
    notes: tuple[str, ...] = ()
    title: str = ""

    def __post_init__(self) -> None:
        if len(self.classes) < 2:
            raise AmpmixError(
                f"data set {self.name!r} has one class only ({', '.join(self.classes) or 'none'}): "
                "a classifier needs at least two; check the label column"
            )
        if self.tokenizer not in TOKENIZERS:
            raise ValueError(f"tokenizer {self.tokenizer!r} is not in ampmix.text.TOKENIZERS")
        for part in filter(None, (self.train, self.dev, self.test)):
            if not np.all((part.labels >= 0) & (part.labels < len(self.classes))):
                raise ValueError(f"labels must lie in 0..{len(self.classes) - 1}")
        counts = np.bincount(self.train.labels, minlength=len(self.classes))
        if not counts.all():
            missing = self.classes[int(np.argmin(counts))]
            raise AmpmixError(
                f"class {missing!r} of data set {self.name!r} has no training text: "
                "remove that class or add texts of it"
            )

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) over the classes, the tokenizer and every part, whatever the name.

        Every list goes in with its lengths before it, so that no two contents spell one message.
        """
        digest = hashlib.sha256()
        _update(digest, ["ampmix data 1", self.tokenizer])
        _update(digest, self.classes)
        for part in (self.train, self.dev, self.test):
            _update(digest, ["absent"] if part is None else ["present"])
            if part is not None:
                _update(digest, part.texts)
                digest.update(part.labels.astype("<i8").tobytes())
        return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class Split:
    """One run's training, development and test part, with where each text came from.

    `train_indices` point into ``dataset.train``; `dev_indices` into ``dataset.dev`` if that was
    given, else into ``dataset.train``; `test_indices` into ``dataset.test``, or into
    ``dataset.train`` in cross-validation (`fold` of `folds`, both None otherwise). `data_hash` is
    the data set's fingerprint.
    """

    dataset: str
    title: str
    classes: tuple[str, ...]
    tokenizer: str
    train: Examples
    dev: Examples
    test: Examples
    train_indices: Integers
    dev_indices: Integers
    test_indices: Integers
    data_hash: str
    fold: int | None = None
    folds: int | None = None

    @cached_property
    def hash(self) -> str:
        """SHA-256 (hex) over the data set's fingerprint and the three index arrays."""
        digest = hashlib.sha256(self.data_hash.encode())
        for indices in (self.train_indices, self.dev_indices, self.test_indices):
            digest.update(len(indices).to_bytes(8, "little"))
            digest.update(indices.astype("<i8").tobytes())
        return digest.hexdigest()


def split_holdout(
    dataset: TextDataset, seed: int, fraction: float = 1.0, dev_fraction: float = 0.1
) -> Split:
    """Split a data set that has a test set of its own.

    Of each class with n training texts, int(n * `fraction`) are kept, at least one, drawn by
    `seed`; for one seed a smaller fraction is a subset of a larger one. A given development set is
    used as it is; otherwise `dev_fraction` of what was kept, stratified, is taken out of it.

    Raises AmpmixError without a test set, or for fractions outside their range.

    >>> part = Examples(("a", "b") * 10, [0, 1] * 10)
    >>> split = split_holdout(TextDataset("toy", ("A", "B"), train=part, test=part), seed=0)
    >>> len(split.train), len(split.dev), len(split.test)
    (18, 2, 20)
    """
    if dataset.test is None:
        raise AmpmixError(
            f"data set {dataset.name!r} has no test set: use cross-validation or give --test FILE"
        )
    everything = np.arange(len(dataset.train))
    test = np.arange(len(dataset.test))
    return _split(dataset, everything, dataset.test, test, seed, "", fraction, dev_fraction)


def split_train(
    dataset: TextDataset, seed: int, fraction: float = 1.0, dev_fraction: float = 0.1
) -> Split:
    """Split a data set to train one model for use, on all its texts but the development part.

    As `split_holdout` where there is a test set; without one the test part is empty.

    >>> part = Examples(("a", "b") * 10, [0, 1] * 10)
    >>> split = split_train(TextDataset("toy", ("A", "B"), train=part), seed=0)
    >>> len(split.train), len(split.dev), len(split.test)
    (18, 2, 0)
    """
    everything = np.arange(len(dataset.train))
    tested = dataset.train.take([]) if dataset.test is None else dataset.test
    test = np.arange(len(tested))
    return _split(dataset, everything, tested, test, seed, "", fraction, dev_fraction)


def split_fold(
    dataset: TextDataset,
    fold: int,
    folds: int,
    seed: int = 0,
    fraction: float = 1.0,
    dev_fraction: float = 0.1,
) -> Split:
    """Split a data set without a test set: fold `fold` (from 0) of stratified cross-validation.

    `seed` shuffles the folds and must be one for all of them; then every text is tested exactly
    once. Fold sizes differ by at most one, in all and in every class. The rest is split as by
    `split_holdout`.

    Raises AmpmixError for fewer than two folds, a fold that does not exist, a class with fewer
    texts than folds, a data set with a test set, or fractions outside their range.
    """
    if dataset.test is not None:
        raise AmpmixError(f"data set {dataset.name!r} has a test set: it needs no cross-validation")
    if folds < 2:
        raise AmpmixError(
            f"folds is {folds}: without a test set at least 2 seeds are needed, one per fold: "
            "raise --seeds or give --test FILE"
        )
    if not 0 <= fold < folds:
        raise AmpmixError(f"fold is {fold}: with {folds} folds it must be 0 to {folds - 1}")
    labels = dataset.train.labels
    counts = np.bincount(labels, minlength=len(dataset.classes))
    smallest = int(np.argmin(counts))
    if counts[smallest] < folds:
        raise AmpmixError(
            f"class {dataset.classes[smallest]!r} has {counted(int(counts[smallest]), 'text')}: "
            f"cross-validation with {folds} folds needs at least {folds} of each class; "
            "use fewer --seeds (one fold each), merge or remove that class, or give --test FILE"
        )
    # Dealing the shuffled classes out one after the other balances folds and classes at once.
    order = np.concatenate(_shuffled_classes(labels, np.arange(len(labels)), seed, "folds"))
    fold_of = np.empty(len(labels), dtype=np.int64)
    fold_of[order] = np.arange(len(labels)) % folds
    rest, test = np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)
    purpose = f" of fold {fold} of {folds}"
    split = _split(dataset, rest, dataset.train, test, seed, purpose, fraction, dev_fraction)
    return replace(split, fold=fold, folds=folds)


def overlap(data: TextDataset | Split) -> int:
    """Number of test texts that the training part has too, token for token; 0 without test part.

    >>> part = Examples(("Good film!", "bad"), [1, 0])
    >>> overlap(TextDataset("toy", ("A", "B"), part, test=Examples(("good film !",), [1])))
    1
    """
    if data.test is None:
        return 0
    tokenize = TOKENIZERS[data.tokenizer]
    test = [" ".join(tokenize(text)) for text in data.test.texts]  # no token holds a space
    wanted = set(test) - {""}
    seen = wanted.intersection(" ".join(tokenize(text)) for text in data.train.texts)
    return sum(text in seen for text in test)


def with_overlap_note(dataset: TextDataset) -> TextDataset:
    """The data set with a note on the test texts that stand in training too, if there are any."""
    count = overlap(dataset)
    if not count or dataset.test is None:
        return dataset
    note = (
        f"{count:,} of {counted(len(dataset.test), 'text')} for testing also "
        f"{'stands' if count == 1 else 'stand'} in the training part: "
        "the test error may be too low"
    )
    return replace(dataset, notes=(*dataset.notes, note))


def _split(
    dataset: TextDataset,
    pool: Integers,
    tested: Examples,
    test: Integers,
    seed: int,
    purpose: str,
    fraction: float,
    dev_fraction: float,
) -> Split:
    """Keep `fraction` of the training texts in `pool` and find the development set."""
    labels = dataset.train.labels
    share = _fraction("fraction", fraction)
    shuffled = _shuffled_classes(labels, pool, seed, "fraction" + purpose)
    train = np.sort(np.concatenate([own[: max(1, int(len(own) * share))] for own in shuffled]))
    if dataset.dev is not None:
        source, dev = dataset.dev, np.arange(len(dataset.dev))
    else:
        source, kept = dataset.train, train
        shuffled = _shuffled_classes(labels, kept, seed, "dev" + purpose)
        sizes = _dev_sizes([len(own) for own in shuffled], dev_fraction, dataset)
        parts = [own[:size] for own, size in zip(shuffled, sizes, strict=True)]
        dev = np.sort(np.concatenate(parts))
        train = np.setdiff1d(kept, dev)
    return Split(
        dataset=dataset.name,
        title=dataset.title,
        classes=dataset.classes,
        tokenizer=dataset.tokenizer,
        train=dataset.train.take(train),
        dev=source.take(dev),
        test=tested.take(test),
        train_indices=train,
        dev_indices=dev,
        test_indices=test,
        data_hash=dataset.fingerprint,
    )


def _shuffled_classes(labels: Integers, pool: Integers, seed: int, purpose: str) -> list[Integers]:
    """The indices in `pool` of each class that occurs, shuffled, in the order of the classes."""
    rng = numpy_stream(seed, purpose)
    own = labels[pool]
    return [rng.permutation(pool[own == label]) for label in np.unique(own)]


def _dev_sizes(counts: list[int], dev_fraction: float, dataset: TextDataset) -> list[int]:
    """Texts of each class for development: largest remainders, one of each class stays behind."""
    share = _fraction("dev_fraction", dev_fraction)
    if share == 1:
        raise AmpmixError("dev_fraction is 1.0: it must be below 1, or nothing is left to train on")
    sizes = [min(int(count * share), count - 1) for count in counts]
    total = max(1, int(sum(counts) * share + Fraction(1, 2)))
    by_remainder = sorted(range(len(counts)), key=lambda c: (sizes[c] - counts[c] * share, c))
    for c in by_remainder:
        if sum(sizes) < total and sizes[c] < counts[c] - 1:
            sizes[c] += 1
    if not any(sizes):
        raise AmpmixError(
            f"data set {dataset.name!r} is too small to split: every class, such as "
            f"{dataset.classes[0]!r}, keeps {counted(counts[0], 'text')} for training, and a "
            "development set needs at least 2 of one class; add texts, keep more labels or give "
            "--dev FILE"
        )
    return sizes


def _fraction(what: str, value: float) -> Fraction:
    """`value` as the decimal number that was written: 0.29 * 100 is 29, not 28.999999999999996."""
    if not 0 < value <= 1:
        raise AmpmixError(f"{what} is {value}: it must be above 0 and at most 1")
    return Fraction(repr(float(value)))


def _update(digest: Any, texts: Iterable[str]) -> None:
    """Add a list of texts to a hash: their number, their lengths in bytes, then the bytes."""
    raw = [text.encode("utf-8", "surrogatepass") for text in texts]
    digest.update(len(raw).to_bytes(8, "little"))
    digest.update(np.array([len(one) for one in raw], dtype="<i8").tobytes())
    digest.update(b"".join(raw))
