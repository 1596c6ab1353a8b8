"""MR: 10,662 sentences of film reviews, negative or positive; no test set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ampmix.data.dataset import TextDataset
from ampmix.datasets._sent_conv import examples


@dataclass(frozen=True)
class MR:
    """Sentences of film reviews, negative or positive (Pang and Lee, 2005).

    Without a test set: tested by stratified cross-validation, in ten folds as in the paper. Words
    as in Kim (2014), the 18,765 of Table 1.
    """

    name: ClassVar[str] = "mr"
    title: ClassVar[str] = "MR"
    folds: ClassVar[int] = 10

    def load(self) -> TextDataset:
        """Read the file, downloading it the first time (1.3 MB)."""
        return TextDataset(
            name=self.name,
            title=self.title,
            classes=("negative", "positive"),
            train=examples("rt-polarity.all", _SHA256, "cp1252"),
            tokenizer="kim",
            language="en",
        )


_SHA256 = "b8846c3bbd59241f901efdc58f7c515e4b280ab3561fd1858caa5aa48da95a8a"
