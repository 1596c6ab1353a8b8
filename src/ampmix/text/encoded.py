"""Vocabularies and encoded texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

import numpy as np
import numpy.typing as npt

from ampmix._support.wording import counted
from ampmix.errors import AmpmixError

PADDING = 0
UNKNOWN = 1
UNLABELLED = -1  # no class: a loss or a count that came upon it would fail

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Vocabulary:
    """The known words; index 0 is padding, 1 is an unknown word, ``words[i]`` has index i + 2.

    >>> vocabulary = Vocabulary.build([["a", "film"], ["a", "book"]])
    >>> vocabulary.words, len(vocabulary), vocabulary.encode(["a", "play"])
    (('a', 'book', 'film'), 5, array([2, 1]))
    """

    words: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(set(self.words)) != len(self.words):
            raise ValueError("a vocabulary must hold each word once")

    @classmethod
    def build(
        cls, token_lists: Iterable[Iterable[str]], min_count: int = 1, max_size: int | None = None
    ) -> Vocabulary:
        """Words seen at least `min_count` times, the `max_size` most frequent of them if given.

        Ordered by falling count, then by code points. Build it from the training part only: the
        authors' code took in the test set, which the paper does not say.
        """
        counts = Counter(chain.from_iterable(token_lists))
        ordered = sorted(counts, key=lambda word: (-counts[word], word))
        return cls(tuple(word for word in ordered if counts[word] >= min_count)[:max_size])

    def __len__(self) -> int:
        return len(self.words) + 2

    def __repr__(self) -> str:
        return f"Vocabulary({counted(len(self.words), 'word')})"

    @cached_property
    def _index(self) -> dict[str, int]:
        return {word: index for index, word in enumerate(self.words, start=2)}

    def encode(self, tokens: Sequence[str]) -> Integers:
        """Indices of `tokens`, int64 [len(tokens)]; unknown words become 1."""
        find = self._index.get
        return np.fromiter((find(token, UNKNOWN) for token in tokens), np.int64, len(tokens))


@dataclass(frozen=True, eq=False)
class Encoded:
    """Texts as token indices, kept ragged: memory grows with the tokens, not the longest text.

    Text i is ``tokens[offsets[i]:offsets[i + 1]]``, at least one token. `tokens` int32 [T],
    `offsets` int64 [n + 1], `labels` int64 [n], all -1 for texts without (labels None); `truncated`
    texts were cut to `max_length` tokens. None of the arrays can be written to.

    >>> encoded = Encoded.of_tokens([["a", "b"], []], [0, 1], Vocabulary(("a", "b")))
    >>> ids, mask, labels = encoded.batch([0, 1])
    >>> ids.tolist(), mask.tolist(), labels.tolist()
    ([[2, 3], [1, 0]], [[True, True], [True, False]], [0, 1])
    """

    tokens: npt.NDArray[np.int32]
    offsets: Integers
    labels: Integers
    truncated: int = 0
    padding: int = PADDING

    def __post_init__(self) -> None:
        for own in (self.tokens, self.offsets, self.labels):
            own.flags.writeable = False

    @classmethod
    def of_tokens(
        cls,
        token_lists: Iterable[Sequence[str]],
        labels: Sequence[int] | Integers | None,
        vocabulary: Vocabulary,
        max_length: int = 512,
    ) -> Encoded:
        """Encode tokenised texts; one without tokens becomes a single unknown word.

        Raises AmpmixError if `max_length` (tokens) is below 1.
        """
        return cls.of_ids(map(vocabulary.encode, token_lists), labels, max_length)

    @classmethod
    def of_ids(
        cls,
        rows: Iterable[Sequence[int] | Integers],
        labels: Sequence[int] | Integers | None,
        max_length: int = 512,
        padding: int = PADDING,
        unknown: int = UNKNOWN,
    ) -> Encoded:
        """Make it from indices, such as another tokenizer's with a `padding` of its own."""
        if max_length < 1:
            raise AmpmixError(f"max_length is {max_length}: a text needs room for 1 token or more")
        kept, truncated = [], 0
        for row in rows:
            truncated += len(row) > max_length
            kept.append(np.asarray(row[:max_length] if len(row) else [unknown], dtype=np.int32))
        lengths = np.fromiter(map(len, kept), np.int64, len(kept))
        tokens = np.concatenate(kept) if kept else np.empty(0, dtype=np.int32)
        offsets = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths)])
        targets = np.array(labels if labels is not None else [UNLABELLED] * len(kept), np.int64)
        if targets.shape != lengths.shape:
            raise ValueError(f"{len(kept)} texts with labels of shape {targets.shape}")
        return cls(tokens, offsets, targets, truncated, padding)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def lengths(self) -> Integers:
        """Tokens of each text, int64 [n]."""
        return np.diff(self.offsets)

    def take(self, indices: Sequence[int] | Integers) -> Encoded:
        """Texts `indices`, in that order; none of them counts as truncated."""
        chosen = np.asarray(indices, dtype=np.int64)
        lengths = self.lengths[chosen]
        offsets = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths)])
        within = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)
        tokens = self.tokens[np.repeat(self.offsets[:-1][chosen], lengths) + within]
        return Encoded(tokens, offsets, self.labels[chosen], 0, self.padding)

    def batch(
        self, indices: Sequence[int] | Integers
    ) -> tuple[Integers, npt.NDArray[np.bool_], Integers]:
        """Texts `indices` [B], padded on the right to the longest of them, L tokens.

        Returns indices int64 [B, L], the mask bool [B, L] (True at tokens) and labels int64 [B].
        """
        chosen = np.asarray(indices, dtype=np.int64)
        start = self.offsets[:-1][chosen]
        length = self.lengths[chosen]
        column = np.arange(length.max(initial=0))
        mask = column < length[:, None]
        ids = np.full(mask.shape, self.padding, dtype=np.int64)
        ids[mask] = self.tokens[(start[:, None] + column)[mask]]
        return ids, mask, self.labels[chosen]
