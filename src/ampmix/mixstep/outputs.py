"""The output of a MixStep: what the model returned, with the mixed loss."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ampmix._torch.compiling import uncompiled
from ampmix._torch.trees import mapped
from ampmix.errors import AmpmixError

NO_GRAPH = (
    "policy {} ran the pass that this output comes from without a graph, so that nothing but the "
    "loss has a gradient: call the model itself, step.model(...), for a further term"
)


class StepOutput(NamedTuple):
    """Output of a step whose model returns nothing but logits."""

    loss: Tensor
    logits: Tensor


@uncompiled
def _with_loss(output: Any, loss: Tensor) -> Any:
    """Put the mixed loss where the model's output has its own; the rest keeps its graph."""
    if isinstance(output, Tensor):
        return StepOutput(loss, output)
    if isinstance(output, Mapping):
        return _mapping_with(output, loss)
    if hasattr(output, "_replace") and "loss" in output._fields:
        return output._replace(loss=loss)
    if isinstance(output, tuple | list):
        # transformers' tuples begin with a loss, which is None without labels
        first = output[0] if output else None
        own = first is None or (isinstance(first, Tensor) and first.dim() == 0)
        return (loss, *(output[1:] if own else output))
    return _object_with(output, loss)


@uncompiled
def _mapping_with(output: Any, loss: Tensor) -> Any:
    rest = {name: value for name, value in output.items() if name != "loss"}
    try:
        return type(output)(loss=loss, **rest)
    except TypeError:  # its class takes no loss
        new = copy.copy(output)
        new["loss"] = loss
        return new


@uncompiled
def _object_with(output: Any, loss: Tensor) -> Any:
    """A copy of an object with another ``loss``, whether or not its class lets it have one."""
    new = copy.copy(output)
    try:
        object.__setattr__(new, "loss", loss)  # frozen ones refuse assignment
    except AttributeError:
        # a class with slots: one derived from it has room
        kind: Any = type(output)
        new = object.__new__(type(kind.__name__, (kind,), {"__module__": kind.__module__}))
        names = [name for base in kind.__mro__ for name in getattr(base, "__slots__", ())]
        for name in names:
            if hasattr(output, name):
                object.__setattr__(new, name, getattr(output, name))
        object.__setattr__(new, "loss", loss)
    return new


class _Constant(torch.autograd.Function):
    """Outputs without a graph, which say so when somebody goes back through them."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, root: Tensor, policy: str) -> Tensor:
        ctx.policy = policy
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        raise AmpmixError(NO_GRAPH.format(ctx.policy))


@uncompiled
def _without_graph(output: Any, policy: str) -> Any:
    """Outputs of a pass without a graph: to go back through them is an error, not a zero."""

    @uncompiled
    def constant(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor) or not leaf.is_floating_point() or leaf.requires_grad:
            return leaf
        apply: Any = _Constant.apply
        return apply(leaf, torch.zeros((), requires_grad=True), policy)

    return mapped(constant, output)
