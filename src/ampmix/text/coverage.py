"""Measure how much of some texts a reader knows: texts it cannot read would be answered blindly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ampmix.text.encoded import Encoded
from ampmix.text.reader import Reader

SAMPLE = 2000  # texts of a part, evenly spread, that are read to measure a coverage before training
LOW = 0.3  # share of unknown tokens from which on people are told


@dataclass(frozen=True)
class ReadingCoverage:
    """Counts of tokens and texts that a reader knows.

    Attributes:
        tokens: tokens of the texts, special ones left out.
        unknown: those that the reader has no number for: each becomes one and the same token.
        texts: number of texts.
        blind: texts without a single known token. To the model they are all alike.

    >>> one = ReadingCoverage(tokens=10, unknown=4, texts=3, blind=1)
    >>> (one + one).sentence("texts")
    '40 % of the tokens of the texts are unknown to the model; 2 of 6 hold nothing that it knows'
    """

    tokens: int = 0
    unknown: int = 0
    texts: int = 0
    blind: int = 0

    def __add__(self, other: ReadingCoverage) -> ReadingCoverage:
        """Return the counts of both."""
        return ReadingCoverage(
            self.tokens + other.tokens,
            self.unknown + other.unknown,
            self.texts + other.texts,
            self.blind + other.blind,
        )

    @property
    def low(self) -> bool:
        """True if people should know: many tokens are unknown, or a text is read blindly."""
        return self.blind > 0 or self.unknown > LOW * max(self.tokens, 1)

    def sentence(self, name: str) -> str:
        """Describe the counts of the texts called `name`."""
        share = f"{100 * self.unknown / max(self.tokens, 1):.0f} %"
        said = f"{share} of the tokens of the {name} are unknown to the model"
        if self.blind:
            hold = "holds" if self.blind == 1 else "hold"
            said += f"; {self.blind:,} of {self.texts:,} {hold} nothing that it knows"
        return said


def coverage_of(reader: Reader, encoded: Encoded) -> ReadingCoverage:
    """Count what a reader knew of texts that it has encoded.

    Words that a reader leaves out (``oov=drop``) are not counted, but a text without any other is
    blind. A tokenizer of bytes or characters has no unknown token: all is known to it.
    """
    special = np.isin(encoded.tokens, np.asarray(sorted(reader.special), dtype=np.int32))
    unknown = (encoded.tokens == reader.unknown) & ~special
    known = np.concatenate([[0], np.cumsum(~special & ~unknown)])
    per_text = np.diff(known[encoded.offsets])
    return ReadingCoverage(
        int((~special).sum()), int(unknown.sum()), len(encoded), int((per_text == 0).sum())
    )


def coverage_notes(reader: Reader, parts: Sequence[tuple[str, Sequence[str]]]) -> list[str]:
    """Return a sentence for each part of which the reader knows little.

    Args:
        reader: a backbone's reader.
        parts: names and texts, such as ``("development texts", texts)``; of many, some are read.
    """
    found = []
    for name, texts in parts:
        measured = coverage_of(reader, reader.encode(texts[:: -(-len(texts) // SAMPLE) or 1]))
        if measured.low:
            found.append(measured.sentence(name))
    return found
