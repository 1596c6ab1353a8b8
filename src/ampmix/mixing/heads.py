"""Heads f, from hidden states to logits, and the faster forms that a policy may ask of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from typing import Any, ClassVar

from torch import Tensor

from ampmix._torch.compiling import uncompiled
from ampmix._torch.random_state import random_state, with_random_state
from ampmix.errors import AmpmixError
from ampmix.mixing import mix, take_pairs

Hidden = Tensor | tuple[Tensor, ...]
"""g: a tensor ``[..., B, *]``, or a tuple of tensors whose floating-point members are mixed and
whose boolean members (masks) are united with the partner's."""


class Head(ABC):
    """Maps hidden states to logits: f of the paper's f(x) = f_k(g_k(x)).

    Only ``__call__`` must be written. Everything else has a default that is right for any f; a
    model overrides what it can do faster. A policy accepts any callable for f and turns it into
    a Head (:func:`head_of`).

    >>> class Scale(Head):
    ...     def __call__(self, x):
    ...         return 2 * x
    >>> import torch
    >>> x, lam = torch.tensor([[0.0], [10.0]]), torch.tensor([0.75, 0.5])
    >>> perm = torch.tensor([1, 0])
    >>> Scale().mixed_logits((x,), lam, perm, partners_of((x,), perm)).tolist()
    [[5.0], [10.0]]
    """

    knows_slope: ClassVar[bool] = False
    """True if :meth:`logits_and_slope` is overridden, which saves AMP a backward pass through f."""

    @abstractmethod
    def __call__(self, *g: Any, **_: Any) -> Tensor:  # a subclass names the parts of its g
        """Return logits ``[..., B, C]`` of hidden states; a tuple g comes as several arguments."""

    @uncompiled
    def mixed_logits(
        self, g: tuple[Tensor, ...], lam: Tensor, perm: Tensor, partners: tuple[Tensor, ...]
    ) -> Tensor:
        """Return logits of ``lam * g + (1 - lam) * g[perm]``, differentiable in g and lam.

        An f that mixes its own input faster than :func:`ampmix.mixing.mix` overrides this.

        Args:
            g: hidden states, each ``[..., B, *]``.
            lam: coefficients ``[..., B]``.
            perm: partners ``[..., B]``.
            partners: ``g[perm]`` without a graph (:func:`partners_of`).
        """
        return self(*(mix(x, lam, perm, partner) for x, partner in zip(g, partners, strict=True)))

    def logits_and_slope(
        self, g: tuple[Tensor, ...], lam: Tensor, perm: Tensor, partners: tuple[Tensor, ...]
    ) -> tuple[Tensor, Tensor]:
        """Return the logits of mixed hidden states and ``d logits / d lam``, without a graph.

        Called only where :attr:`knows_slope` is true. Such an f draws no random numbers in its
        passes: its dropout mask, if any, is drawn before.
        """
        raise AmpmixError(f"{type(self).__name__} says knows_slope but has no logits_and_slope")

    @uncompiled
    def redrawn(self) -> Head:
        """Return f with new dropout masks, where masks are drawn before its passes.

        By default a dataclass redraws the heads among its fields. An f that draws in its passes
        has nothing to redraw, and returns itself.
        """
        if not is_dataclass(self):
            return self
        parts = {field.name: getattr(self, field.name) for field in fields(self)}
        new = {name: part.redrawn() for name, part in parts.items() if isinstance(part, Head)}
        return replace(self, **new) if new else self

    @uncompiled
    def any_process_has(self, rows: Tensor) -> bool:
        """Return True if any of `rows` is true, so that one more pass of f depends on it.

        If other processes take part in the passes of f (FSDP2, SyncBatchNorm), all must run
        equally many: such an f overrides this with a reduction over the processes.
        """
        return bool(rows.any())


@uncompiled
class _Plain(Head):
    """Any callable as a :class:`Head`, with nothing overridden."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        self.function = function

    def __call__(self, *g: Any, **_: Any) -> Tensor:
        return self.function(*g)


@uncompiled
class SameDraws:
    """An f whose passes all draw the same dropout masks: those of the first.

    Masks drawn before the passes are the same anyway; for those drawn within, PyTorch's random
    state is replayed, so that afterwards it is where one pass leaves it.
    """

    def __init__(self, f: Head, like: Tensor) -> None:
        self.f, self.state, self.first = f, None if f.knows_slope else random_state(like), True

    def __call__(self, *g: Tensor) -> Tensor:
        """Return logits, as f does."""
        state, self.first = None if self.first else self.state, False
        with with_random_state(state):
            return self.f(*g)


@uncompiled
def head_of(f: Callable[..., Tensor]) -> Head:
    """Return f itself if it is a :class:`Head`, else a Head that calls it."""
    return f if isinstance(f, Head) else _Plain(f)


@uncompiled
def copied(g: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Copies of the floating-point parts of g, for an f that may change what it is given."""
    return tuple(part.clone() if part.is_floating_point() else part for part in g)


@uncompiled
def partners_of(g: tuple[Tensor, ...], perm: Tensor) -> tuple[Tensor, ...]:
    """Return every part of g in the order of the partners, ``g[perm]``, without a graph."""
    return tuple(take_pairs(part.detach(), perm) for part in g)
