"""The output of a MixStep: what the model returned, with the mixed loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import Tensor

from ampmix._torch.compiling import uncompiled
from ampmix._torch.trees import mapped


class StepOutput(NamedTuple):
    """Output of a step whose model returns nothing but logits."""

    loss: Tensor
    logits: Tensor


@uncompiled
def _with_loss(output: Any, loss: Tensor) -> Any:
    """Put the mixed loss where the model's output has its own, and detach the rest.

    A policy may have freed the graph of the rest, through which DistributedDataParallel would
    search for unused parameters.
    """
    if isinstance(output, Tensor):
        return StepOutput(loss, output.detach())
    if isinstance(output, Mapping):
        rest = {name: _detached(value) for name, value in output.items() if name != "loss"}
        kind: Any = type(output)
        return kind(loss=loss, **rest)
    if hasattr(output, "_replace") and "loss" in output._fields:
        return _detached(output)._replace(loss=loss)
    if isinstance(output, tuple | list):
        return (loss, *_detached(tuple(output)))
    for name, value in vars(output).items():
        setattr(output, name, _detached(value))
    output.loss = loss
    return output


@uncompiled
def _detached(things: Any) -> Any:
    return mapped(lambda leaf: leaf.detach() if isinstance(leaf, Tensor) else leaf, things)
