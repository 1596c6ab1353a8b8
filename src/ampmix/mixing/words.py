"""Positions of hidden states that hold a word, rather than padding."""

from __future__ import annotations

import torch
from torch import Tensor

from ampmix._torch.compiling import uncompiled
from ampmix.errors import AmpmixError


@uncompiled
def presence(g: tuple[Tensor, ...], x: Tensor, dims: int, *, whole: bool = False) -> Tensor | None:
    """Positions of x that hold a word, ``[..., B, L]``; None where x has no such axis or no mask.

    That is what the first boolean part of g as long as x says; one of several columns, as for
    windows of several widths, says yes where any does.

    Args:
        g: the parts of the hidden states.
        x: one of them, ``[..., B, L, *]``.
        dims: how many axes count examples.
        whole: of several columns, all must say yes.

    >>> mask = torch.tensor([[True, False], [True, True]])
    >>> presence((torch.zeros(2, 2, 4), mask), torch.zeros(2, 2, 4), 1).tolist()
    [[True, False], [True, True]]
    """
    if x.dim() <= dims + 1:
        return None
    for part in g:
        if part.dtype == torch.bool and part.shape[: dims + 1] == x.shape[: dims + 1]:
            columns = part.flatten(dims + 1) if part.dim() > dims + 1 else part.unsqueeze(-1)
            return columns.all(-1) if whole else columns.any(-1)
    return None


@uncompiled
def mean_word(g: tuple[Tensor, ...], x: Tensor, dims: int) -> Tensor:
    """Mean over the positions of x that hold a word, ``[..., B, D]``; x where it has no such axis.

    Arguments as in :func:`presence`; without a mask all positions count.
    """
    if x.dim() <= dims + 1:
        return x
    held = presence(g, x, dims)
    if held is None:
        held = torch.ones(x.shape[: dims + 1], dtype=torch.bool, device=x.device)
    weight = held.unsqueeze(-1).to(x.dtype)
    return (x.flatten(dims + 1) * weight).sum(-2) / weight.sum(-2).clamp(min=1.0)


@uncompiled
def beside(values: Tensor, x: Tensor) -> Tensor:
    """Values ``[..., B]`` or ``[..., B, L]`` with trailing axes, to broadcast against x."""
    return values.reshape(values.shape + (1,) * (x.dim() - values.dim()))


@uncompiled
def words_of(
    g: tuple[Tensor, ...], shape: torch.Size, policy: str, *, whole: bool = False
) -> Tensor:
    """Positions of g's first floating-point part that hold a word, ``[..., B, L]``.

    Without a mask all do. Arguments as in :func:`presence`; the batch has that shape.

    Raises:
        AmpmixError: if it has no axis of words.
    """
    x = next((part for part in g if part.is_floating_point()), g[0])
    if x.dim() < len(shape) + 2:
        raise AmpmixError(
            f"policy {policy} changes some words of a text, and hidden states of shape "
            f"{list(x.shape)} have no axis of words: take another site, such as word"
        )
    held = presence(g, x, len(shape), whole=whole)
    if held is None:
        return torch.ones(x.shape[: len(shape) + 1], dtype=torch.bool, device=x.device)
    return held


@uncompiled
def rounded(share: Tensor | float, count: Tensor) -> Tensor:
    """``share * count`` as a whole number, int64."""
    return (share * count).round().long()


@uncompiled
def span(held: Tensor, size: Tensor, draw: Tensor) -> tuple[Tensor, Tensor]:
    """A run of words at a uniformly random place, ``[..., B, L]``, and its first word's number.

    Args:
        held: true where there is a word, ``[..., B, L]``.
        size: how many words each run has, at most as many as there are, ``[..., B]``.
        draw: uniform numbers in [0, 1), ``[..., B]``.

    >>> held = torch.tensor([[False, True, True, True]])
    >>> span(held, torch.tensor([2]), torch.tensor([0.9]))[0].tolist()
    [[False, False, True, True]]
    """
    first = (draw * (held.sum(-1) - size + 1)).long()
    number = number_of(held)
    after = number - first.unsqueeze(-1)
    return held & (after >= 0) & (after < size.unsqueeze(-1)), first


@uncompiled
def number_of(held: Tensor) -> Tensor:
    """The number of each word in its text, from 0, ``[..., B, L]``."""
    return held.long().cumsum(-1) - 1


@uncompiled
def along(x: Tensor, held: Tensor) -> bool:
    """Return True if x is floating point and has the axis of words that `held` has."""
    return x.is_floating_point() and x.shape[: held.dim()] == held.shape
