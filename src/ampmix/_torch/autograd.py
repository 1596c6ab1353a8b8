"""Gradients with respect to single tensors, by PyTorch's autograd."""

from __future__ import annotations

from collections.abc import Sequence
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


@uncompiled
def gradients_of(loss: Tensor, of: Sequence[Tensor]) -> list[Tensor]:
    """Gradients of the sum of `loss` by each of `of`, zero where it does not depend on one.

    Raises:
        AmpmixError: if it depends on none.
    """
    grads: Sequence[Tensor | None] = [None]
    if loss.requires_grad:
        grads = torch.autograd.grad(loss.sum(), of, allow_unused=True)
    if all(grad is None for grad in grads):
        raise AmpmixError(
            "the loss does not depend on the hidden state, which so has no gradient: "
            "f must use its argument differentiably"
        )
    pairs = zip(of, grads, strict=True)
    return [torch.zeros_like(x) if grad is None else grad for x, grad in pairs]


def wanted(ctx: Any, position: int) -> bool:
    """Return True if this backward pass needs the gradient of an input that is not a leaf.

    ``ctx.needs_input_grad`` is true of weights even in a pass that computes the gradient of lam
    alone; autograd's execution plan is exact.
    """
    node = ctx.next_functions[position][0]
    return node is not None and bool(torch._C._will_engine_execute_node(node))
