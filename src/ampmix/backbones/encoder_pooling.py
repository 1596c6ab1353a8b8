"""The input of the last layer of an encoder: its own head's, or means over the tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def pooled(pooling: str, output: Any, mask: Tensor) -> Tensor:
    """Return the input of the last layer, ``[B, d]``, from what a body returns.

    With `pooling` ``head`` the body is a whole classifier without its last layer.
    """
    if pooling == "head":
        return output.logits  # type: ignore[no-any-return]
    return means([output.last_hidden_state], mask)


def means(states: Sequence[Tensor], mask: Tensor) -> Tensor:
    """Means over the tokens of some hidden states ``[..., L, d]`` side by side."""
    kept = mask.unsqueeze(-1).to(states[0].dtype)
    return torch.cat([(state * kept).sum(-2) / kept.sum(-2) for state in states], -1)
