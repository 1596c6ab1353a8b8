"""Error of a model that leaves the texts it is least sure of to a person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ampmix.statistics.selective import kept_at, risk_coverage

SHARES = tuple(range(50, 101, 5))  # of the texts that are kept, in percent
QUOTED = 80  # that a sentence tells of


def abstention(
    probabilities: npt.NDArray[np.floating[Any]], labels: npt.NDArray[np.int64]
) -> list[dict[str, float]]:
    """Points of the error against the share of texts kept, in percent, from half of them to all.

    Args:
        probabilities: of the classes for texts that the model had not seen, ``[n, C]``.
        labels: their classes, ``[n]``.

    Returns:
        For each share: ``coverage``, the ``error`` on it, and the ``confidence``, the probability
        of the likeliest class from which on a text is kept. Shares that no threshold tells apart
        are one point.
    """
    curve = risk_coverage(probabilities, labels)
    points = dict.fromkeys(kept_at(curve, share / 100) for share in SHARES)
    return [
        {
            "coverage": 100 * float(curve.coverage[i]),
            "error": 100 * float(curve.risk[i]),
            "confidence": float(curve.confidence[i]),
        }
        for i in points
    ]


def abstention_sentence(points: Sequence[Mapping[str, float]]) -> str:
    """Say what leaving a fifth of the texts to a person brings; "" without points."""
    if len(points) < 2:
        return ""
    point = min(points, key=lambda one: abs(one["coverage"] - QUOTED))
    return (
        f"On the {point['coverage']:.0f} % of texts that it is surest of (probability "
        f"{_floor(point['confidence']):.3f} or more) it errs on {point['error']:.1f} %, on all "
        f"of them on {points[-1]['error']:.1f} %."
    )


def _floor(probability: float) -> float:
    """A probability cut after three digits: rounded up it would leave out what was kept."""
    return int(1000 * probability) / 1000
