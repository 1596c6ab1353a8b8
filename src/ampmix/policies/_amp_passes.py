"""The passes of f by which AMP finds and moves lam."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ampmix._torch.autograd import gradient_of, gradients_of
from ampmix._torch.compiling import uncompiled
from ampmix._torch.precision import without_graph
from ampmix._torch.random_state import with_random_state
from ampmix.mixing import Loss, interpolate_loss, loss_and_slope, mix
from ampmix.mixing.heads import Head, SameDraws
from ampmix.mixing.words import beside
from ampmix.policies._mixed import Mixed


@uncompiled
@dataclass(frozen=True, eq=False)
class Passes:
    """Computes the losses of one batch at any lam, with the same pairs and dropout masks."""

    f: Head
    y: Tensor
    loss: Loss
    lam: Tensor
    perm: Tensor
    partners: tuple[Tensor, ...]
    shared_dropout: bool
    state: Any | None
    """PyTorch's random state before the first pass; the others replay it. None: they draw on."""

    def at(
        self, g: tuple[Tensor, ...], lam: Tensor, retain_graph: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the losses at a lam, what MinOp compares, and the gradients by lam (Eq. 16)."""
        if self.f.knows_slope and not retain_graph:
            with without_graph():
                found = self.f.logits_and_slope(g, lam, self.perm, self.partners)
            logits, slope = (part.to(_at_least_float32(part)) for part in found)
            losses, grad = loss_and_slope(self.loss, logits, slope, self.y, self.lam, self.perm)
            return losses, losses, grad
        with torch.enable_grad(), with_random_state(None if lam is self.lam else self.state):
            moving = lam.clone().requires_grad_()
            losses, level = self._losses(self.f.mixed_logits(g, moving, self.perm, self.partners))
            grad = gradient_of(losses, moving, retain_graph)
        return losses if retain_graph else losses.detach(), level, grad

    def again(self, g: tuple[Tensor, ...], lam: Tensor) -> tuple[Tensor, Tensor]:
        """Return the losses with the hidden states mixed at another lam, and their levels."""
        f = self.f if self.shared_dropout else self.f.redrawn()
        with with_random_state(self.state):
            return self._losses(f.mixed_logits(g, lam, self.perm, self.partners))

    def _losses(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Return the losses, and what MinOp compares: the same without a graph, in float32.

        In bfloat16, two losses that differ by 0.4 % may be one number.
        """
        # the label keeps lam (Eq. 8)
        losses = interpolate_loss(self.loss, logits, self.y, self.lam, self.perm)
        if (dtype := _at_least_float32(logits)) == logits.dtype:
            return losses, losses.detach()
        with torch.no_grad():
            level = interpolate_loss(self.loss, logits.to(dtype), self.y, self.lam, self.perm)
        return losses, level


def _at_least_float32(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)


@uncompiled
def elementwise(
    f: Head,
    g: tuple[Tensor, ...],
    losses: Callable[[Tensor], Tensor],
    lam: Tensor,
    perm: Tensor,
    move: Callable[[Tensor, Tensor], Tensor],
    steps: int,
    min_op: bool,
) -> Mixed:
    """AMP with a lam for each element of the hidden state, all of an example alike to begin with.

    Args:
        f: the rest of the model.
        g: the parts of the hidden states.
        losses: of logits, each ``[..., B]``, the labels' lam in them.
        lam: coefficients ``[..., B]``.
        perm: partners.
        move: MaxOp, of coefficients and the gradients by them.
        steps: how often it is done.
        min_op: keep the larger of both losses of each example (Eqs. 18-21).

    Returns:
        :class:`Mixed`, whose ``lam_adv`` is lam and the mean absolute move of the elements.
    """
    again, constant = SameDraws(f, g[0]), tuple(x.detach() for x in g)

    def at(lams: Sequence[Tensor], hidden: tuple[Tensor, ...]) -> Tensor:
        left = iter(lams)
        return losses(
            again(*(mix(x, next(left) if x.is_floating_point() else lam, perm) for x in hidden))
        )

    level, start = lam, [beside(lam, x).expand_as(x) for x in g if x.is_floating_point()]
    moved = start
    for step in range(steps):
        with torch.enable_grad():
            leaves = [own.clone().requires_grad_() for own in moved]
            values = at(leaves, constant)
            grads = gradients_of(values, leaves)
        level = values.detach() if step == 0 else level
        moved = [move(own, grad) for own, grad in zip(moved, grads, strict=True)]
    with without_graph():
        gain = at(moved, constant) - level
    mask = gain > 0 if min_op else torch.ones_like(gain, dtype=torch.bool)
    kept = [torch.where(beside(mask, a), a, b) for a, b in zip(moved, start, strict=True)]
    moves = [(a - b).abs().flatten(lam.dim()) for a, b in zip(moved, start, strict=True)]
    lam_adv = lam + torch.cat(moves, -1).mean(-1)
    return Mixed(at(kept, g), lam, lam_adv, mask, perm, gain)
