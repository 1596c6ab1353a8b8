"""Logits, innermost module and BatchNorm statistics of a model that is run in passes."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from ampmix._torch.compiling import uncompiled
from ampmix._torch.norms import KEEPING
from ampmix.errors import AmpmixError


@uncompiled
def logits_of(output: Any, name: str = "logits") -> Tensor:
    """The logits in what a model returned.

    Raises:
        AmpmixError: if there are none to be found.
    """
    found = output
    if isinstance(output, Mapping):
        found = output.get(name)
    elif hasattr(output, name):
        found = getattr(output, name)
    elif isinstance(output, tuple | list):
        # a loss comes first, or None in its place
        found = next((x for x in output if isinstance(x, Tensor) and x.dim()), None)
    if not isinstance(found, Tensor):
        raise AmpmixError(
            f"the model returns a {type(output).__name__} in which there are no {name}: it must "
            f"return them, alone, first in a tuple, or as {name} (another name: logits=NAME)"
        )
    return found


@uncompiled
def own_module(model: nn.Module) -> nn.Module:
    """The module that ``torch.compile`` has wrapped, or the module itself."""
    own: nn.Module = model._modules.get("_orig_mod") or model
    return own


def parameters_of(model: nn.Module) -> Mapping[str, inspect.Parameter]:
    """The parameters of a model's forward, by name; none if they cannot be told."""
    try:
        return inspect.signature(model.forward).parameters
    except (TypeError, ValueError):
        return {}


def required_of(model: nn.Module) -> list[str]:
    """The names of what a model's forward must be given."""
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    found = parameters_of(model).items()
    return [name for name, p in found if p.default is p.empty and p.kind in kinds]


@contextmanager
@uncompiled
def evaluating(model: nn.Module) -> Iterator[None]:
    """The model in evaluation mode, and each module in its own again afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextmanager
@uncompiled
def statistics_kept(model: nn.Module) -> Iterator[None]:
    """Normalise by the batch's statistics, but leave the running ones as they are.

    They are updated with weight 0 rather than not at all: an activation checkpoint must save as
    many tensors as it does when it runs again in the backward pass, outside of here.
    """
    tracking = [
        (module, module.momentum, module.num_batches_tracked)
        for module in model.modules()
        if isinstance(module, KEEPING) and module.track_running_stats and module.training
    ]
    counts = [None if count is None else count.clone() for _, _, count in tracking]
    for module, *_ in tracking:
        module.momentum = 0.0
    try:
        yield
    finally:
        for (module, momentum, counter), count in zip(tracking, counts, strict=True):
            module.momentum = momentum
            if counter is not None and count is not None:
                counter.copy_(count)
