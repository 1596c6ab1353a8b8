"""Labelled texts and how they are split into training, development and test parts.

Protocol of the AMP paper (section 4.1): a given test set, or cross-validation without one; a given
development set, or a random 10 % of the training part. Every draw is stratified and comes from a
stream of its own (`ampmix._support.random_streams`), so that one seed gives all policies the same
split.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from functools import lru_cache

import numpy as np

from ampmix._support.random_streams import numpy_stream
from ampmix._support.wording import counted
from ampmix.data.dataset import Examples, Integers, Split, TextDataset
from ampmix.data.groups import group_folds
from ampmix.data.unlabelled import unlabelled_of
from ampmix.errors import AmpmixError


def texts_kept(dataset: TextDataset, fraction: float) -> int:
    """Return about how many training texts a fraction keeps; 0 for one that splits refuse.

    >>> part = Examples(("a", "b") * 10, [0, 1] * 10)
    >>> texts_kept(TextDataset("toy", ("A", "B"), train=part), 0.5)
    10
    """
    return round(len(dataset.train) * fraction) if 0 < fraction <= 1 else 0


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


def split_all(dataset: TextDataset, seed: int = 0, fraction: float = 1.0) -> Split:
    """Split nothing off: training and development texts are all to learn from, none to test on.

    `fraction` keeps the texts that `split_holdout` keeps.

    >>> part = Examples(("a", "b") * 10, [0, 1] * 10)
    >>> split = split_all(TextDataset("toy", ("A", "B"), train=part))
    >>> len(split.train), len(split.dev), len(split.test)
    (20, 0, 0)
    """
    everything = np.arange(len(dataset.train))
    nothing = everything[:0]
    split = _split(dataset, everything, dataset.train, nothing, seed, "", fraction, 0.1)
    merged = Examples(
        split.train.texts + split.dev.texts,
        np.concatenate([split.train.labels, split.dev.labels]),
    )
    return replace(split, train=merged, dev=merged.take([]), dev_indices=nothing)


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

    A class with fewer texts than folds is tested in some of them only, and has no text to train on
    in the fold that tests its last one (:func:`rare_notes`). Groups stay whole
    (:func:`ampmix.data.groups.group_folds`); sizes differ by more then.

    Raises AmpmixError for fewer than two folds, a fold that does not exist, fewer texts or groups
    than folds, a data set with a test set, or fractions outside their range.
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
    if len(dataset.train) < folds:
        raise AmpmixError(
            f"data set {dataset.name!r} has {counted(len(dataset.train), 'text')}: cross-"
            f"validation with {folds} folds needs at least {folds}; use fewer --seeds, or give a "
            "test set (--test FILE of ampmix compare)"
        )
    fold_of = _folds(dataset, folds, seed)
    rest, test = np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)
    purpose = f" of fold {fold} of {folds}"
    split = _split(dataset, rest, dataset.train, test, seed, purpose, fraction, dev_fraction)
    return replace(split, fold=fold, folds=folds)


@lru_cache(maxsize=4)
def _folds(dataset: TextDataset, folds: int, seed: int) -> Integers:
    """Return the fold of each training text; all runs of a repeat ask for the same."""
    if dataset.groups is not None:
        return group_folds(dataset, folds, seed)
    # Dealing the shuffled classes out one after the other balances folds and classes at once.
    labels = dataset.train.labels
    order = np.concatenate(_shuffled_classes(labels, np.arange(len(labels)), seed, "folds"))
    fold_of = np.empty(len(labels), dtype=np.int64)
    fold_of[order] = np.arange(len(labels)) % folds
    fold_of.flags.writeable = False  # it is everybody's
    return fold_of


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
    kept = np.sort(np.concatenate([own[: max(1, int(len(own) * share))] for own in shuffled]))
    if dataset.dev is not None:
        source, dev, train = dataset.dev, np.arange(len(dataset.dev)), kept
    else:
        source = dataset.train
        shuffled = _shuffled_classes(labels, kept, seed, "dev" + purpose)
        sizes = _dev_sizes([len(own) for own in shuffled], dev_fraction, dataset)
        if dataset.groups is None:
            parts = [own[:size] for own, size in zip(shuffled, sizes, strict=True)]
            dev = np.sort(np.concatenate(parts))
        else:
            dev = _grouped_dev(dataset, kept, shuffled, sizes)
        train = np.setdiff1d(kept, dev)
    held = (*source.take(dev).texts, *tested.take(test).texts)
    left = np.setdiff1d(pool, kept)
    if dataset.groups is not None and source is dataset.train:  # as near as equal texts are
        left = left[~np.isin(dataset.groups[left], dataset.groups[dev])]
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
        columns=dataset.columns,
        pool=dataset.texts,
        unlabelled=unlabelled_of(dataset, left, held),
        language=dataset.language,
        dev_given=dataset.dev is not None,
    )


def _grouped_dev(
    dataset: TextDataset, kept: Integers, shuffled: list[Integers], sizes: list[int]
) -> Integers:
    """Draw whole groups for development until each class has about its share.

    Args:
        dataset: with groups.
        kept: texts to draw from.
        shuffled: these by class, in the order in which their groups are drawn.
        sizes: texts wanted of each class.
    """
    labels, groups = dataset.train.labels, dataset.groups
    assert groups is not None
    counts = np.bincount(labels[kept], minlength=len(dataset.classes))
    taken = np.zeros_like(counts)
    order = kept[np.argsort(groups[kept], kind="stable")]
    first = np.unique(groups[order], return_index=True)
    members = dict(zip(first[0].tolist(), np.split(order, first[1][1:]), strict=True))
    chosen: list[Integers] = []
    for own, size in zip(shuffled, sizes, strict=True):
        label = int(labels[own[0]])
        for group in dict.fromkeys(groups[own].tolist()):
            if taken[label] >= size:
                break
            if group not in members:
                continue
            more = np.bincount(labels[members[group]], minlength=len(counts))
            fits = taken[label] + more[label] <= size or not taken[label]
            if fits and (taken + more < counts)[more > 0].all():
                chosen.append(members.pop(group))
                taken += more
    if not chosen:
        raise AmpmixError(
            f"data set {dataset.name!r} cannot give a development set: each of its groups holds "
            "all texts of a class; give a development set"
        )
    return np.sort(np.concatenate(chosen))


def rare_notes(dataset: TextDataset, folds: int) -> list[str]:
    """Return a sentence on classes with fewer texts than folds, or with a single one.

    Args:
        dataset: whose training texts are counted.
        folds: of cross-validation; 0 where there is none.
    """
    folds = 0 if dataset.test is not None else folds
    counts = np.bincount(dataset.train.labels, minlength=len(dataset.classes)).tolist()
    least = max(folds, 2)
    rare = [(name, n) for name, n in zip(dataset.classes, counts, strict=True) if n < least]
    if not rare or max(counts) < 5:
        return []
    if not folds:
        shown = ", ".join(f"{name!r}" for name, _ in rare[:5]) + ", ..." * (len(rare) > 5)
        number = counted(len(rare), "class has", "classes have")
        return [f"{number} one training text only: {shown}; see that it is meant as a class"]
    shown = ", ".join(f"{name!r} ({n})" for name, n in rare[:5]) + ", ..." * (len(rare) > 5)
    return [
        f"{counted(len(rare), 'class has', 'classes have')} fewer texts than the {folds} folds: "
        f"{shown}; some folds do not test them, or train without them (--rare merge puts rare "
        "classes together, --rare drop leaves them out)"
    ]


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
