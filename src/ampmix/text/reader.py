"""From texts to padded batches: tokenizers, the vocabulary, ragged encoding and masks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ampmix.text.encoded import PADDING, UNKNOWN, Encoded, Integers, Vocabulary
from ampmix.text.tokenizers import TOKENIZERS
from ampmix.text.tokenizers_file import tokenizers_file


class Reader(Protocol):
    """Turns texts into token ids; made from the training part, saved with the model."""

    @property
    def max_length(self) -> int:
        """Tokens after which a text is cut."""
        ...

    @property
    def unknown(self) -> int:
        """Id of the unknown token, -1 without one."""
        ...

    @property
    def special(self) -> frozenset[int]:
        """Ids that stand for no part of a text, such as those of padding and separators."""
        ...

    def __len__(self) -> int:
        """Number of token ids."""
        ...

    def encode(
        self, texts: Sequence[str], labels: Sequence[int] | Integers | None = None
    ) -> Encoded:
        """Return texts as token ids, with their class indices if they have any."""
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
    >>> reader.encode(["a play"]).tokens.tolist(), len(reader)
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

    @property
    def unknown(self) -> int:
        """Id of all words outside the vocabulary."""
        return UNKNOWN

    @property
    def special(self) -> frozenset[int]:
        """The id of padding."""
        return frozenset({PADDING})

    def __len__(self) -> int:
        return len(self.vocabulary)

    def encode(
        self, texts: Sequence[str], labels: Sequence[int] | Integers | None = None
    ) -> Encoded:
        """Return texts as indices of their words."""
        lists: Iterable[list[str]] = map(TOKENIZERS[self.tokenizer], texts)
        if self.skip_unknown:
            known = set(self.vocabulary.words)
            lists = ([word for word in words if word in known] for words in lists)
        return Encoded.of_tokens(lists, labels, self.vocabulary, self.max_length)

    def as_json(self) -> dict[str, Any]:
        """Return the JSON values that :meth:`of_json` needs."""
        return {
            "tokenizer": self.tokenizer,
            "max_length": self.max_length,
            "skip_unknown": self.skip_unknown,
            "vocabulary": self.vocabulary.words,
        }

    def exported(self, name: str) -> tuple[dict[str, Any], dict[str, str]]:
        """Return :meth:`as_json` for other programs, and a file for the library ``tokenizers``.

        There is none where unknown words are left out, which that library cannot.
        """
        if self.skip_unknown:
            return self.as_json(), {}
        file = f"{name}.tokenizer.json"
        content = tokenizers_file(self.tokenizer, self.vocabulary.words, self.max_length)
        return {**self.as_json(), "file": file}, {file: content}

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
