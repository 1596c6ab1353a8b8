"""From texts to padded batches: tokenizers, the vocabulary, ragged encoding and masks."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import chain
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ampmix.errors import AmpmixError

PADDING = 0
UNKNOWN = 1
MOST_MARKS = 30

Integers = npt.NDArray[np.int64]
Tokenizer = Callable[[str], list[str]]

_KIM_DROPPED = re.compile(r"[^A-Za-z0-9(),!?'`]")
_KIM_CLITIC = re.compile(r"'(?:s|ve|re|d|ll)|n't")
_KIM_PUNCTUATION = re.compile(r"[(),!?]")

# Thai, Lao, Burmese, Khmer; then kana, bopomofo and Han with their extensions; half-width kana.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
    "\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3031-\u3035\u3040-\u312f\u31a0-\u31bf\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U0001b000-\U0001b16f"
    "\U00020000-\U0003fffd"
)
# Invisible characters that carry no text: dropped, except that a zero-width space parts words.
_INVISIBLE = dict.fromkeys(map(ord, "\u00ad\u200e\u200f\u2060\u2066\u2067\u2068\u2069\ufeff"))
_INVISIBLE |= dict.fromkeys(range(0x202A, 0x202F))
_SPACES = dict.fromkeys([*range(0x20), *range(0x7F, 0xA0), 0x200B], " ")
_SURROGATES = dict.fromkeys(range(0xD800, 0xE000), "\ufffd")
_CLEAN = str.maketrans({**_INVISIBLE, **_SPACES, **_SURROGATES, 0x2019: "'"})


def kim(text: str) -> list[str]:
    """Lower-cased tokens after the cleaning that Kim (2014) used for MR and SUBJ.

    Keeps ASCII letters, digits and ``(),!?'`` with the back-quote; splits clitics and punctuation.
    The clitics are split before lower-casing, as there, so ``DON'T`` stays whole.

    >>> kim("It's a film -- isn't it?")
    ['it', "'s", 'a', 'film', 'is', "n't", 'it', '?']
    """
    return [token.lower() for token in kim_cased(text)]


def kim_cased(text: str) -> list[str]:
    """The same as `kim` with the case kept, as Kim (2014) did for TREC.

    >>> kim_cased("What did Jesse Jackson's group organize ?")
    ['What', 'did', 'Jesse', 'Jackson', "'s", 'group', 'organize', '?']
    """
    text = _KIM_CLITIC.sub(r" \g<0>", _KIM_DROPPED.sub(" ", text))
    return _KIM_PUNCTUATION.sub(r" \g<0> ", text).split()


def kim_sst(text: str) -> list[str]:
    """Lower-cased tokens as Kim (2014) made them of SST, whose words are parted already.

    Of the cleaning of `kim` only the first step: other characters than those kept become blanks.

    >>> kim_sst("A well-made film , it does n't bore .")
    ['a', 'well', 'made', 'film', ',', 'it', 'does', "n't", 'bore']
    """
    return _KIM_DROPPED.sub(" ", text).lower().split()


def words(text: str) -> list[str]:
    """Lower-cased words, numbers, punctuation marks and emoji of a text in any language.

    Unicode NFC. A word keeps its inner apostrophes and hyphens, a number its inner points and
    commas, a letter its combining marks, an emoji its joined parts. Scripts written without spaces
    (Chinese, Japanese, Thai, ...) give one token a character. Control characters part words.

    >>> words("State-of-the-art, isn't it? 3.5 ⭐ 映画")
    ['state-of-the-art', ',', "isn't", 'it', '?', '3.5', '⭐', '映', '画']
    """
    # Lower-casing can undo the composition (a dotted capital I), so compose once more. Composing
    # sorts runs of marks in quadratic time: no word of any language has as many as are kept.
    if not text.isascii():
        text = _long_marks().sub(r"\1", text)
    text = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).lower())
    return _word_pattern().findall(text.translate(_CLEAN))


@lru_cache(maxsize=1)
def _marks() -> str:
    """All combining marks."""
    marked = (chr(i) for i in chain(range(0x300, 0x1F000), range(0xE0100, 0xE01F0)))
    return "".join(c for c in marked if unicodedata.category(c)[0] == "M")


@lru_cache(maxsize=1)
def _long_marks() -> re.Pattern[str]:
    """More marks on one letter than Unicode's stream-safe format has (UAX 15: 30)."""
    return re.compile(rf"([{_marks()}]{{{MOST_MARKS}}})[{_marks()}]+")


@lru_cache(maxsize=1)
def _word_pattern() -> re.Pattern[str]:
    """Pattern of a word for `words`: ``\\w`` and the marks of Indic scripts, which it lacks."""
    marks = _marks()
    joiners = "\u200c\u200d"
    extend = rf"[{marks}{joiners}\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f]"
    letter = rf"[^\W{_UNSPACED}]"
    part = rf"{letter}(?:{letter}|{extend})*"
    flag = "[\U0001f1e6-\U0001f1ff]{2}"
    return re.compile(
        rf"\d+(?:[.,]\d+)+|{part}(?:['\u2010\u2011-]{part})*|[{_UNSPACED}]{extend}*|{flag}"
        rf"|[^\s\w]{extend}*(?:(?<=\u200d)[^\s\w]{extend}*)*"
    )


