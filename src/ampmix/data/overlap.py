"""Find texts that training and test part have in common."""

from __future__ import annotations

from dataclasses import replace

from ampmix._support.wording import counted
from ampmix.data.dataset import Split, TextDataset
from ampmix.text.tokenizers import TOKENIZERS


def overlap(data: TextDataset | Split) -> int:
    """Number of test texts that the training part has too, token for token; 0 without test part.

    >>> from ampmix.data.dataset import Examples
    >>> part = Examples(("Good film!", "bad"), [1, 0])
    >>> overlap(TextDataset("toy", ("A", "B"), part, test=Examples(("good film !",), [1])))
    1
    """
    if data.test is None:
        return 0
    tokenize = TOKENIZERS[data.tokenizer]
    test = [" ".join(tokenize(text)) for text in data.test.texts]  # no token holds a space
    wanted = set(test) - {""}
    seen = wanted.intersection(" ".join(tokenize(text)) for text in data.train.texts)
    return sum(text in seen for text in test)


def with_overlap_note(dataset: TextDataset) -> TextDataset:
    """The data set with a note on the test texts that stand in training too, if there are any."""
    count = overlap(dataset)
    if not count or dataset.test is None:
        return dataset
    note = (
        f"{count:,} of {counted(len(dataset.test), 'text')} for testing also "
        f"{'stands' if count == 1 else 'stand'} in the training part: "
        "the test error may be too low"
    )
    return replace(dataset, notes=(*dataset.notes, note))
