"""Second opinions on cross-validation against loops, and on how often they cover."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from ampmix.errors import AmpmixError
from ampmix.statistics import nested_interval, per_text_interval


def test_per_text_is_the_textbook_interval_of_texts():
    rng = np.random.default_rng(0)
    wrong, other = (rng.random((2, 3, 50)) < 0.4).astype(float)
    of_texts = [sum(wrong[r][i] - other[r][i] for r in range(3)) / 3 for i in range(50)]
    expected = stats.norm.interval(0.9, np.mean(of_texts), stats.sem(of_texts))
    assert per_text_interval(wrong, other, 0.9) == pytest.approx(expected)


@pytest.mark.parametrize("shift", [0.0, 0.3])
def test_nested_is_that_of_the_paper_by_loops(shift):
    rng = np.random.default_rng(1)
    outer = [rng.standard_normal(6) + shift * f for f in range(4)]
    inner = [rng.standard_normal(18) for _ in range(4)]
    terms = []
    for a, b in zip(outer, inner, strict=True):
        gap = sum(b) / 18 - sum(a) / 6
        terms.append(gap**2 - sum((x - sum(a) / 6) ** 2 for x in a) / 5 / 6)
    every = [x for a in outer for x in a]
    alone = stats.sem(every)
    mse = max(sum(terms) / 4, 0.0)
    error = min(max(math.sqrt(3 / 4 * mse), alone), 2 * alone)
    nested = sum(x for b in inner for x in b) / 72
    middle = nested - 1.5 * (nested - sum(every) / 24)
    low, high = nested_interval(outer, inner)
    assert (low + high) / 2 == pytest.approx(middle)
    assert (high - low) / 2 == pytest.approx(1.959964 * error, rel=1e-6)


def test_nested_covers_where_folds_differ_more_than_their_texts_say():
    """A learner that predicts the mean of its training texts: errors of folds move together."""
    rng, held, naive = np.random.default_rng(2), [], []
    for _ in range(400):
        y = rng.standard_normal(40)
        folds = rng.permutation(np.arange(40) % 4)

        def errors(test, train, y=y):
            return (y[test] - 3 * y[train].mean()) ** 2

        outer = [errors(folds == f, folds != f) for f in range(4)]
        inner = [
            np.concatenate(
                [errors(folds == g, (folds != f) & (folds != g)) for g in range(4) if g != f]
            )
            for f in range(4)
        ]
        truth = 1 + 9 / 30
        low, high = nested_interval(outer, inner)
        held.append(low <= truth <= high)
        every = np.concatenate(outer)
        naive.append(abs(every.mean() - truth) <= 1.96 * stats.sem(every))
    assert np.mean(held) > np.mean(naive)


def test_refusals():
    with pytest.raises(AmpmixError, match="1 outer folds and 1 inner"):
        nested_interval([[1, 2]], [[1, 2]])
    with pytest.raises(ValueError, match="one text only"):
        nested_interval([[1], [1, 2]], [[1, 2], [1, 2]])
    with pytest.raises(AmpmixError, match="not paired"):
        per_text_interval([[1, 0]], [[1, 0, 1]])
