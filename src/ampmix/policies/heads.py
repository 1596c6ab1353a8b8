"""Heads f, and the faster forms that a policy may ask of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeGuard

from torch import Tensor

from ampmix._torch.compiling import uncompiled
from ampmix.mixing import mix, take_pairs

Hidden = Tensor | tuple[Tensor, ...]
"""g: a tensor ``[..., B, *]``, or a tuple of tensors whose floating-point members are mixed and
whose boolean members (masks) are united with the partner's."""

Head = Callable[..., Tensor]
"""f: from hidden states to logits ``[..., B, C]``; a tuple g is passed as that many arguments."""


class MixingHead(Protocol):
    """An f that mixes its own input faster than mixing first and calling it afterwards would."""

    def __call__(self, *g: Tensor) -> Tensor:
        """Logits of hidden states."""
        ...

    def mixed_logits(
        self, g: tuple[Tensor, ...], lam: Tensor, perm: Tensor, partners: tuple[Tensor, ...]
    ) -> Tensor:
        """Logits of hidden states mixed at lam with `partners`, differentiable in g and lam."""
        ...


class SlopedHead(Protocol):
    """An f that knows how its logits change with lam, which saves AMP a pass back through it.

    It draws no random numbers: its dropout, if any, is drawn before.
    """

    def __call__(self, *g: Tensor) -> Tensor:
        """Logits of hidden states."""
        ...

    def sloped_logits(
        self, g: tuple[Tensor, ...], lam: Tensor, perm: Tensor, partners: tuple[Tensor, ...]
    ) -> tuple[Tensor, Tensor]:
        """The logits of mixed hidden states and ``d logits / d lam``, without a graph."""
        ...


class CommonHead(Protocol):
    """An f in whose passes other processes take part, so that all must call it as often."""

    def __call__(self, *g: Tensor) -> Tensor:
        """Logits of hidden states."""
        ...

    def anywhere(self, rows: Tensor) -> bool:
        """Whether any of `rows` is true, in this process or in one of those."""
        ...


@uncompiled
def anywhere(f: Head, rows: Tensor) -> bool:
    """Whether any of `rows` is true: what a further pass of f may be made to depend on."""
    return f.anywhere(rows) if _is_common(f) else bool(rows.any())


def _is_common(f: Head) -> TypeGuard[CommonHead]:
    return hasattr(f, "anywhere")  # isinstance with a protocol takes 20 times as long


@uncompiled
def partners_of(g: tuple[Tensor, ...], perm: Tensor) -> tuple[Tensor, ...]:
    """Every part of g in the order of the partners, without a graph."""
    return tuple(take_pairs(part.detach(), perm) for part in g)


@uncompiled
def forward_mixed(
    f: Head, g: tuple[Tensor, ...], lam: Tensor, perm: Tensor, partners: tuple[Tensor, ...]
) -> Tensor:
    """``f(lam * g + (1 - lam) * g[perm])``, fused if f knows how (:class:`MixingHead`)."""
    if _is_mixing(f):
        return f.mixed_logits(g, lam, perm, partners)
    return f(*(mix(x, lam, perm, partner) for x, partner in zip(g, partners, strict=True)))


@uncompiled
def is_sloped(f: Head) -> TypeGuard[SlopedHead]:
    """Whether f is a :class:`SlopedHead`."""
    return hasattr(f, "sloped_logits")


def _is_mixing(f: Head) -> TypeGuard[MixingHead]:
    return hasattr(f, "mixed_logits")
