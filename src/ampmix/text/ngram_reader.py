"""Read texts as bags of words and runs of words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ampmix.text.encoded import UNKNOWN, Encoded, Integers, Vocabulary
from ampmix.text.reader import WordReader
from ampmix.text.tokenizers import TOKENIZERS

WHOLE = 2**31 - 1  # a bag has no length at which it is cut


@dataclass(frozen=True)
class NgramReader(WordReader):
    """Reads the n-grams of a text, ``n = 1 .. longest``, as a bag: indices in rising order.

    An n-gram is its words with a blank between them. Unknown words become the unknown word, longer
    unknown n-grams are left out. Equal indices stand side by side, so that they can be counted.

    >>> reader = NgramReader.of_texts(["a film a film"], "words")
    >>> reader.vocabulary.words, reader.encode(["a film b"]).tokens.tolist()
    (('a', 'a film', 'film', 'film a'), [1, 2, 3, 4])
    """

    longest: int = 2

    @classmethod
    def of_texts(cls, texts: Iterable[str], tokenizer: str, max_length: int = WHOLE) -> NgramReader:
        """A reader with the n-grams of these texts: the training part's, and no other."""
        words = map(TOKENIZERS[tokenizer], texts)
        vocabulary = Vocabulary.build(ngrams(own, cls.longest) for own in words)
        return cls(tokenizer, vocabulary, max_length)

    def encode(
        self, texts: Sequence[str], labels: Sequence[int] | Integers | None = None
    ) -> Encoded:
        """Return texts as indices of their n-grams, in rising order."""
        return Encoded.of_ids(map(self._indices, texts), labels, self.max_length)

    def _indices(self, text: str) -> Integers:
        words = TOKENIZERS[self.tokenizer](text)
        found = self.vocabulary.encode(list(ngrams(words, self.longest)))
        longer = np.arange(len(found)) >= len(words)
        return np.sort(found[(found != UNKNOWN) | ~longer])

    def as_json(self) -> dict[str, Any]:
        """Return the JSON values that :meth:`of_json` needs."""
        return {**super().as_json(), "longest": self.longest}

    def exported(self, name: str) -> tuple[dict[str, Any], dict[str, str]]:
        """Return :meth:`as_json` for other programs; no file tells a library of pairs of words."""
        return self.as_json(), {}

    @classmethod
    def of_json(cls, content: Mapping[str, Any]) -> NgramReader:
        """The reader that :meth:`as_json` described; ValueError as :meth:`WordReader.of_json`."""
        read = WordReader.of_json(content)
        longest = content["longest"]
        if not isinstance(longest, int) or not 1 <= longest <= 10:
            raise ValueError(f"its longest is {str(longest)[:40]}")
        return cls(read.tokenizer, read.vocabulary, read.max_length, longest=longest)


def ngrams(words: Sequence[str], longest: int) -> Iterable[str]:
    """Yield the words, then the pairs of neighbours, and so on up to runs of `longest`.

    >>> list(ngrams(["a", "good", "film"], 2))
    ['a', 'good', 'film', 'a good', 'good film']
    """
    yield from words
    for n in range(2, longest + 1):
        for i in range(len(words) - n + 1):
            yield " ".join(words[i : i + n])
