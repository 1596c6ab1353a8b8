"""A sample of a data set, by class, for models that take long to read a text."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ampmix._support.random_streams import numpy_stream
from ampmix.data.dataset import Examples, Integers, TextDataset

LEAST = 10  # texts of a class that stay, if it has as many


def sampled(dataset: TextDataset, most: int) -> TextDataset:
    """About `most` of the texts of a data set, drawn at random from each class of each part.

    Every part keeps the same share, rounded up, and every class at least 10 texts, or all it has.
    The same data set and number give the same texts.

    Args:
        dataset: at most `most` texts are given back as they are.
        most: texts of all parts together.
    """
    share = most / len(dataset.texts)
    if share >= 1:
        return dataset
    kept = _indices(dataset.train, share, "train")
    groups = None if dataset.groups is None else dataset.groups[kept]
    dev, test = _part(dataset.dev, share, "dev"), _part(dataset.test, share, "test")
    return replace(dataset, train=dataset.train.take(kept), dev=dev, test=test, groups=groups)


def _part(part: Examples | None, share: float, name: str) -> Examples | None:
    return None if part is None else part.take(_indices(part, share, name))


def _indices(part: Examples, share: float, name: str) -> Integers:
    """Indices of the texts that stay, rising."""
    rng = numpy_stream(0, f"sample {name}")
    chosen = []
    for label in np.unique(part.labels):
        own = np.flatnonzero(part.labels == label)
        size = min(len(own), max(LEAST, int(np.ceil(share * len(own)))))
        chosen.append(rng.permutation(own)[:size])
    return np.sort(np.concatenate(chosen))
