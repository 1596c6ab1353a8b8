"""Temperature scaling: how sure a model should be, from what it said of texts it had not seen."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

LEAST, MOST = 0.05, 20.0
"""Temperatures that are tried."""


def temperature(probabilities: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """The T that minimises the cross-entropy of ``softmax(log p / T)`` (Guo et al., 2017).

    Above 1 the model was too sure, below 1 not sure enough. The class that it names stays the same.

    Args:
        probabilities: of the classes for texts that the model had not seen, ``[n, C]``.
        labels: their classes, ``[n]``.

    Returns:
        T within [0.05, 20].

    Raises:
        ValueError: no texts, or shapes that do not fit.

    >>> temperature([[0.99, 0.01]] * 4, [0, 0, 0, 1]) > 3
    True
    """
    p, y = np.asarray(probabilities, float), np.asarray(labels)
    if p.ndim != 2 or y.shape != p.shape[:1] or not len(y):
        raise ValueError(f"probabilities of shape {p.shape} with labels of shape {y.shape}")
    logits = _logits(p)

    def loss(log_t: float) -> float:
        scaled = logits / np.exp(log_t)
        right = np.take_along_axis(scaled, y[:, None], 1)[:, 0]
        return float((logsumexp(scaled, axis=1) - right).mean())

    found = minimize_scalar(loss, bounds=(np.log(LEAST), np.log(MOST)), method="bounded")
    return float(np.exp(found.x)) if loss(found.x) < loss(0.0) else 1.0


def calibrated(probabilities: npt.ArrayLike, temperature: float) -> npt.NDArray[np.float64]:
    """``softmax(log p / T)``, ``[n, C]``.

    >>> calibrated([[0.8, 0.2]], 2.0).round(3).tolist()
    [[0.667, 0.333]]
    """
    scaled = _logits(np.asarray(probabilities, float)) / temperature
    return np.asarray(np.exp(scaled - logsumexp(scaled, axis=1, keepdims=True)))


def _logits(p: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.log(np.maximum(p, 1e-7))
