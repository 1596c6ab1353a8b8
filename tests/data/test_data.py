"""Splits: partitions, stratified, deterministic, and the label counts of the paper's Table 3."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedKFold

from ampmix._support.random_streams import numpy_stream
from ampmix.data.dataset import Examples, Split, TextDataset
from ampmix.data.overlap import overlap, with_overlap_note
from ampmix.data.splits import split_fold, split_holdout
from ampmix.datasets import load
from ampmix.errors import AmpmixError


def make(counts: list[int], test: int = 0, dev: int = 0) -> TextDataset:
    """A data set with `counts` texts a class in mixed order."""
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))

    def part(name: str, n: int) -> Examples | None:
        own = np.arange(n) % len(counts)
        return Examples(tuple(f"{name} {i}" for i in range(n)), own) if n else None

    train = Examples(tuple(f"text {i}" for i in range(len(labels))), labels)
    classes = tuple(f"c{i}" for i in range(len(counts)))
    return TextDataset("toy", classes, train, dev=part("dev", dev), test=part("test", test))


COUNTS = st.lists(st.integers(1, 40), min_size=2, max_size=5).filter(lambda c: max(c) > 1)


def check_dev(split: Split, share: float = 0.1) -> None:
    train = np.bincount(split.train.labels, minlength=len(split.classes))
    dev = np.bincount(split.dev.labels, minlength=len(split.classes))
    assert train.min() >= 1, "every class is trained on"
    lonely = (train + dev) == 1
    assert not dev[lonely].any()
    assert np.all(np.abs(dev - share * (train + dev)) <= 1), "stratified within one"
    assert dev.sum() >= 1


@given(COUNTS, st.integers(0, 5), st.sampled_from([0.03, 0.29, 0.5, 1.0]))
def test_holdout_is_a_partition_of_what_was_kept(
    counts: list[int], seed: int, share: float
) -> None:
    dataset = make(counts, test=3)
    kept = [max(1, int(round(n * share * 100, 6) // 100)) for n in counts]
    if max(kept) == 1:
        with pytest.raises(AmpmixError, match="too small to split"):
            split_holdout(dataset, seed, share)
        return
    split = split_holdout(dataset, seed, share)
    both = np.concatenate([split.train_indices, split.dev_indices])
    assert len(set(both.tolist())) == len(both) == sum(kept)
    assert np.bincount(dataset.train.labels[both]).tolist() == kept
    assert split.test_indices.tolist() == [0, 1, 2] and split.test.texts == dataset.test.texts
    for part, indices in ((split.train, split.train_indices), (split.dev, split.dev_indices)):
        assert part.texts == tuple(dataset.train.texts[i] for i in indices)
        assert part.labels.tolist() == dataset.train.labels[indices].tolist()
    check_dev(split)
    assert split.hash == split_holdout(make(counts, test=3), seed, share).hash


@given(st.lists(st.integers(5, 40), min_size=2, max_size=4), st.integers(2, 5), st.integers(0, 3))
def test_folds_test_every_text_once_as_evenly_as_sklearn(
    counts: list[int], folds: int, seed: int
) -> None:
    dataset = make(counts)
    splits = [split_fold(dataset, fold, folds, seed) for fold in range(folds)]
    tested = np.concatenate([split.test_indices for split in splits])
    assert sorted(tested.tolist()) == list(range(sum(counts)))
    sizes = [len(split.test) for split in splits]
    assert max(sizes) - min(sizes) <= 1
    labels = dataset.train.labels
    oracle = StratifiedKFold(folds, shuffle=True, random_state=0).split(labels, labels)
    for label in range(len(counts)):
        ours = sorted(int((split.test.labels == label).sum()) for split in splits)
        assert ours[-1] - ours[0] <= 1
    theirs = sorted(len(test) for _, test in oracle)
    assert sorted(sizes) == theirs
    for fold, split in enumerate(splits):
        parts = (split.train_indices, split.dev_indices, split.test_indices)
        assert sorted(np.concatenate(parts).tolist()) == list(range(sum(counts)))
        assert (split.fold, split.folds) == (fold, folds)
        check_dev(split)
    assert len({split.hash for split in splits}) == folds


def test_trec_label_counts_of_table_3(trec_data: Path) -> None:
    trec = load("trec")
    table3 = {3: 160, 4: 215, 5: 270, 10: 543, 15: 815, 20: 1089, 40: 2179, 80: 4359, 100: 5452}
    for percent, labels in table3.items():
        split = split_holdout(trec, seed=1, fraction=percent / 100)
        assert len(split.train) + len(split.dev) == labels
        assert abs(len(split.dev) - labels / 10) <= 1
        assert len(split.test) == 500
        check_dev(split)


def test_trec_is_the_data_set_of_the_paper(trec_data: Path) -> None:
    trec = load("trec")
    assert (len(trec.train), len(trec.test), trec.dev, trec.title) == (5452, 500, None, "TREC")
    examples = {
        "How did serfdom develop in and then leave Russia ?": "description",
        "What films featured the character Popeye Doyle ?": "entity",
        "What is the full form of .com ?": "abbreviation",
        "What is the oldest profession ?": "human",
        "What is the highest waterfall in the United States ?": "location",
        "When was Ozzy Osbourne born ?": "numeric",
    }
    for text, label in examples.items():
        assert trec.classes[trec.train.labels[trec.train.texts.index(text)]] == label
    assert overlap(trec) == 10
    assert trec.notes[0].startswith("10 of 500 texts for testing also stand in the training part")
    assert overlap(split_holdout(trec, seed=0)) <= 10


def test_fractions_are_exact_decimals_and_nested() -> None:
    dataset = make([100, 100], test=2)

    def kept(fraction: float) -> set[int]:
        split = split_holdout(dataset, 3, fraction)
        return {*split.train_indices.tolist(), *split.dev_indices.tolist()}

    assert int(0.29 * 100) == 28, "what binary arithmetic would keep"
    assert len(kept(0.29)) == len(kept(float(np.float64(0.29)))) == 58
    assert kept(0.1) < kept(0.29) < kept(1.0)


def test_seeds_differ_and_given_dev_set_stays() -> None:
    dataset = make([30, 30], test=4, dev=6)
    splits = [split_holdout(dataset, seed, fraction=0.5) for seed in range(3)]
    assert len({split.hash for split in splits}) == 3
    assert all(split.dev.texts == dataset.dev.texts for split in splits)
    assert all(len(split.train) == 30 for split in splits)
    folded = [split_fold(make([30, 30], dev=6), fold, 3) for fold in range(3)]
    assert all(split.dev.texts == dataset.dev.texts for split in folded)
    assert [len(split.train) for split in folded] == [40, 40, 40]


def test_a_class_of_one_text_is_trained_on() -> None:
    split = split_holdout(make([1, 40], test=2), seed=0)
    assert 0 in split.train.labels and 0 not in split.dev.labels


def test_fingerprint_tells_contents_apart_and_nothing_else() -> None:
    a, b = Examples(("x", "y"), np.array([0, 1])), Examples(("x", "y"), np.array([1, 0]))
    base = TextDataset("toy", ("A", "B"), a)
    same = replace(base, name="other", notes=("a note",), title="T")
    assert same.fingerprint == base.fingerprint
    others = [
        replace(base, train=b),
        replace(base, test=a),
        replace(base, dev=a),
        replace(base, classes=("A", "C")),
        replace(base, classes=("B", "A")),
        replace(base, tokenizer="kim"),
        replace(base, train=Examples(("xy", ""), a.labels)),
        replace(base, train=Examples(("", "xy"), a.labels)),
        replace(base, train=Examples(("x", "y", "z"), np.array([0, 1, 1]))),
        replace(base, train=Examples(("\ud800", "y"), a.labels)),
    ]
    assert len({dataset.fingerprint for dataset in [base, *others]}) == len(others) + 1


def test_hashes_do_not_depend_on_the_process() -> None:
    code = (
        "import numpy as np; from ampmix.data.splits import *; e = Examples(tuple('abcdef'), "
        "np.arange(6) % 2); d = TextDataset('t', ('A', 'B'), e); "
        "print(split_fold(d, 0, 3).hash)"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    dataset = TextDataset("t", ("A", "B"), Examples(tuple("abcdef"), np.arange(6) % 2))
    assert found == {split_fold(dataset, 0, 3).hash}
    assert found == {PINNED}, "a changed split would unpair old runs from new ones"


PINNED = "e305a81e7f5b651ea59764359fb550b08616e64faf82802bcd0da27199666f5b"


def test_streams_are_apart_and_leave_the_global_state_alone() -> None:
    state = np.random.get_state()[1].tolist()
    draws = {
        tuple(numpy_stream(seed, purpose).integers(0, 2**32, 4).tolist())
        for seed in (0, 1)
        for purpose in ("dev", "folds")
    }
    assert len(draws) == 4
    assert np.random.get_state()[1].tolist() == state
    with pytest.raises(AmpmixError, match="seed is -1"):
        numpy_stream(-1, "dev")


def test_overlap_compares_tokens() -> None:
    train = Examples(("Good film!", "bad", "..."), np.array([1, 0, 0]))
    test = Examples(("good  film !", "BAD", "new", ""), np.array([1, 0, 0, 0]))
    dataset = TextDataset("toy", ("A", "B"), train, test=test)
    assert overlap(dataset) == 2
    assert "2 of 4 texts for testing also stand" in with_overlap_note(dataset).notes[0]
    assert overlap(replace(dataset, test=None)) == 0
    assert with_overlap_note(replace(dataset, test=None)).notes == ()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: make([5]), r"one class only \(c0\)"),
        (lambda: make([5, 0]), "class 'c1' of data set 'toy' has no training text"),
        (lambda: split_holdout(make([5, 5]), 0), "has no test set: use cross-validation"),
        (lambda: split_holdout(make([5, 5], 2), 0, fraction=0), "fraction is 0: it must be above"),
        (lambda: split_holdout(make([5, 5], 2), 0, fraction=1.5), "fraction is 1.5"),
        (lambda: split_holdout(make([5, 5], 2), 0, fraction=float("nan")), "fraction is nan"),
        (lambda: split_holdout(make([5, 5], 2), 0, dev_fraction=1.0), "dev_fraction is 1.0"),
        (lambda: split_holdout(make([1, 1], 2), 0), "too small to split.*--dev FILE"),
        (lambda: split_fold(make([5, 5], 2), 0, 3), "needs no cross-validation"),
        (lambda: split_fold(make([5, 5]), 0, 1), "at least 2 seeds are needed, one per fold"),
        (lambda: split_fold(make([5, 5]), 3, 3), "fold is 3: with 3 folds it must be 0 to 2"),
        (lambda: split_fold(make([5, 5]), -1, 3), "fold is -1"),
        (lambda: split_fold(make([2, 2]), 0, 5), "has 4 texts.*fewer --seeds, or give a test set"),
    ],
)
def test_errors_name_the_value_and_the_way_out(call: object, message: str) -> None:
    with pytest.raises(AmpmixError, match=message):
        call()


def test_programming_errors_are_value_errors() -> None:
    with pytest.raises(ValueError, match="2 texts with labels"):
        Examples(("a", "b"), np.array([0]))
    good = Examples(("a", "b"), np.array([0, 1]))
    with pytest.raises(ValueError, match="tokenizer"):
        TextDataset("toy", ("A", "B"), good, tokenizer="nope")
    with pytest.raises(ValueError, match="labels must lie"):
        TextDataset("toy", ("A", "B"), Examples(("a",), np.array([2])))
    with pytest.raises(ValueError, match="read-only"):
        good.labels[0] = 1
