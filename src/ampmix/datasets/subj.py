"""SUBJ: 10,000 sentences about films, objective or subjective; no test set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ampmix.data.dataset import TextDataset
from ampmix.datasets._sent_conv import examples


@dataclass(frozen=True)
class SUBJ:
    """Sentences on films, of a plot or of an opinion (Pang and Lee, 2004).

    Without a test set: tested by stratified cross-validation, in ten folds as in the paper. Words
    as in Kim (2014), 21,322 of them; Table 1 prints 21,323.
    """

    name: ClassVar[str] = "subj"
    title: ClassVar[str] = "SUBJ"
    folds: ClassVar[int] = 10

    def load(self) -> TextDataset:
        """Read the file, downloading it the first time (1.3 MB)."""
        return TextDataset(
            name=self.name,
            title=self.title,
            classes=("subjective", "objective"),
            train=examples("subj.all", _SHA256, "cp1252"),
            tokenizer="kim",
            language="en",
        )


_SHA256 = "f3ffbe2aa8e4f3ba3e63e46dce51613854edbca122fb3aa758b9bce047ded23c"
