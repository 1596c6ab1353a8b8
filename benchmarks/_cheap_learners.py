"""Text classifiers whose cross-validation is a formula: thousands of studies on one core.

Each takes a `Draw` of n texts and the folds of R repeats, and gives the out-of-fold errors
``[R, n]``. A run is one fold of one repeat.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve, lapack
from scipy.sparse import csr_matrix

Array = npt.NDArray[np.float64]
Wrong = npt.NDArray[np.bool_]

FEATURES = 2**12


@dataclass(frozen=True)
class Pool:
    """The texts that studies are drawn from, as counts of hashed words.

    Attributes:
        counts: ``[N, FEATURES]``.
        labels: ``[N]``.
    """

    counts: csr_matrix
    labels: npt.NDArray[np.int64]

    @classmethod
    def read(cls, path: Path) -> Pool:
        """Read a file of lines ``LABEL TEXT``; each text once."""
        from sklearn.feature_extraction.text import HashingVectorizer

        lines = path.read_text(encoding="latin1").split("\n")
        rows = dict(line.split(" ", 1)[::-1] for line in lines if line.strip())
        hashed = HashingVectorizer(
            n_features=FEATURES, alternate_sign=False, norm=None, token_pattern=r"\S+"
        )
        counts = csr_matrix(hashed.transform(rows))
        return cls(counts, np.array([int(label) for label in rows.values()]))


class Draw:
    """A study's texts and folds, with what its learners share.

    Args:
        pool: where the texts are from.
        indices: which they are, ``[n]``.
        folds: fold of each text in each repeat, ``[R, n]``, from 0.
        rng: for what differs between runs.
        blurred: from which text on each loses a fifth of its words; None for none.
    """

    def __init__(
        self,
        pool: Pool,
        indices: npt.NDArray[Any],
        folds: npt.NDArray[Any],
        rng: Any,
        blurred: int | None = None,
    ) -> None:
        counts = pool.counts[indices]
        if blurred is not None:
            own = np.arange(len(counts.data)) >= counts.indptr[blurred]
            counts.data[own & (rng.random(len(own)) < 0.2)] = 0
            counts.eliminate_zeros()
        self.counts = counts[:, np.unique(counts.indices)]  # words that occur
        self.labels = pool.labels[indices]
        self.folds, self.rng = folds, rng
        self.k = int(folds.max()) + 1
        self.targets = np.where(self.labels[:, None] == np.arange(pool.labels.max() + 1), 1.0, -1.0)
        # of this draw alone: a cache of the class would keep every draw of a world
        self.tables = cache(self._tables)
        self.log_likelihoods = cache(self._log_likelihoods)

    @cached_property
    def gram(self) -> Array:
        """Products of the normalised texts, and 1 for the constant, ``[n, n]``."""
        return np.asarray((self._even @ self._even.T).toarray()) + 1.0

    @cached_property
    def _even(self) -> csr_matrix:
        return _normalised(self.counts)

    def _tables(self, even: bool) -> Array:
        """Counts of words by training set and class, ``[words, R * K, C]``; `even`: lengths 1."""
        repeats, n = self.folds.shape
        of_class = (self.targets > 0).astype(float)
        held_out = np.zeros((n, repeats, self.k))
        held_out[np.arange(n)[:, None], np.arange(repeats), self.folds.T] = 1
        learned = (1 - held_out.reshape(n, -1))[:, :, None] * of_class[:, None, :]
        flat = np.asarray(self.words(even).T @ learned.reshape(n, -1))
        return flat.reshape(len(flat), repeats * self.k, -1)

    def words(self, even: bool) -> csr_matrix:
        """Counts, or the same with every text of length 1."""
        return self._even if even else self.counts

    def _log_likelihoods(self, smoothing: float, even: bool) -> Array:
        """Logarithms of the words' smoothed shares, as :meth:`_tables`."""
        counts = self.tables(even) + smoothing
        return np.asarray(np.log(counts) - np.log(counts.sum(axis=0)))

    def errors(self, scores: Array) -> Wrong:
        """Where scores ``[R, n, C]`` name the wrong class."""
        return np.asarray(scores.argmax(axis=2) != self.labels)


Learner = Callable[[Draw], Wrong]


def ridge(penalty: float) -> Learner:
    """Ridge regression on the classes: the residuals of a fold are ``G_TT^-1 (G Y)_T``."""

    def learn(draw: Draw) -> Wrong:
        inverse = lapack.dpotri(cho_factor(draw.gram + penalty * np.eye(len(draw.gram)))[0])[0]
        inverse = np.triu(inverse) + np.triu(inverse, 1).T
        coefficients = inverse @ draw.targets
        scores = np.empty((*draw.folds.shape, draw.targets.shape[1]))
        for repeat, folds in enumerate(draw.folds):
            for fold in range(draw.k):
                test = np.flatnonzero(folds == fold)
                block = cho_factor(inverse[np.ix_(test, test)])
                residual = cho_solve(block, coefficients[test])
                scores[repeat, test] = draw.targets[test] - residual
        return draw.errors(scores)

    return learn


def naive_bayes(share: float = 1.0, smoothing: float = 0.5, even: bool = False) -> Learner:
    """Multinomial naive Bayes, on a random `share` of the words in each run.

    `even` gives each text the length 1: with smoothing of 1 the classes' shares in the training
    set then move the errors on all texts.
    """

    def learn(draw: Draw) -> Wrong:
        weights = draw.log_likelihoods(smoothing, even)
        if share < 1:
            weights = weights * (draw.rng.random(weights.shape[:2]) < share)[:, :, None]
        scores = np.asarray(draw.words(even) @ weights.reshape(len(weights), -1))
        runs = draw.k * np.arange(len(draw.folds))[:, None] + draw.folds
        return draw.errors(
            scores.reshape(len(draw.labels), runs.max() + 1, -1)[np.arange(len(draw.labels)), runs]
        )

    return learn


def nearest(draw: Draw) -> Wrong:
    """The label of the training text that shares most words."""
    wrong = np.empty(draw.folds.shape, bool)
    for repeat, folds in enumerate(draw.folds):
        near = np.where(folds[:, None] == folds, -np.inf, draw.gram).argmax(axis=1)
        wrong[repeat] = draw.labels[near] != draw.labels
    return wrong


def _normalised(counts: csr_matrix) -> csr_matrix:
    lengths = np.sqrt(counts.multiply(counts).sum(axis=1)).A1
    scaled = counts.astype(np.float64).copy()
    scaled.data /= np.repeat(np.maximum(lengths, 1e-9), np.diff(counts.indptr))
    return scaled
