"""Distances between the class probabilities of several passes of f."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ampmix._torch.compiling import uncompiled
from ampmix.errors import AmpmixError


@uncompiled
def log_probabilities(logits: Tensor, y: Tensor, shape: torch.Size, policy: str) -> Tensor:
    """Log-probabilities of the classes, at least in float32, ``[..., B, C]``.

    Raises as :func:`check_classes`.
    """
    check_classes(logits, y, shape, policy)
    return logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(-1)


@uncompiled
def check_classes(logits: Tensor, y: Tensor, shape: torch.Size, policy: str) -> None:
    """Check that a policy is used to classify.

    Raises:
        AmpmixError: unless the logits are those of two classes or more, and the targets say which
            one it is, or how probable each.
    """
    if logits.shape[:-1] != shape or logits.shape[-1] < 2:
        raise AmpmixError(
            f"policy {policy} works on probabilities of classes, and f gives outputs of shape "
            f"{list(logits.shape)} for a batch of {list(shape)}: it needs two classes or more"
        )
    if y.is_floating_point():
        fits = y.dim() == logits.dim() and y.shape[-1] == logits.shape[-1]
        whole = fits and bool(((y.sum(-1) - 1).abs() < 1e-2).all())
        if not whole:
            raise AmpmixError(
                f"policy {policy} works on probabilities of classes, and was given targets of "
                f"{y.dtype} that are none: give class indices, or probabilities that sum to 1"
            )


def kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    """Kullback-Leibler divergence ``sum_c p_c (log p_c - log q_c)`` in nats, ``[..., B]``.

    >>> p = torch.tensor([0.5, 0.5]).log()
    >>> kl(p, p).item()
    0.0
    """
    return (log_p.exp() * (log_p - log_q)).sum(-1)


def jensen_shannon(log_p: Tensor, log_q: Tensor) -> Tensor:
    """Jensen-Shannon divergence ``(KL(p||m) + KL(q||m)) / 2``, m = (p + q) / 2, ``[..., B]``."""
    log_m = torch.logaddexp(log_p, log_q) - math.log(2.0)
    return (kl(log_p, log_m) + kl(log_q, log_m)) / 2


def sharpened(log_p: Tensor, temperature: float) -> Tensor:
    """Log-probabilities of ``p_c^(1/T) / sum_d p_d^(1/T)``: T below 1 makes the largest larger.

    >>> sharpened(torch.tensor([0.6, 0.4]).log(), 0.5).exp()
    tensor([0.6923, 0.3077])
    """
    return (log_p / temperature).log_softmax(-1)
