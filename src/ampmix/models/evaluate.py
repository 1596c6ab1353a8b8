"""Metrics of predictions: error with an interval, scores per class, calibration. No torch."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

BINS = 15
LEVEL = 0.95


@dataclass(frozen=True)
class ClassScores:
    """Scores of one class; None where a score divides by 0 (no such text, or none predicted)."""

    name: str
    precision: float | None
    recall: float | None
    f1: float | None
    support: int


@dataclass(frozen=True, eq=False, repr=False)
class Evaluation:
    """Metrics that :func:`evaluate` computes; rates are fractions.

    Attributes:
        n: texts.
        error: share misclassified.
        interval: 95 % bootstrap interval of the error.
        macro_f1: mean F1 of the classes that occur, in truth or prediction.
        calibration_error: expected calibration error, see :func:`calibration_error`.
        classes: scores of every class.
        confusion: texts of class i (row) taken for class j (column), ``[classes, classes]``.
    """

    n: int
    error: float
    interval: tuple[float, float]
    macro_f1: float
    calibration_error: float
    classes: tuple[ClassScores, ...]
    confusion: npt.NDArray[np.int64]

    def __repr__(self) -> str:
        low, high = (f"{100 * bound:.1f}" for bound in self.interval)
        return (
            f"Evaluation(error {100 * self.error:.1f} % [{low} to {high}] of {self.n:,} texts, "
            f"macro F1 {100 * self.macro_f1:.1f} %, calibration error {self.calibration_error:.3f})"
        )

    def _repr_html_(self) -> str:
        """The figures and a row a class, for a notebook."""

        def percent(value: float | None) -> str:
            return "" if value is None else f"{100 * value:.1f}"

        rows = "".join(
            f"<tr><td>{html.escape(one.name)}</td><td>{percent(one.precision)}</td>"
            f"<td>{percent(one.recall)}</td><td>{percent(one.f1)}</td><td>{one.support:,}</td></tr>"
            for one in self.classes
        )
        heads = "".join(f"<th>{head}</th>" for head in
                        ("class", "precision %", "recall %", "F1 %", "texts"))  # fmt: skip
        return (
            f"<p><strong>{html.escape(repr(self)[11:-1])}</strong></p><table><thead><tr>{heads}"
            f"</tr></thead><tbody>{rows}</tbody></table>"
        )

    def as_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self) | {"confusion": self.confusion.tolist(), "level": LEVEL, "bins": BINS}


def evaluate(
    probabilities: npt.NDArray[Any], labels: Sequence[int] | npt.NDArray[Any], names: Sequence[str]
) -> Evaluation:
    """Compare predictions with the truth.

    Args:
        probabilities: of each class, ``[n, classes]``, n >= 1.
        labels: true classes, ``[n]``.
        names: of the classes.

    >>> found = evaluate(np.array([[0.9, 0.1], [0.6, 0.4]]), [0, 1], ("ham", "spam"))
    >>> found.error, round(found.calibration_error, 2), found.confusion.tolist()
    (0.5, 0.35, [[1, 0], [1, 0]])
    """
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    truth, predicted = np.asarray(labels), probabilities.argmax(1)
    every = np.arange(len(names))
    precision, recall, f1, support = precision_recall_fscore_support(
        truth, predicted, labels=every, zero_division=np.nan
    )
    wrong = int((predicted != truth).sum())
    return Evaluation(
        n=len(truth),
        error=wrong / len(truth),
        interval=bootstrap_interval(wrong, len(truth)),
        macro_f1=float(np.nanmean(f1)),
        calibration_error=calibration_error(probabilities, truth),
        classes=tuple(
            ClassScores(name, _known(p), _known(r), _known(f), int(n))
            for name, p, r, f, n in zip(names, precision, recall, f1, support, strict=True)
        ),
        confusion=np.asarray(confusion_matrix(truth, predicted, labels=every), dtype=np.int64),
    )


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def bootstrap_interval(wrong: int, n: int, level: float = LEVEL) -> tuple[float, float]:
    """Percentile bootstrap interval of an error rate (Efron and Tibshirani, 1993, chapter 13).

    Drawing n texts with replacement, whatever their class (not stratified: new texts need not come
    in the same shares), misclassifies Binomial(n, wrong / n) of them. The quantiles of that are
    taken, as infinitely many resamples would give them, so that no seed is involved. Where nothing,
    or everything, is misclassified the bootstrap knows no spread: the outer bound is then the exact
    one of Clopper and Pearson (1934).

    >>> bootstrap_interval(10, 100)
    (0.05, 0.16)
    >>> low, high = bootstrap_interval(0, 100)
    >>> low, round(high, 3)
    (0.0, 0.036)
    """
    from scipy.stats import beta, binom

    tail = (1 - level) / 2
    if wrong == 0:
        return 0.0, float(beta.ppf(1 - tail, 1, n))
    if wrong == n:
        return float(beta.ppf(tail, n, 1)), 1.0
    low, high = binom.ppf([tail, 1 - tail], n, wrong / n) / n
    return float(low), float(high)


def calibration_error(
    probabilities: npt.NDArray[Any], labels: npt.NDArray[Any], bins: int = BINS
) -> float:
    """Expected calibration error of the top class (Guo et al., ICML 2017, equation 3).

    ``sum_b n_b / n |accuracy_b - confidence_b|`` over `bins` bins of equal width in the probability
    of the predicted class, each open below and closed above.

    Args:
        probabilities: of each class, ``[n, classes]``.
        labels: true classes, ``[n]``.
        bins: how many.
    """
    confidence = probabilities.max(1).astype(np.float64)
    right = probabilities.argmax(1) == labels
    at = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    gaps = np.bincount(at, weights=right - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(confidence))
