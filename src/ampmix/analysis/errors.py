"""Errors of models on texts they had not seen: mislabelled texts, confused classes, abstention."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ampmix._support.extras import needed
from ampmix.data.groups import hashes_of
from ampmix.statistics.selective import kept_at, risk_coverage

COVERAGE = 0.8  # share of the texts that a sentence on abstention is about
Floats = npt.NDArray[np.floating[Any]]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Errors:
    """Findings on texts that models were tested on. Texts are named by their index.

    Attributes:
        model: whose probabilities are looked at.
        models: all models that were asked.
        texts: how many texts have a prediction.
        mislabelled: likely mislabelled texts, the likeliest first (:func:`label_issues`).
        all_wrong: texts that every model gets wrong.
        confused: pairs of classes (:func:`confused_pairs`).
        conflicts: equal texts with unlike labels (:func:`conflicts`).
        kept_error: error, a fraction, on the texts that the model is surest of.
        coverage: their share of the texts.
    """

    model: str
    models: tuple[str, ...]
    texts: int
    mislabelled: tuple[int, ...]
    all_wrong: tuple[int, ...]
    confused: tuple[dict[str, Any], ...]
    conflicts: tuple[tuple[int, ...], ...]
    kept_error: float
    coverage: float

    def as_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)


def errors(
    texts: Sequence[str], labels: Integers, probabilities: Mapping[str, Floats], model: str
) -> Errors:
    """Look for what is behind the errors of models.

    Args:
        texts: n texts.
        labels: class of each, ``[n]``.
        probabilities: model to the probability of each class, ``[n, classes]``, by models that had
            not seen the text; NaN where there is none.
        model: whose probabilities decide.

    Raises:
        AmpmixError: if the library cleanlab is not installed.
    """
    own = probabilities[model]
    known = np.flatnonzero(~np.isnan(own[:, 0]))
    wrong = np.ones(len(labels), bool)
    for table in probabilities.values():
        wrong &= ~np.isnan(table[:, 0]) & (table.argmax(1) != labels)
    curve = risk_coverage(own[known], labels[known])
    at = kept_at(curve, COVERAGE)
    return Errors(
        model,
        tuple(probabilities),
        len(known),
        tuple(known[label_issues(own[known], labels[known])].tolist()),
        tuple(np.flatnonzero(wrong).tolist()),
        confused_pairs(own, labels),
        conflicts(texts, labels),
        float(curve.risk[at]),
        float(curve.coverage[at]),
    )


def mean_probabilities(
    parts: Sequence[tuple[Integers, Floats]], texts: int, classes: int
) -> npt.NDArray[np.float64]:
    """Average the probabilities of each text over the runs that tested it, ``[texts, classes]``.

    Args:
        parts: of each run, the indices of its test texts and their probabilities.
        texts: rows of the table; a text that no run tested has NaN.
        classes: columns of the table.

    >>> mean_probabilities([(np.array([0]), np.array([[0.2, 0.8]]))], 1, 2).tolist()
    [[0.2, 0.8]]
    """
    total, count = np.zeros((texts, classes)), np.zeros((texts, 1))
    for indices, table in parts:
        total[indices] += table / table.sum(1, keepdims=True)
        count[indices] += 1
    return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)


def label_issues(probabilities: Floats, labels: Integers) -> Integers:
    """Find likely mislabelled texts by confident learning (Northcutt et al. 2021), likeliest first.

    The library cleanlab does it: confident learning estimates how many labels are wrong, and as
    many texts are listed, those whose given label has the lowest probability (self-confidence). Of
    labels flipped at random this list finds more at its top than cleanlab's default, which prunes
    by pairs of classes, and it holds fewer right ones (``benchmarks/label_errors.py``).

    Raises:
        AmpmixError: if cleanlab is not installed.
    """
    found = needed("cleanlab.filter", "errors").find_label_issues(
        labels,
        probabilities,
        return_indices_ranked_by="self_confidence",
        filter_by="low_self_confidence",
        n_jobs=1,
    )
    return np.asarray(found, np.int64)


def confused_pairs(probabilities: Floats, labels: Integers) -> tuple[dict[str, Any], ...]:
    """Count errors by label and predicted class, the most frequent first, with their texts.

    The texts of a pair are in falling probability of the predicted class; a row of NaN is left out.
    """
    pairs: dict[tuple[int, int], list[int]] = defaultdict(list)
    predicted = probabilities.argmax(1)
    known = ~np.isnan(probabilities[:, 0])
    for i in np.flatnonzero(known & (predicted != labels)).tolist():
        pairs[int(labels[i]), int(predicted[i])].append(i)
    return tuple(
        {
            "label": label,
            "predicted": other,
            "texts": sorted(own, key=lambda i, c=other: -probabilities[i, c]),  # type: ignore[misc]
        }
        for (label, other), own in sorted(pairs.items(), key=lambda pair: -len(pair[1]))
    )


def conflicts(texts: Sequence[str], labels: Integers) -> tuple[tuple[int, ...], ...]:
    """Find equal texts with unlike labels: groups of indices. Case and blanks make no difference.

    >>> conflicts(["A film", "a  film", "a book"], np.array([0, 1, 0]))
    ((0, 1),)
    """
    equal: dict[int, list[int]] = defaultdict(list)
    for i, key in enumerate(hashes_of(texts).tolist()):
        equal[key].append(i)
    return tuple(tuple(own) for own in equal.values() if len(set(labels[own].tolist())) > 1)
