"""Compare a module's own training step with another one, leaving no trace in the module."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ampmix._torch.precision import unit_of
from ampmix.mixing import Loss


@dataclass(frozen=True)
class Outcome:
    """The loss that a step would train with, and the gradients of all parameters in one vector."""

    loss: float
    gradient: Tensor
    rounding: float

    @classmethod
    def of(cls, loss: Tensor, module: nn.Module) -> Outcome:
        """Go back from a loss, without touching the ``.grad`` of a parameter."""
        trained = [p for p in module.parameters() if p.requires_grad]
        found: Any = [None] * len(trained)
        if loss.requires_grad:
            found = torch.autograd.grad(loss, trained, allow_unused=True)
        flat = [
            torch.zeros_like(p).flatten() if g is None else g.flatten()
            for p, g in zip(trained, found, strict=True)
        ]
        vector = torch.cat([g.float() for g in flat]) if flat else torch.zeros(1)
        return cls(float(loss.detach()), vector, _rounding(loss, trained))

    def difference(self, other: Outcome) -> float:
        """The distance of the gradients, as a share of the longer one."""
        longer = max(float(self.gradient.norm()), float(other.gradient.norm()))
        return float((self.gradient - other.gradient).norm()) / longer if longer else 0.0

    def agrees(self, other: Outcome, to_a_factor: bool) -> bool:
        """Return True if losses and gradients are equal to rounding; or in one proportion."""
        factor = 1.0
        if to_a_factor and float(other.gradient.norm()):
            dot = float(self.gradient @ other.gradient)
            factor = dot / float(other.gradient @ other.gradient)
        if factor <= 0:
            return False
        scaled = Outcome(other.loss * factor, other.gradient * factor, other.rounding)
        largest = max(abs(self.loss), abs(scaled.loss))
        near = abs(self.loss - scaled.loss) <= self.rounding * largest
        return near and self.difference(scaled) <= self.rounding


def _rounding(loss: Tensor, trained: list[nn.Parameter]) -> float:
    """Half of the digits of the coarsest precision that a step was computed in."""
    kinds = {p.dtype for p in trained if p.is_floating_point()} | {torch.float32}
    return float(unit_of(kinds, loss.device) ** 0.5)


def module_loss(module: nn.Module) -> Loss | None:
    """The loss that a module holds, for each example; None unless it holds exactly one.

    It is asked for when it is used, so that it is where the module is.
    """
    losses: list[Any] = [p for p in module.modules() if isinstance(getattr(p, "reduction", 0), str)]
    if len(losses) != 1:
        return None

    def loss(logits: Tensor, y: Tensor) -> Tensor:
        unreduced = copy.copy(losses[0])
        unreduced.reduction = "none"
        values: Tensor = unreduced(logits, y)
        return values.flatten(1).mean(1) if values.dim() > 1 else values

    return loss


Undo = Callable[[], None]
_OF_ANY_MODULE = frozenset(vars(nn.Module()))


@contextmanager
def attributes_kept(module: nn.Module, model: nn.Module) -> Iterator[None]:
    """Undo afterwards what happens to attributes: counters, lists of outputs, states of metrics.

    Args:
        module: the module, with all that it holds.
        model: a part of it whose buffers and parts of parts are left out.
    """
    inside = set(model.modules()) if model is not module else set()
    undone: list[Undo] = []
    for part in module.modules():
        own = vars(part)
        kept = {name: value for name, value in own.items() if name not in _OF_ANY_MODULE}
        undone += [_undo(value) for value in kept.values()]
        undone.append(_attributes(own, kept))
        if part not in inside:
            undone += [_undo(buffer) for buffer in part._buffers.values()]
    try:
        yield
    finally:
        for undo in undone:
            undo()


def _attributes(own: dict[str, Any], kept: dict[str, Any]) -> Undo:
    def undo() -> None:
        for name in [name for name in own if name not in kept and name not in _OF_ANY_MODULE]:
            del own[name]
        own.update(kept)

    return undo


def _undo(value: Any) -> Undo:
    """Return what gives a container or a tensor the content that it has now."""
    if isinstance(value, list | deque | set | dict):
        items: Any = dict(value) if isinstance(value, dict) else list(value)
        inner = [_undo(item) for item in (items.values() if isinstance(items, dict) else items)]

        def undo() -> None:
            value.clear()
            value.update(items) if isinstance(value, dict | set) else value.extend(items)
            for one in inner:
                one()

        return undo
    if isinstance(value, Tensor) and not isinstance(value, nn.Parameter):
        version, content = value._version, value.detach().clone()

        def restore() -> None:
            if value._version != version:
                with torch.no_grad():
                    value.copy_(content)

        return restore
    return lambda: None
