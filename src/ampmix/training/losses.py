"""The training loss: cross-entropy, with weighted classes or smoothed labels on request."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ampmix.errors import AmpmixError
from ampmix.mixing import Loss, cross_entropy
from ampmix.policies.base import Mixed


def balanced_weights(
    labels: npt.NDArray[np.int64], classes: int, weights: npt.NDArray[np.float64] | None = None
) -> npt.NDArray[np.float64]:
    """Return weights by which all classes that occur count alike, ``n / (C n_c)``.

    C is the number of classes that occur, so that the examples' mean weight is 1 and the loss keeps
    its scale; a class without an example weighs nothing.

    Args:
        labels: class indices of the training part alone, int64 [n].
        classes: how many classes there are.
        weights: of the examples, > 0, ``[n]``, by which they are counted; None for equal ones.

    Returns:
        float64 [classes].

    >>> balanced_weights(np.array([0, 0, 0, 1]), 3).tolist()
    [0.6666666666666666, 2.0, 0.0]
    """
    counts = np.bincount(labels, weights, minlength=classes)
    present = counts > 0
    return np.where(present, counts.sum() / (present.sum() * np.where(present, counts, 1)), 0.0)


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


def sample_weights(given: npt.ArrayLike | None, n: int) -> npt.NDArray[np.float64] | None:
    """Return the weights of n training texts with mean 1; None if there are none or all are equal.

    Args:
        given: numbers above 0, ``[n]``.
        n: how many there must be.

    Raises:
        AmpmixError: for other numbers, or more or fewer.

    >>> sample_weights([1, 3], 2).tolist(), sample_weights([2, 2], 2)
    ([0.5, 1.5], None)
    """
    if given is None:
        return None
    weights = np.asarray(given, dtype=np.float64)
    if weights.shape != (n,):
        raise AmpmixError(f"weights of shape {list(weights.shape)} for {n} texts: give one each")
    if not (np.isfinite(weights) & (weights > 0)).all():
        odd = weights[~(np.isfinite(weights) & (weights > 0))][0]
        raise AmpmixError(f"a weight is {odd:g}: each must be a number above 0")
    return None if (weights == weights[0]).all() else weights / weights.mean()


def weighted(mixed: Mixed, weights: Tensor) -> Tensor:
    """Return the losses of a batch, each as often as its texts stand for copies.

    A pair (i, j) counts ``w_i w_j`` times, ``L_i = w_i w_j l_i(lam)``: of copies of the texts so
    many such pairs could be drawn. A text that is not mixed, or with itself, counts ``w_i`` times.
    So lam, MaxOp and MinOp are what they are without weights.

    Args:
        mixed: what a policy made of the batch.
        weights: of its texts, ``[..., B]``.

    Returns:
        ``[..., B]``.
    """
    own = torch.arange(weights.size(-1), device=weights.device)
    partners = weights.gather(-1, mixed.perm).masked_fill(mixed.perm == own, 1.0)
    return mixed.loss * weights * partners


def training_loss(
    labels: npt.NDArray[np.int64],
    classes: int,
    class_weights: str = "none",
    smoothing: float = 0.0,
    device: torch.device | str = "cpu",
    weights: npt.NDArray[np.float64] | None = None,
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
        weights: of the examples, by which balanced classes are counted (:func:`balanced_weights`).

    >>> training_loss(np.array([0, 1]), 2) is cross_entropy
    True
    """
    of_classes = None
    if class_weights == "balanced":
        of_classes = torch.as_tensor(balanced_weights(labels, classes, weights), device=device)
    if of_classes is None and not smoothing:
        return cross_entropy  # itself, which policies with a loss of their own can tell
    return TrainingLoss(of_classes, smoothing)
