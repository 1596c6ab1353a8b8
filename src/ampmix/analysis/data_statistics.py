"""Table 1 of the paper, counted anew from the data sets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ampmix._support import components
from ampmix.analysis import paper
from ampmix.data.dataset import TextDataset
from ampmix.text.encoded import Vocabulary
from ampmix.text.tokenizers import TOKENIZERS


@dataclass(frozen=True)
class Statistics:
    """A row of Table 1.

    Attributes:
        classes: how many.
        average_length: words a text.
        vocabulary: different words.
        size: texts.
        test: texts for testing, or ``CV`` for cross-validation.
    """

    classes: int
    average_length: float
    vocabulary: int
    size: int
    test: int | str

    @classmethod
    def of(cls, dataset: TextDataset) -> Statistics:
        """Counted over training, development and test part together, as the paper did.

        That is what its sizes are: 5,952 for TREC are the training and the test questions.
        """
        parts = filter(None, (dataset.train, dataset.dev, dataset.test))
        tokenize = TOKENIZERS[dataset.tokenizer]
        lists = [tokenize(text) for part in parts for text in part.texts]
        return cls(
            classes=len(dataset.classes),
            average_length=sum(map(len, lists)) / len(lists),
            vocabulary=len(Vocabulary.build(lists).words),
            size=len(lists),
            test="CV" if dataset.test is None else len(dataset.test),
        )


def table1() -> dict[str, tuple[Statistics, Mapping[str, Any]]]:
    """For each data set of Table 1, in its order: what we count, and what is printed.

    A data set whose training part can hold more than sentences names, in its class variable
    ``counted``, the options under which it holds those alone: SST is counted so.

    Raises AmpmixError if a data set cannot be had.
    """
    known = {getattr(cls, "title", ""): cls for cls in components.find("ampmix.datasets").values()}
    made = {}
    for printed in paper.reference()["table1"]:
        cls = known[printed["dataset"]]
        dataset = cls(**getattr(cls, "counted", {})).load()
        made[printed["dataset"]] = (Statistics.of(dataset), printed)
    return made
