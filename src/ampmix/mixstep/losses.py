"""Losses per example that MixStep chooses from labels and logits."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ampmix._torch.compiling import uncompiled
from ampmix.mixing import Loss, cross_entropy


@uncompiled
def usual_loss(model: nn.Module) -> Loss:
    """Return the loss for a transformers model's ``problem_type``, by default cross-entropy.

    A model of one output without ``problem_type`` gets squared error, as in transformers.
    """
    config = getattr(model, "config", None)
    kind = getattr(config, "problem_type", None)
    if kind is None and getattr(config, "num_labels", None) == 1:
        kind = "regression"
    return {"multi_label_classification": binary_cross_entropy, "regression": squared_error}.get(
        str(kind), cross_entropy
    )


def binary_cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Binary cross-entropy of each example, in nats, the mean over its labels.

    Args:
        logits: ``[B, C]``.
        y: 0 or 1, or probabilities, ``[B, C]``.
    """
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    values = F.binary_cross_entropy_with_logits(logits, y.to(logits.dtype), reduction="none")
    return values.flatten(1).mean(1)


def squared_error(outputs: Tensor, y: Tensor) -> Tensor:
    """Squared error of each example, the mean over its outputs.

    Args:
        outputs: ``[B]`` or ``[B, D]``.
        y: of as many numbers.
    """
    outputs = outputs.to(torch.promote_types(outputs.dtype, torch.float32))
    return (outputs - y.reshape(outputs.shape)).square().flatten(1).mean(1)
