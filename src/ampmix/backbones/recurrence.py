"""Recurrent layers that share the input products of equal words."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ampmix._torch.autograd import wanted
from ampmix._torch.matmul import add_products_, sum_of_products


class _Recurrence(torch.autograd.Function):
    """The LSTM's states ``[B, L, 2n]`` from projected words ``[B, L, 8n]``, both directions.

    Or of S models at once, whose directions all step together: ``[S, B, L, 2n]`` from
    ``[S, B, L, 8n]``, recurrent ``[S, 2, n, 4n]`` and mask ``[S, B, L]``.

    Written out for two reasons: both directions take each step in one batched product, and the
    gradient of the recurrent weights is one product over all steps, and none at all where it is
    not wanted, as for the gradient of lam.

    Step t of the forward direction is at word t, of the backward one at word L - 1 - t. Where the
    mask is false the cell is set to zero, so that the backward direction begins at each text's own
    last word; the forward one has no word left there.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, recurrent: Tensor, mask: Tensor) -> Tensor:
        here = _by_step(torch.stack([mask, mask], dim=-1)).to(x.dtype)
        gates, ctx.shape = _by_step(x), recurrent.shape
        recurrent = recurrent.flatten(0, -3)
        (length, directions, batch, _), n = gates.shape, recurrent.shape[1]
        cells = x.new_zeros(length + 1, directions, batch, n)
        states = x.new_zeros(length + 1, directions, batch, n)
        with torch.autocast(x.device.type, enabled=False):
            for t in range(length):
                gate = add_products_(gates[t], states[t], recurrent)
                gate[..., : 3 * n].sigmoid_()
                gate[..., 3 * n :].tanh_()
                i, f, o, candidate = gate.chunk(4, dim=-1)
                torch.mul(f, cells[t], out=cells[t + 1])
                cells[t + 1].addcmul_(i, candidate).mul_(here[t])
                torch.tanh(cells[t + 1], out=states[t + 1]).mul_(o)
        ctx.save_for_backward(recurrent, here, gates, cells, states)
        return _by_word(states[1:], x.shape[:-3])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor | None, None]:
        recurrent, here, gates, cells, states = ctx.saved_tensors
        length = len(gates)
        arriving, back = _by_step(grads[0]), recurrent.transpose(1, 2)
        grad_gates = torch.empty_like(gates)
        grad_cell = torch.zeros_like(cells[0])
        with torch.autocast(recurrent.device.type, enabled=False):
            for t in reversed(range(length)):
                grad_state = arriving[t]
                if t + 1 < length:
                    add_products_(grad_state, grad_gates[t + 1], back)
                i, f, o, candidate = gates[t].chunk(4, dim=-1)
                grad_i, grad_f, grad_o, grad_candidate = grad_gates[t].chunk(4, dim=-1)
                seen = cells[t + 1].tanh()
                grad_cell.addcmul_(grad_state * o, 1 - seen * seen).mul_(here[t])
                torch.mul(grad_state * seen, o * (1 - o), out=grad_o)
                torch.mul(grad_cell * candidate, i * (1 - i), out=grad_i)
                torch.mul(grad_cell * cells[t], f * (1 - f), out=grad_f)
                torch.mul(grad_cell * i, 1 - candidate * candidate, out=grad_candidate)
                grad_cell.mul_(f)
            grad_recurrent = None
            if wanted(ctx, 1):
                grad_recurrent = sum_of_products(states[:-1], grad_gates).view(ctx.shape)
        return _by_word(grad_gates, ctx.shape[:-3]), grad_recurrent, None


def _by_step(x: Tensor) -> Tensor:
    """``[B, L, 2m]`` as ``[L, 2, B, m]``, the second half of the columns from last to first.

    ``[S, B, L, 2m]`` as ``[L, 2S, B, m]``, the directions of a model one after the other.
    """
    first, second = x.movedim(-2, 0).chunk(2, dim=-1)
    return torch.stack([first, second.flip(0)], dim=-3).flatten(1, -3)


def _by_word(x: Tensor, seeds: torch.Size) -> Tensor:
    """The inverse of :func:`_by_step`, where there was an axis of `seeds` or none."""
    x = x.reshape(len(x), *seeds, 2, *x.shape[2:])
    both = torch.cat([x.select(-3, 0), x.select(-3, 1).flip(0)], dim=-1)
    return both.movedim(0, -2).contiguous()
