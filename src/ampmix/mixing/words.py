"""Positions of hidden states that hold a word, rather than padding."""

from __future__ import annotations

import torch
from torch import Tensor

from ampmix._torch.compiling import uncompiled


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
def beside(values: Tensor, x: Tensor) -> Tensor:
    """Values ``[..., B]`` or ``[..., B, L]`` with trailing axes, to broadcast against x."""
    return values.reshape(values.shape + (1,) * (x.dim() - values.dim()))
