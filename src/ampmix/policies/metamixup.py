"""MetaMixUp: lam moved to where a step on the mixtures would help other texts most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ampmix._torch.autograd import gradient_of
from ampmix._torch.compiling import uncompiled
from ampmix._torch.generators import Generators
from ampmix._torch.precision import without_graph
from ampmix.mixing import (
    Loss,
    interpolate_loss,
    mix,
    per_example,
    sample_lam,
    take_pairs,
    uniform,
)
from ampmix.mixing.heads import Head, SameDraws, copied
from ampmix.policies._options import check_alpha, check_amount
from ampmix.policies.base import Mixed, Policy


@dataclass(frozen=True)
class MetaMixUp(Policy):
    """MetaMixUp (Mai et al. 2021): lam moved down the loss of other texts after a virtual step.

    A batch is halved at random, and texts are paired within their half H. Of each half,
    ``W(lam) = W - rate dL_H(W, lam) / dW``, L_H being the mean loss of its mixtures; then
    ``lam_i' = lam_i - step |H| dM / dlam_i``, clipped to [0, 1], M being the mean loss at W(lam)
    of the other half's texts, unmixed. The loss is Mixup's at lam', ``[..., B]``.

    Args:
        alpha: lam ~ Beta(alpha, alpha) to begin with, > 0.
        rate: of the virtual step, >= 0.
        step: how far lam moves down its meta gradient, >= 0.
        site: where to mix.

    Cost: 6 passes of f, with the same dropout. Seeds train one after the other: fillers would be
    in the halves.

    Departures: in the paper W are all weights, and M is the loss of texts held out. Here W is an
    affine layer on what f returns, the identity to begin with, as a policy knows of f no more: the
    step moves outputs t of a text by ``- rate sum_i dl_i/dz_i (z_i . t + 1)``, z_i being those of
    mixtures, where a network's last layer would have its inputs in the product. And the texts of M
    are trained on, too. That lam begins anew in each batch, from Mixup's, is ours.

    Raises:
        AmpmixError: for options out of range, or an f that ignores the hidden state.

    >>> f = torch.nn.Linear(4, 3)
    >>> mixed = MetaMixUp()(f, torch.randn(8, 4), torch.randint(3, (8,)))
    >>> mixed.loss.mean().backward()
    """

    name: ClassVar[str] = "metamixup"
    rank: ClassVar[int] = 4
    alpha: float = 1.0
    rate: float = 0.1
    step: float = 1.0
    site: str = "word"

    def __post_init__(self) -> None:
        check_alpha(self.alpha)
        check_amount("rate", self.rate)
        check_amount("step", self.step)

    @property
    def stacks(self) -> bool:
        """False: see above."""
        return False

    @uncompiled
    def _train(
        self,
        f: Head,
        g: tuple[Tensor, ...],
        y: Tensor,
        shape: torch.Size,
        loss: Loss,
        generator: Generators,
    ) -> Mixed:
        perm, second = halves(shape, generator, g[0].device)
        alone = perm == torch.arange(shape[-1], device=perm.device)
        dtype = torch.promote_types(g[0].dtype, torch.float32)
        lam = sample_lam(self.alpha, shape, generator=generator, device=perm.device, dtype=dtype)
        lam, again = lam.masked_fill(alone, 1.0), SameDraws(f, g[0])
        if self.rate * self.step > 0:
            hidden = tuple(x.detach() for x in g)
            with without_graph():
                texts = again(*copied(hidden)).to(dtype)
            with torch.enable_grad():
                moving = lam.clone().requires_grad_()
                logits = again(*(mix(x, moving, perm) for x in hidden))
                mixed = logits.detach().to(dtype)
                towards, own = meta_slopes(loss, mixed, texts, y, lam, perm, second, self.rate)
                slope = own + gradient_of(logits * towards.to(logits.dtype), moving)
            moved = (lam - self.step * slope / _weight(second)).clamp(0.0, 1.0)
            lam = moved.masked_fill(alone, 1.0)
        logits = again(*(mix(x, lam, perm) for x in g))
        return Mixed(interpolate_loss(loss, logits, y, lam, perm), lam, perm=perm)


@uncompiled
def halves(shape: torch.Size, generator: Generators, device: torch.device) -> tuple[Tensor, Tensor]:
    """Partners of texts within their half of a batch, and which texts are in the second half.

    Each half is a uniformly random cyclic order; a half of one has only itself.

    >>> perm, second = halves(torch.Size([6]), torch.Generator().manual_seed(0), "cpu")
    >>> int(second.sum()), bool((second == second[perm]).all())
    (3, True)
    """
    order, n = uniform(shape, generator, device).argsort(-1), shape[-1] // 2
    following = torch.cat([order[..., :n].roll(1, -1), order[..., n:].roll(1, -1)], -1)
    perm = torch.empty_like(order).scatter_(-1, order, following)
    place = torch.arange(shape[-1], device=device).expand(shape)
    return perm, torch.empty_like(order).scatter_(-1, order, place) >= n


@uncompiled
def meta_slopes(
    loss: Loss,
    mixed: Tensor,
    texts: Tensor,
    y: Tensor,
    lam: Tensor,
    perm: Tensor,
    second: Tensor,
    rate: float,
) -> tuple[Tensor, Tensor]:
    """Derivatives of both halves' meta losses by the mixtures' outputs and by their labels' lam.

    Args:
        loss: per-example loss, twice differentiable.
        mixed: outputs of mixtures, ``[..., B, *]``.
        texts: outputs of texts, of the same shape.
        y: targets.
        lam: coefficients ``[..., B]``.
        perm: partners.
        second: which texts are in the second half.
        rate: of the virtual step.
    """
    shape, weight = lam.shape, _weight(second)
    z, label = mixed.clone().requires_grad_(), lam.clone().requires_grad_()
    partner, own = (per_example(loss, z, t, shape) for t in (take_pairs(y, perm), y))
    losses = torch.lerp(partner, own, label.to(own.dtype)) * weight
    (slopes,) = torch.autograd.grad(losses.sum(), z, create_graph=True)
    a, b, slopes = (x.reshape(*shape, -1) for x in (texts, z, slopes))
    others = second.unsqueeze(-1) != second.unsqueeze(-2)
    alike = ((a.unsqueeze(-2) * b.unsqueeze(-3)).sum(-1) + 1) * others
    moved = a - rate * (alike.unsqueeze(-1) * slopes.unsqueeze(-3)).sum(-2)
    after = per_example(loss, moved.reshape(texts.shape), y, shape) * weight
    towards, by_label = torch.autograd.grad(after.sum(), (z, label))
    return towards, by_label


def _weight(second: Tensor) -> Tensor:
    """One by the size of each text's half, ``[..., B]``."""
    n = second.sum(-1, keepdim=True)
    return 1 / torch.where(second, n, second.shape[-1] - n).clamp(min=1)
