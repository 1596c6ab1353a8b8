"""TREC question classification: 5,452 training and 500 test questions in six coarse classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ampmix.data.dataset import TextDataset
from ampmix.data.overlap import with_overlap_note
from ampmix.datasets._sent_conv import examples


@dataclass(frozen=True)
class TREC:
    """Which kind of answer a question asks for (Li and Roth, 2002).

    The case is kept, which gives the 9,592 words of the paper's Table 1; the 5,952 questions
    printed there are training and test set together. No development set is given.
    """

    name: ClassVar[str] = "trec"
    title: ClassVar[str] = "TREC"

    def load(self) -> TextDataset:
        """Read the two files, downloading them the first time (0.3 MB)."""
        dataset = TextDataset(
            name=self.name,
            title=self.title,
            classes=("description", "entity", "abbreviation", "human", "location", "numeric"),
            train=examples("TREC.train.all", _TRAIN, "iso-8859-1"),
            test=examples("TREC.test.all", _TEST, "iso-8859-1"),
            tokenizer="kim-cased",
            language="en",
        )
        return with_overlap_note(dataset)


_TRAIN = "c8183fd8c2a5cc4a9a1c56548d7c6410a8b71ed7843df9ef1f0a05cd7cf2fb3e"
_TEST = "92a6a3cede5678b447ef5f1d7ec474134fcda211e6590e6fa627b4a2c68e4566"
