"""Selective prediction: the error that is left where a model may abstain."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt


class RiskCoverage(NamedTuple):
    """Error against coverage, from the surest text on.

    Attributes:
        coverage: rising shares of the texts that are kept, ``[k]``.
        risk: error on each share, a fraction, ``[k]``.
        confidence: the least sureness that is kept, ``[k]``.
    """

    coverage: npt.NDArray[np.float64]
    risk: npt.NDArray[np.float64]
    confidence: npt.NDArray[np.float64]


def risk_coverage(
    probabilities: npt.NDArray[np.floating[Any]], labels: npt.NDArray[np.int64]
) -> RiskCoverage:
    """Return error against coverage where the model abstains on the texts it is least sure of.

    Sureness is the largest probability (El-Yaniv and Wiener 2010; Geifman and El-Yaniv 2017).
    Texts it is equally sure of are kept or left together, so their order has no say.

    Args:
        probabilities: of the classes for texts that the model had not seen, ``[n, C]``.
        labels: their classes, ``[n]``.

    >>> curve = risk_coverage(np.array([[0.9, 0.1], [0.4, 0.6]]), np.array([0, 0]))
    >>> curve.coverage.tolist(), curve.risk.tolist(), curve.confidence.tolist()
    ([0.5, 1.0], [0.0, 0.5], [0.9, 0.6])
    """
    sure = probabilities.max(1).astype(float)
    order = np.argsort(-sure, kind="stable")
    wrong = (probabilities.argmax(1) != labels)[order]
    last = np.append(np.diff(sure[order]) != 0, True)
    kept = np.arange(1, len(sure) + 1)
    return RiskCoverage(
        (kept / len(sure))[last], (np.cumsum(wrong) / kept)[last], sure[order][last]
    )


def kept_at(curve: RiskCoverage, coverage: float) -> int:
    """The index of the largest share that is not above `coverage`; of the smallest, if none is.

    >>> kept_at(RiskCoverage(np.array([0.5, 1.0]), np.zeros(2), np.zeros(2)), 0.8)
    0
    """
    return max(0, int(np.searchsorted(curve.coverage, coverage + 1e-9, side="right")) - 1)
