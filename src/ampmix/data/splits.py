"""Labelled texts and how they are split into training, development and test parts.

Protocol of the AMP paper (section 4.1): a given test set, or cross-validation without one; a given
development set, or a random 10 % of the training part. Every draw is stratified and comes from a
stream of its own (`ampmix._support.random_streams`), so that one seed gives all policies the same
split.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np

from ampmix._support.random_streams import numpy_stream
from ampmix._support.wording import counted
from ampmix.data.dataset import Examples, Integers, Split, TextDataset
from ampmix.errors import AmpmixError


def split_holdout(
    dataset: TextDataset, seed: int, fraction: float = 1.0, dev_fraction: float = 0.1
) -> Split:
    """Split a data set that has a test set of its own.

    Of each class with n training texts, int(n * `fraction`) are kept, at least one, drawn by
    `seed`; for one seed a smaller fraction is a subset of a larger one. A given development set is
    used as it is; otherwise `dev_fraction` of what was kept, stratified, is taken out of it.

    Raises AmpmixError without a test set, or for fractions outside their range.

    >>> part = Examples(("a", "b") * 10, [0, 1] * 10)
    >>> split = split_holdout(TextDataset("toy", ("A", "B"), train=part, test=part), seed=0)
    >>> len(split.train), len(split.dev), len(split.test)
    (18, 2, 20)
    """
    if dataset.test is None:
        raise AmpmixError(
            f"data set {dataset.name!r} has no test set: use cross-validation or give one"
        )
    everything = np.arange(len(dataset.train))
    test = np.arange(len(dataset.test))
    return _split(dataset, everything, dataset.test, test, seed, "", fraction, dev_fraction)


def split_train(
    dataset: TextDataset, seed: int, fraction: float = 1.0, dev_fraction: float = 0.1
) -> Split:
    """Split a data set to train one model for use, on all its texts but the development part.

    As `split_holdout` where there is a test set; without one the test part is empty.

    >>> part = Examples(("a", "b") * 10, [0, 1] * 10)
    >>> split = split_train(TextDataset("toy", ("A", "B"), train=part), seed=0)
    >>> len(split.train), len(split.dev), len(split.test)
    (18, 2, 0)
    """
    everything = np.arange(len(dataset.train))
    tested = dataset.train.take([]) if dataset.test is None else dataset.test
    test = np.arange(len(tested))
    return _split(dataset, everything, tested, test, seed, "", fraction, dev_fraction)


def split_fold(
    dataset: TextDataset,
    fold: int,
    folds: int,
    seed: int = 0,
    fraction: float = 1.0,
    dev_fraction: float = 0.1,
) -> Split:
    """Split a data set without a test set: fold `fold` (from 0) of stratified cross-validation.

    `seed` shuffles the folds and must be one for all of them; then every text is tested exactly
    once. Fold sizes differ by at most one, in all and in every class. The rest is split as by
    `split_holdout`.

    Raises AmpmixError for fewer than two folds, a fold that does not exist, a class with fewer
    texts than folds, a data set with a test set, or fractions outside their range.
    """
    if dataset.test is not None:
        raise AmpmixError(f"data set {dataset.name!r} has a test set: it needs no cross-validation")
    if folds < 2:
        raise AmpmixError(
            f"folds is {folds}: without a test set at least 2 seeds are needed, one per fold: "
            "raise --seeds or give a test set (--test FILE of ampmix compare)"
        )
    if not 0 <= fold < folds:
        raise AmpmixError(f"fold is {fold}: with {folds} folds it must be 0 to {folds - 1}")
    labels = dataset.train.labels
    counts = np.bincount(labels, minlength=len(dataset.classes))
    smallest = int(np.argmin(counts))
    if counts[smallest] < folds:
        raise AmpmixError(
            f"class {dataset.classes[smallest]!r} has {counted(int(counts[smallest]), 'text')}: "
            f"cross-validation with {folds} folds needs at least {folds} of each class; "
            "use fewer --seeds (one fold each), merge or remove that class, or give a test set "
            "(--test FILE of ampmix compare)"
        )
    # Dealing the shuffled classes out one after the other balances folds and classes at once.
    order = np.concatenate(_shuffled_classes(labels, np.arange(len(labels)), seed, "folds"))
    fold_of = np.empty(len(labels), dtype=np.int64)
    fold_of[order] = np.arange(len(labels)) % folds
    rest, test = np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)
    purpose = f" of fold {fold} of {folds}"
    split = _split(dataset, rest, dataset.train, test, seed, purpose, fraction, dev_fraction)
    return replace(split, fold=fold, folds=folds)


def _split(
    dataset: TextDataset,
    pool: Integers,
    tested: Examples,
    test: Integers,
    seed: int,
    purpose: str,
    fraction: float,
    dev_fraction: float,
) -> Split:
    """Keep `fraction` of the training texts in `pool` and find the development set."""
    labels = dataset.train.labels
    share = _fraction("fraction", fraction)
    shuffled = _shuffled_classes(labels, pool, seed, "fraction" + purpose)
    train = np.sort(np.concatenate([own[: max(1, int(len(own) * share))] for own in shuffled]))
    if dataset.dev is not None:
        source, dev = dataset.dev, np.arange(len(dataset.dev))
    else:
        source, kept = dataset.train, train
        shuffled = _shuffled_classes(labels, kept, seed, "dev" + purpose)
        sizes = _dev_sizes([len(own) for own in shuffled], dev_fraction, dataset)
        parts = [own[:size] for own, size in zip(shuffled, sizes, strict=True)]
        dev = np.sort(np.concatenate(parts))
        train = np.setdiff1d(kept, dev)
    return Split(
        dataset=dataset.name,
        title=dataset.title,
        classes=dataset.classes,
        tokenizer=dataset.tokenizer,
        train=dataset.train.take(train),
        dev=source.take(dev),
        test=tested.take(test),
        train_indices=train,
        dev_indices=dev,
        test_indices=test,
        data_hash=dataset.fingerprint,
    )


def _shuffled_classes(labels: Integers, pool: Integers, seed: int, purpose: str) -> list[Integers]:
    """The indices in `pool` of each class that occurs, shuffled, in the order of the classes."""
    rng = numpy_stream(seed, purpose)
    own = labels[pool]
    return [rng.permutation(pool[own == label]) for label in np.unique(own)]


def _dev_sizes(counts: list[int], dev_fraction: float, dataset: TextDataset) -> list[int]:
    """Texts of each class for development: largest remainders, one of each class stays behind."""
    share = _fraction("dev_fraction", dev_fraction)
    if share == 1:
        raise AmpmixError("dev_fraction is 1.0: it must be below 1, or nothing is left to train on")
    sizes = [min(int(count * share), count - 1) for count in counts]
    total = max(1, int(sum(counts) * share + Fraction(1, 2)))
    by_remainder = sorted(range(len(counts)), key=lambda c: (sizes[c] - counts[c] * share, c))
    for c in by_remainder:
        if sum(sizes) < total and sizes[c] < counts[c] - 1:
            sizes[c] += 1
    if not any(sizes):
        raise AmpmixError(
            f"data set {dataset.name!r} is too small to split: every class, such as "
            f"{dataset.classes[0]!r}, keeps {counted(counts[0], 'text')} for training, and a "
            "development set needs at least 2 of one class; add texts, keep more labels or give "
            "--dev FILE"
        )
    return sizes


def _fraction(what: str, value: float) -> Fraction:
    """`value` as the decimal number that was written: 0.29 * 100 is 29, not 28.999999999999996."""
    if not 0 < value <= 1:
        raise AmpmixError(f"{what} is {value}: it must be above 0 and at most 1")
    return Fraction(repr(float(value)))
