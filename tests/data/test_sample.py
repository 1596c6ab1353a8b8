"""A sample keeps classes, parts and groups."""

from __future__ import annotations

import numpy as np
import pytest

from ampmix.data.dataset import Examples, TextDataset
from ampmix.data.sample import LEAST, sampled


def dataset(test: bool) -> TextDataset:
    labels = [0] * 900 + [1] * 300 + [2] * 12 + [3] * 4
    texts = tuple(f"text {i}" for i in range(len(labels)))
    held = Examples(tuple(f"held {i}" for i in range(600)), [0] * 400 + [1] * 200)
    groups = np.arange(len(labels)) // 2
    part = held if test else None
    return TextDataset("toy", tuple("abcd"), Examples(texts, labels), test=part, groups=groups)


@pytest.mark.parametrize("test", [False, True])
def test_classes_parts_and_groups_keep_their_shares(test: bool) -> None:
    whole = dataset(test)
    found = sampled(whole, len(whole.texts) // 4)
    counts = np.bincount(found.train.labels).tolist()
    assert counts == [225, 75, LEAST, 4]
    if test:
        assert found.test is not None
        assert np.bincount(found.test.labels).tolist() == [100, 50]
    place = {text: i for i, text in enumerate(whole.train.texts)}
    at = [place[text] for text in found.train.texts]
    assert at == sorted(at)
    assert found.train.labels.tolist() == whole.train.labels[at].tolist()
    assert found.groups is not None and whole.groups is not None
    assert found.groups.tolist() == whole.groups[at].tolist()
    assert found.fingerprint == sampled(whole, len(whole.texts) // 4).fingerprint


def test_what_is_small_enough_stays() -> None:
    whole = dataset(False)
    assert sampled(whole, len(whole.texts)) is whole