TOKENIZERS: dict[str, Tokenizer] = {
    "kim": kim,
    "kim-cased": kim_cased,
    "kim-sst": kim_sst,
    "words": words,
}


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
    `offsets` int64 [n + 1], `labels` int64 [n]; `truncated` texts were cut to `max_length` tokens.

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

    @classmethod
    def of_tokens(
        cls,
        token_lists: Iterable[Sequence[str]],
        labels: Sequence[int] | Integers,
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
        labels: Sequence[int] | Integers,
        max_length: int = 512,
        padding: int = PADDING,
        unknown: int = UNKNOWN,
    ) -> Encoded:
        """The same from indices, such as another tokenizer's with a `padding` of its own."""
        if max_length < 1:
            raise AmpmixError(f"max_length is {max_length}: a text needs room for 1 token or more")
        kept, truncated = [], 0
        for row in rows:
            truncated += len(row) > max_length
            kept.append(np.asarray(row[:max_length] if len(row) else [unknown], dtype=np.int32))
        lengths = np.fromiter(map(len, kept), np.int64, len(kept))
        tokens = np.concatenate(kept) if kept else np.empty(0, dtype=np.int32)
        offsets = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths)])
        targets = np.array(labels, dtype=np.int64)
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


class Reader(Protocol):
    """How a backbone reads texts; made from the training part, saved with the model."""

    @property
    def max_length(self) -> int:
        """Tokens after which a text is cut."""
        ...

    def __len__(self) -> int:
        """Number of token ids."""
        ...

    def encode(self, texts: Sequence[str], labels: Sequence[int] | Integers) -> Encoded:
        """Texts as token ids."""
        ...

    def as_json(self) -> dict[str, Any]:
        """JSON values for the configuration in a model folder."""
        ...

    def exported(self, name: str) -> tuple[dict[str, Any], dict[str, str]]:
        """Description for other programs to tokenize alike: plain JSON values, and files by name.

        The names of the files begin with `name`; the values refer to them.
        """
        ...


@dataclass(frozen=True)
class WordReader:
    """Reads words: a tokenizer (a key of `TOKENIZERS`), a vocabulary, a cut-off in tokens.

    Words outside the vocabulary become the unknown word, or are left out (`skip_unknown`).

    >>> reader = WordReader.of_texts(["a film", "a book"], "words")
    >>> reader.encode(["a play"], [0]).tokens.tolist(), len(reader)
    ([2, 1], 5)
    """

    tokenizer: str
    vocabulary: Vocabulary
    max_length: int = 512
    skip_unknown: bool = False

    @classmethod
    def of_texts(cls, texts: Iterable[str], tokenizer: str, max_length: int = 512) -> WordReader:
        """A reader with the vocabulary of these texts: the training part's, and no other."""
        vocabulary = Vocabulary.build(map(TOKENIZERS[tokenizer], texts))
        return cls(tokenizer, vocabulary, max_length)

    def __len__(self) -> int:
        return len(self.vocabulary)

    def encode(self, texts: Sequence[str], labels: Sequence[int] | Integers) -> Encoded:
        """Texts as indices of their words."""
        lists: Iterable[list[str]] = map(TOKENIZERS[self.tokenizer], texts)
        if self.skip_unknown:
            known = set(self.vocabulary.words)
            lists = ([word for word in words if word in known] for words in lists)
        return Encoded.of_tokens(lists, labels, self.vocabulary, self.max_length)

    def as_json(self) -> dict[str, Any]:
        """What :meth:`of_json` needs, as plain JSON values."""
        return {
            "tokenizer": self.tokenizer,
            "max_length": self.max_length,
            "skip_unknown": self.skip_unknown,
            "vocabulary": self.vocabulary.words,
        }

    def exported(self, name: str) -> tuple[dict[str, Any], dict[str, str]]:
        """As :meth:`as_json`; no file is needed."""
        return self.as_json(), {}

    @classmethod
    def of_json(cls, content: Mapping[str, Any]) -> WordReader:
        """The reader that :meth:`as_json` described; ValueError for a tokenizer unknown here."""
        if content["tokenizer"] not in TOKENIZERS:
            raise ValueError(f"this ampmix has no tokenizer {content['tokenizer']!r}")
        words, length = content["vocabulary"], content["max_length"]
        if not isinstance(words, list | tuple) or not all(isinstance(w, str) for w in words):
            raise ValueError("its vocabulary is no list of words")
        if not isinstance(length, int) or not 1 <= length < 2**31:
            raise ValueError(f"its max_length is {str(length)[:40]}")
        skip = content.get("skip_unknown", False)  # models saved before it was known lack it
        return cls(content["tokenizer"], Vocabulary(tuple(words)), length, bool(skip))
