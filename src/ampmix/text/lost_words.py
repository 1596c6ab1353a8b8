"""Compare what a vocabulary of words loses of new texts with what a vocabulary of pieces loses."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from ampmix.text.coverage import LOW, SAMPLE
from ampmix.text.tokenizers import TOKENIZERS

Losing = Callable[[Sequence[str]], Collection[str]]
"""Those of some words that a vocabulary has no token for."""


class Lost(NamedTuple):
    """Counts of texts by what is lost of them.

    Attributes:
        texts: that were compared.
        by_words: texts with a word that the vocabulary of words loses and that of pieces reads.
        by_pieces: texts with one that goes the other way.
    """

    texts: int
    by_words: int
    by_pieces: int

    def sentence(self, pieces: bool) -> str:
        """Describe the counts to who trains on pieces, or on words; "" where they hardly matter.

        >>> Lost(100, 60, 2).sentence(pieces=False)[:44]
        'of 100 development and test texts, 60 hold w'
        """
        mine, other = self.by_pieces, self.by_words
        said = "that the model cannot read and --backbone cnn knows from training texts"
        if not pieces:
            mine, other = other, mine
            said = "that no training text has and --backbone minilm can read"
        if mine <= max(LOW * self.texts, other):
            return ""
        return (
            f"of {self.texts:,} development and test texts, {mine:,} hold words {said} "
            f"({other:,} the other way)"
        )


def lost(texts: Sequence[str], tokenizer: str, by_words: Losing, by_pieces: Losing) -> Lost:
    """Count the texts with words that one vocabulary loses and the other reads; not with numbers.

    Args:
        texts: of many, some are read, evenly spread.
        tokenizer: that parts them into words, a key of :data:`ampmix.text.tokenizers.TOKENIZERS`.
        by_words: which words the vocabulary of words loses.
        by_pieces: which the vocabulary of pieces loses.

    >>> lost(["a film", "ein Film"], "words", lambda words: {"ein"}, lambda words: {"a", "film"})
    Lost(texts=2, by_words=1, by_pieces=2)
    """
    rows = [set(TOKENIZERS[tokenizer](text)) for text in texts[:: -(-len(texts) // SAMPLE) or 1]]
    distinct = sorted(word for word in set[str]().union(*rows) if not word[0].isdigit())
    words, pieces = set(by_words(distinct)), set(by_pieces(distinct))
    return Lost(
        len(rows),
        sum(not row.isdisjoint(words - pieces) for row in rows),
        sum(not row.isdisjoint(pieces - words) for row in rows),
    )
