"""Texts with labels: data sets, their splits, and their fingerprints."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from ampmix._support.wording import counted
from ampmix.errors import AmpmixError
from ampmix.text.tokenizers import TOKENIZERS

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

    def __repr__(self) -> str:
        return f"Examples({counted(len(self), 'text')})"

    def take(self, indices: Sequence[int] | Integers) -> Examples:
        """The examples at `indices`, in that order."""
        wanted = np.asarray(indices, dtype=np.int64)
        return Examples(tuple(self.texts[i] for i in wanted.tolist()), self.labels[wanted])


@dataclass(frozen=True, eq=False)
class Unlabelled:
    """Texts that nobody labelled, to train on beside the others.

    `texts` are those of a file, with a hash of each by which equal ones are found
    (:func:`ampmix.data.unlabelled.keys_of`); with `rest` they are those of the training part whose
    labels a split does not keep.
    """

    texts: tuple[str, ...] = ()
    keys: npt.NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))
    rest: bool = False

    @cached_property
    def fingerprint(self) -> str:
        """``rest``, or SHA-256 (hex) over the texts."""
        return "rest" if self.rest else texts_sha256(self.texts)


@dataclass(frozen=True, eq=False)
class TextDataset:
    """A data set before it is split; label i is the class ``classes[i]``.

    `tokenizer` is a key of `ampmix.text.tokenizers.TOKENIZERS`; `title` is the name printed in the
    paper's tables ("" for a user's table); `notes` are sentences for the user; `columns` are those
    of texts and labels in a file; `groups`, int64 [n_train], numbers training texts that must stay
    in one part of a split (:func:`ampmix.data.groups.text_groups`), None if each is alone;
    `unlabelled` are texts without labels; `language` is the texts' by its code, such as ``en``, ""
    if it is not known. Two data sets are compared by `fingerprint`.

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
    columns: tuple[str, str] | None = None
    groups: Integers | None = None
    unlabelled: Unlabelled | None = None
    language: str = ""

    def __post_init__(self) -> None:
        if len(self.classes) < 2:
            raise AmpmixError(
                f"data set {self.name!r} has one class only ({', '.join(self.classes) or 'none'}): "
                "a classifier needs at least two; check the label column"
            )
        if self.tokenizer not in TOKENIZERS:
            raise ValueError(
                f"tokenizer {self.tokenizer!r} is not in ampmix.text.tokenizers.TOKENIZERS"
            )
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
    def texts(self) -> tuple[str, ...]:
        """All texts: those of the training part, then of the development and test set."""
        parts = filter(None, (self.train, self.dev, self.test))
        return tuple(chain.from_iterable(part.texts for part in parts))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) over classes, tokenizer, labelled parts and groups; not the name.

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
        if self.groups is not None:
            digest.update(b"groups" + self.groups.astype("<i8").tobytes())
        return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class Split:
    """Training, development and test part of one run, with the origin of each text.

    `train_indices` point into ``dataset.train``; `dev_indices` into ``dataset.dev`` if that was
    given, else into ``dataset.train``; `test_indices` into ``dataset.test``, or into
    ``dataset.train`` in cross-validation (`fold` of `folds`, both None otherwise). `data_hash` is
    the data set's fingerprint. `pool` holds all texts of the data set, for models that read each
    text once for all splits. `unlabelled` are texts without labels, none of them equal to one for
    development or testing. `dev_given` tells a development set that was given from one that was
    drawn from the training texts.
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
    columns: tuple[str, str] | None = None
    fold: int | None = None
    folds: int | None = None
    pool: tuple[str, ...] = field(default=(), repr=False)
    unlabelled: tuple[str, ...] = field(default=(), repr=False)
    language: str = ""
    dev_given: bool = False

    @cached_property
    def hash(self) -> str:
        """SHA-256 (hex) over the data set's fingerprint and the three index arrays."""
        digest = hashlib.sha256(self.data_hash.encode())
        for indices in (self.train_indices, self.dev_indices, self.test_indices):
            digest.update(len(indices).to_bytes(8, "little"))
            digest.update(indices.astype("<i8").tobytes())
        return digest.hexdigest()


def texts_sha256(texts: Sequence[str]) -> str:
    """SHA-256 (hex) over a list of texts."""
    digest = hashlib.sha256()
    _update(digest, texts)
    return digest.hexdigest()


def _update(digest: Any, texts: Iterable[str]) -> None:
    """Add a list of texts to a hash: their number, their lengths in bytes, then the bytes."""
    raw = [text.encode("utf-8", "surrogatepass") for text in texts]
    digest.update(len(raw).to_bytes(8, "little"))
    digest.update(np.array([len(one) for one in raw], dtype="<i8").tobytes())
    digest.update(b"".join(raw))
