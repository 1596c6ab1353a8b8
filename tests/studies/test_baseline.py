"""The baseline: the optimum of its loss, whatever solver finds it, and the same every time."""

from __future__ import annotations

import itertools
import warnings
from pathlib import Path

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from ampmix import datasets
from ampmix.data.dataset import Split
from ampmix.data.splits import split_fold, split_holdout
from ampmix.studies.baseline import errors
from ampmix.text.tokenizers import TOKENIZERS

TICKETS = Path(__file__).parents[2] / "examples" / "support-tickets.csv"


def by_another_solver(split: Split) -> np.ndarray:
    """Where the model errs that L-BFGS finds at a much smaller tolerance."""
    tokenize = TOKENIZERS[split.tokenizer]
    tfidf = TfidfVectorizer(
        analyzer=lambda text: [*(w := tokenize(text)), *map(" ".join, itertools.pairwise(w))],
        sublinear_tf=True,
    )
    x = tfidf.fit_transform(split.train.texts + split.dev.texts)
    y = np.concatenate([split.train.labels, split.dev.labels])
    model = LogisticRegression(C=10.0, tol=1e-7, max_iter=10_000).fit(x, y)
    return model.predict(tfidf.transform(split.test.texts)) != split.test.labels


@pytest.mark.slow
@pytest.mark.parametrize("fold", range(3))
def test_it_is_the_optimum_on_the_example(fold: int) -> None:
    split = split_fold(datasets.load(TICKETS), fold, 5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a solver that has not converged warns
        wrong = errors(split)
    assert 0.1 < wrong.mean() < 0.5, "it knows something, and not all"
    assert (wrong != by_another_solver(split)).sum() <= 1


@pytest.mark.slow
def test_it_is_the_optimum_on_trec(trec_data: Path) -> None:
    split = split_holdout(datasets.load("trec"), 0)
    wrong = errors(split)
    assert (wrong != by_another_solver(split)).sum() <= 1


def test_it_is_the_same_every_time_and_draws_from_nobody() -> None:
    split = split_fold(datasets.load(TICKETS), 0, 5)
    np.random.seed(1)
    state = np.random.get_state()[1].copy()
    first = errors(split)
    assert np.array_equal(np.random.get_state()[1], state)
    np.random.seed(2)
    assert np.array_equal(first, errors(split))
