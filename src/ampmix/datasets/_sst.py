"""Trees of the Stanford Sentiment Treebank, which SST-1 and SST-2 share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ampmix._support.download import fetch
from ampmix._support.wording import counted
from ampmix.data.dataset import Examples, TextDataset
from ampmix.data.overlap import overlap, with_overlap_note
from ampmix.datasets._trees import Phrase, read_trees

_URL = "https://nlp.stanford.edu/sentiment/trainDevTestTrees_PTB.zip"
_SHA256 = {
    "train": "e2f3f41b0b1e6d4dddc0effe3bfc2d27ed8928079aa9a03d652311614fc5feb7",
    "dev": "0e9336aed6e4730e19f58d00a77b3f0297efdb755f7b5e598c98a05e3f97ea40",
    "test": "6e54806dee95cf80cd918e7dfb3f6770f6df24bf826f289a4d1f709e1c8f6761",
}


def load_sst(
    name: str, title: str, classes: tuple[str, ...], class_of: Mapping[int, int], phrases: bool
) -> TextDataset:
    """The treebank with the labels that `class_of` maps to classes; other texts are left out.

    With `phrases`, every labelled phrase of the training trees is a training text, the whole
    sentences included, and each is one once: half of the 318,582 nodes repeat an earlier one, a
    word or a comma mostly, and always with the same label. Without, the training sentences are the
    training texts; then the name says so, and there is no title, since the paper's results are not
    of that. Development and test texts are sentences. `ampmix.data.splits.split_holdout` keeps its
    `fraction` of whatever the training texts are.

    Raises AmpmixError if the trees cannot be had.
    """
    trees = {part: _trees(part) for part in _SHA256}
    sentences = {part: [tree[-1] for tree in trees[part]] for part in trees}
    train = [phrase for tree in trees["train"] for phrase in tree]
    dataset = TextDataset(
        name=name if phrases else f"{name}-sentences",
        title=title if phrases else "",
        classes=classes,
        train=_examples(list(dict.fromkeys(train)) if phrases else sentences["train"], class_of),
        dev=_examples(sentences["dev"], class_of),
        test=_examples(sentences["test"], class_of),
        tokenizer="kim-sst",
        language="en",
    )
    return with_overlap_note(_with_dev_note(dataset))


def _trees(part: str) -> tuple[tuple[Phrase, ...], ...]:
    path = fetch(f"sst-trees/{part}.txt", _SHA256[part], _URL, member=f"trees/{part}.txt")
    return tuple(map(tuple, read_trees(path.read_bytes().decode("utf-8"), str(path))))


def _examples(found: list[Phrase], class_of: Mapping[int, int]) -> Examples:
    kept = [(phrase.text, class_of[phrase.label]) for phrase in found if phrase.label in class_of]
    labels = np.array([label for _, label in kept])
    return Examples(tuple(text for text, _ in kept), labels)


def _with_dev_note(dataset: TextDataset) -> TextDataset:
    """With a note on the development sentences that are trained on, if there are any."""
    assert dataset.dev is not None
    count = overlap(replace(dataset, test=dataset.dev))
    verb = "stands" if count == 1 else "stand"
    texts = counted(len(dataset.dev), "text")
    note = f"{count:,} of {texts} for development also {verb} in the training part"
    return replace(dataset, notes=(*dataset.notes, *[note] * bool(count)))
