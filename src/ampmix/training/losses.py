"""The training loss: cross-entropy, with weighted classes or smoothed labels on request."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ampmix.mixing import Loss, cross_entropy


def balanced_weights(labels: npt.NDArray[np.int64], classes: int) -> npt.NDArray[np.float64]:
    """Return weights by which all classes that occur count alike, ``n / (C n_c)``.

    C is the number of classes that occur, so that the examples' mean weight is 1 and the loss keeps
    its scale; a class without an example weighs nothing.

    Args:
        labels: class indices of the training part alone, int64 [n].
        classes: how many classes there are.

    Returns:
        float64 [classes].

    >>> balanced_weights(np.array([0, 0, 0, 1]), 3).tolist()
    [0.6666666666666666, 2.0, 0.0]
    """
    counts = np.bincount(labels, minlength=classes)
    present = counts > 0
    return np.where(present, len(labels) / (present.sum() * np.maximum(counts, 1)), 0.0)


@dataclass(frozen=True, eq=False)
class TrainingLoss:
    """Cross-entropy of each example with weighted classes or smoothed labels.

    Args:
        weights: of the classes, ``[C]``; None for equal ones.
        smoothing: see :func:`ampmix.mixing.cross_entropy`.
    """

    weights: Tensor | None = None
    smoothing: float = 0.0

    def __call__(self, logits: Tensor, y: Tensor) -> Tensor:
        """Return the losses ``[..., B]`` of logits ``[..., B, C]``."""
        return cross_entropy(logits, y, weights=self.weights, smoothing=self.smoothing)


def training_loss(
    labels: npt.NDArray[np.int64],
    classes: int,
    class_weights: str = "none",
    smoothing: float = 0.0,
    device: torch.device | str = "cpu",
) -> Loss:
    """Return the training loss of each example, for a policy's ``loss=``.

    Policies interpolate the losses of an example and its partner, each with the weight of its own
    class. (Weighing a mixed label as PyTorch weighs soft targets is the same; only dividing by the
    sum of the weights, as its mean over class indices does, would not be.)

    Args:
        labels: class indices of the training part, int64 [n].
        classes: how many classes there are.
        class_weights: ``none``, or ``balanced`` (:func:`balanced_weights`).
        smoothing: see :func:`ampmix.mixing.cross_entropy`.
        device: where the logits will be.

    >>> training_loss(np.array([0, 1]), 2) is cross_entropy
    True
    """
    weights = None
    if class_weights == "balanced":
        weights = torch.as_tensor(balanced_weights(labels, classes), device=device)
    if weights is None and not smoothing:
        return cross_entropy  # itself, which policies with a loss of their own can tell
    return TrainingLoss(weights, smoothing)
