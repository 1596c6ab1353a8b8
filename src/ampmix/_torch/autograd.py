"""Gradients with respect to single tensors, by PyTorch's autograd."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ampmix._torch.compiling import uncompiled
from ampmix.errors import AmpmixError


@uncompiled
def gradient_of(loss: Tensor, of: Tensor, retain_graph: bool = False) -> Tensor:
    """The gradient of the sum of `loss` by `of`; no parameter's ``.grad`` is touched.

    Raises:
        AmpmixError: if there is none.
    """
    grad = None
    if loss.requires_grad:
        (grad,) = torch.autograd.grad(loss.sum(), of, retain_graph=retain_graph, allow_unused=True)
    if grad is None:
        raise AmpmixError(
            "the loss does not depend on the mixed hidden state, so lam has no gradient: "
            "f must use its argument differentiably"
        )
    return grad


def wanted(ctx: Any, position: int) -> bool:
    """Return True if this backward pass needs the gradient of an input that is not a leaf.

    ``ctx.needs_input_grad`` is true of weights even in a pass that computes the gradient of lam
    alone; autograd's execution plan is exact.
    """
    node = ctx.next_functions[position][0]
    return node is not None and bool(torch._C._will_engine_execute_node(node))
